//! Frames looked at with etherparse: whole checksums, addresses and ports, all independent of the
//! code under test.

use std::net::Ipv4Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// One's complement sum, word by word, the slow way.
pub(crate) fn sum16(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) protocol: u8,
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

/// Reads a TCP or UDP frame and checks every checksum in it.
pub(crate) fn see(frame: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("not IPv4: {sliced:?}") };
    let header = ip.header();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IP checksum");
    let (source, destination) = (header.source(), header.destination());
    let (ports, payload) = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let full = tcp.calc_checksum_ipv4(source, destination).unwrap();
            assert_eq!(tcp.checksum(), full, "TCP checksum");
            ((tcp.source_port(), tcp.destination_port()), tcp.payload())
        }
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let full = header.calc_checksum_ipv4_raw(source, destination, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), full, "UDP checksum");
            ((udp.source_port(), udp.destination_port()), udp.payload())
        }
        other => panic!("neither TCP nor UDP: {other:?}"),
    };
    Seen {
        protocol: header.protocol().0,
        source: (source.into(), ports.0),
        destination: (destination.into(), ports.1),
        ttl: header.ttl(),
        payload: payload.to_vec(),
    }
}
