//! IP in IP.

use dataplane::service::Method;
use dataplane::verdict::DropReason;

use crate::common::build::{Packet, SYN, Transport, request};
use crate::common::lab::Outcome;
use crate::common::names::{CLIENT, JUMBO, SERVER, SERVERS, VIP, VLAN};
use crate::{assert_sent, lab};
use Transport::{Tcp, Udp};

const OUTER: usize = 14;

fn wrapped(packet: &Packet, tos: u8, id: u16) -> Packet {
    packet.clone().sent(SERVERS, None, "10.1.0.1").wrapped("10.1.255.254", "10.1.0.1", tos, id)
}

#[test]
fn the_outer_header_follows_the_inner_one() {
    let syn = || request(Tcp(SYN), CLIENT, VIP);
    let datagram = || request(Udp(false), CLIENT, VIP);
    let rows = [
        ("protocol 4, lengths, TTL after the hop, DF copied, so no number", syn(), 0),
        ("a datagram without checksum keeps having none", datagram(), 0),
        ("TTL 2", syn().ttl(2), 0),
        ("DSCP is copied", syn().tos(0xb8), 0xb8),
        ("ECT(1) is copied", syn().tos(0xb9), 0xb9),
        ("ECT(0) is copied", syn().tos(0xba), 0xba),
        ("congestion experienced starts anew as ECT(0)", syn().tos(0xbb), 0xba),
        ("inner options stay inside", syn().options(&[1; 8]).tos(4), 4),
        ("padding is cut off first", datagram().payload(b"x").padding(&[0xee; 17]), 0),
        ("as large as the MTU allows", datagram().payload(&[9; 1452]), 0),
        ("room for just the header in front", syn().headroom(20), 0),
        ("a tag taken off makes room too", syn().vlan(0).headroom(20), 0),
    ];
    for (shows, packet, tos) in rows {
        let mut lab = lab(Method::Tunnel, &[SERVER]);
        let bare = Packet { vlan: None, ..packet.clone() };
        assert_sent(&lab.one(&packet), &wrapped(&bare, tos, 0), shows);
    }
}

#[test]
fn packets_that_may_be_fragmented_are_numbered() {
    let mut lab = lab(Method::Tunnel, &[SERVER]);
    let mut seen = Vec::new();
    // More than there are numbers: 0 must be left out when they start over.
    for _ in 0..70_000 {
        let packet = request(Udp(true), CLIENT, VIP).may_fragment().payload(b"");
        let out = lab.one(&packet);
        let id = u16::from_be_bytes([out.bytes()[OUTER + 4], out.bytes()[OUTER + 5]]);
        assert_ne!(id, 0);
        if seen.len() < 100 {
            assert_sent(&out, &wrapped(&packet, 0, id), "DF clear outside too");
            assert!(!seen.contains(&id), "numbers repeat late");
            seen.push(id);
        }
    }
}

#[test]
fn a_server_on_a_vlan_is_reached_from_the_vlans_address() {
    let mut lab = lab(Method::Tunnel, &["10.7.0.1:80"]);
    let packet = request(Tcp(SYN), CLIENT, VIP);
    let expected = packet.clone().sent(SERVERS, Some(VLAN), "10.7.0.1").wrapped(
        "10.7.255.254",
        "10.7.0.1",
        0,
        0,
    );
    assert_sent(&lab.one(&packet), &expected, "tagged");
}

#[test]
fn the_outer_header_counts_towards_the_mtu() {
    let mut lab = lab(Method::Tunnel, &[SERVER]);
    let packet = request(Udp(true), CLIENT, VIP).payload(&[9; 1453]);
    assert_eq!(lab.one(&packet), Outcome::Dropped(DropReason::TooBig));
    assert_eq!(lab.connection_count(), 1, "the connection stays");
}

/// IP's own limit is one too: nothing longer than 65,535 bytes can be said.
#[test]
fn the_largest_packets_do_not_overflow_the_length() {
    let mut lab = lab(Method::Tunnel, &["10.3.0.1:80"]);
    let sized = |length: usize| request(Udp(true), CLIENT, VIP).payload(&vec![0; length - 28]);
    let fits = sized(65_515);
    let expected = fits.clone().sent(JUMBO, None, "10.3.0.1");
    let expected = expected.wrapped("10.3.255.254", "10.3.0.1", 0, 0);
    assert_sent(&lab.one(&fits), &expected, "65,535 bytes in all");
    for length in [65_516, 65_535] {
        assert_eq!(lab.one(&sized(length)), Outcome::Dropped(DropReason::TooBig), "{length}");
    }
}
