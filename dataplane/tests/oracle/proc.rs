//! The kernel's files about IPVS, as far as recordings hold them.

use std::fmt::Write;
use std::net::IpAddr;

use dataplane::command::ConnectionInfo;
use dataplane::service::{Method, Protocol, ServiceKey};

use crate::world::World;

/// `/proc/net/ip_vs_conn`.
pub(crate) fn connections(all: &[ConnectionInfo]) -> String {
    let mut text =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
            .to_owned();
    for connection in all {
        let protocol = Protocol::from_number(connection.protocol).map_or("IP", Protocol::name);
        let end = |(address, port): (IpAddr, u16)| match address {
            IpAddr::V4(address) => format!("{:08X} {port:04X}", u32::from(address)),
            IpAddr::V6(address) => {
                let words = address.segments().map(|word| format!("{word:04x}"));
                format!("{} {port:04X}", words.join(":"))
            }
        };
        let ends = [connection.client, connection.virtual_end, connection.real].map(end).join(" ");
        let (state, expires) = (connection.state.name(), connection.expires_s);
        writeln!(text, "{protocol:<3} {ends} {state:<11} {expires:7}").expect("a string grows");
    }
    text
}

/// `/proc/net/ip_vs`, without its two title lines.
pub(crate) fn services(world: &World) -> String {
    let read = world.traffic();
    let mut text = String::new();
    for service in world.director.services(&read) {
        let spec = service.spec;
        let end = |address: IpAddr, port: u16| match address {
            IpAddr::V4(address) => format!("{:08X}:{port:04X}", u32::from(address)),
            IpAddr::V6(address) => {
                let words = address.segments().map(|word| format!("{word:04x}"));
                format!("[{}]:{port:04X}", words.join(":"))
            }
        };
        match spec.key {
            ServiceKey::Address { protocol, address, port } => {
                write!(text, "{}  {} ", protocol.name(), end(address, port))
            }
            ServiceKey::Mark { mark, .. } => write!(text, "FWM  {mark:08X} "),
        }
        .expect("a string grows");
        let ops = if spec.one_packet { "ops " } else { "" };
        let persistent = spec.persistence_s.map_or(String::new(), |seconds| {
            let mask = match spec.client_mask {
                dataplane::service::ClientMask::V4(mask) => mask,
                dataplane::service::ClientMask::V6(length) => length.into(),
            };
            format!("persistent {} {mask:08X}", seconds * 100)
        });
        writeln!(text, "{} {ops}{persistent}", spec.scheduler).expect("a string grows");
        for server in &service.servers {
            let method = match server.spec.method {
                Method::Nat => "Masq",
                Method::Tunnel => "Tunnel",
                Method::Direct => "Route",
            };
            let end = end(server.spec.address, server.spec.port);
            let (weight, load) = (server.spec.weight, server.load);
            let (active, inactive) = load.both();
            writeln!(text, "  -> {end}      {method:<7} {weight:<6} {active:<10} {inactive:<10}")
                .expect("a string grows");
        }
    }
    text
}
