//! The engine against testpmd, which does nothing but swap addresses: what a director costs on top
//! of the port itself. Both forward the same frames on the same core, in turn.

mod dut;
mod generate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use crate::frames;
use crate::output::{Output, Row};
use crate::sample::Samples;
use dut::Dut;

pub(crate) use dut::run_daemon as daemon;
pub(crate) use generate::run as generate;

/// Flows in the traffic; few enough that the connection table stays in the cache.
const FLOWS: u32 = 1024;
/// Time for links to come up and rates to settle.
const SETTLE: Duration = Duration::from_secs(2);

struct Options {
    seconds: u64,
    repeats: u32,
    is_json: bool,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let options = parse(words)?;
    let mut output = Output::start(
        options.is_json,
        "port: UDP, 64-byte frames, direct routing, one worker on core 1, in Mpps",
    );
    let folder = Folder::new()?;
    for port in ["net_pcap", "net_memif"] {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..options.repeats {
            for (dut, samples) in [(Dut::Pollvsd, &mut ours), (Dut::Testpmd, &mut theirs)] {
                let rate = match port {
                    "net_pcap" => over_pcap(dut, &folder.0, options.seconds)?,
                    _ => over_memif(dut, &folder.0, options.seconds)?,
                };
                samples.push(rate / 1e6);
            }
        }
        let row = Row {
            bench: "port",
            case: Some(port.to_owned()),
            method: Some("dr"),
            family: Some(4),
            protocol: Some("udp"),
            connections: Some(FLOWS),
            workers: Some(1),
            mpps: Some(ours.median()),
            ..Row::default()
        };
        output.row(&row.spread(&ours).against("testpmd macswap", &ours, &theirs));
    }
    Ok(())
}

/// Frames forwarded a second when they come from a file that is read over and over.
fn over_pcap(dut: Dut, folder: &Path, seconds: u64) -> Result<f64, String> {
    let file = folder.join("traffic.pcap");
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(|flow| frames::udp(dut::PCAP_MAC, flow)).collect();
    fs::write(&file, frames::pcap(&frames)).map_err(|error| error.to_string())?;
    let device = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display());
    let mut running = dut.start(&device, folder)?;
    thread::sleep(SETTLE);
    running.own_rate(Duration::from_secs(seconds))
}

/// Frames a second that come back to a generator in another process.
fn over_memif(dut: Dut, folder: &Path, seconds: u64) -> Result<f64, String> {
    let socket = folder.join("memif.sock");
    let link = format!("id=0,socket={},socket-abstract=no", socket.display());
    let generator = generate::Generator::start(&format!("net_memif0,role=server,{link}"), seconds)?;
    generator.wait_for_socket(&socket)?;
    let mac = frames::DUT_MAC;
    let device = format!("net_memif0,role=client,{link},mac={mac}");
    let running = dut.start(&device, folder)?;
    let rate = generator.rate();
    drop(running);
    let _ = fs::remove_file(&socket);
    rate
}

/// A folder of our own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("pollvs-perf-{}", process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
    use lexopt::prelude::*;
    let mut options = Options { seconds: 3, repeats: 3, is_json: false };
    let mut parser = lexopt::Parser::from_args(words);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        let known = match argument {
            Long("seconds") => 0,
            Long("repeats") => 1,
            Long("json") => {
                options.is_json = true;
                continue;
            }
            other => return Err(other.unexpected().to_string()),
        };
        let value: u32 = parser.value().and_then(|value| value.parse()).map_err(text)?;
        if value == 0 {
            return Err("seconds and repeats are at least 1".into());
        }
        if known == 0 { options.seconds = u64::from(value) } else { options.repeats = value }
    }
    Ok(options)
}
