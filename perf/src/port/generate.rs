//! The traffic source: sends frames into a port as fast as it takes them, and counts what returns.

use std::path::Path;
use std::time::{Duration, Instant};

use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::{Context, Result, bail, ensure};
use dataplane::frame::Frame;
use engine::port::dpdk::{Device, DpdkPorts, Eal, EalConfig, Hugepages, PortSet, PortSetConfig};
use engine::port::{Burst, Ports};

use super::FLOWS;
use crate::frames::{self, DUT_MAC};
use crate::process::{LIMIT, guarded, pause, said};

/// How long the generator waits for the first frame to return.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between that frame and the measurement.
const SETTLE: Duration = Duration::from_secs(1);

/// What the generator says once its port is open.
const OPEN: &str = "generator: port open";

/// A generator in a process of its own, on core 0.
pub(crate) struct Generator(Service);

impl Generator {
    /// Starts `perf` again with `words`, and waits until its port is open: who comes to a memif
    /// before its server has started is refused, and does not try again.
    pub(crate) fn start(
        words: &[&str],
        namespace: Option<&Namespace>,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = guarded(std::env::current_exe()?, namespace);
        command.args(words);
        let mut service = Service::start("generator", &mut command, folder)?;
        service.wait_until(LIMIT, |service| service.err().contains(OPEN))?;
        Ok(Self(service))
    }

    /// What it prints, once it has ended, which is to be in about `time`.
    pub(crate) fn result(mut self, time: Duration) -> Result<String> {
        // Seldom looked at, as it has a core to share with us.
        let deadline = Instant::now() + time + LIMIT + PATIENCE;
        while self.0.is_running() {
            pause(Duration::from_millis(50))?;
            if Instant::now() > deadline {
                bail!("the generator does not end: {}", said(&self.0));
            }
        }
        let text = self.0.out();
        ensure!(!text.is_empty(), "the generator fails: {}", self.0.err().trim());
        Ok(text)
    }
}

/// The generator's own process: `generate DEVICE SECONDS` prints frames returned a second.
pub(crate) fn run(mut words: impl Iterator<Item = String>) -> Result<()> {
    let (Some(device), Some(seconds)) = (words.next(), words.next()) else {
        bail!("generate needs a device and a number of seconds");
    };
    let window = Duration::from_secs_f64(seconds.parse().context("seconds are a number")?);
    with_port(&device, |ports| {
        let mut source = Source { frames: frames::udp(DUT_MAC, FLOWS), next: 0, returned: 0 };
        let deadline = Instant::now() + PATIENCE;
        while source.returned == 0 {
            source.turn(ports);
            if Instant::now() > deadline {
                bail!("no frame came back");
            }
        }
        source.run_for(ports, SETTLE);
        let (before, start) = (source.returned, Instant::now());
        source.run_for(ports, window);
        println!("{}", (source.returned - before) as f64 / start.elapsed().as_secs_f64());
        Ok(())
    })
}

/// Does `work` with one port on core 0.
pub(crate) fn with_port<T>(
    device: &str,
    work: impl FnOnce(&mut DpdkPorts<'_>) -> Result<T>,
) -> Result<T> {
    core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
    let text = |error: String| anyhow::anyhow!(error);
    let config = PortSetConfig { workers: 1, ring_frames: 0 };
    let parsed = [Device::parse(device)?];
    let eal =
        EalConfig { hugepages: Hugepages::No, memory: config.memory(&parsed), pci: Vec::new() };
    let eal = Eal::init(&eal)?;
    let mut set = PortSet::open(&eal, &parsed, &[device.to_owned()], config).map_err(text)?;
    eprintln!("{OPEN}");
    let queues = set.split().pop().context("the port has no queues")?;
    let mut ports = DpdkPorts::attach(queues).map_err(text)?;
    work(&mut ports)
}

struct Source {
    frames: Vec<Vec<u8>>,
    next: usize,
    returned: u64,
}

impl Source {
    fn run_for(&mut self, ports: &mut DpdkPorts<'_>, window: Duration) {
        let end = Instant::now() + window;
        while Instant::now() < end {
            for _ in 0..64 {
                self.turn(ports);
            }
        }
    }

    /// Sends a burst and takes what has come back.
    fn turn(&mut self, ports: &mut DpdkPorts<'_>) {
        let port = ports.ids()[0];
        let mut burst = Burst::new();
        while !burst.is_full() {
            let bytes = &self.frames[self.next];
            let Some(mut frame) = ports.allocate(bytes.len()) else { break };
            frame.bytes_mut().copy_from_slice(bytes);
            burst.push(frame);
            self.next = (self.next + 1) % self.frames.len();
        }
        ports.transmit(port, &mut burst);
        ports.release(&mut burst);
        ports.receive(port, &mut burst);
        self.returned += burst.len() as u64;
        ports.release(&mut burst);
    }
}
