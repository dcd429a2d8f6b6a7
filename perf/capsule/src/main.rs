//! `perf-capsule dataplane|macswap DEVICE SECONDS`: forwards what comes from DEVICE, a virtual device
//! of DPDK, in a pipeline of capsule on core 1, and prints frames sent a second.

mod frame;
#[allow(dead_code)] // the writers of frames
#[path = "../../src/frames.rs"]
mod frames;
mod pipeline;
mod setup;

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use capsule::batch::{Batch, Poll};
use capsule::packets::{Ethernet, Packet};
use capsule::{PortQueue, Runtime};
use pipeline::{Counted, Judged};

/// Time between the first frame and the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the first frame may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, device, seconds] = words.as_slice() else {
        bail!("usage: perf-capsule dataplane|macswap DEVICE SECONDS");
    };
    let window = Duration::from_secs_f64(seconds.parse().context("seconds are a number")?);
    let mut runtime = Runtime::build(toml::from_str(&config(device)?)?)?;
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let counted = move |tx| Counted { tx, sent: Arc::clone(&count) };
    match what.as_str() {
        "dataplane" => runtime.add_pipeline_to_port("port", move |queue: PortQueue| {
            Judged::new(queue.clone(), setup::shard()).send(counted(queue))
        })?,
        "macswap" => runtime.add_pipeline_to_port("port", move |queue: PortQueue| {
            Poll::new(queue.clone())
                .map(|packet| {
                    let mut ethernet = packet.parse::<Ethernet>()?;
                    ethernet.swap_addresses();
                    Ok(ethernet)
                })
                .send(counted(queue))
        })?,
        other => bail!("unknown pipeline {other:?}"),
    };
    thread::spawn(move || measure(&sent, window));
    runtime.execute()
}

/// Prints the rate and ends the process, which holds nothing that outlives it.
fn measure(sent: &AtomicU64, window: Duration) {
    let deadline = Instant::now() + PATIENCE;
    while sent.load(Ordering::Relaxed) == 0 {
        if Instant::now() > deadline {
            eprintln!("perf-capsule: no frame was sent");
            exit(1);
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(SETTLE);
    let (before, start) = (sent.load(Ordering::Relaxed), Instant::now());
    thread::sleep(window);
    let count = sent.load(Ordering::Relaxed) - before;
    println!("{}", count as f64 / start.elapsed().as_secs_f64());
    exit(0);
}

/// Capsule's configuration. Rings, buffers and caches are as large as our engine's, or larger.
fn config(device: &str) -> Result<String> {
    let (name, arguments) =
        device.split_once(',').context("DEVICE is a name, a comma, arguments")?;
    Ok(format!(
        r#"
        app_name = "perf-capsule"
        master_core = 0
        dpdk_args = "--no-huge --no-shconf --no-telemetry --iova-mode=va -m 256 --no-pci --log-level 4"
        [mempool]
            capacity = 16383
            cache_size = 512
        [[ports]]
            name = "port"
            device = "{name}"
            args = "{arguments}"
            cores = [1]
            rxd = 1024
            txd = 1024
            promiscuous = true
        "#
    ))
}
