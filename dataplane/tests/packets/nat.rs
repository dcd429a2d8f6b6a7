//! Network address translation, there and back.

use dataplane::service::Method;

use crate::common::build::{ACK, Packet, RST, SYN, Transport, reply, request};
use crate::common::check::see;
use crate::common::names::{CLIENT, CLIENTS, SERVER, SERVERS, VIP, VLAN, own_mac};
use crate::{assert_sent, lab};
use Transport::{Tcp, Udp};

/// The request as the server gets it.
fn translated(packet: Packet) -> Packet {
    packet.to(SERVER).sent(SERVERS, None, "10.1.0.1")
}

#[test]
fn requests_get_the_servers_address_and_port() {
    let syn = || request(Tcp(SYN), CLIENT, VIP);
    let datagram = || request(Udp(true), CLIENT, VIP);
    let rows = [
        ("a SYN: addresses, port, checksums, TTL, link addresses", syn(), translated(syn())),
        ("a datagram", datagram(), translated(datagram())),
        (
            "a datagram without checksum gets one",
            request(Udp(false), CLIENT, VIP),
            translated(datagram()),
        ),
        ("no payload", syn().payload(b""), translated(syn().payload(b""))),
        ("an empty datagram", datagram().payload(b""), translated(datagram().payload(b""))),
        (
            "TOS, identification and DF stay",
            syn().tos(0xbb).id(77).may_fragment(),
            translated(syn().tos(0xbb).id(77).may_fragment()),
        ),
        ("the lowest TTL that may pass", syn().ttl(2), translated(syn().ttl(2))),
        ("the highest TTL", syn().ttl(255), translated(syn().ttl(255))),
        (
            "header options stay, and move the ports",
            syn().options(&[7, 7, 4, 0, 0, 0, 0, 0]),
            translated(syn().options(&[7, 7, 4, 0, 0, 0, 0, 0])),
        ),
        (
            "as many header options as there can be",
            datagram().options(&[1; 40]),
            translated(datagram().options(&[1; 40])),
        ),
        (
            "a packet as large as the MTU",
            syn().payload(&[0xfe; 1460]),
            translated(syn().payload(&[0xfe; 1460])),
        ),
        ("a priority tag, which is no VLAN, is taken off", syn().vlan(0), translated(syn())),
        ("headroom is not needed", syn().headroom(0), translated(syn())),
    ];
    for (shows, packet, expected) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert_sent(&lab.one(&packet), &expected, shows);
    }
}

#[test]
fn replies_get_the_virtual_address_and_port_back() {
    let untranslated = |packet: Packet| packet.from(VIP).sent(CLIENTS, None, "10.9.0.1");
    let segment = || reply(Tcp(SYN | ACK), SERVER, CLIENT);
    let datagram = || reply(Udp(true), SERVER, CLIENT);
    let rows = [
        ("a SYN+ACK", segment(), untranslated(segment())),
        ("a datagram", datagram(), untranslated(datagram())),
        (
            "a datagram without checksum gets one",
            reply(Udp(false), SERVER, CLIENT),
            untranslated(datagram()),
        ),
        (
            "header options stay",
            segment().options(&[148, 4, 0, 0]),
            untranslated(segment().options(&[148, 4, 0, 0])),
        ),
        (
            "a reset",
            reply(Tcp(RST), SERVER, CLIENT).payload(b""),
            untranslated(reply(Tcp(RST), SERVER, CLIENT).payload(b"")),
        ),
        ("TTL 2", segment().ttl(2), untranslated(segment().ttl(2))),
    ];
    for (shows, packet, expected) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        for transport in [Tcp(SYN), Udp(true)] {
            lab.one(&request(transport, CLIENT, VIP));
        }
        assert_sent(&lab.one(&packet), &expected, shows);
    }
}

/// 0 would mean that there is no checksum, so the other zero is written.
#[test]
fn a_udp_checksum_of_zero_becomes_ffff() {
    let to_client = |packet: Packet| packet.from(VIP).sent(CLIENTS, None, "10.9.0.1");
    let is_ffff = |packet: &Packet| packet.bytes()[14 + 20 + 6..][..2] == [0xff, 0xff];
    let payload_for = |expected: &dyn Fn(&[u8]) -> Packet| {
        (0..=u16::MAX).map(u16::to_be_bytes).find(|payload| is_ffff(&expected(payload))).unwrap()
    };
    let there =
        payload_for(&|payload| translated(request(Udp(true), CLIENT, VIP).payload(payload)));
    let back = payload_for(&|payload| to_client(reply(Udp(true), SERVER, CLIENT).payload(payload)));
    for transport in [Udp(true), Udp(false)] {
        let mut lab = lab(Method::Nat, &[SERVER]);
        let expected = translated(request(Udp(true), CLIENT, VIP).payload(&there));
        let out = lab.one(&request(transport, CLIENT, VIP).payload(&there));
        assert_sent(&out, &expected, "request");
        let expected = to_client(reply(Udp(true), SERVER, CLIENT).payload(&back));
        let out = lab.one(&reply(transport, SERVER, CLIENT).payload(&back));
        assert_sent(&out, &expected, "reply");
    }
}

