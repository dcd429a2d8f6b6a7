//! `dpdk-testpmd`, and the rates that it shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::{Context, Result, ensure};

use crate::process::{LIMIT, guarded, pause, said};

/// What it says once its ports are started.
const STARTED: &str = "nb forwarding cores";
/// What a look at its rates takes besides the time that they are for: the first show began before,
/// and the last may not be there yet.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Frames a second of one of its ports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PortRate {
    pub(crate) receive: f64,
    pub(crate) transmit: f64,
}

/// `dpdk-testpmd` with one forwarding core; arguments that follow are its own.
pub(crate) fn command(lcores: &str, devices: &[&str], namespace: Option<&Namespace>) -> Command {
    let mut command = guarded("dpdk-testpmd", namespace);
    command.args(["--lcores", lcores, "--no-huge", "--no-shconf", "--iova-mode=va", "-m", "256"]);
    command.args(["--no-pci", "--no-telemetry"]);
    for device in devices {
        command.args(["--vdev", device]);
    }
    command.args(["--", "--nb-cores=1", "--stats-period=1", "--no-lsc-interrupt"]);
    // A memif comes up when its other end is there, for which the check would wait 9 s.
    command.args(["--total-num-mbufs=16384", "--disable-link-check"]);
    command
}

/// Starts it under some name, and waits until its ports are started.
pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Service> {
    let mut service =
        Service::start(name, command, folder).context("testpmd is in Debian's package dpdk-dev")?;
    service.wait_until(LIMIT, |service| said(service).contains(STARTED))?;
    Ok(service)
}

/// Waits until it shows that it sends: links may take a while to come up.
pub(crate) fn wait_for_traffic(service: &Service) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let sends = |ports: &Vec<PortRate>| ports.iter().any(|port| port.transmit > 0.0);
    while !shown(&said(service)).last().is_some_and(sends) {
        ensure!(Instant::now() < deadline, "testpmd sends nothing:\n{}", said(service));
        pause(Duration::from_millis(100))?;
    }
    Ok(())
}

/// The rates that it shows each second, from some moment on.
pub(crate) struct Rates {
    /// Those that were there before.
    known: usize,
}

impl Rates {
    pub(crate) fn since_now(service: &Service) -> Self {
        Self { known: shown(&said(service)).len() }
    }

    /// Their means until now, for each port.
    pub(crate) fn mean(&self, service: &Service) -> Result<Vec<PortRate>> {
        let all = shown(&said(service));
        // The first one began before that moment.
        let rates = all.get(self.known + 1..).unwrap_or_default();
        ensure!(!rates.is_empty(), "testpmd shows no rates:\n{}", said(service));
        let ports = rates.iter().map(Vec::len).min().unwrap_or(0);
        let mean = |port: usize, of: fn(&PortRate) -> f64| {
            rates.iter().map(|ports| of(&ports[port])).sum::<f64>() / rates.len() as f64
        };
        Ok((0..ports)
            .map(|port| PortRate {
                receive: mean(port, |rate| rate.receive),
                transmit: mean(port, |rate| rate.transmit),
            })
            .collect())
    }
}

/// Every complete show: the rates of its ports, in their order.
fn shown(text: &str) -> Vec<Vec<PortRate>> {
    let mut shows = Vec::new();
    for show in text.split("Port statistics ===").skip(1) {
        let mut ports: BTreeMap<u32, PortRate> = BTreeMap::new();
        let mut port = None;
        for line in show.lines() {
            let number_after = |word: &str| line.split(word).nth(1)?.split_whitespace().next();
            if let Some(number) = number_after("statistics for port ") {
                port = number.parse().ok();
            }
            let Some(port) = port else { continue };
            let rate = |word| number_after(word)?.parse().ok();
            if let Some(rate) = rate("Rx-pps:") {
                ports.entry(port).or_default().receive = rate;
            }
            if let Some(rate) = rate("Tx-pps:") {
                ports.entry(port).or_default().transmit = rate;
            }
        }
        shows.push(ports.into_values().collect());
    }
    // The last one may not be written to its end.
    shows.pop();
    shows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_its_rates() {
        let port = |number, receive, transmit| {
            format!(
                "\n  ######## NIC statistics for port {number}  ########\n  RX-packets: 12 RX-missed: 0\n  \
                 Throughput (since last show)\n  Rx-pps:  {receive}   Rx-bps: 9\n  Tx-pps: {transmit} \
                 Tx-bps: 8\n"
            )
        };
        let head = "\nPort statistics ====================================";
        let text = format!("{head}{}{}{head}{}", port(0, 1, 2), port(1, 3, 4), port(0, 5, 6));
        let rate = |receive, transmit| PortRate { receive, transmit };
        assert_eq!(shown(&text), [vec![rate(1.0, 2.0), rate(3.0, 4.0)]]);
    }
}
