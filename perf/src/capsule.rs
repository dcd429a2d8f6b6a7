//! Our engine against capsule, a framework for packet processing in Rust: once with the same
//! dataplane in its pipeline, and once when it does nothing but swap addresses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dataplane::service::Method;
use tests::process;

use crate::frames::{DUT_MAC, PCAP_MAC};
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::port::{ADDRESS, Dut, FLOWS, Setup, pcap_device, rules};
use crate::process::{LIMIT, folder, pause};
use crate::sample::Samples;

/// Time for rates to settle; capsule's own process waits as long.
const SETTLE: Duration = Duration::from_secs(1);
/// On one slow core a build of capsule from nothing takes a quarter of this.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// What capsule does, and whom the rows name.
const PEERS: [(&str, &str); 2] = [("dataplane", "capsule"), ("macswap", "capsule macswap")];

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options { seconds: 2.0, repeats: 3, ..Options::default() };
    let options = options.parse(&["seconds", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "capsule: UDP, 64-byte frames from net_pcap, direct routing, one worker on core 1, in Mpps; \
         capsule 0.1.5 with our dataplane in its pipeline, and swapping addresses only",
    )?;
    let folder = folder()?;
    let capsule = build()?;
    // Each finds frames for its own address.
    let our_device = pcap_device(folder.path(), PCAP_MAC)?;
    let their_device = pcap_device(folder.path(), DUT_MAC)?;
    let setup = Setup {
        ports: &[(&our_device, ADDRESS)],
        rules: &rules(Method::Direct),
        namespace: None,
        folder: folder.path(),
    };
    let window = Duration::from_secs_f64(options.seconds);
    let (mut ours, mut theirs) = (Samples::default(), [Samples::default(), Samples::default()]);
    for round in 1..=options.repeats {
        progress(&format!("capsule: round {round} of {}", options.repeats));
        ours.push(engine(&setup, window)? / 1e6);
        for ((pipeline, _), samples) in PEERS.iter().zip(&mut theirs) {
            samples.push(peer(&capsule, pipeline, &their_device, window)? / 1e6);
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
        output.row(&row.spread(&ours).against(name, &ours, samples))?;
    }
    Ok(())
}

/// The peer's program, built if it is not, beside ours.
fn build() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("no target directory")?.join("capsule");
    progress("capsule: building perf/capsule (the first time up to 3 minutes)");
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/capsule/Cargo.toml");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--release", "--quiet", "--manifest-path", manifest]);
    let built = process::run(cargo.arg("--target-dir").arg(&target), BUILD_LIMIT)?;
    ensure!(built.status.success(), "perf/capsule does not build:\n{}", built.err());
    Ok(target.join("release/perf-capsule"))
}

/// Packets a second that our engine sends.
fn engine(setup: &Setup<'_>, window: Duration) -> Result<f64> {
    let running = Dut::Pollvsd.start(setup)?;
    pause(SETTLE)?;
    running.sends(window)
}

/// Packets a second that capsule sends.
fn peer(program: &Path, pipeline: &str, device: &str, window: Duration) -> Result<f64> {
    let mut command = Command::new(program);
    // With backtraces, each packet that it refuses would take one.
    command.env_remove("RUST_BACKTRACE").args([pipeline, device]);
    command.arg(window.as_secs_f64().to_string());
    let finished = process::run(&mut command, LIMIT + SETTLE + window)?;
    match finished.out().trim().parse() {
        Ok(rate) if finished.status.success() => Ok(rate),
        _ => bail!("capsule {pipeline}: {}\n{}", finished.status, finished.err()),
    }
}
