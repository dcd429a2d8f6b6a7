//! Lists of services and their servers.

use std::fmt::Write;

use dataplane::service::{ClientMask, Family, Method, ServerSpec, ServiceKey, ServiceSpec};
use dataplane::service::{Protocol, TunnelKind};

use super::{add, order, text};
use crate::backend::{ServerRow, ServiceRow};
use crate::command::{Format, ListOptions};
use crate::names::Names;

/// Longest name part of an IPv4 service's line; the rest of a longer one is not printed.
const SERVICE_NAME: usize = 33;
/// Longest address of an IPv4 server's line.
const SERVER_NAME: usize = 28;

/// The two title lines.
pub(crate) fn titles(out: &mut String, format: Format) {
    let local = "Prot LocalAddress:Port";
    let columns = |out: &mut String, titles: [&str; 5]| {
        add!(out, "{local:<33}");
        for title in titles {
            add!(out, " {title:>8}");
        }
    };
    let remote = "  -> RemoteAddress:Port";
    match format {
        Format::Plain | Format::TunInfo => {
            let tunnel = if format == Format::TunInfo { "TunnelInfo    " } else { "" };
            add!(out, "{local} Scheduler Flags\n");
            add!(out, "{remote:<33} Forward {tunnel}Weight ActiveConn InActConn\n");
            return;
        }
        Format::Stats => columns(out, ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
        Format::Rate => columns(out, ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
        Format::Thresholds => {
            add!(out, "{local:<33} Uthreshold Lthreshold ActiveConn InActConn ");
        }
        Format::PersistentConn => {
            add!(out, "{local:<33} Weight    PersistConn ActiveConn InActConn ");
        }
    }
    add!(out, "\n{remote}\n");
}

/// One service with its servers.
pub(crate) fn service(
    out: &mut String,
    row: &ServiceRow,
    options: &ListOptions,
    names: &dyn Names,
) {
    service_line(out, row, options, names);
    let mut servers: Vec<&ServerRow> = row.servers.iter().collect();
    if options.sorted {
        servers = order::merge_sort(servers, &|a, b| order::servers(a, b));
    }
    let protocol = port_protocol(&row.spec.key);
    for server in servers {
        server_line(out, server, protocol, options, names);
    }
}

/// The protocol whose port names the servers of a service use: a firewall mark's have none.
pub(crate) fn port_protocol(key: &ServiceKey) -> Option<Protocol> {
    match *key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Mark { .. } => None,
    }
}

fn service_line(out: &mut String, row: &ServiceRow, options: &ListOptions, names: &dyn Names) {
    let name = match row.spec.key {
        ServiceKey::Address { protocol, address, port } => {
            let endpoint = text::endpoint(address, port, Some(protocol), names);
            let mut name = format!("{:<4} {endpoint}", protocol.name());
            if address.is_ipv4() {
                cut(&mut name, SERVICE_NAME);
            }
            name
        }
        ServiceKey::Mark { family, mark } => {
            let suffix = if family == Family::V6 { " IPv6" } else { "" };
            // Signed, as in the real tool.
            format!("FWM  {}{suffix}", mark as i32)
        }
    };
    let counts = match options.format {
        Format::Stats => {
            let t = &row.traffic;
            [t.connections, t.in_packets, t.out_packets, t.in_bytes, t.out_bytes]
        }
        Format::Rate => {
            let r = &row.rates;
            [r.connections, r.in_packets, r.out_packets, r.in_bytes, r.out_bytes]
        }
        _ => {
            out.push_str(&name);
            attributes(out, &row.spec);
            out.push('\n');
            return;
        }
    };
    add!(out, "{name:<33}");
    for value in counts {
        out.push_str(&text::count(value, options.exact));
    }
    out.push('\n');
}

/// Scheduler, flags and persistence of a service.
fn attributes(out: &mut String, spec: &ServiceSpec) {
    add!(out, " {}", spec.scheduler);
    if let Some(flags) = text::scheduler_flags(spec) {
        add!(out, " ({flags})");
    }
    if let Some(seconds) = spec.persistence_s {
        add!(out, " persistent {seconds}");
        if let Some(mask) = mask(spec.client_mask) {
            add!(out, " mask {mask}");
        }
        if let Some(engine) = &spec.persistence_engine {
            add!(out, " pe {engine}");
        }
    }
    if spec.one_packet {
        out.push_str(" ops");
    }
}

/// A mask that does not keep every client apart.
pub(crate) fn mask(mask: ClientMask) -> Option<String> {
    match mask {
        ClientMask::V4(u32::MAX) | ClientMask::V6(128) => None,
        ClientMask::V4(mask) => Some(std::net::Ipv4Addr::from(mask).to_string()),
        ClientMask::V6(length) => Some(length.to_string()),
    }
}

fn server_line(
    out: &mut String,
    row: &ServerRow,
    protocol: Option<Protocol>,
    options: &ListOptions,
    names: &dyn Names,
) {
    let spec = &row.spec;
    let mut name = text::endpoint(spec.address, spec.port, protocol, names);
    if spec.address.is_ipv4() {
        cut(&mut name, SERVER_NAME);
    }
    add!(out, "  -> {name:<28}");
    let (weight, active, inactive) = (spec.weight, row.active, row.inactive);
    match options.format {
        Format::Plain => {
            let method = method(spec.method);
            add!(out, " {method:<7} {weight:<6} {active:<10} {inactive:<10}");
        }
        Format::TunInfo => {
            let (method, tunnel) = (method(spec.method), tunnel(spec));
            add!(out, " {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}");
        }
        Format::Stats => {
            let t = &row.traffic;
            for value in [t.connections, t.in_packets, t.out_packets, t.in_bytes, t.out_bytes] {
                out.push_str(&text::count(value, options.exact));
            }
        }
        Format::Rate => {
            let r = &row.rates;
            add!(out, " {:>8} {:>8} {:>8}", r.connections, r.in_packets, r.out_packets);
            out.push_str(&text::count(r.in_bytes, options.exact));
            out.push_str(&text::count(r.out_bytes, options.exact));
        }
        Format::Thresholds => {
            let (upper, lower) = (spec.upper_threshold, spec.lower_threshold);
            add!(out, " {upper:<10} {lower:<10} {active:<10} {inactive:<10}");
        }
        Format::PersistentConn => {
            let persistent = row.persistent;
            add!(out, " {weight:<9} {persistent:<11} {active:<10} {inactive:<10}");
        }
    }
    out.push('\n');
}

/// The kernel's word for a method.
pub(super) fn method(method: Method) -> &'static str {
    match method {
        Method::Nat => "Masq",
        Method::Tunnel => "Tunnel",
        Method::Direct => "Route",
    }
}

fn tunnel(spec: &ServerSpec) -> String {
    if spec.method != Method::Tunnel {
        return "n/a".to_owned();
    }
    let checksum = text::checksum(spec.tunnel.checksum, ["-c", "+c", "r+c"]);
    match spec.tunnel.kind {
        TunnelKind::Ipip => "ipip".to_owned(),
        TunnelKind::Gue => format!("gue:{}:{checksum}", spec.tunnel.port),
        TunnelKind::Gre => format!("gre:{checksum}"),
    }
}

/// Keeps the first so many characters.
fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
}
