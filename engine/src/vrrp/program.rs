//! A program that runs for a limited time.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Where its output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// To the daemon's own.
    Ours,
    /// Nowhere.
    Nowhere,
}

/// A program that runs, in a process group of its own.
pub(super) struct Program {
    child: Child,
    /// As it was called.
    pub(super) shown: String,
    /// When it has to have ended.
    end: Instant,
}

impl Program {
    /// Starts it, without a shell.
    pub(super) fn start(words: &[String], limit: Duration, output: Output) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).process_group(0);
        if output == Output::Nowhere {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let child = command.spawn()?;
        Ok(Self { child, shown: words.join(" "), end: Instant::now() + limit })
    }

    /// Whether it has ended, and then why it has failed, in words. It is ended when its time is
    /// over, or at `end` if that comes before.
    pub(super) fn look(&mut self, end: Option<Instant>) -> Option<Result<(), String>> {
        match self.child.try_wait() {
            Ok(Some(status)) if status.success() => return Some(Ok(())),
            Ok(Some(status)) => return Some(Err(status.to_string())),
            Ok(None) => {}
            Err(error) => return Some(Err(error.to_string())),
        }
        let now = Instant::now();
        if now < self.end && end.is_none_or(|end| now < end) {
            return None;
        }
        self.kill();
        Some(Err("ended, because it took too long".to_owned()))
    }

    /// Ends it and what it has started.
    fn kill(&mut self) {
        // Our child and not waited for yet, so the number is its own.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn result(line: &str, limit: Duration) -> Result<(), String> {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let mut program =
            Program::start(&words, limit, Output::Nowhere).map_err(|error| error.to_string())?;
        loop {
            if let Some(result) = program.look(None) {
                return result;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_ends_by_itself_or_is_ended_with_its_children() {
        let long = Duration::from_secs(60);
        assert_eq!(result("/bin/true", long), Ok(()));
        assert!(result("/bin/false", long).unwrap_err().contains('1'));
        assert!(result("/no/such/program", long).unwrap_err().contains("No such file"));
        let started = Instant::now();
        // The shell waits for what it has started.
        let error = result("/bin/sh -c /bin/sleep${IFS}50;true", Duration::from_millis(50));
        assert!(error.unwrap_err().contains("too long"));
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
