//! Frames that are nearly right: valid ones with a few bytes changed, cut off or added. Random
//! bytes seldom get past the first check; these reach all of them.

use dataplane::frame::{Checksum, Frame};
use dataplane::verdict::PortId;
use proptest::prelude::*;

use crate::common::build::{
    ACK, FIN, Packet, RST, SYN, Transport, echo, error_about, is_at, reply, request, who_has,
};
use crate::common::check::sum16;
use crate::common::frame::TestFrame;
use crate::common::names::{CLIENTS, SERVERS, VLAN};
use Transport::{Raw, Tcp, Udp};

/// Virtual ends by NAT, direct routing and tunnel.
pub(crate) const VIRTUAL_ENDS: [&str; 3] = ["10.9.0.100:80", "10.9.0.101:80", "10.9.0.102:80"];
/// Their servers, in the same order; the tunnel leads over the VLAN.
pub(crate) const SERVER_ENDS: [&str; 3] = ["10.1.0.1:8080", "10.1.0.2:80", "10.7.0.1:80"];

/// A change to a frame.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Sets the byte at this share of the header bytes.
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Extend(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Headers are where changes matter: Ethernet, IP and TCP take 54 bytes.
    let place = prop_oneof![3 => 12_usize..60, 1 => 0_usize..200];
    let value = prop_oneof![Just(0_u8), Just(0xff), 1_u8..7, any::<u8>()];
    prop_oneof![
        4 => (place.clone(), value).prop_map(|(at, value)| Mutation::Set(at, value)),
        2 => (place, 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        2 => (0_usize..120).prop_map(Mutation::Cut),
        1 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Mutation::Extend),
    ]
}

fn base() -> impl Strategy<Value = TestFrame> {
    let about = request(Tcp(ACK), "10.9.0.1:1000", VIRTUAL_ENDS[0]);
    let mut frames: Vec<TestFrame> = Vec::new();
    for client in ["10.9.0.1:1000", "10.9.0.2:1001", "100.64.0.1:1002"] {
        for (virtual_end, server) in VIRTUAL_ENDS.into_iter().zip(SERVER_ENDS) {
            for transport in [Tcp(SYN), Tcp(ACK), Tcp(FIN | ACK), Tcp(RST), Udp(true), Udp(false)] {
                frames.push(request(transport, client, virtual_end).frame());
                frames.push(reply(transport, server, client).frame());
            }
        }
    }
    let options = |packet: Packet| packet.options(&[7, 7, 4, 0, 0, 0, 0, 1]);
    frames.extend([
        options(about.clone()).frame(),
        about.clone().may_fragment().padding(&[0; 30]).frame(),
        about.clone().ttl(1).frame(),
        about.clone().vlan(0).frame(),
        about.clone().transport(Raw(47)).frame(),
        about.clone().payload(&[1; 1460]).frame(),
        reply(Udp(true), SERVER_ENDS[2], "10.9.0.1:1000").vlan(VLAN).frame(),
        echo("10.9.0.1", "10.9.0.100").frame(),
        error_about(&about, "10.1.0.1", "10.9.0.1").frame(),
        error_about(&options(about), "10.9.0.1", "10.9.0.100").frame(),
        who_has("10.9.0.100", "10.9.0.1").frame(),
        is_at(SERVERS, "10.1.0.1", "10.1.255.254").frame(),
        is_at(CLIENTS, "10.9.0.254", "10.9.255.254").frame(),
    ]);
    prop::sample::select(frames)
}

/// A valid frame, or one with up to three changes; mostly with its header checksum made good
/// again, so that it is looked at further.
pub(crate) fn nearly_right() -> impl Strategy<Value = TestFrame> {
    let mutations = prop::collection::vec(mutation(), 0..=3);
    let circumstances = (
        prop::sample::select(vec![0_usize, 4, 20, 64]),
        prop::bool::weighted(0.9),
        prop::option::weighted(0.1, 0_u16..4),
        prop::bool::weighted(0.02),
        prop_oneof![
            8 => Just(Checksum::Unknown), 1 => Just(Checksum::Good), 1 => Just(Checksum::Bad)
        ],
    );
    (base(), mutations, circumstances).prop_map(|(frame, mutations, circumstances)| {
        let (headroom, mends, port, is_segmented, checksum) = circumstances;
        let mut bytes = frame.bytes().to_vec();
        for mutation in mutations {
            apply(&mut bytes, mutation);
        }
        if mends {
            mend(&mut bytes);
        }
        let port = port.map_or(frame.port, PortId);
        let mut frame = TestFrame::with_headroom(port, &bytes, headroom);
        frame.is_contiguous = !is_segmented;
        frame.checksum = checksum;
        frame
    })
}

/// Bytes without any sense.
pub(crate) fn random() -> impl Strategy<Value = TestFrame> {
    (0_u16..4, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(port, bytes)| TestFrame::new(PortId(port), &bytes))
}

fn apply(bytes: &mut Vec<u8>, mutation: Mutation) {
    match mutation {
        Mutation::Set(at, value) => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        Mutation::Flip(at, bit) => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Mutation::Cut(length) => bytes.truncate(length),
        Mutation::Extend(more) => bytes.extend(more),
    }
}

/// Makes the IP header's checksum good, where there seems to be one.
fn mend(bytes: &mut [u8]) {
    let l3 = if bytes.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
    let Some(packet) = bytes.get_mut(l3..).filter(|packet| packet.len() >= 20) else { return };
    let length = (usize::from(packet[0] & 0xf) * 4).clamp(20, packet.len());
    packet[10..12].fill(0);
    let checksum = !sum16(&[&packet[..length]]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}
