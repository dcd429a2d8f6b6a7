//! The daemon under test and its control command.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::lab::{DIRECTOR_INSIDE, DIRECTOR_IPV6, DIRECTOR_OUTSIDE, Lab, Method, SERVICE};
use crate::process::{Finished, Service, run, run_with_input};
use crate::requirements::Binaries;

/// DPDK's memory setup and the port probes take a second or two on a small machine.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// `pollvsadm` promises an answer within 2 s even from a dead daemon; the rest is process start.
const CONTROL_LIMIT: Duration = Duration::from_secs(5);

/// The lab's interfaces of the director.
const PORTS: [&str; 2] = ["d0", "d1"];

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A running `pollvsd` in the director's namespace. It must not outlive the lab.
#[derive(Debug)]
pub struct Daemon<'lab> {
    service: Service,
    control: Control<'lab>,
}

impl<'lab> Daemon<'lab> {
    /// Starts the daemon with the lab's ports and waits until it forwards.
    ///
    /// # Errors
    /// When it ends or does not say `ready` in time.
    pub fn start(lab: &'lab Lab, binaries: &Binaries, workers: usize) -> Result<Self> {
        Self::start_on(lab, binaries, workers, PORTS)
    }

    /// Starts the daemon on devices of other names for the same two interfaces.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_on(
        lab: &'lab Lab,
        binaries: &Binaries,
        workers: usize,
        devices: [&str; 2],
    ) -> Result<Self> {
        let socket = lab.directory().join("control.sock");
        let mut command = command(lab, binaries, &socket, workers);
        add_devices(&mut command, devices);
        Self::start_by(lab, binaries, &socket, &mut command)
    }

    /// Starts a daemon that has no traffic, with more arguments: its one port gives nothing.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_alone<A: AsRef<OsStr>>(
        lab: &'lab Lab,
        binaries: &Binaries,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let socket = lab.directory().join("control.sock");
        let mut command = command(lab, binaries, &socket, 1);
        Self::start_by(lab, binaries, &socket, add_null_port(&mut command).args(arguments))
    }

    /// Starts a daemon by a command line that has everything, among it this socket.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_by(
        lab: &'lab Lab,
        binaries: &Binaries,
        socket: &Path,
        command: &mut Command,
    ) -> Result<Self> {
        let serial = STARTED.fetch_add(1, Ordering::Relaxed);
        let mut service = Service::start(&format!("pollvsd-{serial}"), command, &lab.logs())?;
        service.wait_until(READY_LIMIT, |service| {
            // Whole lines only: the last one may still be on its way.
            service.out().split_inclusive('\n').any(|l| l.ends_with('\n') && l.contains("ready"))
        })?;
        let (program, socket) = (binaries.control.clone(), socket.to_owned());
        let control = Control { lab, program, socket };
        Ok(Self { service, control })
    }

    /// Its control command.
    #[must_use]
    pub fn control(&self) -> &Control<'lab> {
        &self.control
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.service.is_running()
    }

    /// The program itself, for its output and signals.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// SIGTERM, then its exit status.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.service.stop()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.service.kill();
    }

    /// Has it stand still, as a machine does that is moved or swaps, until it may go on.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn stand_still(&self, still: bool) -> Result<()> {
        self.service.signal(if still { Signal::SIGSTOP } else { Signal::SIGCONT })
    }
}

/// Leaves beside its logs what it has counted and which connections it has, for a case that fails.
impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if !self.service.is_running() {
            return;
        }
        for (name, words) in [("drops", "drops"), ("workers", "workers"), ("connections", "-Lnc")] {
            let Ok(finished) = self.control.run(words) else { return };
            let told = finished.out();
            let lines = told.lines().filter(|line| !line.contains(" 0  ")).take(100);
            let text: String = lines.map(|line| format!("{line}\n")).collect();
            let file = format!("{}.{name}.out", self.service.name());
            // A note that cannot be written is no reason for a case to fail.
            let _ = fs::write(self.control.lab.logs().join(file), text);
        }
    }
}

/// The command line of a daemon without ports, for tests that complete it or expect a refusal.
#[must_use]
pub fn command(lab: &Lab, binaries: &Binaries, socket: &Path, workers: usize) -> Command {
    let mut command = lab.director().lasting_command(&binaries.daemon);
    command.arg("--socket").arg(socket);
    // `yield`: servers and clients share these few cores with the workers.
    // Nothing outlives a test, unless it asks for that.
    command.args(["--state", "none", "--run", "none"]);
    command.args(["--workers", &workers.to_string(), "--connections", "65536", "--idle", "yield"]);
    command
}

