//! Processes that benchmarks start, and waiting for them without disturbing them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use ::tests::interrupt;
use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::Result;
use tempfile::TempDir;

/// How long a start may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether we are to stop; each takes time from who is measured.
const LOOK: Duration = Duration::from_millis(100);
/// What names of our folders begin with; our process id follows.
const FOLDERS: &str = "pollvs-perf-";

/// A program that ends with us, whatever ends us.
pub(crate) fn guarded(program: impl AsRef<OsStr>, namespace: Option<&Namespace>) -> Command {
    if let Some(namespace) = namespace {
        return namespace.lasting_command(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// All that a program has written.
pub(crate) fn said(service: &Service) -> String {
    service.out() + &service.err()
}

/// Sleeps, and fails at once on a signal.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        interrupt::check()?;
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(LOOK)),
            _ => return Ok(()),
        }
    }
}

/// How much a counter grows in a second, over a while from now.
pub(crate) fn rate(window: Duration, counter: impl Fn() -> Result<u64>) -> Result<f64> {
    let (before, start) = (counter()?, Instant::now());
    pause(window)?;
    Ok((counter()? - before) as f64 / start.elapsed().as_secs_f64())
}

/// A folder for sockets and logs, removed in the end; those that killed runs have left go now. From
/// now on signals only raise a flag.
pub(crate) fn folder() -> Result<TempDir> {
    interrupt::catch_signals()?;
    let place = std::env::temp_dir();
    for entry in fs::read_dir(&place)?.flatten() {
        if is_abandoned(&entry.file_name().to_string_lossy()) {
            // Somebody else's, perhaps: then it stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{FOLDERS}{}-", process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(place)?)
}

/// True for a folder of a process that is gone.
fn is_abandoned(name: &str) -> bool {
    let owner = name.strip_prefix(FOLDERS).and_then(|rest| rest.split_once('-'));
    let owner = owner.and_then(|(number, _)| number.parse::<u32>().ok());
    owner.is_some_and(|number| !Path::new("/proc").join(number.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_told_from_others() {
        assert!(is_abandoned("pollvs-perf-4294967295-Xy"));
        assert!(!is_abandoned(&format!("pollvs-perf-{}-Xy", process::id())));
        assert!(!is_abandoned("pollvs-perf-Xy") && !is_abandoned("other-4294967295-Xy"));
    }
}
