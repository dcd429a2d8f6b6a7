//! Virtual services and their servers.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServiceKey, Traffic, TunnelChecksum, TunnelKind,
};
use serde::Serialize;

use crate::backend::{Rates, ServerRow, ServiceRow, Table};
use crate::print::order;

/// `-L`.
#[derive(Serialize)]
pub(super) struct Services<'a> {
    schema: &'static str,
    connection_table_size: u64,
    services: Vec<Service<'a>>,
}

impl<'a> Services<'a> {
    pub(super) fn new(table: &'a Table, sorted: bool) -> Self {
        let mut rows: Vec<&ServiceRow> = table.services.iter().collect();
        if sorted {
            rows = order::merge_sort(rows, &|a, b| order::services(&a.spec.key, &b.spec.key));
        }
        Self {
            schema: "pollvs/services/1",
            connection_table_size: table.size_buckets,
            services: rows.into_iter().map(|row| Service::new(row, sorted)).collect(),
        }
    }
}

/// `-L` of one service.
#[derive(Serialize)]
pub(super) struct OneService<'a> {
    schema: &'static str,
    service: Service<'a>,
}

impl<'a> OneService<'a> {
    pub(super) fn new(row: &'a ServiceRow, sorted: bool) -> Self {
        Self { schema: "pollvs/service/1", service: Service::new(row, sorted) }
    }
}

#[derive(Serialize)]
struct Service<'a> {
    family: &'static str,
    protocol: Option<&'static str>,
    address: Option<IpAddr>,
    port: Option<u16>,
    fwmark: Option<u32>,
    scheduler: &'a str,
    scheduler_flags: Vec<&'static str>,
    one_packet: bool,
    persistence_s: Option<u32>,
    persistence_engine: Option<&'a str>,
    client_netmask: Option<Ipv4Addr>,
    client_prefix_length: Option<u8>,
    traffic: TrafficCounts,
    rates: TrafficRates,
    servers: Vec<Server>,
}

impl<'a> Service<'a> {
    fn new(row: &'a ServiceRow, sorted: bool) -> Self {
        let spec = &row.spec;
        let mut servers: Vec<&ServerRow> = row.servers.iter().collect();
        if sorted {
            servers = order::merge_sort(servers, &|a, b| order::servers(a, b));
        }
        let (protocol, address, port, fwmark) = match spec.key {
            ServiceKey::Address { protocol, address, port } => {
                (Some(self::protocol(protocol)), Some(address), Some(port), None)
            }
            ServiceKey::Mark { mark, .. } => (None, None, None, Some(mark)),
        };
        let (client_netmask, client_prefix_length) = match spec.client_mask {
            ClientMask::V4(mask) => (Some(mask.into()), None),
            ClientMask::V6(length) => (None, Some(length)),
        };
        Self {
            family: match spec.key.family() {
                Family::V4 => "ipv4",
                Family::V6 => "ipv6",
            },
            protocol,
            address,
            port,
            fwmark,
            scheduler: &spec.scheduler,
            scheduler_flags: flags(&spec.scheduler, spec.scheduler_flags),
            one_packet: spec.one_packet,
            persistence_s: spec.persistence_s,
            persistence_engine: spec.persistence_engine.as_deref(),
            client_netmask,
            client_prefix_length,
            traffic: TrafficCounts::new(row.traffic),
            rates: TrafficRates::new(row.rates),
            servers: servers.into_iter().map(Server::new).collect(),
        }
    }
}

/// The word for a protocol.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// The scheduler's flags, by the words that `-b` takes.
fn flags(scheduler: &str, bits: u32) -> Vec<&'static str> {
    let names = match scheduler {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = [0x08, 0x10, 0x20].into_iter().zip(names).filter(|(bit, _)| bits & bit != 0);
    set.map(|(_, name)| name).collect()
}

#[derive(Serialize)]
struct Server {
    address: IpAddr,
    port: u16,
    method: &'static str,
    tunnel: Option<Tunnel>,
    weight: i64,
    upper_threshold: u32,
    lower_threshold: u32,
    active_connections: u32,
    inactive_connections: u32,
    persistent_connections: u32,
    traffic: TrafficCounts,
    rates: TrafficRates,
}

impl Server {
    fn new(row: &ServerRow) -> Self {
        let spec = &row.spec;
        Self {
            address: spec.address,
            port: spec.port,
            method: method(spec.method),
            tunnel: (spec.method == Method::Tunnel).then(|| Tunnel {
                kind: match spec.tunnel.kind {
                    TunnelKind::Ipip => "ipip",
                    TunnelKind::Gue => "gue",
                    TunnelKind::Gre => "gre",
                },
                port: (spec.tunnel.kind == TunnelKind::Gue).then_some(spec.tunnel.port),
                checksum: match spec.tunnel.checksum {
                    TunnelChecksum::None => "none",
                    TunnelChecksum::Full => "full",
                    TunnelChecksum::Remote => "remote",
                },
            }),
            weight: spec.weight,
            upper_threshold: spec.upper_threshold,
            lower_threshold: spec.lower_threshold,
            active_connections: row.active,
            inactive_connections: row.inactive,
            persistent_connections: row.persistent,
            traffic: TrafficCounts::new(row.traffic),
            rates: TrafficRates::new(row.rates),
        }
    }
}

#[derive(Serialize)]
struct Tunnel {
    #[serde(rename = "type")]
    kind: &'static str,
    port: Option<u16>,
    checksum: &'static str,
}

#[derive(Serialize)]
struct TrafficCounts {
    connections: u64,
    in_packets: u64,
    out_packets: u64,
    in_bytes: u64,
    out_bytes: u64,
}

impl TrafficCounts {
    fn new(traffic: Traffic) -> Self {
        let Traffic { connections, in_packets, out_packets, in_bytes, out_bytes } = traffic;
        Self { connections, in_packets, out_packets, in_bytes, out_bytes }
    }
}

#[derive(Serialize)]
struct TrafficRates {
    connections_per_s: u64,
    in_packets_per_s: u64,
    out_packets_per_s: u64,
    in_bytes_per_s: u64,
    out_bytes_per_s: u64,
}

impl TrafficRates {
    fn new(rates: Rates) -> Self {
        Self {
            connections_per_s: rates.connections,
            in_packets_per_s: rates.in_packets,
            out_packets_per_s: rates.out_packets,
            in_bytes_per_s: rates.in_bytes,
            out_bytes_per_s: rates.out_bytes,
        }
    }
}

pub(super) fn method(method: Method) -> &'static str {
    match method {
        Method::Nat => "nat",
        Method::Tunnel => "tunnel",
        Method::Direct => "direct",
    }
}
