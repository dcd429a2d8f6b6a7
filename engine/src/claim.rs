//! A place that only one daemon may use at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who may open the lock file, and with it keep a daemon from starting.
const MODE: u32 = 0o600;

/// Held as long as the daemon lives; the kernel lets go of it however the daemon ends.
#[derive(Debug)]
pub(crate) struct Claim(#[expect(dead_code, reason = "held open, never used")] File);

impl Claim {
    /// Claims a path by locking a file beside it, `PATH.lock`; `None` when another daemon has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let file = File::options().create(true).append(true).mode(MODE).open(&lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
