//! Frames of very many clients, written fast: a template and what differs from client to client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::packet::checksum;
use dataplane::service::{Family, Protocol};
use etherparse::PacketBuilder;

use crate::frames::{DUT_MAC, GENERATOR_MAC, PORT, SERVER, VIP};
use crate::pool::PoolFrame;

/// The virtual address.
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);
/// The first real server; the others follow.
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// Client 0; the number of a host is added to it (IPv4), or to its network's number (IPv6).
const CLIENTS: u32 = 0x0a0a_0000;
const CLIENTS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x0a0a, 0, 0, 0, 0, 1);

/// The virtual address of a family.
pub(crate) fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => VIP.into(),
        Family::V6 => VIP6.into(),
    }
}

/// A real server's address, by number from 0.
pub(crate) fn server(family: Family, number: u32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(u32::from(SERVER) + number).into(),
        Family::V6 => Ipv6Addr::from(u128::from(SERVER6) + u128::from(number)).into(),
    }
}

/// A client: a host, less than 2^24, and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    host: u32,
    port: u16,
}

impl Client {
    /// The client of a number: sixteen ports of each host.
    #[inline]
    pub(crate) fn numbered(number: u32) -> Self {
        Self { host: number >> 4, port: 1024 + (number & 15) as u16 }
    }

    /// The client of a number in a random order: another one for each number, as long as the seed
    /// stays the same.
    #[inline]
    pub(crate) fn scattered(number: u32, seed: u32) -> Self {
        let word = (number ^ seed).wrapping_mul(0x9e37_79b1);
        let word = (word ^ word >> 16).wrapping_mul(0x85eb_ca6b);
        let word = word ^ word >> 13;
        Self { host: word >> 8, port: 1024 + (word & 255) as u16 }
    }

    /// Its address and port.
    pub(crate) fn end(self, family: Family) -> (IpAddr, u16) {
        let address = match family {
            Family::V4 => Ipv4Addr::from(CLIENTS + self.host).into(),
            Family::V6 => {
                let network = u128::from(CLIENTS6) + (u128::from(self.host) << 64);
                Ipv6Addr::from(network).into()
            }
        };
        (address, self.port)
    }
}

/// What the frames do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// From the client, opening a connection: a SYN under TCP.
    Opening,
    /// From the client on its connection: an ACK under TCP.
    Request,
    /// From the server to the client, as under NAT.
    Reply,
}

/// Frames of one kind, to be rewritten for each client.
pub(crate) struct Traffic {
    bytes: Vec<u8>,
    /// Where the number of the client's host goes, and what that of host 0 is.
    host_at: usize,
    first_host: u32,
    port_at: usize,
    /// Of the IPv4 header, without its checksum and the client's address.
    sum: Option<u64>,
}

impl Traffic {
    pub(crate) fn new(family: Family, protocol: Protocol, kind: Kind) -> Self {
        let (client, _) = Client { host: 0, port: 0 }.end(family);
        let (from, to) = match kind {
            Kind::Reply => (server(family, 0), client),
            _ => (client, vip(family)),
        };
        let is_reply = kind == Kind::Reply;
        let link = PacketBuilder::ethernet2(GENERATOR_MAC.0, DUT_MAC.0);
        let builder = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
            _ => unreachable!("both are of one family"),
        };
        let (source_port, port) = if is_reply { (PORT, 0) } else { (0, PORT) };
        let mut bytes = Vec::new();
        let written = match (protocol, kind) {
            (Protocol::Tcp, Kind::Opening) => {
                builder.tcp(source_port, port, 1, 1024).syn().write(&mut bytes, &[])
            }
            (Protocol::Tcp, _) => {
                builder.tcp(source_port, port, 1, 1024).ack(1).write(&mut bytes, &[0; 6])
            }
            _ => builder.udp(source_port, port).write(&mut bytes, &[0; 18]),
        };
        written.expect("a small packet can be written");
        let (host_at, first_host, ports_at) = match family {
            Family::V4 => (if is_reply { 30 } else { 26 }, CLIENTS, 34),
            // The second word of the address: hosts differ by their network.
            Family::V6 => (if is_reply { 42 } else { 26 }, 0x0a0a_0000, 54),
        };
        let sum = (family == Family::V4).then(|| {
            bytes[24..26].fill(0);
            bytes[host_at..host_at + 4].fill(0);
            checksum::sum(&bytes[14..34])
        });
        Self { bytes, host_at, first_host, port_at: ports_at + 2 * usize::from(is_reply), sum }
    }

    /// Writes the frame of a client. Its transport checksum is left wrong: nobody checks it.
    #[inline]
    pub(crate) fn write(&self, frame: &mut PoolFrame, client: Client) {
        let bytes = frame.fill(&self.bytes);
        let host = self.first_host + client.host;
        bytes[self.host_at..self.host_at + 4].copy_from_slice(&host.to_be_bytes());
        bytes[self.port_at..self.port_at + 2].copy_from_slice(&client.port.to_be_bytes());
        if let Some(sum) = self.sum {
            let sum = !checksum::fold(sum + u64::from(host));
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::frame::Frame;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use std::collections::HashSet;

    #[test]
    fn frames_carry_their_client() {
        for (family, kind) in [
            (Family::V4, Kind::Request),
            (Family::V4, Kind::Reply),
            (Family::V6, Kind::Opening),
            (Family::V6, Kind::Reply),
        ] {
            let client = Client::scattered(77, 5);
            let mut frame = PoolFrame::new();
            Traffic::new(family, Protocol::Tcp, kind).write(&mut frame, client);
            let packet = SlicedPacket::from_ethernet(frame.bytes()).unwrap();
            let (source, destination): (IpAddr, IpAddr) = match packet.net.as_ref().unwrap() {
                NetSlice::Ipv4(ip) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.header_checksum, header.calc_header_checksum());
                    (ip.header().source_addr().into(), ip.header().destination_addr().into())
                }
                NetSlice::Ipv6(ip) => {
                    (ip.header().source_addr().into(), ip.header().destination_addr().into())
                }
                NetSlice::Arp(_) => unreachable!(),
            };
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { unreachable!() };
            let ends = [(source, tcp.source_port()), (destination, tcp.destination_port())];
            let expected = match kind {
                Kind::Reply => [(server(family, 0), PORT), client.end(family)],
                _ => [client.end(family), (vip(family), PORT)],
            };
            assert_eq!(ends, expected, "{family:?} {kind:?}");
            assert_eq!(tcp.syn(), kind == Kind::Opening);
        }
    }

    #[test]
    fn scattered_clients_are_distinct() {
        let clients: HashSet<_> = (0..100_000).map(|n| Client::scattered(n, 9)).collect();
        assert_eq!(clients.len(), 100_000);
    }
}
