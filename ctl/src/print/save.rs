//! The table as commands that make it: what `-S` prints, and the lossless form for the daemon's own file.

use std::fmt::Write;

use dataplane::service::{
    Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelKind,
};

use super::{add, order, services, text};
use crate::backend::{ServerRow, ServiceRow};
use crate::command::{Change, DaemonSpec};
use crate::names::{Names, NumericNames};

/// One service with its servers. Thresholds are not saved; the real tool does not save them either.
pub(crate) fn service(out: &mut String, row: &ServiceRow, names: &dyn Names) {
    let spec = &row.spec;
    // A mark is signed here, as in the real tool.
    let name = name(&spec.key, names, |mark| (mark as i32).to_string());
    add!(out, "-A {name} -s {}", spec.scheduler);
    if let Some(seconds) = spec.persistence_s {
        add!(out, " -p {seconds}");
        if let Some(mask) = services::mask(spec.client_mask) {
            add!(out, " -M {mask}");
        }
    }
    if let Some(engine) = &spec.persistence_engine {
        add!(out, " --pe {engine}");
    }
    if spec.one_packet {
        out.push_str(" -o");
    }
    if let Some(flags) = text::scheduler_flags(spec) {
        add!(out, " -b {flags}");
    }
    out.push('\n');

    let protocol = services::port_protocol(&spec.key);
    let rows: Vec<&ServerRow> = row.servers.iter().collect();
    for row in order::merge_sort(rows, &|a, b| order::servers(a, b)) {
        let address = text::endpoint(row.spec.address, row.spec.port, protocol, names);
        add!(out, "-a {name} -r {address}");
        server(out, &row.spec);
        out.push('\n');
    }
}

/// The switch that names a service.
fn name(key: &ServiceKey, names: &dyn Names, mark_text: fn(u32) -> String) -> String {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let switch = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{switch} {}", text::endpoint(address, port, Some(protocol), names))
        }
        ServiceKey::Mark { family, mark } => {
            let suffix = if family == Family::V6 { " -6" } else { "" };
            format!("-f {}{suffix}", mark_text(mark))
        }
    }
}

/// One service with its servers, oldest server first, with all their attributes.
pub(crate) fn complete_service(out: &mut String, row: &ServiceRow) {
    out.push_str("-A ");
    service_words(out, &row.spec);
    let name = lossless_name(&row.spec.key);
    for ServerRow { spec, .. } in row.servers.iter().rev() {
        out.push_str("-a ");
        server_words(out, &name, spec);
    }
}

/// The line that makes a change of services, servers or sync daemons again, without its end; `None` for any other.
#[must_use]
pub fn change(change: &Change) -> Option<String> {
    let mut out = String::new();
    match change {
        Change::AddService(spec) => {
            out.push_str("-A ");
            service_words(&mut out, spec);
        }
        Change::EditService(spec) => {
            out.push_str("-E ");
            service_words(&mut out, spec);
        }
        Change::DeleteService(key) => {
            add!(out, "-D {}", lossless_name(key));
        }
        Change::Flush => out.push_str("-C"),
        Change::AddServer { service, server } => {
            out.push_str("-a ");
            server_words(&mut out, &lossless_name(service), server);
        }
        Change::EditServer { service, server } => {
            out.push_str("-e ");
            server_words(&mut out, &lossless_name(service), server);
        }
        Change::DeleteServer { service, address, port } => {
            let server = text::endpoint(*address, *port, None, &NumericNames);
            add!(out, "-d {} -r {server}", lossless_name(service));
        }
        Change::Zero(_) | Change::SetTimeouts(_) | Change::Settings(_) => return None,
        Change::StartDaemon(spec) => daemon(&mut out, spec),
        Change::StopDaemon { role, sync_id } => {
            add!(out, "--stop-daemon {} --syncid {sync_id}", role.name());
        }
    }
    out.truncate(out.trim_end().len());
    Some(out)
}

fn lossless_name(key: &ServiceKey) -> String {
    name(key, &NumericNames, |mark| mark.to_string())
}

fn service_words(out: &mut String, spec: &ServiceSpec) {
    add!(out, "{} -s {}", lossless_name(&spec.key), spec.scheduler);
    if let Some(seconds) = spec.persistence_s {
        add!(out, " -p {seconds}");
    }
    if let Some(mask) = services::mask(spec.client_mask) {
        add!(out, " -M {mask}");
    }
    if let Some(engine) = &spec.persistence_engine {
        add!(out, " --pe {engine}");
    }
    if spec.one_packet {
        out.push_str(" -o");
    }
    // These names go with every scheduler, and the third bit has no other.
    let flags: Vec<&str> = [(0x08, "flag-1"), (0x10, "flag-2"), (0x20, "flag-3")]
        .into_iter()
        .filter(|(bit, _)| spec.scheduler_flags & bit != 0)
        .map(|(_, name)| name)
        .collect();
    if !flags.is_empty() {
        add!(out, " -b {}", flags.join(","));
    }
    out.push('\n');
}

fn server_words(out: &mut String, service: &str, spec: &ServerSpec) {
    let address = text::endpoint(spec.address, spec.port, None, &NumericNames);
    add!(out, "{service} -r {address}");
    server(out, spec);
    add!(out, " -x {} -y {}\n", spec.upper_threshold, spec.lower_threshold);
}

/// The command that starts a sync daemon.
pub(crate) fn daemon(out: &mut String, spec: &DaemonSpec) {
    let (role, interface) = (spec.role.name(), &spec.interface);
    add!(out, "--start-daemon {role} --mcast-interface {interface} --syncid {}", spec.sync_id);
    if let Some(length) = spec.max_length {
        add!(out, " --sync-maxlen {length}");
    }
    if let Some(group) = spec.group {
        add!(out, " --mcast-group {group}");
    }
    if let Some(port) = spec.port {
        add!(out, " --mcast-port {port}");
    }
    if let Some(ttl) = spec.ttl {
        add!(out, " --mcast-ttl {ttl}");
    }
    out.push('\n');
}

fn server(out: &mut String, spec: &ServerSpec) {
    let method = match spec.method {
        Method::Nat => "-m",
        Method::Tunnel => "-i",
        Method::Direct => "-g",
    };
    add!(out, " {method} -w {}", spec.weight);
    if spec.method != Method::Tunnel {
        return;
    }
    let names = ["--tun-nocsum", "--tun-csum", "--tun-remcsum"];
    let checksum = text::checksum(spec.tunnel.checksum, names);
    match spec.tunnel.kind {
        TunnelKind::Ipip => out.push_str(" --tun-type ipip"),
        TunnelKind::Gue => {
            add!(out, " --tun-type gue --tun-port {} {checksum}", spec.tunnel.port);
        }
        TunnelKind::Gre => {
            add!(out, " --tun-type gre {checksum}");
        }
    }
}
