//! Frames of very many clients, written fast: a template and what differs from client to client.

use dataplane::packet::checksum;
use dataplane::service::{Family, Protocol};

use crate::frames::{self, CLIENTS, Client, DUT_MAC, PORT, Payload, server, vip};
use crate::pool::{PoolFrame, Random};

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

/// Frames that nothing good can be made of: random bytes, random packets to the port's address,
/// packets cut short, packets damaged where a checksum or a length tells.
pub(crate) fn garbage(mut good: Vec<u8>, random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => (0..random.below(120)).map(|_| random.below(256) as u8).collect(),
        1 => {
            good.truncate(14);
            good.extend((0..random.below(100)).map(|_| random.below(256) as u8));
            good
        }
        2 => {
            good.truncate(random.below(good.len() as u32 - 20) as usize);
            good
        }
        _ => {
            // A byte under the checksum of IPv4, or the payload length of IPv6.
            let at = if good[12..14] == [8, 0] { 22 } else { 18 };
            good[at] ^= 1 + random.below(255) as u8;
            good
        }
    }
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
        let client = Client { host: 0, port: 0 }.end(family);
        let is_reply = kind == Kind::Reply;
        let (from, to) = match kind {
            Kind::Reply => ((server(family, 0), PORT), client),
            _ => (client, (vip(family), PORT)),
        };
        let payload = match (protocol, kind) {
            (Protocol::Tcp, Kind::Opening) => Payload::TcpSyn,
            (Protocol::Tcp, _) => Payload::TcpData,
            _ => Payload::Udp,
        };
        let mut bytes = frames::small(DUT_MAC, from, to, payload);
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
        self.address(frame.fill(&self.bytes), client);
    }

    /// The frame of a client, alike.
    pub(crate) fn frame(&self, client: Client) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        self.address(&mut bytes, client);
        bytes
    }

    #[inline]
    fn address(&self, bytes: &mut [u8], client: Client) {
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
    use std::net::IpAddr;

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