/// Adds the two ports of the lab.
pub fn add_ports(command: &mut Command) -> &mut Command {
    add_devices(command, PORTS)
}

/// Adds a port that takes everything and gives nothing; without `no-rx` it would give empty frames
/// without end.
pub fn add_null_port(command: &mut Command) -> &mut Command {
    command.args(["--port", "net_null0,no-rx=1", "--address", "10.0.0.1/8"])
}

fn add_devices<'c>(command: &'c mut Command, [outside, inside]: [&str; 2]) -> &'c mut Command {
    let (outside6, inside6) = DIRECTOR_IPV6;
    for (device, address, six) in
        [(outside, DIRECTOR_OUTSIDE, outside6), (inside, DIRECTOR_INSIDE, inside6)]
    {
        command.args(["--port", device, "--address", &format!("{address}/16")]);
        command.args(["--address", &format!("{six}/64")]);
    }
    command
}

/// Runs a daemon that is expected to refuse, and returns how it did.
///
/// # Errors
/// When it is still running after the time that a start takes.
pub fn refused(command: &mut Command) -> Result<Finished> {
    let finished = run(command, READY_LIMIT)?;
    ensure!(!finished.status.success(), "exit status 0, expected a refusal");
    ensure!(
        finished.code().is_some() && finished.code() != Some(101),
        "ended with {} instead of refusing: {}",
        finished.status,
        finished.err()
    );
    Ok(finished)
}

/// `pollvsadm` for one daemon.
#[derive(Debug)]
pub struct Control<'lab> {
    lab: &'lab Lab,
    program: PathBuf,
    socket: PathBuf,
}

impl Control<'_> {
    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs `pollvsadm` with arguments separated by blanks.
    ///
    /// # Errors
    /// When it hangs; a refusal is in the result.
    pub fn run(&self, arguments: &str) -> Result<Finished> {
        self.run_with_input(arguments, "")
    }

    /// As [`Control::run`], with text for standard input.
    ///
    /// # Errors
    /// As [`Control::run`].
    pub fn run_with_input(&self, arguments: &str, input: &str) -> Result<Finished> {
        // In the namespace: there a name lookup fails at once instead of asking the real network.
        let mut command = self.lab.director().command(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments.split_whitespace());
        run_with_input(&mut command, input.as_bytes(), CONTROL_LIMIT)
    }

    /// Starts `pollvsadm`, which goes on while the test does; `name` is for its output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, arguments: &str) -> Result<Service> {
        let mut command = self.lab.director().lasting_command(&self.program);
        command.arg("--socket").arg(&self.socket).args(arguments.split_whitespace());
        Service::start(name, &mut command, &self.lab.logs())
    }

    /// Runs `pollvsadm`, which has to succeed, and returns what it printed.
    ///
    /// # Errors
    /// When it hangs or its exit status is not 0.
    pub fn must(&self, arguments: &str) -> Result<String> {
        let finished = self.run(arguments)?;
        ensure!(
            finished.status.success(),
            "pollvsadm {arguments}: {}: {}",
            finished.status,
            finished.err().trim()
        );
        Ok(finished.out())
    }

    /// The table as `-Ln` shows it, without the connection counts, which change by themselves.
    ///
    /// # Errors
    /// As [`Control::must`].
    pub fn table(&self) -> Result<String> {
        let listing = self.must("-Ln")?;
        let without_counts = |line: &str| -> String {
            let words: Vec<_> = line.split_whitespace().collect();
            let is_server = words.first() == Some(&"->") && words.len() >= 6;
            let kept = if is_server { words.len() - 2 } else { words.len() };
            words[..kept].join(" ") + "\n"
        };
        Ok(listing.lines().map(without_counts).collect())
    }

    /// Clears the table and makes one `rr` service of the lab's servers.
    ///
    /// # Errors
    /// As [`Control::must`].
    pub fn balance(&self, method: Method) -> Result<()> {
        self.must("-C")?;
        self.must(&format!("-A -t {SERVICE} -s rr"))?;
        for server in self.lab.servers() {
            let address: Ipv4Addr = server.address();
            self.must(&format!("-a -t {SERVICE} -r {address}:80 {}", method.flag()))?;
        }
        Ok(())
    }
}
