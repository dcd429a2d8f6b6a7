//! Direct routing: the packet stays as it is but for its hop.

use dataplane::service::Method;
use dataplane::verdict::DropReason;

use crate::common::build::{ACK, SYN, Transport, reply, request};
use crate::common::lab::Outcome;
use crate::common::names::{CLIENT, SERVER, SERVERS, VIP, VLAN};
use crate::{assert_sent, lab};
use Transport::{Tcp, Udp};

#[test]
fn only_ttl_header_checksum_and_link_addresses_change() {
    let rows = [
        ("a SYN", request(Tcp(SYN), CLIENT, VIP)),
        ("a datagram", request(Udp(true), CLIENT, VIP)),
        ("a datagram without checksum keeps having none", request(Udp(false), CLIENT, VIP)),
        ("header options", request(Tcp(SYN), CLIENT, VIP).options(&[1, 1, 1, 0])),
        ("TOS, identification and DF", request(Tcp(SYN), CLIENT, VIP).tos(0xff).may_fragment()),
        ("TTL 2", request(Udp(true), CLIENT, VIP).ttl(2)),
        ("a packet as large as the MTU", request(Udp(true), CLIENT, VIP).payload(&[7; 1472])),
    ];
    for (shows, packet) in rows {
        let mut lab = lab(Method::Direct, &[SERVER]);
        let expected = packet.clone().sent(SERVERS, None, "10.1.0.1");
        assert_sent(&lab.one(&packet), &expected, shows);
    }
}

/// Every header checksum there is goes through the patch for the TTL.
#[test]
fn header_checksums_stay_right_for_every_identification() {
    let mut lab = lab(Method::Direct, &[SERVER]);
    for id in (0..=u16::MAX).step_by(37).chain(0xb9c0..0xb9e0) {
        for ttl in [2, 64] {
            let packet = request(Udp(true), CLIENT, VIP).id(id).ttl(ttl).payload(b"");
            let expected = packet.clone().sent(SERVERS, None, "10.1.0.1");
            assert_sent(&lab.one(&packet), &expected, "patched equals computed");
        }
    }
}

#[test]
fn a_server_on_a_vlan_gets_a_tag() {
    let mut lab = lab(Method::Direct, &["10.7.0.1:80"]);
    let packet = request(Tcp(SYN), CLIENT, VIP);
    let expected = packet.clone().sent(SERVERS, Some(VLAN), "10.7.0.1");
    assert_sent(&lab.one(&packet), &expected, "four bytes of headroom taken");
    let packet = request(Tcp(ACK), CLIENT, VIP).headroom(4);
    let expected = packet.clone().sent(SERVERS, Some(VLAN), "10.7.0.1");
    assert_sent(&lab.one(&packet), &expected, "four are enough");
}

/// Its server answers the client itself, so nothing that comes from it is a reply.
#[test]
fn a_server_of_direct_routing_has_no_replies_here() {
    let mut lab = lab(Method::Direct, &[SERVER]);
    lab.one(&request(Tcp(SYN), CLIENT, VIP));
    for from in [SERVER, "10.1.0.1:80"] {
        let outcome = lab.one(&reply(Tcp(SYN | ACK), from, CLIENT));
        assert_eq!(outcome, Outcome::Dropped(DropReason::NotForUs), "{from}");
    }
}
