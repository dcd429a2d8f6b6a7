//! Who is where, and short ways to say it.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use dataplane::packet::ethernet::Mac;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelSpec,
};
use dataplane::verdict::PortId;

/// Untagged, 10.9.255.254/16: clients.
pub(crate) const CLIENTS: PortId = PortId(0);
/// Untagged, 10.1.255.254/16: servers. VLAN 7 of it, 10.7.255.254/16: more servers.
pub(crate) const SERVERS: PortId = PortId(1);
/// Untagged, 10.3.255.254/16, with the largest MTU there is.
pub(crate) const JUMBO: PortId = PortId(2);
/// The VLAN on [`SERVERS`].
pub(crate) const VLAN: u16 = 7;

pub(crate) const CLIENT: &str = "10.9.0.1:1234";
pub(crate) const VIP: &str = "10.9.0.100:80";
pub(crate) const SERVER: &str = "10.1.0.1:8080";
/// Leads to 100.64.0.0/10.
pub(crate) const GATEWAY: &str = "10.9.0.254";

/// `address:port`.
pub(crate) fn end(text: &str) -> (Ipv4Addr, u16) {
    let end: SocketAddrV4 = text.parse().unwrap();
    (*end.ip(), end.port())
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// The link-layer address of a station with this address.
pub(crate) fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    Mac([2, 1, a, b, c, d])
}

/// The director's own, on a port.
pub(crate) fn own_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 0, 0x10 + port.0 as u8])
}

pub(crate) fn tcp(text: &str) -> ServiceKey {
    key(Protocol::Tcp, text)
}

pub(crate) fn udp(text: &str) -> ServiceKey {
    key(Protocol::Udp, text)
}

pub(crate) fn key(protocol: Protocol, text: &str) -> ServiceKey {
    let (address, port) = end(text);
    ServiceKey::Address { protocol, address: address.into(), port }
}

pub(crate) fn service(key: ServiceKey, scheduler: &str) -> ServiceSpec {
    ServiceSpec {
        key,
        scheduler: scheduler.into(),
        scheduler_flags: 0,
        persistence_s: None,
        client_mask: ClientMask::each_client(Family::V4),
        persistence_engine: None,
        one_packet: false,
    }
}

pub(crate) fn server(text: &str, method: Method, weight: i64) -> ServerSpec {
    let (address, port) = end(text);
    ServerSpec {
        address: IpAddr::V4(address),
        port,
        method,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelSpec::default(),
    }
}
