//! Changes on their way to the disk.

/// More text than this is not kept: the whole table is written instead.
const MOST: usize = 4 << 20;

/// What the disk lacks.
pub(super) enum Unsaved {
    /// The whole table, in place of what is there.
    All(String),
    /// Lines behind what is there.
    Lines(String),
}

/// The lines of changes made since the last were taken.
#[derive(Debug)]
pub(super) struct Journal {
    /// `None` when there were too many.
    lines: Option<String>,
}

impl Default for Journal {
    /// At first the disk has nothing.
    fn default() -> Self {
        Self { lines: None }
    }
}

impl Journal {
    /// Adds a line, without its end.
    pub(super) fn add(&mut self, line: &str) {
        let Some(lines) = &mut self.lines else { return };
        lines.push_str(line);
        lines.push('\n');
        if lines.len() > MOST {
            self.lines = None;
        }
    }

    /// Lines will not do: those of one change could be cut apart, or would count for more than the
    /// configuration.
    pub(super) fn want_all(&mut self) {
        self.lines = None;
    }

    /// Takes the lines, which is to say that they are going to be written; `None` when only the
    /// whole table will do.
    pub(super) fn take(&mut self) -> Option<String> {
        self.lines.replace(String::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_lines_are_not_kept() {
        let mut journal = Journal::default();
        journal.add("-C");
        assert_eq!(journal.take(), None, "the disk has nothing yet");
        journal.add("-A -f 1");
        journal.add("-A -f 2");
        assert_eq!(journal.take().as_deref(), Some("-A -f 1\n-A -f 2\n"));
        assert_eq!(journal.take().as_deref(), Some(""));
        journal.want_all();
        journal.add("-A -f 3");
        assert_eq!(journal.take(), None);
        journal.add(&"x".repeat(MOST));
        journal.add("-A -f 3");
        assert_eq!(journal.take(), None);
        assert_eq!(journal.take().as_deref(), Some(""));
    }
}
