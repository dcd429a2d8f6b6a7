//! The device under test: `pollvsd` or `dpdk-testpmd`, a process of its own on core 1.

use std::path::Path;
use std::time::Duration;

use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::{Result, bail};
use dataplane::service::Method;

use super::testpmd;
use crate::daemon::Daemon;
use crate::drops::Drops;
use crate::frames::{GENERATOR_MAC, PORT, SERVER, VIP};
use crate::process::{pause, rate, said};

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
pub(crate) enum Running {
    Pollvsd(Daemon),
    Testpmd(Service),
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

impl Dut {
    pub(crate) fn start(self, setup: &Setup<'_>) -> Result<Running> {
        if self == Self::Pollvsd {
            let arguments = arguments(setup.ports);
            let daemon = Daemon::start(arguments, setup.rules, setup.namespace, setup.folder)?;
            return Ok(Running::Pollvsd(daemon));
        }
        let devices: Vec<_> = setup.ports.iter().map(|(device, _)| *device).collect();
        let mut command = testpmd::command("0,1", &devices, setup.namespace);
        command.arg("--forward-mode=macswap");
        testpmd::start("testpmd", &mut command, setup.folder).map(Running::Testpmd)
    }
}

impl Running {
    /// Frames a second that it sends, by the process's own count; a window is longer than
    /// [`testpmd::LOOK`].
    pub(crate) fn sends(&self, window: Duration) -> Result<f64> {
        match self {
            Self::Pollvsd(daemon) => rate(window, || daemon.transmitted()),
            Self::Testpmd(service) => {
                let rates = testpmd::Rates::since_now(service);
                pause(window)?;
                Ok(rates.mean(service)?.iter().map(|port| port.transmit).sum())
            }
        }
    }

    /// Frames that were dropped so far; `None` when nobody counts that.
    pub(crate) fn drops(&self) -> Result<Option<Drops>> {
        match self {
            Self::Pollvsd(daemon) => daemon.drops().map(Some),
            Self::Testpmd(_) => Ok(None),
        }
    }

    /// What went wrong, if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let service = match self {
            Self::Pollvsd(daemon) => daemon.service_mut(),
            Self::Testpmd(service) => service,
        };
        if !service.is_running() {
            bail!("{} ended: {}", service.name(), said(service));
        }
        Ok(())
    }
}

/// The daemon's: ports, and room for connections.
fn arguments(ports: &[(&str, &str)]) -> Vec<String> {
    let neighbour = format!("{SERVER}={GENERATOR_MAC}");
    let mut words = vec!["--cores", "1", "--idle", "spin", "--hugepages", "no"];
    words.extend(["--connections", "65536", "--neighbour", &neighbour]);
    for (device, address) in ports {
        words.extend(["--port", device, "--address", address]);
    }
    words.into_iter().map(str::to_owned).collect()
}
