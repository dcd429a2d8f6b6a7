//! The device under test: `pollvsd` or `dpdk-testpmd`, a process of its own on core 1.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::{Context, Result, bail, ensure};
use dataplane::packet::ethernet::Mac;
use dataplane::service::Method;
use engine::args::{self, Invocation};
use serde_json::Value;

use super::process::{self, LIMIT, guarded, pause};
use super::testpmd;
use crate::frames::{GENERATOR_MAC, PORT, SERVER, VIP};

/// What net_pcap calls its first port.
pub(super) const PCAP_MAC: Mac = Mac([2, 0x70, 0x63, 0x61, 0x70, 0]);

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dut {
    Pollvsd,
    Testpmd,
}

impl Dut {
    /// Ours and the peer, in the order in which they take turns.
    pub(crate) const BOTH: [Self; 2] = [Self::Pollvsd, Self::Testpmd];

    /// The name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pollvsd => "pollvsd",
            Self::Testpmd => "testpmd macswap",
        }
    }
}

/// How to start one.
pub(crate) struct Setup<'a> {
    /// EAL devices, and the director's address with its network on each.
    pub(crate) ports: &'a [(&'a str, &'a str)],
    /// The director's configuration but for its ports, as TOML.
    pub(crate) rules: &'a str,
    /// Where its interfaces are.
    pub(crate) namespace: Option<&'a Namespace>,
    /// For sockets and logs.
    pub(crate) folder: &'a Path,
}

/// A process that forwards, ended when dropped.
pub(crate) struct Running {
    service: Service,
    dut: Dut,
    socket: PathBuf,
}

/// The virtual service of [`VIP`] as TOML, its one server reached by `method`.
pub(crate) fn rules(method: Method) -> String {
    let flag = match method {
        Method::Direct => "-g",
        Method::Tunnel => "-i",
        Method::Nat => "-m",
    };
    format!(
        "rules = [\"-A -u {VIP}:{PORT} -s rr\", \"-a -u {VIP}:{PORT} -r {SERVER}:{PORT} {flag}\"]\n"
    )
}

/// Runs the daemon in this process: what `perf` starts itself again for.
pub(crate) fn run_daemon(words: impl Iterator<Item = String>) -> Result<(), String> {
    match args::parse(words.map(OsString::from))? {
        Invocation::Run(config) => engine::daemon::run(&config, || {
            loop {
                thread::park();
            }
        }),
        _ => Err("only a run makes sense here".into()),
    }
}

impl Dut {
    pub(crate) fn start(self, setup: &Setup<'_>) -> Result<Running> {
        let socket = setup.folder.join("control.sock");
        let (mut command, ready) = match self {
            Self::Pollvsd => (pollvsd(setup, &socket)?, "ready"),
            Self::Testpmd => (macswap(setup), testpmd::STARTED),
        };
        let mut service = Service::start("dut", &mut command, setup.folder)
            .context("testpmd is in Debian's package dpdk-dev")?;
        service.wait_until(LIMIT, |service| process::said(service).contains(ready))?;
        Ok(Running { service, dut: self, socket })
    }
}

impl Running {
    /// Frames a second that it sends, by the process's own count; a window is longer than
    /// [`testpmd::LOOK`].
    pub(crate) fn sends(&self, window: Duration) -> Result<f64> {
        match self.dut {
            Dut::Pollvsd => {
                let (before, start) = (self.transmitted()?, Instant::now());
                pause(window)?;
                let counted = self.transmitted()? - before;
                Ok(counted as f64 / start.elapsed().as_secs_f64())
            }
            Dut::Testpmd => {
                let rates = testpmd::Rates::since_now(&self.service);
                pause(window)?;
                Ok(rates.mean(&self.service)?.iter().map(|port| port.transmit).sum())
            }
        }
    }

    /// Frames that were dropped so far, by reason; `None` when nobody counts that.
    pub(crate) fn drops(&self) -> Result<Option<Vec<(String, u64)>>> {
        if self.dut == Dut::Testpmd {
            return Ok(None);
        }
        let document = self.ask("drops")?;
        let reasons = document["reasons"].as_array().context("drops have reasons")?;
        let count =
            |reason: &Value| Some((reason["name"].as_str()?.to_owned(), reason["count"].as_u64()?));
        Ok(Some(reasons.iter().filter_map(count).collect()))
    }

    fn transmitted(&self) -> Result<u64> {
        self.ask("drops")?["transmitted"].as_u64().context("drops have what was sent")
    }

    /// A listing for programs.
    fn ask(&self, what: &str) -> Result<Value> {
        let words = ["pollvsadm", "--json", what].map(str::to_owned);
        let reply = ctl::client::ask(&self.socket, &words, None)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        serde_json::from_slice(&reply.stdout)
            .with_context(|| format!("{}", String::from_utf8_lossy(&reply.stderr)))
    }

    /// What went wrong, if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if !self.service.is_running() {
            bail!("{} ended: {}", self.dut.name(), process::said(&self.service));
        }
        Ok(())
    }
}

fn pollvsd(setup: &Setup<'_>, socket: &Path) -> Result<Command> {
    ensure!(!setup.ports.is_empty(), "a director has ports");
    let rules = socket.with_file_name("rules.toml");
    fs::write(&rules, setup.rules)?;
    let mut command = guarded(std::env::current_exe()?, setup.namespace);
    command.args(["pollvsd", "--workers", "1", "--cores", "1", "--idle", "spin"]);
    command.args(["--hugepages", "no", "--connections", "65536"]);
    command.arg("--config").arg(rules).arg("--socket").arg(socket);
    command.args(["--state", "none", "--run", "none"]);
    for (device, address) in setup.ports {
        command.args(["--port", device, "--address", address]);
    }
    command.args(["--neighbour", &format!("{SERVER}={GENERATOR_MAC}")]);
    Ok(command)
}

fn macswap(setup: &Setup<'_>) -> Command {
    let devices: Vec<_> = setup.ports.iter().map(|(device, _)| *device).collect();
    let mut command = testpmd::command("0,1", &devices, setup.namespace);
    command.arg("--forward-mode=macswap");
    command
}
