//! The traffic source: sends frames into a port as fast as it takes them, and counts what returns.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::frame::Frame;
use engine::port::dpdk::{Device, DpdkPorts, Eal, EalConfig, Hugepages, PortSet, PortSetConfig};
use engine::port::{Burst, Ports};

use super::FLOWS;
use crate::frames::{self, DUT_MAC};

/// How long the generator waits for the first frame to return.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between that frame and the measurement.
const SETTLE: Duration = Duration::from_secs(1);

/// A generator in a process of its own.
pub(super) struct Generator(Child);

impl Generator {
    pub(super) fn start(device: &str, seconds: u64) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        Command::new(program)
            .args(["generate", device, &seconds.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(super) fn wait_for_socket(&self, socket: &Path) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            if Instant::now() > deadline {
                return Err("the generator does not open its socket".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Frames a second that came back, once it has ended.
    pub(super) fn rate(mut self) -> Result<f64, String> {
        let output = self.0.stdout.take().map(std::io::read_to_string);
        let _ = self.0.wait();
        let text = output.transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        text.trim().parse().map_err(|_| format!("the generator says {text:?}"))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // Already gone when its rate has been read.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The generator's own process: `generate DEVICE SECONDS` prints frames returned a second.
pub(crate) fn run(mut words: impl Iterator<Item = String>) -> Result<(), String> {
    let (Some(device), Some(seconds)) = (words.next(), words.next()) else {
        return Err("generate needs a device and a number of seconds".into());
    };
    let window = Duration::from_secs(seconds.parse().map_err(|_| "seconds are a number")?);
    core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
    let config = PortSetConfig { workers: 1, ring_frames: 0 };
    let parsed = [Device::parse(&device).map_err(|error| error.to_string())?];
    let eal =
        EalConfig { hugepages: Hugepages::No, memory: config.memory(&parsed), pci: Vec::new() };
    let eal = Eal::init(&eal).map_err(|error| error.to_string())?;
    let mut set = PortSet::open(&eal, &parsed, &[device], config)?;
    let queues = set.split().pop().ok_or("the port has no queues")?;
    let mut ports = DpdkPorts::attach(queues)?;

    let frames: Vec<Vec<u8>> = (0..FLOWS).map(|flow| frames::udp(DUT_MAC, flow)).collect();
    let mut source = Source { frames, next: 0, returned: 0 };
    let deadline = Instant::now() + PATIENCE;
    while source.returned == 0 {
        source.turn(&mut ports);
        if Instant::now() > deadline {
            return Err("no frame came back".into());
        }
    }
    source.run_for(&mut ports, SETTLE);
    let (before, start) = (source.returned, Instant::now());
    source.run_for(&mut ports, window);
    println!("{}", (source.returned - before) as f64 / start.elapsed().as_secs_f64());
    Ok(())
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
