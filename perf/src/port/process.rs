//! Processes that benchmarks start, and waiting for them without disturbing them.

use std::ffi::OsStr;
use std::process::Command;
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

/// A folder for sockets and logs, removed in the end. From now on signals only raise a flag.
pub(crate) fn folder() -> Result<TempDir> {
    interrupt::catch_signals()?;
    Ok(tempfile::Builder::new().prefix("pollvs-perf-").tempdir()?)
}
