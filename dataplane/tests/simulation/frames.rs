//! Packets of the model as frames, built and read by etherparse.

use std::net::IpAddr;

use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;
use etherparse::{
    IpNumber, Ipv4Header, Ipv6Header, NetSlice, PacketBuilder, SlicedPacket, TcpHeader,
    TransportSlice,
};

use crate::common::names::{self, CLIENTS, GATEWAY, SERVERS, own_mac};
use crate::model::error::QUOTED;
use crate::model::tcp::{ACK, FIN, RST, SYN};
use crate::model::{Datagram, TCP, Unreachable};

/// Length of the link header.
pub(crate) const LINK: usize = 14;

/// The link-layer address of a station with this address, or of the router that leads there.
pub(crate) fn mac_of(address: IpAddr) -> Mac {
    match address {
        IpAddr::V4(address) if address.octets()[0] == 100 => names::mac_of(names::ip(GATEWAY)),
        IpAddr::V4(address) => names::mac_of(address),
        IpAddr::V6(address) => {
            let bytes = address.octets();
            Mac([2, 6, bytes[5], bytes[13], bytes[14], bytes[15]])
        }
    }
}

/// The port behind which an address lies.
pub(crate) fn port_of(address: IpAddr) -> PortId {
    let is_server = match address {
        IpAddr::V4(address) => address.octets()[..2] == [10, 1],
        IpAddr::V6(address) => address.segments()[2] == 1,
    };
    if is_server { SERVERS } else { CLIENTS }
}

/// A datagram in a frame between two stations.
pub(crate) fn bytes(packet: &Datagram, link: (Mac, Mac)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(link.0.0, link.1.0);
    let builder = match (packet.source.0, packet.destination.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), packet.ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), packet.ttl),
        other => panic!("between families: {other:?}"),
    };
    let payload = vec![0x2a; packet.payload.into()];
    let (source, destination) = (packet.source.1, packet.destination.1);
    let mut bytes = Vec::new();
    if packet.protocol == TCP {
        let mut header = TcpHeader::new(source, destination, 0x0102_0304, 0x7fff);
        header.fin = packet.flags & FIN != 0;
        header.syn = packet.flags & SYN != 0;
        header.rst = packet.flags & RST != 0;
        header.ack = packet.flags & ACK != 0;
        builder.tcp_header(header).write(&mut bytes, &payload).unwrap();
    } else {
        builder.udp(source, destination).write(&mut bytes, &payload).unwrap();
    }
    bytes
}

/// The frame in which a packet comes to the director.
pub(crate) fn arriving(packet: &Datagram) -> (PortId, Vec<u8>) {
    let port = port_of(packet.source.0);
    (port, bytes(packet, (mac_of(packet.source.0), own_mac(port))))
}

/// The frame in which a packet leaves towards a station, one hop later.
pub(crate) fn leaving(packet: &Datagram, to: IpAddr) -> (PortId, Vec<u8>) {
    let port = port_of(to);
    let packet = Datagram { ttl: packet.ttl - 1, ..*packet };
    (port, bytes(&packet, (own_mac(port), mac_of(to))))
}

/// An error in a frame between two stations; `original` is the packet that it is about, as it was
/// when it was quoted: checksums behind the quoted ports stay that packet's.
fn error_bytes(error: &Unreachable, original: &Datagram, link: (Mac, Mac), ttl: u8) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(link.0.0, link.1.0);
    let header = if error.source.is_ipv4() { 20 } else { 40 };
    let quote =
        |about: &Datagram| bytes(about, link)[LINK..LINK + header + QUOTED as usize].to_vec();
    let mut quoted = quote(&error.about);
    quoted[header + 4..].copy_from_slice(&quote(original)[header + 4..]);
    let mut bytes = Vec::new();
    match (error.source, error.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let builder = builder.ipv4(from.octets(), to.octets(), ttl);
            builder.icmpv4_raw(3, 3, [0; 4]).write(&mut bytes, &quoted).unwrap();
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let builder = builder.ipv6(from.octets(), to.octets(), ttl);
            builder.icmpv6_raw(1, 4, [0; 4]).write(&mut bytes, &quoted).unwrap();
        }
        other => panic!("between families: {other:?}"),
    }
    bytes
}

/// The frame in which an error comes to the director.
pub(crate) fn arriving_error(error: &Unreachable) -> (PortId, Vec<u8>) {
    let port = port_of(error.source);
    (port, error_bytes(error, &error.about, (mac_of(error.source), own_mac(port)), 64))
}

/// The frame in which it leaves towards a station.
pub(crate) fn leaving_error(
    error: &Unreachable,
    original: &Datagram,
    to: IpAddr,
) -> (PortId, Vec<u8>) {
    let port = port_of(to);
    (port, error_bytes(error, original, (own_mac(port), mac_of(to)), 63))
}

/// A frame that leaves, in a tunnel to a station.
pub(crate) fn tunnelled(
    (port, inner): (PortId, Vec<u8>),
    from: IpAddr,
    to: IpAddr,
) -> (PortId, Vec<u8>) {
    let (link, inner) = inner.split_at(LINK);
    let mut bytes = link.to_vec();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut outer = Ipv4Header::from_slice(inner).unwrap().0;
            outer.source = from.octets();
            outer.destination = to.octets();
            outer.protocol = IpNumber(4);
            outer.set_payload_len(inner.len()).unwrap();
            outer.header_checksum = outer.calc_header_checksum();
            bytes.extend(outer.to_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut outer = Ipv6Header::from_slice(inner).unwrap().0;
            outer.source = from.octets();
            outer.destination = to.octets();
            outer.next_header = IpNumber(41);
            outer.payload_length = inner.len() as u16;
            bytes.extend(outer.to_bytes());
        }
        other => panic!("between families: {other:?}"),
    }
    bytes.extend(inner);
    (port, bytes)
}

/// What an answer of the director says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// From one end to another.
    Reset((IpAddr, u16), (IpAddr, u16)),
    /// Type, code, source, destination, and the packet quoted.
    Icmp(u8, u8, IpAddr, IpAddr, Vec<u8>),
    Other,
}

/// Reads an answer and checks its checksums.
pub(crate) fn answer(frame: &[u8]) -> Answer {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return Answer::Other };
    let (from, to): (IpAddr, IpAddr) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let sum = header.to_header().calc_header_checksum();
            assert_eq!(header.header_checksum(), sum, "IP checksum");
            (header.source_addr().into(), header.destination_addr().into())
        }
        Some(NetSlice::Ipv6(ip)) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        _ => return Answer::Other,
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) if tcp.rst() => {
            Answer::Reset((from, tcp.source_port()), (to, tcp.destination_port()))
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            assert_eq!(crate::common::check::sum16(&[icmp.slice()]), 0xffff, "ICMP checksum");
            Answer::Icmp(icmp.type_u8(), icmp.code_u8(), from, to, icmp.slice()[8..].to_vec())
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let (IpAddr::V6(source), IpAddr::V6(destination)) = (from, to) else {
                return Answer::Other;
            };
            assert!(icmp.is_checksum_valid(source.octets(), destination.octets()), "ICMPv6");
            Answer::Icmp(icmp.type_u8(), icmp.code_u8(), from, to, icmp.slice()[8..].to_vec())
        }
        _ => Answer::Other,
    }
}
