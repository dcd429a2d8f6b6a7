//! Where progress is shown: one line written over and over, or a line for each change.

use std::io::Write;
use std::time::Duration;

/// Between two lines where they are not written over.
const PAUSE: Duration = Duration::from_secs(1);

/// A terminal or a file.
pub(crate) struct Screen<'a> {
    out: &'a mut dyn Write,
    is_terminal: bool,
    /// What was shown last, and when.
    last: Option<(String, Duration)>,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, is_terminal: bool) -> Self {
        Self { out, is_terminal, last: None }
    }

    /// Shows a line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.close();
        self.write(&format!("{text}\n"));
    }

    /// Shows a line that holds until the next one.
    pub(crate) fn show(&mut self, text: &str, now: Duration) {
        if self.is_terminal {
            // ECMA-48, EL: what an earlier, longer line has left over is erased.
            self.write(&format!("\r{text} ({} s)\x1b[K", now.as_secs()));
        } else {
            if let Some((last, then)) = &self.last
                && (last == text || now.saturating_sub(*then) < PAUSE)
            {
                return;
            }
            self.write(&format!("{text}\n"));
        }
        self.last = Some((text.to_owned(), now));
    }

    /// Ends the line that was written over.
    pub(crate) fn close(&mut self) {
        if self.is_terminal && self.last.take().is_some() {
            self.write("\n");
        }
    }

    fn write(&mut self, text: &str) {
        // Nobody may look any more; that is no reason to stop.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}
