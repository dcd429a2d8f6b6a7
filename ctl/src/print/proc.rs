//! The kernel's files under `/proc/net`, to the byte as Linux 6.1 writes them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use dataplane::estimator::Rates;
use dataplane::service::{ClientMask, ServiceKey, ServiceSpec, Traffic};

use super::{IPVS_VERSION, add, services};
use crate::backend::{ConnectionRow, Table, Totals};

/// Clock ticks of a second, in which the kernel writes persistence timeouts.
const HZ: u64 = 100;

/// `ip_vs`: services and their servers.
#[must_use]
pub fn ip_vs(table: &Table) -> String {
    let mut out = String::new();
    add!(out, "IP Virtual Server version {IPVS_VERSION} (size={})\n", table.size_buckets);
    out.push_str("Prot LocalAddress:Port Scheduler Flags\n");
    out.push_str("  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n");
    for row in &table.services {
        service(&mut out, &row.spec);
        for server in &row.servers {
            let method = services::method(server.spec.method);
            let end = end(server.spec.address, server.spec.port);
            let (weight, active, inactive) = (server.spec.weight, server.active, server.inactive);
            add!(out, "  -> {end}      {method:<7} {weight:<6} {active:<10} {inactive:<10}\n");
        }
    }
    out
}

fn service(out: &mut String, spec: &ServiceSpec) {
    let scheduler = &spec.scheduler;
    let one_packet = if spec.one_packet { "ops " } else { "" };
    match spec.key {
        ServiceKey::Address { protocol, address, port } => {
            let (name, end) = (protocol.name(), end(address, port));
            // As the kernel has it: one-packet scheduling is said of IPv4 services only.
            let rest = if address.is_ipv4() { format!("{one_packet} ") } else { String::new() };
            add!(out, "{name}  {end} {scheduler} {rest}");
        }
        ServiceKey::Mark { mark, .. } => {
            add!(out, "FWM  {mark:08X} {scheduler} {one_packet}");
        }
    }
    if let Some(seconds) = spec.persistence_s {
        let mask = match spec.client_mask {
            ClientMask::V4(mask) => mask,
            ClientMask::V6(length) => u32::from(length).swap_bytes(),
        };
        add!(out, "persistent {} {mask:08X}", u64::from(seconds) * HZ);
    }
    out.push('\n');
}

fn end(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(_) => format!("{}:{port:04X}", bare(address)),
        IpAddr::V6(_) => format!("[{}]:{port:04X}", bare(address)),
    }
}

/// Hexadecimal digits; an IPv6 address with all of its zeros.
fn bare(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", u32::from(address)),
        IpAddr::V6(address) => long(address),
    }
}

fn long(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:04x}")).join(":")
}

/// `ip_vs_stats`: the traffic of everything.
#[must_use]
pub fn ip_vs_stats(totals: &Totals) -> String {
    let mut out = String::from(
        "   Total Incoming Outgoing         Incoming         Outgoing\n   \
         Conns  Packets  Packets            Bytes            Bytes\n",
    );
    counts(&mut out, &totals.traffic);
    out.push_str("\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n");
    rates(&mut out, &totals.rates);
    out
}

/// `ip_vs_stats_percpu`: the same by worker.
#[must_use]
pub fn ip_vs_stats_percpu(totals: &Totals) -> String {
    let mut out = String::from(
        "       Total Incoming Outgoing         Incoming         Outgoing\n\
         CPU    Conns  Packets  Packets            Bytes            Bytes\n",
    );
    for (worker, traffic) in totals.workers.iter().enumerate() {
        add!(out, "{worker:3X} ");
        counts(&mut out, traffic);
    }
    out.push_str("  ~ ");
    counts(&mut out, &totals.traffic);
    out.push_str("\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n    ");
    rates(&mut out, &totals.rates);
    out
}

fn counts(out: &mut String, traffic: &Traffic) {
    let Traffic { connections, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    add!(out, "{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n");
}

fn rates(out: &mut String, rates: &Rates) {
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = rates;
    add!(out, "{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n");
}

/// `ip_vs_conn`: connections and templates.
#[must_use]
pub fn ip_vs_conn(rows: &[ConnectionRow]) -> String {
    let mut out = String::from(
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    );
    for row in rows {
        connection(&mut out, row);
        add!(out, " {:7}", row.expires_s);
        if let Some(engine) = &row.engine {
            add!(out, " {} {}", engine.name, engine.data);
        }
        out.push('\n');
    }
    out
}

/// `ip_vs_conn_sync`: the same with their origin, which is here or another director.
#[must_use]
pub fn ip_vs_conn_sync(rows: &[ConnectionRow]) -> String {
    let mut out =
        String::from("Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n");
    for row in rows {
        connection(&mut out, row);
        let origin = if row.is_synced { "SYNC" } else { "LOCAL" };
        add!(out, " {origin:<6} {:7}\n", row.expires_s);
    }
    out
}

fn connection(out: &mut String, row: &ConnectionRow) {
    add!(out, "{:<3}", row.protocol);
    for end in [row.client, row.virtual_end, row.real] {
        end_words(out, end);
    }
    add!(out, " {:<11}", row.state);
}

fn end_words(out: &mut String, end: SocketAddr) {
    add!(out, " {} {:04X}", bare(end.ip()), end.port());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::EngineData;

    #[test]
    fn rows_of_engines_and_large_numbers_are_as_long_as_they_need() {
        let row = ConnectionRow {
            protocol: "UDP",
            client: "[2001:db8::7]:5060".parse().expect("an end"),
            virtual_end: "[2001:db8::1]:5060".parse().expect("an end"),
            real: "[2001:db8:1::1]:5060".parse().expect("an end"),
            state: "UDP".into(),
            expires_s: 300,
            is_synced: false,
            engine: Some(EngineData { name: "sip".into(), data: "id".into() }),
        };
        let text = ip_vs_conn(std::slice::from_ref(&row));
        let line = text.lines().nth(1).expect("a row");
        assert!(line.ends_with("13C4 UDP             300 sip id"), "{line}");
        let sync = ip_vs_conn_sync(&[row]);
        assert!(sync.ends_with("13C4 UDP         LOCAL      300\n"), "{sync}");
        let traffic = Traffic { in_packets: 1 << 40, ..Traffic::default() };
        let text = ip_vs_stats(&Totals { traffic, ..Totals::default() });
        assert!(text.contains("       0 10000000000        0 "), "{text}");
    }
}
