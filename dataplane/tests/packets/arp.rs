//! ARP asked of the director.

use dataplane::packet::ethernet::Mac;
use dataplane::service::Method;
use dataplane::verdict::DropReason;

use crate::common::build::{Arp, is_at, who_has};
use crate::common::frame::TestFrame;
use crate::common::lab::Outcome;
use crate::common::names::{CLIENTS, SERVER, SERVERS, VIP, VLAN, ip, mac_of, own_mac, tcp, udp};
use crate::lab;

/// The answer to a request: back to the asker, on the same port and VLAN.
fn answer(request: &Arp) -> Outcome {
    let own = own_mac(request.port);
    let mut reply = request.clone();
    reply.link = (own, request.sender.0);
    reply.operation = 2;
    reply.sender = (own, request.target.1);
    reply.target = request.sender;
    Outcome::Sent(request.port, reply.bytes())
}

fn on_vlan(mut arp: Arp, vlan: u16) -> Arp {
    (arp.port, arp.vlan) = (SERVERS, Some(vlan));
    arp
}

#[test]
fn our_addresses_are_answered_for() {
    let unicast = |mut arp: Arp| {
        arp.link.1 = own_mac(CLIENTS);
        arp
    };
    let rows = [
        ("a virtual address", who_has("10.9.0.100", "10.9.0.1")),
        ("the port's own", who_has("10.9.255.254", "10.9.0.1")),
        ("another port's, as the kernel does by default", who_has("10.1.255.254", "10.9.0.1")),
        ("asked of us alone", unicast(who_has("10.9.0.100", "10.9.0.1"))),
        ("a probe for an address in doubt", who_has("10.9.0.100", "0.0.0.0")),
        ("on a VLAN", on_vlan(who_has("10.7.255.254", "10.7.0.1"), VLAN)),
        ("with a priority tag", Arp { vlan: Some(0), ..who_has("10.9.0.100", "10.9.0.1") }),
    ];
    for (shows, request) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert_eq!(lab.one_frame(request.frame()), answer(&request), "{shows}");
        // As stations send it: filled up to 60 bytes.
        let mut padded = request.bytes();
        padded.resize(60, 0);
        let outcome = lab.one_frame(TestFrame::new(request.port, &padded));
        assert!(outcome.bytes().starts_with(answer(&request).bytes()), "{shows}, padded");
    }
}

#[test]
fn nothing_else_is_answered_for() {
    let usual = || who_has("10.9.0.100", "10.9.0.1");
    let group_sender = (Mac([3, 0, 0, 0, 0, 1]), ip("10.9.0.1"));
    let others_mac = (mac_of(ip("10.9.0.1")), mac_of(ip("10.9.0.2")));
    let rows = [
        ("a client's", who_has("10.9.0.2", "10.9.0.1"), DropReason::ArpNotForUs),
        ("a server's", who_has("10.1.0.1", "10.9.0.1"), DropReason::ArpNotForUs),
        ("somebody claims our VIP", who_has("10.9.0.2", "10.9.0.100"), DropReason::SourceIsOurs),
        (
            "somebody claims our address, without a question",
            is_at(CLIENTS, "10.9.255.254", "10.9.255.254"),
            DropReason::SourceIsOurs,
        ),
        ("asked of another", Arp { link: others_mac, ..usual() }, DropReason::NotOurMac),
        ("an unknown VLAN", on_vlan(usual(), 8), DropReason::UnknownVlan),
        ("a reverse request", Arp { operation: 3, ..usual() }, DropReason::ArpMalformed),
        ("a group as sender", Arp { sender: group_sender, ..usual() }, DropReason::ArpMalformed),
    ];
    for (shows, request, reason) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert_eq!(lab.one_frame(request.frame()), Outcome::Dropped(reason), "{shows}");
    }
}

#[test]
fn a_virtual_address_is_ours_while_any_service_has_it() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let request = who_has("10.9.0.100", "10.9.0.1");
    lab.delete_service(&tcp(VIP));
    assert_eq!(lab.one_frame(request.frame()), answer(&request), "UDP is still there");
    lab.delete_service(&udp(VIP));
    let outcome = lab.one_frame(request.frame());
    assert_eq!(outcome, Outcome::Dropped(DropReason::ArpNotForUs));
}

#[test]
fn replies_are_consumed_and_malformed_ones_named() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let reply = is_at(SERVERS, "10.1.0.1", "10.1.255.254");
    assert_eq!(lab.one_frame(reply.frame()), Outcome::Consumed);
    for length in 14..reply.bytes().len() {
        let outcome = lab.one_frame(TestFrame::new(SERVERS, &reply.bytes()[..length]));
        assert_eq!(outcome, Outcome::Dropped(DropReason::ArpMalformed), "cut after {length}");
    }
    for at in [14, 15, 16, 17, 18, 19] {
        let mut bytes = reply.bytes();
        bytes[at] ^= 4;
        let outcome = lab.one_frame(TestFrame::new(SERVERS, &bytes));
        assert_eq!(outcome, Outcome::Dropped(DropReason::ArpMalformed), "byte {at} changed");
    }
    assert_eq!(lab.dropped(DropReason::ArpMalformed), 28 + 6);
}
