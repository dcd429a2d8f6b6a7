//! The table on disk, for a daemon that is started again, however the last one ended: lines that
//! make the table, and behind them a line for each change since. When those have become many, the
//! whole is written anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::claim::Claim;
use crate::say::complain;

use super::Handle;
use super::journal::Unsaved;

/// Bytes of changes above which the table is written anew, beside as many as it has itself.
const SLACK: usize = 256 << 10;
/// How long after a failure the table is saved again, if nobody changes it before.
const RETRY: Duration = Duration::from_secs(1);
/// How long a client waits for its change to be saved: less than its own patience.
const PATIENCE: Duration = Duration::from_secs(1);
/// Who may read the table.
const MODE: u32 = 0o600;

/// The file that holds the table, for this daemon alone.
#[derive(Debug)]
pub struct SavedTable {
    path: PathBuf,
    _claim: Claim,
}

impl SavedTable {
    /// Claims the file, which need not exist.
    ///
    /// # Errors
    /// In words for the user, when another daemon has it or its folder cannot be written.
    pub fn claim(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let advice = "choose another --state, or --state none to save nothing";
        if let Some(folder) = folder(path) {
            fs::create_dir_all(folder)
                .map_err(|error| format!("saved table {shown}: {error}; {advice}"))?;
        }
        match Claim::of(path) {
            Ok(Some(claim)) => Ok(Self { path: path.to_owned(), _claim: claim }),
            Ok(None) => Err(format!("another pollvsd saves its table in {shown}: {advice}")),
            Err(error) => Err(format!("saved table {shown}: {error}; {advice}")),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was saved; `None` when nothing has been. A last line without an end is left out, and
    /// said: it was being written when the lights went out.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let rest = text.split_off(end);
        if !rest.is_empty() {
            let (shown, rest) = (self.path.display(), String::from_utf8_lossy(&rest));
            complain(format_args!(
                "pollvsd: {shown}: the last line has no end and is left out: {rest:.200}"
            ));
        }
        Ok(Some(text))
    }

    /// Keeps what was saved under another name too, which is returned: not all of it could be
    /// used, and the next table takes its place. It is the file itself, so no room is needed.
    ///
    /// # Errors
    /// When it cannot have another name.
    pub fn keep_aside(&self) -> io::Result<PathBuf> {
        let aside = self.beside(".rejected");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::hard_link(&self.path, &aside)?,
        }
        Ok(aside)
    }

    /// Writes lines behind what was saved, or nothing.
    fn append(&self, lines: &str) -> io::Result<()> {
        let mut file = File::options().append(true).open(&self.path)?;
        let length = file.metadata()?.len();
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        written.inspect_err(|_| {
            // Some of the lines may be there: half of what a client sent.
            let _ = file.set_len(length);
        })
    }

    /// Replaces what was saved. Whoever reads, or pulls the plug, finds the old or the new.
    fn replace(&self, text: &str) -> io::Result<()> {
        let new = self.beside(".new");
        self.replace_by(&new, text).inspect_err(|_| {
            // It takes room that there may not be.
            let _ = fs::remove_file(&new);
        })
    }

