//! One network namespace, made with `ip netns` and deleted when dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::process::{must, run_always};

/// No `ip` or `ethtool` call takes longer on a sane machine.
const LIMIT: Duration = Duration::from_secs(10);

static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace of this process.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with IPv6 off, no reverse path filter, and `lo` up.
    ///
    /// The name has our process id and a serial number: parallel runs never meet.
    ///
    /// # Errors
    /// Without root, or when the machine has no network namespaces.
    pub fn new(role: &str) -> Result<Self> {
        let serial = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("pollvs-{}-{serial}-{role}", process::id());
        must(Command::new("ip").args(["netns", "add", &name]), LIMIT)?;
        let namespace = Self { name };
        // Before the first link is made: links take their settings from `default`.
        for scope in ["all", "default", "lo"] {
            namespace.set(&format!("ipv4/conf/{scope}/rp_filter"), "0")?;
            namespace.disable_ipv6(scope)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name that `ip netns` lists.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside. `ip netns exec` replaces itself by the program, so the
    /// child's id is the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// As [`Namespace::command`], for a program that runs until it is told to stop: should we be
    /// killed without a chance to tell it, the kernel does.
    pub fn lasting_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    }

    /// `ip ARGS` in this namespace; `arguments` are separated by blanks.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        let words = arguments.split_whitespace();
        must(Command::new("ip").args(["-n", &self.name]).args(words), LIMIT)
    }

    /// Turns off everything that would let the kernel hand over segments of 64 KB or frames whose
    /// checksum is not yet computed: a user-space director takes frames as they are on a wire.
    ///
    /// # Errors
    /// When `ethtool` says no.
    pub fn plain_frames(&self, link: &str) -> Result<()> {
        let off = "tx off rx off tso off gso off gro off".split(' ');
        must(self.command("ethtool").args(["-K", link]).args(off), LIMIT)?;
        Ok(())
    }

    /// Writes `/proc/sys/net/KEY` of this namespace.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys/net").join(key);
        self.enter(|| fs::write(&path, value))?
            .with_context(|| format!("{} in {}", path.display(), self.name))
    }

    /// Turns IPv6 on for one link and gives it an address, which is usable at once. False where the
    /// kernel has no IPv6.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn enable_ipv6(&self, link: &str, address: &str) -> Result<bool> {
        if self.set(&format!("ipv6/conf/{link}/disable_ipv6"), "0").is_err() {
            return Ok(false);
        }
        self.ip(&format!("-6 addr replace {address} dev {link} nodad"))?;
        Ok(true)
    }

    fn disable_ipv6(&self, scope: &str) -> Result<()> {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        match self.enter(|| fs::write(&path, "1"))? {
            // A kernel without IPv6 is as good.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("{path} in {}", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Runs `work` on a thread that is inside this namespace, for sockets of our own.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let door = File::open(Path::new("/run/netns").join(&self.name))?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| -> nix::Result<T> {
                // Moves this thread alone; it ends here, so nothing has to be moved back.
                setns(&door, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            let result = inside.join().unwrap_or_else(|panic| resume_unwind(panic));
            result.with_context(|| format!("cannot enter {}", self.name))
        })
    }
}

/// Deletes the namespaces of runs that were killed: the process in the name is gone.
pub fn remove_abandoned() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("pollvs-").and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(owner.to_string()).exists() {
            // Another run may be at the same work; whoever comes second finds it done.
            drop(run_always(Command::new("ip").args(["netns", "del", &name]), LIMIT));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let mut command = Command::new("ip");
        command.args(["netns", "del", &self.name]);
        match run_always(&mut command, LIMIT) {
            Ok(finished) if finished.status.success() => {}
            Ok(finished) => eprintln!("ip netns del {}: {}", self.name, finished.err().trim()),
            Err(error) => eprintln!("ip netns del {}: {error:#}", self.name),
        }
    }
}
