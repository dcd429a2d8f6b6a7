//! Pings answered, other messages refused by name.

use dataplane::service::Method;
use dataplane::verdict::DropReason;

use crate::common::build::{Packet, SYN, Transport, echo, error_about, icmp, reply, request};
use crate::common::lab::{Outcome, SIZE, Size};
use crate::common::names::{CLIENT, SERVER, SERVERS, VIP, VLAN, end, own_mac};
use crate::{assert_sent, lab, lab_of};
use Transport::Tcp;

/// The answer to a ping: back on the same port, with a fresh time to live.
fn answered(ping: &Packet) -> Packet {
    let mut pong = ping.clone().ttl(64);
    pong.link = (ping.link.1, ping.link.0);
    (pong.source, pong.destination) = (ping.destination, ping.source);
    let rest: [u8; 4] = ping.payload[4..8].try_into().unwrap();
    pong.payload = icmp(0, 0, rest, &ping.payload[8..]);
    pong
}

fn on_vlan(mut packet: Packet) -> Packet {
    (packet.port, packet.link.1) = (SERVERS, own_mac(SERVERS));
    packet.vlan(VLAN)
}

#[test]
fn pings_to_our_addresses_are_answered() {
    let usual = || echo("10.9.0.1", "10.9.0.100");
    let rows = [
        ("a virtual address", usual()),
        ("the port's own address", echo("10.9.0.1", "10.9.255.254")),
        ("another port's", echo("10.9.0.1", "10.1.255.254")),
        ("the last hop of its time to live", usual().ttl(1)),
        ("header options", usual().options(&[1; 12])),
        ("no data", usual().payload(&icmp(8, 0, [0, 1, 0, 2], b""))),
        ("a checksum that wraps", usual().payload(&icmp(8, 0, [0xf7, 0xff, 0, 0], b""))),
        ("odd data and padding", usual().payload(&icmp(8, 0, [0; 4], b"odd")).padding(&[7; 9])),
        ("on a VLAN", on_vlan(echo("10.7.0.1", "10.7.255.254"))),
    ];
    for (shows, ping) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        // The answer is a new packet, with a number of its own.
        let answer = answered(&ping).may_fragment().id(1);
        assert_sent(&lab.one(&ping), &answer, shows);
    }
}

#[test]
fn every_other_message_is_refused_by_name() {
    use DropReason::{IcmpChecksum, IcmpShort, IcmpUnhandled, Ipv4Source, NotForUs};
    let ping = || echo("10.9.0.1", "10.9.0.100");
    let with = |message: &[u8]| ping().payload(message);
    let mut damaged = ping();
    *damaged.payload.last_mut().unwrap() ^= 1;
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let error = |body: &[u8]| with(&icmp(3, 4, [0; 4], body));
    let quoted = syn.packet();
    let rows = [
        ("a ping to a station beyond", echo("10.9.0.1", "10.1.0.1"), NotForUs),
        ("a ping from a loopback address", echo("127.0.0.1", "10.9.0.100"), Ipv4Source),
        ("a ping from a group", echo("224.0.0.1", "10.9.0.100"), Ipv4Source),
        ("a damaged ping", damaged, IcmpChecksum),
        ("seven bytes", with(&[8, 0, 0xf7, 0xff, 0, 0, 0]), IcmpShort),
        ("nothing at all", with(b""), IcmpShort),
        ("an answer to nobody", with(&icmp(0, 0, [0; 4], b"x")), IcmpUnhandled),
        ("an echo request with a code", with(&icmp(8, 1, [0; 4], b"x")), IcmpUnhandled),
        ("a redirect", with(&icmp(5, 0, [0; 4], &quoted)), IcmpUnhandled),
        ("a timestamp request", with(&icmp(13, 0, [0; 4], &[0; 12])), IcmpUnhandled),
        ("an error about a request", error_about(&syn, "10.9.0.9", "10.9.0.100"), IcmpUnhandled),
        ("an error that quotes 19 bytes", error(&quoted[..19]), IcmpShort),
        ("an error that quotes half the ports", error(&quoted[..23]), IcmpShort),
        ("an error that quotes the ports", error(&quoted[..24]), IcmpUnhandled),
        ("an error that quotes IPv6", error(&[0x60; 40]), IcmpShort),
        ("an error that quotes a header of 16 bytes", error(&[0x44; 40]), IcmpShort),
        (
            "an error that quotes options cut off",
            error(&[&[0x4f], &quoted[1..]].concat()),
            IcmpShort,
        ),
    ];
    for (shows, packet, reason) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert_eq!(lab.one(&packet), Outcome::Dropped(reason), "{shows}");
        assert_eq!(lab.dropped(reason), 1, "{shows}");
    }
}

/// As the kernel drops what comes from outside with an address of its own.
#[test]
fn a_ping_in_our_own_name_is_refused() {
    for from in ["10.9.0.100", "10.9.255.254"] {
        let mut lab = lab(Method::Nat, &[SERVER]);
        let outcome = lab.one(&echo(from, "10.9.0.100"));
        assert_eq!(outcome, Outcome::Dropped(DropReason::SourceIsOurs), "{from}");
    }
}

/// The client's address and port stand in all of them, so all find the same shard.
#[test]
fn errors_go_to_the_shard_of_their_connection() {
    let mut lab = lab_of(Size { shards: 4, ..SIZE }, Method::Nat, &[SERVER]);
    for port in 1000..1100 {
        let client = format!("10.9.0.1:{port}");
        let owner = lab.owner(end(&client));
        let syn = request(Tcp(SYN), &client, VIP);
        let to_server = syn.clone().to(SERVER);
        let answer = reply(Tcp(SYN), SERVER, &client);
        let to_client = answer.clone().from(VIP);
        let frames = [
            syn,
            answer,
            error_about(&to_client, "10.9.0.1", "10.9.0.100"),
            error_about(&to_server, "10.1.0.1", "10.9.0.1"),
        ];
        for frame in frames {
            let before = lab.handed_over;
            lab.offer(owner, vec![frame.frame()]);
            assert_eq!(lab.handed_over, before, "the owner keeps it: {frame:?}");
            lab.offer((owner + 1) % 4, vec![frame.frame()]);
            assert_eq!(lab.handed_over, before + 1, "another gives it to the owner: {frame:?}");
        }
    }
}
