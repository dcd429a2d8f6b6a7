//! What becomes of packets: `explain` and `trace`.

use std::net::IpAddr;

use dataplane::explain::{Outcome, Question, Step};
use dataplane::packet::protocol;
use dataplane::trace::{End, Sight};
use dataplane::verdict::DropReason;
use serde::Serialize;

use super::services;
use crate::explain::{Explanation, text};
use crate::trace::Packet;

/// `explain`.
#[derive(Serialize)]
pub(super) struct Explained {
    schema: &'static str,
    protocol: &'static str,
    client: Host,
    outcome: &'static str,
    server: Option<Server>,
    drop_reason: Option<&'static str>,
    steps: Vec<OneStep>,
}

#[derive(Serialize)]
struct Host {
    address: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct Server {
    address: IpAddr,
    port: u16,
    method: &'static str,
    weight: u32,
    active_connections: u32,
    inactive_connections: u32,
}

#[derive(Serialize)]
struct OneStep {
    name: &'static str,
    text: String,
}

impl Explained {
    pub(super) fn new(question: &Question, explanation: &Explanation) -> Self {
        let drop_reason = dropped(&explanation.steps);
        let outcome = match explanation.outcome {
            _ if drop_reason.is_some() => "dropped",
            Outcome::Server(_) => "server",
            Outcome::Client(_) => "client",
            Outcome::Dropped(_) => "dropped",
            Outcome::Ordinary | Outcome::Elsewhere(_) => "ordinary",
        };
        Self {
            schema: "pollvs/explain/1",
            protocol: services::protocol(question.protocol),
            client: host(question.client),
            outcome,
            server: server(&explanation.steps),
            drop_reason,
            steps: steps(&explanation.steps, explanation.scheduler.as_deref()),
        }
    }
}

/// A packet of `trace`.
#[derive(Serialize)]
pub(super) struct Traced {
    schema: &'static str,
    number: u64,
    at_ms: u64,
    worker: u16,
    came: Seen,
    server: Option<Server>,
    steps: Vec<OneStep>,
    state: Option<&'static str>,
    ends_in_s: Option<u32>,
    end: &'static str,
    to_worker: Option<u16>,
    drop_reason: Option<&'static str>,
    sent: Option<Seen>,
}

#[derive(Serialize)]
struct Seen {
    port: u16,
    source_mac: String,
    destination_mac: String,
    tunnel_source: Option<IpAddr>,
    tunnel_destination: Option<IpAddr>,
    protocol: u8,
    source: Host,
    destination: Host,
    tcp_flags: Option<String>,
    ttl: u8,
    length: u16,
}

impl Traced {
    pub(super) fn new(packet: &Packet) -> Self {
        let record = &packet.record;
        let (end, to_worker, reason, sent) = match record.end {
            End::Sent(sight) => ("sent", None, None, Some(sight)),
            End::Held(sight) => ("held", None, None, Some(sight)),
            End::Answered(reason, sight) => ("answered", None, Some(reason), Some(sight)),
            End::HandedTo(worker) => ("handed over", Some(worker.0), None, None),
            End::Consumed => ("consumed", None, None, None),
            End::Dropped(reason) => ("dropped", None, Some(reason), None),
        };
        Self {
            schema: "pollvs/trace/1",
            number: packet.number,
            at_ms: packet.at_ms,
            worker: record.worker.0,
            came: seen(&record.came),
            server: server(&record.steps),
            steps: steps(&record.steps, packet.scheduler.as_deref()),
            state: record.after.map(|(state, _)| state.name()),
            ends_in_s: record.after.map(|(_, seconds)| seconds),
            end,
            to_worker,
            drop_reason: reason.map(DropReason::name),
            sent: sent.as_ref().map(seen),
        }
    }
}

fn seen(sight: &Sight) -> Seen {
    Seen {
        port: sight.port.0,
        source_mac: sight.from.to_string(),
        destination_mac: sight.to.to_string(),
        tunnel_source: sight.outer.map(|(source, _)| source),
        tunnel_destination: sight.outer.map(|(_, destination)| destination),
        protocol: sight.protocol,
        source: host(sight.source),
        destination: host(sight.destination),
        tcp_flags: (sight.protocol == protocol::TCP)
            .then(|| crate::trace::text::tcp_flags(sight.tcp_flags)),
        ttl: sight.ttl,
        length: sight.length,
    }
}

fn host((address, port): (IpAddr, u16)) -> Host {
    Host { address, port }
}

fn steps(steps: &[Step], scheduler: Option<&str>) -> Vec<OneStep> {
    let one = |step: &Step| {
        let (name, text) = text::step(step, scheduler);
        OneStep { name, text }
    };
    steps.iter().map(one).collect()
}

fn dropped(steps: &[Step]) -> Option<&'static str> {
    steps.iter().find_map(|step| match step {
        Step::Dropped(reason) => Some(reason.name()),
        _ => None,
    })
}

fn server(steps: &[Step]) -> Option<Server> {
    steps.iter().find_map(|step| match *step {
        Step::Server { real: (address, port), method, weight, active, inactive } => Some(Server {
            address,
            port,
            method: services::method(method),
            weight,
            active_connections: active,
            inactive_connections: inactive,
        }),
        _ => None,
    })
}
