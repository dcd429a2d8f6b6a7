//! Our engine against capsule, a framework for packet processing in Rust: once with the same
//! dataplane in its pipeline, and once when it does nothing but swap addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dataplane::packet::ethernet::Mac;
use tests::interrupt;
use tests::process;

use crate::frames::{self, DUT_MAC, GENERATOR_MAC, PORT, SERVER, VIP};
use crate::output::{Output, Row};
use crate::sample::Samples;
use crate::veth::{pause, pollvsd::Pollvsd};

/// Flows in the traffic; few enough that the connection table stays in the cache.
const FLOWS: u32 = 1024;
/// What net_pcap calls its first port.
const PCAP_MAC: Mac = Mac([2, 0x70, 0x63, 0x61, 0x70, 0]);
/// Time for rates to settle; capsule's own process waits as long.
const SETTLE: Duration = Duration::from_secs(1);
/// On one slow core a build of capsule from nothing takes a quarter of this.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// A start of DPDK, on top of what is measured.
const START_LIMIT: Duration = Duration::from_secs(20);
/// What capsule does, and whom the rows name.
const PEERS: [(&str, &str); 2] = [("dataplane", "capsule"), ("macswap", "capsule macswap")];

struct Options {
    seconds: u64,
    repeats: u32,
    is_json: bool,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    parse(words).and_then(|options| measure(&options)).map_err(|error| format!("{error:#}"))
}

fn measure(options: &Options) -> Result<()> {
    let mut output = Output::start(
        options.is_json,
        "capsule: UDP, 64-byte frames from net_pcap, direct routing, one worker on core 1, in Mpps; \
         capsule 0.1.5 with our dataplane in its pipeline, and swapping addresses only",
    );
    interrupt::catch_signals()?;
    let capsule = build(&output)?;
    let folder = tempfile::Builder::new().prefix("pollvs-perf-").tempdir()?;
    // Each finds frames for its own address.
    let devices = [("engine", PCAP_MAC), ("capsule", DUT_MAC)].map(|(name, mac)| {
        let file = folder.path().join(format!("{name}.pcap"));
        let frames: Vec<Vec<u8>> = (0..FLOWS).map(|flow| frames::udp(mac, flow)).collect();
        let device = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display());
        fs::write(file, frames::pcap(&frames)).map(|()| device)
    });
    let [ours_device, their_device] = devices;
    let (ours_device, their_device) = (ours_device?, their_device?);

    let (mut ours, mut theirs) = (Samples::default(), [Samples::default(), Samples::default()]);
    for round in 1..=options.repeats {
        output.progress(&format!("capsule: round {round} of {}", options.repeats));
        ours.push(engine(&ours_device, folder.path(), options.seconds)? / 1e6);
        for ((pipeline, _), samples) in PEERS.iter().zip(&mut theirs) {
            samples.push(peer(&capsule, pipeline, &their_device, options.seconds)? / 1e6);
        }
    }
    for ((pipeline, name), samples) in PEERS.iter().zip(&theirs) {
        let row = Row {
            bench: "capsule",
            case: Some(format!("net_pcap, peer does {pipeline}")),
            method: Some("dr"),
            family: Some(4),
            protocol: Some("udp"),
            connections: Some(FLOWS),
            workers: Some(1),
            mpps: Some(ours.median()),
            ..Row::default()
        };
        output.row(&row.spread(&ours).against(name, &ours, samples));
    }
    Ok(())
}

/// The peer's program, built if it is not, beside ours.
fn build(output: &Output) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target directory")?.join("capsule");
    output.progress("capsule: building perf/capsule (the first time up to 3 minutes)");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/capsule/Cargo.toml");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--release", "--quiet", "--manifest-path", manifest]);
    let built = process::run(cargo.arg("--target-dir").arg(&target), BUILD_LIMIT)?;
    ensure!(built.status.success(), "perf/capsule does not build:\n{}", built.err());
    Ok(target.join("release/perf-capsule"))
}

/// Packets a second that our engine forwards.
fn engine(device: &str, folder: &Path, seconds: u64) -> Result<f64> {
    let arguments = format!(
        "--cores 1 --idle spin --hugepages no --connections 65536 --port {device} \
         --address 10.1.255.254/8 --neighbour {SERVER}={GENERATOR_MAC}"
    );
    let service = format!("-u {VIP}:{PORT}");
    let rules = [format!("-A {service} -s rr"), format!("-a {service} -r {SERVER}:{PORT} -g")];
    let daemon = Pollvsd::start(None, &arguments, &rules, folder)?;
    pause(SETTLE)?;
    daemon.rate(Duration::from_secs(seconds))
}

/// Packets a second that capsule sends.
fn peer(program: &Path, pipeline: &str, device: &str, seconds: u64) -> Result<f64> {
    let mut command = Command::new(program);
    // With backtraces, each packet that it refuses would take one.
    command.env_remove("RUST_BACKTRACE").args([pipeline, device]).arg(seconds.to_string());
    let finished = process::run(&mut command, START_LIMIT + SETTLE + Duration::from_secs(seconds))?;
    match finished.out().trim().parse() {
        Ok(rate) if finished.status.success() => Ok(rate),
        _ => bail!("capsule {pipeline}: {}\n{}", finished.status, finished.err()),
    }
}

fn parse(words: impl Iterator<Item = String>) -> Result<Options> {
    use lexopt::prelude::*;
    let mut options = Options { seconds: 2, repeats: 3, is_json: false };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("repeats") => options.repeats = parser.value()?.parse()?,
            Long("json") => options.is_json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(options.seconds > 0 && options.repeats > 0, "seconds and repeats are at least 1");
    Ok(options)
}
