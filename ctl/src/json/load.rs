//! Ports and workers.

use dataplane::address::Prefix;
use serde::Serialize;

use crate::load::{self, PortRow, WorkerRow};

/// `ports`.
#[derive(Serialize)]
pub(super) struct Ports<'a> {
    schema: &'static str,
    ports: Vec<Port<'a>>,
}

#[derive(Serialize)]
struct Port<'a> {
    number: u16,
    name: &'a str,
    kind: &'a str,
    driver: &'a str,
    mac: String,
    addresses: Vec<Address>,
    mtu: u16,
    receive_queues: u16,
    transmit_queues: u16,
    link_up: bool,
    link_speed_mbps: Option<u32>,
    link_full_duplex: Option<bool>,
    total: PortCounts,
    per_second: PortCounts,
}

#[derive(Serialize)]
struct Address {
    network: String,
    vlan: Option<u16>,
}

#[derive(Serialize)]
struct PortCounts {
    frames_in: u64,
    bytes_in: u64,
    frames_out: u64,
    bytes_out: u64,
    missed: u64,
    receive_errors: u64,
    no_buffer: u64,
    transmit_errors: u64,
    queue_full: u64,
}

impl<'a> Ports<'a> {
    pub(super) fn new(rows: &'a [PortRow]) -> Self {
        Self { schema: "pollvs/ports/1", ports: rows.iter().map(Port::new).collect() }
    }
}

impl<'a> Port<'a> {
    fn new(row: &'a PortRow) -> Self {
        let address = |(vlan, network): &(Option<u16>, Prefix)| Address {
            network: network.to_string(),
            vlan: *vlan,
        };
        Self {
            number: row.number,
            name: &row.name,
            kind: &row.kind,
            driver: &row.driver,
            mac: row.mac.to_string(),
            addresses: row.addresses.iter().map(address).collect(),
            mtu: row.mtu,
            receive_queues: row.receive_queues,
            transmit_queues: row.transmit_queues,
            link_up: row.link.is_up,
            link_speed_mbps: row.link.speed_mbps,
            link_full_duplex: row.link.full_duplex,
            total: PortCounts::new(row.total),
            per_second: PortCounts::new(row.per_second),
        }
    }
}

impl PortCounts {
    fn new(counts: load::PortCounts) -> Self {
        Self {
            frames_in: counts.frames_in,
            bytes_in: counts.bytes_in,
            frames_out: counts.frames_out,
            bytes_out: counts.bytes_out,
            missed: counts.missed,
            receive_errors: counts.receive_errors,
            no_buffer: counts.no_buffer,
            transmit_errors: counts.transmit_errors,
            queue_full: counts.queue_full,
        }
    }
}

/// `workers`.
#[derive(Serialize)]
pub(super) struct Workers {
    schema: &'static str,
    tsc_hz: Option<u64>,
    workers: Vec<Worker>,
}

#[derive(Serialize)]
struct Worker {
    number: u16,
    core: usize,
    connections: u64,
    total: WorkerCounts,
    per_second: WorkerCounts,
    ring_depth: u64,
    queue_depth: Option<u64>,
}

#[derive(Serialize)]
struct WorkerCounts {
    polls: u64,
    busy_polls: u64,
    bursts: u64,
    frames: u64,
    transmitted: u64,
    handed_over: u64,
    busy_ns: u64,
    run_ns: u64,
    busy_share: Option<f64>,
    frames_per_burst: Option<f64>,
    ns_per_frame: Option<f64>,
    cycles_per_frame: Option<f64>,
}

impl Workers {
    pub(super) fn new(workers: &load::Workers) -> Self {
        let tsc_hz = workers.tsc_hz;
        let worker = |row: &WorkerRow| Worker {
            number: row.number,
            core: row.core,
            connections: row.connections,
            total: WorkerCounts::new(row.total, tsc_hz),
            per_second: WorkerCounts::new(row.per_second, tsc_hz),
            ring_depth: row.ring_depth,
            queue_depth: row.queue_depth,
        };
        let rows = workers.rows.iter().map(worker).collect();
        Self { schema: "pollvs/workers/1", tsc_hz, workers: rows }
    }
}

impl WorkerCounts {
    fn new(counts: load::WorkerCounts, tsc_hz: Option<u64>) -> Self {
        Self {
            polls: counts.polls,
            busy_polls: counts.busy_polls,
            bursts: counts.bursts,
            frames: counts.frames,
            transmitted: counts.transmitted,
            handed_over: counts.handed_over,
            busy_ns: counts.busy_ns,
            run_ns: counts.run_ns,
            busy_share: rounded(counts.busy_share()),
            frames_per_burst: rounded(counts.frames_per_burst()),
            ns_per_frame: rounded(counts.ns_per_frame()),
            cycles_per_frame: rounded(counts.cycles_per_frame(tsc_hz)),
        }
    }
}

/// Three decimals: more would be noise.
fn rounded(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1000.0).round() / 1000.0)
}
