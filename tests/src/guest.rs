//! The real Linux director beside ours: the kernel's IPVS, run in user mode by the oracle, with its
//! NICs on the lab's networks.
//!
//! ```text
//!  guest (its own kernel)      guest's namespace        switch
//!  eth0 ---------------------- t0 = b0 = up0 ---------- br1  clients
//!  eth1 ---------------------- t1 = b1 = up1 ---------- br0  servers
//!  eth2 ---------------------- t2 = b2 = up2 ---------- br2  sync
//!  eth3 169.254.1.2 ---------- t3 169.254.1.1: its commands
//! ```
//!
//! A guest outlives labs: booting takes seconds, being plugged into the next lab does not.

mod capture;
mod director;
mod echo;
mod oracle;
mod rows;
mod topology;

use std::cell::RefCell;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use self::capture::{Capture, Message};
pub use self::director::{Director, Ours, Role};
pub use self::echo::{ECHO_PORTS, Echo};
pub use self::oracle::Oracle;
pub use self::rows::{Row, active, await_equal, connections, differences, origins};
pub use self::topology::{Crossing, Leg, SYNC_GROUP, SYNC_PORT};
use crate::interrupt;
use crate::lab::{Lab, plug};
use crate::namespace::Namespace;
use crate::process::Service;

const AGENT: &str = include_str!("guest/agent.py");
const BOOT: &str = include_str!("guest/boot.sh");
const PREPARE: &str = include_str!("guest/prepare.sh");

/// Two or three seconds on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(30);
/// A little more than the agent gives a command.
const COMMAND_LIMIT: Duration = Duration::from_secs(22);
/// Between two looks for a signal.
const POLL: Duration = Duration::from_millis(100);
/// Longer than any suite: the last resort against a guest that nobody ends.
const LIFE_S: &str = "3600";
/// The bridges of the switch in the order of the guest's NICs.
const BRIDGES: [&str; 3] = ["br1", "br0", "br2"];

/// A kernel that runs. Fields are dropped in order: the program, then its network, then its files.
#[derive(Debug)]
pub struct Guest {
    number: u8,
    service: RefCell<Service>,
    control: RefCell<TcpStream>,
    namespace: Namespace,
    directory: TempDir,
}

impl Guest {
    /// Boots a kernel; `number` tells guests on the same networks apart.
    ///
    /// # Errors
    /// When it does not boot in time, or on a signal.
    pub fn boot(oracle: &Oracle, number: u8) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pollvs-guest-").tempdir()?;
        let namespace = Namespace::new("guest")?;
        for nic in 0..=BRIDGES.len() {
            namespace.ip(&format!("tuntap add t{nic} mode tap"))?;
            namespace.ip(&format!("link set t{nic} up"))?;
        }
        for nic in 0..BRIDGES.len() {
            let options = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0";
            namespace.ip(&format!("link add b{nic} {options}"))?;
            namespace.ip(&format!("link set b{nic} up"))?;
            namespace.ip(&format!("link set t{nic} master b{nic}"))?;
        }
        namespace.ip(&format!("addr add 169.254.1.1/30 dev t{}", BRIDGES.len()))?;
        let listener = namespace.enter(|| TcpListener::bind("169.254.1.1:1"))??;
        listener.set_nonblocking(true)?;

