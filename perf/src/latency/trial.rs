//! The generator: client and server in one, on one port. It sends frames at a steady rate and
//! measures when each is back.
//!
//! A frame's latency counts from when it was due, not from when it was sent: whatever keeps the
//! generator from sending in time, a full ring first of all, is in the figures of every frame that
//! had to wait. Nothing is left out because something before it was late.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dataplane::frame::Frame;
use engine::port::dpdk::DpdkPorts;
use engine::port::{Burst, Ports};
use serde::{Deserialize, Serialize};

use super::stamp::{self, Frames, Stamp};
use crate::port::with_port;
use crate::sample::histogram;

/// How long frames may stay out after the last one was due.
const DRAIN: Duration = Duration::from_millis(50);
/// How late the last one may be in a trial that kept pace.
const LATE: Duration = Duration::from_millis(2);
/// How long the first frame may take: the other end has to come up.
const PATIENCE: Duration = Duration::from_secs(20);
/// Length of a trial in a search; a rate that passes must hold in samples of some seconds, too.
const SEARCH: Duration = Duration::from_secs(1);
/// Trials that a rate may take to pass: other programs on the machine disturb now and then.
const TRIES: u32 = 2;
/// Halvings of the range in a search.
const STEPS: u32 = 5;

/// One trial's outcome.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Outcome {
    /// Frames that were due.
    pub(super) due: u64,
    /// Those that came back in time.
    pub(super) back: u64,
    /// Latencies in ns, and how often each was seen, by the histogram's steps.
    pub(super) latencies: Vec<(u64, u64)>,
    /// From the beginning until the last frame was back.
    elapsed_ns: u64,
}

/// What a search finds, in frames a second.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Found {
    /// The highest rate without losses; where there was none, the lowest that was tried.
    pub(super) highest: f64,
    has_losses: bool,
    /// The highest rate of all.
    most: f64,
}

impl Found {
    /// What is to be said when other programs keep the cores busy.
    pub(super) fn note(&self) -> Option<String> {
        let (highest, most) = (self.highest / 1e6, self.most / 1e6);
        if self.has_losses {
            Some(format!("busy machine: frames are lost at {highest:.3} Mpps already"))
        } else if highest < most / 2.0 {
            Some(format!("busy machine: only {highest:.2} of {most:.2} Mpps without losses"))
        } else {
            None
        }
    }
}

/// What the generator's process is to do.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Find the highest rate without losses, and the highest with; prints [`Found`].
    Search,
    /// Trials of these rates in frames a second, of so many seconds; prints an [`Outcome`] a line.
    Rates(Vec<f64>, f64),
}

/// Does the task on one port.
pub(super) fn perform(device: &str, task: &Task) -> Result<()> {
    with_port(device, |ports| {
        let mut generator = Generator { ports, frames: Frames::new(), trial: 0 };
        generator.wait_for_first()?;
        match task {
            Task::Search => {
                println!("{}", serde_json::to_string(&generator.search()?)?);
            }
            Task::Rates(rates, seconds) => {
                let time = Duration::from_secs_f64(*seconds);
                for &rate in rates {
                    // The first moments of a rate are not measured.
                    generator.trial(rate, Duration::from_millis(100))?;
                    let outcome = generator.trial(rate, time)?;
                    println!("{}", serde_json::to_string(&outcome)?);
                }
            }
        }
        Ok(())
    })
}

struct Generator<'a, 'set> {
    ports: &'a mut DpdkPorts<'set>,
    frames: Frames,
    trial: u16,
}

impl Generator<'_, '_> {
    fn wait_for_first(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.trial(1000.0, Duration::from_millis(20))?.back == 0 {
            ensure!(Instant::now() < deadline, "no frame came back");
        }
        Ok(())
    }

    /// The highest rate at which every frame is back in time, and the highest of all.
    fn search(&mut self) -> Result<Found> {
        // More than any port takes: what comes back is the most that the two of them do.
        let flood = self.trial(1e8, SEARCH)?;
        let most = (flood.back as f64 * 1e9 / flood.elapsed_ns.max(1) as f64).max(1000.0);
        let (mut good, mut bad) = (0.0, most * 1.1);
        for _ in 0..STEPS {
            let rate = f64::midpoint(good, bad);
            if self.passes(rate)? { good = rate } else { bad = rate }
        }
        let has_losses = good == 0.0;
        Ok(Found { highest: if has_losses { bad } else { good }, has_losses, most })
    }

    fn passes(&mut self, rate: f64) -> Result<bool> {
        for _ in 0..TRIES {
            let outcome = self.trial(rate, SEARCH)?;
            let limit = (SEARCH + LATE).as_nanos() as u64;
            if outcome.back == outcome.due && outcome.elapsed_ns < limit {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends at `rate` frames a second for a while, and waits for those that are out.
    fn trial(&mut self, rate: f64, time: Duration) -> Result<Outcome> {
        self.trial = self.trial.wrapping_add(1);
        let port = self.ports.ids()[0];
        let gap_ns = 1e9 / rate;
        let due = (rate * time.as_secs_f64()) as u64;
        let end_ns = (time + DRAIN).as_nanos() as u64;
        let mut latencies = histogram();
        let (mut sent, mut back, mut last_ns) = (0, 0, 0);
        let mut burst = Burst::new();
        let start = Instant::now();
        loop {
            let now_ns = start.elapsed().as_nanos() as u64;
            if back == due || now_ns > end_ns {
                break;
            }
            let ready = ((now_ns as f64 / gap_ns) as u64 + 1).min(due);
            for sequence in (sent..ready).take(burst.capacity()) {
                let Some(mut frame) = self.ports.allocate(Frames::LENGTH) else { break };
                let due_ns = (sequence as f64 * gap_ns) as u64;
                self.frames.write(Stamp { trial: self.trial, sequence, due_ns }, frame.bytes_mut());
                burst.push(frame);
            }
            if !burst.is_empty() {
                let made = burst.len();
                self.ports.transmit(port, &mut burst);
                sent += (made - burst.len()) as u64;
                // Those that the port did not take are made again, as late as they are.
                self.ports.release(&mut burst);
            }
            self.ports.receive(port, &mut burst);
            if !burst.is_empty() {
                last_ns = start.elapsed().as_nanos() as u64;
                for frame in &burst {
                    let Some(stamp) = stamp::read(frame.bytes()) else { continue };
                    if stamp.trial == self.trial {
                        latencies.saturating_record(last_ns.saturating_sub(stamp.due_ns).max(1));
                        back += 1;
                    }
                }
                self.ports.release(&mut burst);
            }
        }
        let latencies = latencies
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect();
        Ok(Outcome { due, back, latencies, elapsed_ns: last_ns })
    }
}
