//! Our daemon, as users run it: a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::namespace::Namespace;
use tests::process::Service;

use super::pause;

/// DPDK's memory setup and the port probes take a second or two on a small machine.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// A running daemon, ended when dropped.
pub(crate) struct Pollvsd {
    service: Service,
    socket: PathBuf,
}

impl Pollvsd {
    /// Starts the daemon, in a namespace if there is one, and waits until it forwards. `rules` are
    /// command lines of `pollvsadm`.
    pub(crate) fn start(
        namespace: Option<&Namespace>,
        arguments: &str,
        rules: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match namespace {
            Some(namespace) => namespace.lasting_command(program),
            None => Command::new(program),
        };
        let (socket, file) = (folder.join("control.sock"), folder.join("rules.toml"));
        std::fs::write(&file, format!("rules = {rules:?}\n"))?;
        command.arg("pollvsd").args(arguments.split_whitespace());
        command.args(["--workers", "1", "--state", "none", "--run", "none"]);
        command.arg("--config").arg(file).arg("--socket").arg(&socket);
        let mut service = Service::start("pollvsd", &mut command, folder)?;
        let waited = service.wait_until(READY_LIMIT, |service| service.out().contains("ready"));
        waited.with_context(|| service.out() + &service.err())?;
        Ok(Self { service, socket })
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        self.service.out() + &self.service.err()
    }

    /// Packets a second that the virtual services get, by the daemon's own count.
    pub(crate) fn rate(&self, window: Duration) -> Result<f64> {
        let (before, start) = (self.in_packets()?, Instant::now());
        pause(window)?;
        let counted = self.in_packets()? - before;
        Ok(counted as f64 / start.elapsed().as_secs_f64())
    }

    fn in_packets(&self) -> Result<u64> {
        let words = ["pollvsadm", "-Ln", "--stats", "--exact"].map(str::to_owned);
        let reply = ctl::client::ask(&self.socket, &words, None)?;
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        let service = text.lines().find(|line| line.starts_with("UDP"));
        let count = service.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        count.with_context(|| format!("no counters in {text:?}"))
    }
}