/// Whoever checks the segment in the end must see that it was damaged before us.
#[test]
fn a_wrong_checksum_stays_wrong() {
    for (transport, at) in [(Tcp(SYN), 20 + 16), (Udp(true), 20 + 6)] {
        let mut lab = lab(Method::Nat, &[SERVER]);
        let damaged = request(transport, CLIENT, VIP).frame_with(|l3| l3[at] ^= 0x40);
        let out = lab.one_frame(damaged);
        let expected = translated(request(transport, CLIENT, VIP)).bytes();
        assert_ne!(out.bytes()[14 + at..][..2], expected[14 + at..][..2]);
        let others = |bytes: &[u8]| [&bytes[..14 + at], &bytes[16 + at..]].concat();
        assert_eq!(others(out.bytes()), others(&expected), "all else is as it should be");
    }
}

/// A datagram may end before its IP packet does; its checksum ends with it.
#[test]
fn an_added_checksum_covers_the_datagram_alone() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let frame = request(Udp(false), CLIENT, VIP).frame_with(|l3| l3[25] = 8 + 10);
    let out = lab.one_frame(frame);
    assert_eq!(see(out.bytes()).payload, b"what is th", "checksum and all");
}

#[test]
fn padding_neither_counts_nor_disturbs() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let bare = request(Udp(false), CLIENT, VIP).payload(b"odd");
    let out = lab.one(&bare.clone().padding(&[0xee; 15]));
    let expected = translated(bare.transport(Udp(true))).bytes();
    assert!(out.bytes().starts_with(&expected));
}

#[test]
fn vlan_tags_come_and_go() {
    let on_vlan = "10.7.0.1:8080";
    let mut lab = lab(Method::Nat, &[on_vlan]);
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let expected = syn.clone().to(on_vlan).sent(SERVERS, Some(VLAN), "10.7.0.1");
    assert_sent(&lab.one(&syn), &expected, "untagged in, tagged out");
    let answer = reply(Tcp(SYN | ACK), on_vlan, CLIENT).vlan(VLAN);
    let expected = answer.clone().from(VIP).sent(CLIENTS, None, "10.9.0.1");
    assert_sent(&lab.one(&answer), &expected, "tagged in, untagged out");

    // A client on the VLAN and a server on the same: tagged in, tagged out, priority bits gone.
    let mut packet = request(Tcp(SYN), "10.7.0.1:5", VIP).vlan(VLAN | 0x6000);
    (packet.port, packet.link.1) = (SERVERS, own_mac(SERVERS));
    let expected = packet.clone().to(on_vlan).sent(SERVERS, Some(VLAN), "10.7.0.1");
    assert_sent(&lab.one(&packet), &expected, "tagged in, tagged out");
}

#[test]
fn a_server_without_port_keeps_the_packets() {
    let mut lab = lab(Method::Nat, &["10.1.0.1:0"]);
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let expected = syn.clone().to("10.1.0.1:80").sent(SERVERS, None, "10.1.0.1");
    assert_sent(&lab.one(&syn), &expected, "port 80 stays");
    let answer = reply(Tcp(SYN | ACK), "10.1.0.1:80", CLIENT);
    let expected = answer.clone().from(VIP).sent(CLIENTS, None, "10.9.0.1");
    assert_sent(&lab.one(&answer), &expected, "and back");
}

#[test]
fn a_client_behind_a_gateway_is_answered_through_it() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let client = "100.64.0.9:4321";
    lab.one(&request(Tcp(SYN), client, VIP));
    let answer = reply(Tcp(SYN | ACK), SERVER, client);
    let expected = answer.clone().from(VIP).sent(CLIENTS, None, "10.9.0.254");
    for _ in 0..2 {
        assert_sent(&lab.one(&answer), &expected, "by the route, and as remembered");
    }
}

/// The whole burst of them: one client opens, several go on, replies are mixed in.
#[test]
fn a_burst_is_judged_in_order() {
    let mut lab = lab(Method::Nat, &[SERVER, "10.1.0.2:8080"]);
    let client = |n: u16| format!("10.9.0.1:{}", 2000 + n);
    let mut packets = Vec::new();
    for n in 0..20 {
        packets.push(request(Tcp(SYN), &client(n), VIP));
        packets.push(request(Tcp(ACK), &client(n), VIP));
    }
    let outcomes = lab.burst(&packets);
    for (n, pair) in outcomes.chunks(2).enumerate() {
        // Newest first: the second server takes the first connection.
        let expected = [[10, 1, 0, 2], [10, 1, 0, 1]][n % 2];
        for outcome in pair {
            assert_eq!(see(outcome.bytes()).destination, (expected.into(), 8080), "client {n}");
        }
    }
}
