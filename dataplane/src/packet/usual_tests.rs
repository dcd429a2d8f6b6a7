//! Frames of the usual form are read by a way of their own: it must agree with the careful one.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::ethernet::{self, Mac};
use super::*;
use crate::interface::{Interface, Topology};
use crate::service::Family;
use crate::verdict::PortId;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn topology() -> Topology {
    let interface =
        Interface { port: PortId(0), vlan: None, mac: OURS, mtu: 1500, addresses: Vec::new() };
    Topology::new(alloc::vec![interface], &[]).unwrap()
}

/// What the careful way makes of a frame; nothing for what it refuses or is no request or reply.
fn read_with_care<A: Network>(frame: &[u8], checksum: Checksum) -> Option<Packet<A>> {
    let link = ethernet::parse(frame).ok()?;
    if link.destination != OURS || link.vlan != 0 || link.ether_type != A::ETHER_TYPE {
        return None;
    }
    parse(&frame[link.length..], link.length, checksum).ok()?
}

/// Whether the frame is long enough, and its headers short enough, for the usual way.
fn is_usual<A: Network>(packet: &Packet<A>, frame: &[u8]) -> bool {
    usize::from(packet.l3) == USUAL_L3
        && usize::from(packet.ip.header_length) == A::HEADER_LENGTH
        && frame.len() >= USUAL_L3 + A::HEADER_LENGTH + transport::LOOKED_AT
}

fn agree<A: Network>(
    frame: &[u8],
    checksum: Checksum,
    family: Family,
) -> Result<(), TestCaseError> {
    let begins = frame.first_chunk().and_then(|start| topology().usual(PortId(0), start));
    let usual = (begins == Some(family)).then(|| A::parse_usual(frame, checksum)).flatten();
    let careful = read_with_care::<A>(frame, checksum).filter(|packet| is_usual(packet, frame));
    prop_assert_eq!(usual, careful);
    Ok(())
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..30);
    (any::<bool>(), any::<bool>(), payload).prop_map(|(is_v4, is_tcp, payload)| {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], OURS.0);
        let ip = match is_v4 {
            true => link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
            false => link.ipv6([1; 16], [2; 16], 64),
        };
        let mut frame = Vec::new();
        match is_tcp {
            true => ip.tcp(1000, 80, 1, 2).ack(3).write(&mut frame, &payload),
            false => ip.udp(1000, 53).write(&mut frame, &payload),
        }
        .unwrap();
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whole frames, frames with a few changed bytes, and frames cut off or padded.
    #[test]
    fn both_ways_agree(
        mut frame in frames(),
        changes in prop::collection::vec((0_usize..64, any::<u8>()), 0..3),
        length in prop_oneof![Just(None), (0_usize..120).prop_map(Some)],
        checksum in prop::sample::select(&[Checksum::Good, Checksum::Bad, Checksum::Unknown][..]),
    ) {
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        if let Some(length) = length {
            frame.resize(length, 0);
        }
        agree::<Ipv4Addr>(&frame, checksum, Family::V4)?;
        agree::<Ipv6Addr>(&frame, checksum, Family::V6)?;
    }
}

#[test]
fn usual_frames_are_taken() {
    // The property would hold, too, if the usual way took nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut all) = (0, 0);
    for _ in 0..500 {
        let frame = frames().new_tree(&mut runner).unwrap().current();
        let four = Ipv4Addr::parse_usual(&frame, Checksum::Unknown).is_some();
        let six = Ipv6Addr::parse_usual(&frame, Checksum::Unknown).is_some();
        taken += u32::from(four || six);
        all += 1;
    }
    assert!(taken > all / 2, "{taken} of {all}");
}
