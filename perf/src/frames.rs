//! Who is who in the benchmarks, small frames between them, and a capture file of frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::packet::ethernet::Mac;
use dataplane::service::Family;
use etherparse::PacketBuilder;

/// Address of the engine's port where we may choose it.
pub(crate) const DUT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// What net_pcap calls its first port.
pub(crate) const PCAP_MAC: Mac = Mac([2, 0x70, 0x63, 0x61, 0x70, 0]);
/// Address of the generator, which plays client and real server.
pub(crate) const GENERATOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// The virtual address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1);
/// The first real server; the others follow.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// The virtual port.
pub(crate) const PORT: u16 = 80;
/// Client 0; the number of a host is added to it (IPv4), or to its network's number (IPv6).
pub(crate) const CLIENTS: u32 = 0x0a0a_0000;
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
    pub(crate) host: u32,
    pub(crate) port: u16,
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

/// What a small frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    TcpSyn,
    /// An acknowledgement and a few bytes.
    TcpData,
    Udp,
}

/// A frame of at most 60 bytes under IPv4, 64 with its check sequence, between two ends of one
/// family.
pub(crate) fn small(
    to: Mac,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    payload: Payload,
) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(GENERATOR_MAC.0, to.0);
    let ip = match (source.0, destination.0) {
        (IpAddr::V4(source), IpAddr::V4(to)) => link.ipv4(source.octets(), to.octets(), 64),
        (IpAddr::V6(source), IpAddr::V6(to)) => link.ipv6(source.octets(), to.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let (source, destination) = (source.1, destination.1);
    let mut frame = Vec::with_capacity(80);
    match payload {
        Payload::TcpSyn => ip.tcp(source, destination, 1, 1024).syn().write(&mut frame, &[]),
        Payload::TcpData => ip.tcp(source, destination, 1, 1024).ack(1).write(&mut frame, &[0; 6]),
        Payload::Udp => ip.udp(source, destination).write(&mut frame, &[0; 18]),
    }
    .expect("a small packet can be written");
    frame
}

/// UDP frames to the virtual service, of so many clients.
pub(crate) fn udp(to: Mac, flows: u32) -> Vec<Vec<u8>> {
    let client = |flow| Client::numbered(flow).end(Family::V4);
    (0..flows).map(|flow| small(to, client(flow), (VIP.into(), PORT), Payload::Udp)).collect()
}

/// A capture file (libpcap's classic format, microseconds) of Ethernet frames.
pub(crate) fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend_from_slice(&word.to_ne_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [0, 0, length, length] {
            file.extend_from_slice(&word.to_ne_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}
