//! What control sees of workers and ports, and how much of it happened in the last second.

use std::sync::Arc;
use std::time::Instant;

use ctl::backend::PortLosses;
use ctl::load::{PortCounts, PortRow, WorkerCounts, WorkerRow, Workers};
use dataplane::counters::Counters;

use crate::load::{Load, UNKNOWN};
use crate::port::ReadPorts;

/// What shows the state of workers and ports. Lists of ports are empty once these are closed.
pub struct Gauges {
    loads: Vec<Arc<Load>>,
    cores: Vec<usize>,
    tsc_hz: Option<u64>,
    /// What does not change about the ports.
    ports: Vec<PortRow>,
    reader: Box<dyn ReadPorts>,
    /// At the last look, and how much was added in the second before.
    before: Sample,
    per_second: Sample,
}

/// All counts of a moment.
struct Sample {
    at: Instant,
    ports: Vec<PortCounts>,
    workers: Vec<WorkerCounts>,
}

impl Gauges {
    /// Watches workers, which run on `cores`, and ports; of these everything is given but links and
    /// counts.
    #[must_use]
    pub fn new(
        loads: Vec<Arc<Load>>,
        cores: Vec<usize>,
        tsc_hz: Option<u64>,
        ports: Vec<PortRow>,
        reader: Box<dyn ReadPorts>,
    ) -> Self {
        let nothing = || Sample {
            at: Instant::now(),
            ports: vec![PortCounts::default(); ports.len()],
            workers: vec![WorkerCounts::default(); loads.len()],
        };
        let (before, per_second) = (nothing(), nothing());
        Self { loads, cores, tsc_hz, ports, reader, before, per_second }
    }

    /// A second is over.
    pub(super) fn look(&mut self, counters: &[Arc<Counters>]) {
        let now = Sample {
            at: Instant::now(),
            ports: self.port_counts(),
            workers: self.worker_counts(counters),
        };
        let before = &self.before;
        let passed = now.at.duration_since(before.at).as_nanos() as u64;
        let ports = now.ports.iter().zip(&before.ports);
        let workers = now.workers.iter().zip(&before.workers);
        self.per_second = Sample {
            at: now.at,
            ports: ports.map(|(now, before)| now.per_second(before, passed)).collect(),
            workers: workers.map(|(now, before)| now.per_second(before, passed)).collect(),
        };
        self.before = now;
    }

    /// Every port.
    pub(super) fn ports(&self) -> Vec<PortRow> {
        let live = self.reader.links().into_iter().zip(self.port_counts());
        let rows = self.ports.iter().zip(live).zip(&self.per_second.ports);
        rows.map(|((row, (link, total)), &per_second)| PortRow {
            link,
            total,
            per_second,
            ..row.clone()
        })
        .collect()
    }

    /// What ports lost by themselves.
    pub(super) fn losses(&self) -> Vec<PortLosses> {
        let losses = |(row, counts): (&PortRow, PortCounts)| PortLosses {
            name: row.name.clone(),
            missed: counts.missed,
            receive_errors: counts.receive_errors,
            no_buffer: counts.no_buffer,
            transmit_errors: counts.transmit_errors,
        };
        self.ports.iter().zip(self.reader.counts()).map(losses).collect()
    }

    /// Every worker.
    pub(super) fn workers(&self, counters: &[Arc<Counters>]) -> Workers {
        let totals = self.worker_counts(counters).into_iter().zip(&self.per_second.workers);
        let rows = self.loads.iter().zip(&self.cores).zip(totals).zip(0..);
        let row = |(((load, &core), (total, &per_second)), number): (((&Arc<Load>, _), _), _)| {
            WorkerRow {
                number,
                core,
                connections: load.connections.get(),
                total,
                per_second,
                ring_depth: load.ring_depth.get(),
                queue_depth: Some(load.queue_depth.get()).filter(|&depth| depth != UNKNOWN),
            }
        };
        Workers { tsc_hz: self.tsc_hz, rows: rows.map(row).collect() }
    }

    fn port_counts(&self) -> Vec<PortCounts> {
        let mut all = self.reader.counts();
        for (place, counts) in all.iter_mut().enumerate() {
            let full = self.loads.iter().filter_map(|load| load.queue_full.get(place));
            counts.queue_full = full.map(dataplane::counters::Counter::get).sum();
        }
        all
    }

    fn worker_counts(&self, counters: &[Arc<Counters>]) -> Vec<WorkerCounts> {
        let counts = |(load, counters): (&Arc<Load>, &Arc<Counters>)| WorkerCounts {
            polls: load.polls.get(),
            busy_polls: load.busy_polls.get(),
            bursts: load.bursts.get(),
            frames: counters.received.get(),
            transmitted: counters.transmitted.get(),
            handed_over: counters.handed_over.get(),
            busy_ns: load.busy_ns.get(),
            run_ns: load.run_ns.get(),
        };
        self.loads.iter().zip(counters).map(counts).collect()
    }
}
