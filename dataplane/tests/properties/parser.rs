//! Our parser against etherparse's: the same frames are well-formed, and say the same.

use std::net::Ipv4Addr;

use dataplane::frame::{Checksum, Frame};
use dataplane::packet::{self, Network, ethernet};
use dataplane::verdict::DropReason;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use crate::common::check::sum16;
use crate::frames::{nearly_right, random};

/// Protocol, source and destination of a TCP or UDP packet over IPv4.
type Flow = (u8, (Ipv4Addr, u16), (Ipv4Addr, u16));

fn ours(bytes: &[u8]) -> Result<Flow, DropReason> {
    let link = ethernet::parse(bytes)?;
    if link.ether_type != Ipv4Addr::ETHER_TYPE {
        return Err(DropReason::EtherType);
    }
    let ip = Ipv4Addr::parse(&bytes[link.length..], Checksum::Unknown)?;
    let packet = packet::parse_transport(&bytes[link.length..], link.length, ip)?;
    let source = (packet.ip.source, packet.source_port);
    Ok((packet.ip.protocol, source, (packet.ip.destination, packet.destination_port)))
}

/// What etherparse reads, with the bytes of the IPv4 header.
fn theirs(bytes: &[u8]) -> Option<(Flow, Vec<u8>)> {
    let sliced = SlicedPacket::from_ethernet(bytes).ok()?;
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { return None };
    let ports = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        _ => return None,
    };
    let header = ip.header();
    let source = (header.source().into(), ports.0);
    let destination = (header.destination().into(), ports.1);
    Some(((header.protocol().0, source, destination), header.slice().to_vec()))
}

/// Where we refuse on purpose what etherparse lets pass.
fn is_knowingly_stricter(reason: DropReason, bytes: &[u8], header: &[u8]) -> bool {
    match reason {
        // A group cannot send; it takes the address as it comes.
        DropReason::EthernetSource => bytes[6] & 1 == 1,
        // It reads up to three tags, we one.
        DropReason::NestedVlan => true,
        // It reads the tags of old switches and of MACsec as well.
        DropReason::EtherType => [12, 16]
            .iter()
            .any(|&at| [[0x91, 0x00], [0x88, 0xe5]].iter().any(|tag| bytes[at..at + 2] == tag[..])),
        // It does not sum headers.
        DropReason::Ipv4Checksum => sum16(&[header]) != 0xffff,
        // It does not look into options.
        DropReason::Ipv4SourceRoute => header[20..].iter().any(|byte| matches!(byte, 131 | 137)),
        DropReason::Ipv4HeaderLength => header.len() > 20,
        // It takes a UDP length of 0 for "all the rest", as jumbograms have it.
        DropReason::UdpLength => {
            let link = if bytes[12..14] == [0x81, 0] { 18 } else { 14 };
            bytes[link + header.len() + 4..][..2] == [0, 0]
        }
        _ => false,
    }
}

fn check(bytes: &[u8]) {
    match (ours(bytes), theirs(bytes)) {
        (Ok(ours), Some((theirs, _))) => assert_eq!(ours, theirs),
        (Ok(ours), None) => panic!("we read {ours:?}, they nothing"),
        (Err(reason), Some((_, header))) => {
            assert!(is_knowingly_stricter(reason, bytes, &header), "{reason:?}");
        }
        (Err(_), None) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn they_agree_on_nearly_right_frames(frame in nearly_right()) {
        check(frame.bytes());
    }

    #[test]
    fn they_agree_on_random_frames(frame in random()) {
        check(frame.bytes());
    }
}