        let agent = directory.path().join("agent");
        fs::write(&agent, AGENT)?;
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
        // All that the kernel forks is in a process namespace, and ends with its first process.
        let mut command = namespace.lasting_command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.arg(&oracle.run).args(["--uml", "--mem", "256", "--timeout", LIFE_S]);
        for nic in 0..=BRIDGES.len() {
            command.args(["--tap", &format!("t{nic}")]);
        }
        command.arg(&agent).env("TMPDIR", directory.path()).env("IPVS_VM_WORK", &oracle.work);
        let mut service =
            Service::start(&format!("guest-{number}"), &mut command, directory.path())?;
        let mut accepted = None;
        service.wait_until(BOOT_LIMIT, |_| {
            accepted = listener.accept().ok();
            accepted.is_some()
        })?;
        let (control, _) = accepted.context("the guest did not call")?;
        control.set_nonblocking(false)?;
        control.set_nodelay(true)?;
        control.set_read_timeout(Some(POLL))?;
        control.set_write_timeout(Some(COMMAND_LIMIT))?;
        let (service, control) = (RefCell::new(service), RefCell::new(control));
        let guest = Self { number, service, control, namespace, directory };
        guest.must(&format!("N={number} # boot.sh\n{BOOT}"))?;
        Ok(guest)
    }

    /// Runs a shell script in the guest, and returns its exit status and all that it wrote.
    ///
    /// # Errors
    /// When the guest is gone or does not answer in time, or on a signal.
    pub fn run(&self, script: &str) -> Result<(i32, String)> {
        interrupt::check()?;
        self.ask(script).with_context(|| {
            let state = if self.is_running() { "runs" } else { "is gone" };
            // A late answer would be taken for the next one's: nobody uses this guest again.
            self.service.borrow_mut().kill();
            let (first, number) = (first_line(script), self.number);
            format!("`{first}` in guest {number}, which {state}\n{}", self.console())
        })
    }

    fn ask(&self, script: &str) -> Result<(i32, String)> {
        let mut request = u32::try_from(script.len())?.to_be_bytes().to_vec();
        request.extend(script.as_bytes());
        self.control.borrow_mut().write_all(&request)?;
        let deadline = Instant::now() + COMMAND_LIMIT;
        let mut head = [0; 8];
        self.read(&mut head, deadline)?;
        let [a, b, c, d, e, f, g, h] = head;
        let status = i32::from_be_bytes([a, b, c, d]);
        let mut output = vec![0; u32::from_be_bytes([e, f, g, h]).try_into()?];
        self.read(&mut output, deadline)?;
        Ok((status, String::from_utf8_lossy(&output).into_owned()))
    }

    fn read(&self, buffer: &mut [u8], deadline: Instant) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            interrupt::check()?;
            match self.control.borrow_mut().read(&mut buffer[filled..]) {
                Ok(0) => bail!("the guest has hung up"),
                Ok(length) => filled += length,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    ensure!(Instant::now() < deadline, "no answer from the guest");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Runs a shell script, which has to succeed, and returns what it wrote.
    ///
    /// # Errors
    /// As [`Guest::run`], and when its exit status is not 0.
    pub fn must(&self, script: &str) -> Result<String> {
        let (status, output) = self.run(script)?;
        let (first, number) = (first_line(script), self.number);
        ensure!(status == 0, "`{first}` in guest {number}: {status}: {output}");
        Ok(output)
    }

    /// Plugs the guest into a lab's networks and makes it a director that has nothing to do: no
    /// service, no connection, settings as after boot, the addresses of [`Crossing`].
    ///
    /// # Errors
    /// When `ip` says no, here or there.
    pub fn join(&self, lab: &Lab) -> Result<()> {
        for (nic, bridge) in BRIDGES.iter().enumerate() {
            // Of the lab before; its other end has gone, and sooner or later it goes too.
            drop(self.namespace.ip(&format!("link del up{nic}")));
            let port = format!("to-g{}-{nic}", self.number);
            plug(lab.switch(), bridge, &port, &self.namespace, &format!("up{nic}"))?;
            self.namespace.ip(&format!("link set up{nic} master b{nic}"))?;
        }
        self.must(&format!("N={} # prepare.sh\n{PREPARE}", self.number))?;
        Ok(())
    }

    /// True while it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.service.borrow_mut().is_running()
    }

    /// Which of the guests it is, from 0.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The last lines of the kernel's console.
    #[must_use]
    pub fn console(&self) -> String {
        let entries = fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        let texts = entries.filter_map(|entry| fs::read(entry.path().join("console")).ok());
        let text: Vec<u8> = texts.flatten().collect();
        let text = String::from_utf8_lossy(&text).into_owned();
        let skipped = text.lines().count().saturating_sub(20);
        text.lines().skip(skipped).map(|line| format!("{line}\n")).collect()
    }
}

fn first_line(script: &str) -> &str {
    script.lines().find(|line| !line.is_empty()).unwrap_or_default()
}

impl Drop for Guest {
    fn drop(&mut self) {
        // There is nothing on its disk to be saved.
        self.service.borrow_mut().kill();
    }
}
