//! Child processes: short ones with a time limit, and long ones that are ended by their own id.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt;

/// Between two looks at a child. Short, because a lab runs hundreds of children of a few ms each.
const POLL: Duration = Duration::from_millis(1);

/// How long a long-running child may take to leave after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What a finished child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The exit code; `None` when a signal ended the child.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Runs a command to its end, for at most `limit`.
///
/// # Errors
/// When it cannot be started, takes too long (it is killed then), or a signal came meanwhile. An
/// exit status other than 0 is not an error here.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    run_with_input(command, &[], limit)
}

/// As [`run`], with bytes for its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(command: &mut Command, input: &[u8], limit: Duration) -> Result<Finished> {
    interrupt::check()?;
    finish(command, input, limit, true)
}

/// As [`run`], for tearing down: goes on after a signal.
///
/// # Errors
/// As [`run`], signals aside.
pub fn run_always(command: &mut Command, limit: Duration) -> Result<Finished> {
    finish(command, &[], limit, false)
}

/// Runs a command that has to succeed and returns its standard output.
///
/// # Errors
/// As [`run`], and when the exit status is not 0: the message has the command and its stderr.
pub fn must(command: &mut Command, limit: Duration) -> Result<String> {
    let finished = run(command, limit)?;
    ensure!(
        finished.status.success(),
        "{} ended with {}: {}",
        shown(command),
        finished.status,
        finished.err().trim()
    );
    Ok(finished.out())
}

/// The command as one would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn finish(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
    interruptible: bool,
) -> Result<Finished> {
    let deadline = Instant::now() + limit;
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", shown(command)))?;
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        // A child that does not read its input is that child's business: it shows in its output.
        thread::spawn(move || drop(pipe.write_all(&input)));
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let interrupted = interruptible && interrupt::raised();
        if interrupted || Instant::now() > deadline {
            end_now(&mut child);
            interrupt::check().or_else(|error| if interrupted { Err(error) } else { Ok(()) })?;
            bail!("{} took longer than {} s", shown(command), limit.as_secs_f32());
        }
        thread::sleep(POLL);
    };
    // A grandchild could hold the pipe open; nothing that we start should, so say it.
    let missing = || format!("{} ended, but its output stays open", shown(command));
    Ok(Finished {
        status,
        stdout: stdout.recv_timeout(GRACE).with_context(missing)?,
        stderr: stderr.recv_timeout(GRACE).with_context(missing)?,
    })
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe never stops the child.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before a read error is still worth showing.
            drop(pipe.read_to_end(&mut bytes));
        }
        drop(sender.send(bytes));
    });
    receiver
}

fn end_now(child: &mut Child) {
    // Fails only when the child has ended by itself; `wait` then collects it.
    drop(child.kill());
    drop(child.wait());
}

/// A program that runs until it is told to stop. Dropping it stops it.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Service {
    /// Starts `command` with its output in `logs/NAME.out` and `logs/NAME.err`.
    ///
    /// # Errors
    /// When the logs cannot be made or the program not be started.
    pub fn start(name: &str, command: &mut Command, logs: &Path) -> Result<Self> {
        interrupt::check()?;
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {}", shown(command)))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When the program ends first, `limit` passes, or a signal comes; with the program's stderr.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            interrupt::check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} at its start: {}", self.name, self.err().trim());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {} s", self.name, limit.as_secs());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The name that it was started by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its standard output so far.
    #[must_use]
    pub fn out(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// Its standard error so far.
    #[must_use]
    pub fn err(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, then the exit status.
    ///
    /// # Errors
    /// When it is still there after 5 s; it is killed then.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        end_now(&mut self.child);
        bail!("{} did not stop within {} s of SIGTERM", self.name, GRACE.as_secs())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When `limit` passes, or a signal comes.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            interrupt::check()?;
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "{} still runs: {}", self.name, self.out());
            thread::sleep(POLL);
        }
    }

    /// SIGHUP, at which a daemon reads its configuration again.
    ///
    /// # Errors
    /// When it has ended.
    pub fn reload(&mut self) -> Result<()> {
        ensure!(self.is_running(), "{} is gone: {}", self.name, self.err().trim());
        self.signal(Signal::SIGHUP)
    }

    /// SIGSTOP: it stands still until [`Service::resume`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as a crash would be.
    pub fn kill(&mut self) {
        end_now(&mut self.child);
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Still our child and not yet waited for, so the id cannot belong to anyone else.
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        Ok(kill(id, signal)?)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

fn read_lossy(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("({}: {error})", path.display()),
    }
}
