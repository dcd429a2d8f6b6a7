//! Whole packets through whole machines: client, director and two servers in network namespaces,
//! joined by veth, and whoever can stand where the director does.

mod dut;
mod load;

use std::time::Duration;

use anyhow::{Context, Result};
use tests::lab::Lab;
use tests::namespace::Namespace;
use tests::server::write_big_file;
use tests::{interrupt, requirements};

use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::sample::Samples;
use dut::Dut;

/// Size of the file that clients download, in MiB.
const FILE_MIB: u64 = 64;
/// What the laboratory itself is made with.
const TOOLS: &[requirements::Tool] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("setpriv", "util-linux"),
    ("nginx", "nginx-light"),
    ("sha256sum", "coreutils"),
];
const ABOUT: &str = "\
veth: one worker or process each, on cores shared with client and servers; all offloads are off on
every link, for the peers as for us (with them on, the kernel would move bulk TCP in pieces of 64 KB)
  udp   Mpps of 64-byte frames that reach the servers, of 1024 clients
  bulk  Gbit/s of files downloaded over 4 connections; with dr they pass by the director
  http  requests a second, each with a connection of its own";

/// What is measured of each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Udp,
    Bulk,
    Http,
}

impl Figure {
    const ALL: [Self; 3] = [Self::Udp, Self::Bulk, Self::Http];

    fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Bulk => "bulk",
            Self::Http => "http",
        }
    }

    fn row(self, method: &'static str, ours: &Samples) -> Row {
        let (protocol, median) = (if self == Self::Udp { "udp" } else { "tcp" }, ours.median());
        let mut row = Row {
            bench: "veth",
            case: Some(self.name().to_owned()),
            method: Some(method),
            family: Some(4),
            protocol: Some(protocol),
            workers: Some(1),
            ..Row::default()
        };
        match self {
            Self::Udp => row.mpps = Some(median),
            Self::Bulk => row.gbit_per_second = Some(median),
            Self::Http => row.per_second = Some(median),
        }
        row.spread(ours)
    }
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options { seconds: 1.0, repeats: 3, ..Options::default() };
    let options = options.parse(&["seconds", "repeats"], words)?;
    let mut output = Output::start(options.is_json, ABOUT)?;
    interrupt::catch_signals()?;
    if let Err(lack) = requirements::installed(TOOLS) {
        progress(&format!("veth: no rows: {lack:#}"));
        return Ok(());
    }
    let taken = take(&options)?;
    for (place, figure) in Figure::ALL.into_iter().enumerate() {
        let measured = || taken.iter().filter(|(_, samples)| samples[place].len() > 0);
        for (ours, our_samples) in measured() {
            let Some(method) = ours.method() else { continue };
            for (peer, samples) in measured().filter(|(peer, _)| peer.method().is_none()) {
                let row = figure.row(method, &our_samples[place]);
                output.row(&row.against(peer.name(), &our_samples[place], &samples[place]))?;
            }
        }
    }
    Ok(())
}

/// Takes all samples, in turn. The laboratory is gone before a row is printed: whoever has closed
/// standard output would end us with the namespaces still there.
fn take(options: &Options) -> Result<Vec<(Dut, [Samples; 3])>> {
    let lab = Lab::new().context("the laboratory (it needs root)")?;
    write_big_file(lab.directory(), FILE_MIB)?;
    // Without offsets of their own for each address: a client's ports are used again while servers
    // still remember them, which take a connection for an old one when its timestamps jump back.
    lab.client().set("ipv4/tcp_timestamps", "2")?;
    lab.director().set("ipv4/tcp_timestamps", "2")?;
    let _sinks = load::sinks(&lab)?;
    let mut taken: Vec<(Dut, [Samples; 3])> = Dut::ALL
        .into_iter()
        .filter(|dut| {
            let lack = dut.lack();
            if let Some(lack) = &lack {
                progress(&format!("veth: no rows with {}: {lack}", dut.name()));
            }
            lack.is_none()
        })
        .map(|dut| (dut, Default::default()))
        .collect();
    let window = Duration::from_secs_f64(options.seconds);
    for round in 1..=options.repeats {
        for (dut, samples) in &mut taken {
            let mut told = format!("veth: {round} of {}: {}", options.repeats, dut.name());
            let running = dut.start(&lab).with_context(|| dut.name())?;
            for (figure, samples) in Figure::ALL.into_iter().zip(samples) {
                if figure == Figure::Udp && !dut.forwards_udp() {
                    continue;
                }
                let value = match figure {
                    Figure::Udp => load::udp(&lab, &running.targets, window),
                    Figure::Bulk => load::bulk(&lab, &running.targets, window),
                    Figure::Http => load::http(&lab, &running.targets, window),
                };
                match value.with_context(|| running.said()) {
                    Ok(value) => {
                        told += &format!("  {} {value:.2}", figure.name());
                        samples.push(value);
                    }
                    // On a busy machine a sample may fail; the others are still worth having.
                    Err(error) => {
                        interrupt::check()?;
                        progress(&format!("veth: {}, {}: {error:#}", dut.name(), figure.name()));
                    }
                }
            }
            progress(&told);
        }
    }
    Ok(taken)
}

/// Runs `work` in a namespace; a signal before or during it is an error.
fn inside<T: Send>(at: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    interrupt::check()?;
    let result = at.enter(work)?;
    interrupt::check()?;
    result
}