    fn replace_by(&self, new: &Path, text: &str) -> io::Result<()> {
        let mut options = File::options();
        let mut file = options.create(true).write(true).truncate(true).mode(MODE).open(new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        // The new name is safe once its folder is.
        File::open(folder(&self.path).unwrap_or(Path::new(".")))?.sync_all()
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(ending);
        name.into()
    }
}

fn folder(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Saves the table on a thread of its own. Who changed it waits for that; all who wait at one
/// time share one writing.
#[derive(Clone, Debug)]
pub struct Saver(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    /// The latest generation of the table that somebody wants saved.
    wanted: u64,
    /// The latest that was tried.
    tried: u64,
    /// Why that failed, if it did.
    error: Option<String>,
}

impl Saver {
    /// Saves the table once, and then whenever it is wanted. When it cannot be saved that is said,
    /// and tried again: the director has better to do than to wait for a disk.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(table: SavedTable, control: Handle) -> Result<Self, String> {
        let saver = Self(Arc::default());
        let shared = Arc::clone(&saver.0);
        let mut writer = Writer { table, control, base: 0, appended: None };
        shared.save(&mut writer);
        let run = move || shared.run(&mut writer);
        thread::Builder::new()
            .name("control-save".into())
            .spawn(run)
            .map_err(|error| error.to_string())?;
        Ok(saver)
    }

    /// Returns when this generation of the table, or a later one, is saved.
    ///
    /// # Errors
    /// In words for the user, when it could not be saved.
    pub(super) fn wait_for(&self, generation: u64) -> Result<(), String> {
        let mut progress = self.0.lock();
        if progress.wanted < generation {
            progress.wanted = generation;
            self.0.moved.notify_all();
        }
        let is_untried = |progress: &mut Progress| progress.tried < generation;
        let waited = self.0.moved.wait_timeout_while(progress, PATIENCE, is_untried);
        let (progress, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err("the table is not saved yet: the disk does not answer".to_owned());
        }
        progress.error.clone().map_or(Ok(()), Err)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the control thread has.
    fn run(&self, writer: &mut Writer) {
        loop {
            let mut progress = self.lock();
            while progress.wanted <= progress.tried {
                if progress.error.is_none() {
                    progress = self.moved.wait(progress).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                let waited = self.moved.wait_timeout(progress, RETRY);
                let (now, over) = waited.unwrap_or_else(PoisonError::into_inner);
                progress = now;
                if over.timed_out() {
                    break;
                }
            }
            drop(progress);
            if !self.save(writer) {
                return;
            }
        }
    }

    /// Saves what is not saved yet; false when control has ended.
    fn save(&self, writer: &mut Writer) -> bool {
        let saved = writer.write();
        let mut progress = self.lock();
        let (generation, written) = match saved {
            Some(saved) => saved,
            None => (u64::MAX, Err("pollvsd is stopping".to_owned())),
        };
        let error = written.err();
        if error != progress.error {
            match &error {
                Some(error) => complain(format_args!("pollvsd: {error}")),
                None => complain("pollvsd: the table is saved again"),
            }
        }
        (progress.tried, progress.error) = (generation, error);
        self.moved.notify_all();
        generation != u64::MAX
    }
}

/// Brings the table to the disk.
struct Writer {
    table: SavedTable,
    control: Handle,
    /// Bytes of the table when it was last written as a whole.
    base: usize,
    /// Bytes appended since; `None` when nothing can be appended.
    appended: Option<usize>,
}

impl Writer {
    /// Writes what is not written yet: which table that is, and what became of it. `None` when
    /// control has ended.
    fn write(&mut self) -> Option<(u64, Result<(), String>)> {
        let wants_all = self.appended.is_none_or(|bytes| bytes > self.base + SLACK);
        let (generation, unsaved) =
            self.control.call(move |control| control.take_unsaved(wants_all))?;
        let written = match unsaved {
            Unsaved::Lines(lines) => self.table.append(&lines).map(|()| {
                self.appended = self.appended.map(|bytes| bytes + lines.len());
            }),
            Unsaved::All(text) => self.table.replace(&text).map(|()| {
                (self.base, self.appended) = (text.len(), Some(0));
            }),
        };
        if written.is_err() {
            // Half a line may be there.
            self.appended = None;
        }
        Some((generation, written.map_err(|error| explain(&self.table.path, &error))))
    }
}

fn explain(path: &Path, error: &io::Error) -> String {
    format!("the table could not be saved in {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_as_a_whole_and_by_one_daemon() {
        let folder = std::env::temp_dir().join(format!("pollvs-saved-{}", std::process::id()));
        let path = folder.join("deep/table");
        let table = SavedTable::claim(&path).unwrap();
        assert_eq!(table.read().unwrap(), None);
        assert!(table.append("-A -f 1\n").is_err(), "there is nothing to append to");
        table.replace("-A -f 1\n").unwrap();
        table.replace("-A -f 2\n").unwrap();
        table.append("-A -f 3\n").unwrap();
        let saved = b"-A -f 2\n-A -f 3\n";
        assert_eq!(table.read().unwrap().as_deref(), Some(&saved[..]));
        let error = SavedTable::claim(&path).unwrap_err();
        assert!(error.contains("another pollvsd") && error.contains("--state"), "{error}");
        assert_eq!(fs::read(table.keep_aside().unwrap()).unwrap(), saved);
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["table", "table.lock", "table.rejected"]);
        drop(table);
        assert!(SavedTable::claim(&path).is_ok(), "a daemon that has ended lets go");
        fs::write(folder.join("file"), "").unwrap();
        let error = SavedTable::claim(&folder.join("file/table")).unwrap_err();
        assert!(error.contains("--state none"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
