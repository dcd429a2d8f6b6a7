//! Addresses that move between directors, and the packets by which they agree on them.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::command::Command;
use dataplane::interface::InterfaceId;
use dataplane::packet::ethernet::Mac;
use dataplane::service::Method;
use dataplane::verdict::{DropReason, PortId};
use dataplane::vrrp::{Advertisement, Auth, GROUP_V4_MAC, Version};

use crate::common::build::Transport::Tcp;
use crate::common::build::{SYN, link, request, who_has};
use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, Outcome};
use crate::common::names::{CLIENTS, SERVER, VIP, ip};
use crate::lab;

/// The floating address of every laboratory, at the clients' link.
const FLOATING: &str = "10.9.0.200";
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;

/// An advertisement of another director, as a frame.
fn advertisement() -> TestFrame {
    let said = Advertisement {
        version: Version::V3,
        vrid: 7,
        priority: 100,
        interval_cs: 100,
        auth: Auth::None,
        addresses: vec![ip(FLOATING).into()],
    };
    let mut frame = link((Mac([2, 0, 0, 0, 9, 9]), GROUP_V4_MAC), None, IPV4);
    said.append_packet(ip("10.9.0.2").into(), true, &mut frame);
    TestFrame::with_headroom(CLIENTS, &frame, 128)
}

/// More advertisements at once than are kept for whoever speaks VRRP.
pub(crate) fn too_many_advertisements() -> Outcome {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let mut outcomes = Vec::new();
    for _ in 0..33 {
        outcomes.push(lab.one_frame(advertisement()));
    }
    assert!(outcomes[..32].iter().all(|outcome| *outcome == Outcome::Consumed), "{outcomes:?}");
    outcomes[32].clone()
}

fn hold(lab: &mut Lab, is_held: bool) {
    let addresses: Arc<[IpAddr]> = Arc::new([ip(FLOATING).into()]);
    lab.apply(&Command::Hold(Arc::clone(&addresses), is_held));
    lab.apply(&Command::Announce(addresses));
    lab.tick();
}

#[test]
fn whoever_speaks_vrrp_gets_its_packets() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    assert_eq!(lab.one_frame(advertisement()), Outcome::Consumed);
    let punted = lab.shards[0].take_punted().expect("it is kept");
    assert_eq!(punted.interface, InterfaceId(0));
    assert_eq!(punted.envelope.source, IpAddr::from(ip("10.9.0.2")));
    assert_eq!(punted.envelope.ttl, 255);
    let said = Advertisement::parse(&punted.envelope, &punted.payload).expect("it is whole");
    assert_eq!((said.vrid, said.priority), (7, 100));
    assert!(lab.shards[0].take_punted().is_none());
}

#[test]
fn only_the_holder_answers_and_it_announces() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let question = who_has(FLOATING, "10.9.0.1");
    let refused = Outcome::Dropped(DropReason::ArpNotForUs);
    assert_eq!(lab.one_frame(question.frame()), refused, "before");
    hold(&mut lab, true);
    let arps = |sent: Vec<(PortId, Vec<u8>)>| {
        let is_arp = |frame: &[u8]| frame[12..14] == ARP.to_be_bytes();
        let about = |frame: &[u8]| frame[28..32] == ip(FLOATING).octets();
        sent.iter()
            .filter(|(port, frame)| *port == CLIENTS && is_arp(frame) && about(frame))
            .count()
    };
    assert_eq!(arps(lab.take_sent()), 2, "a request and a reply");
    assert!(matches!(lab.one_frame(question.frame()), Outcome::Sent(..)), "while held");
    hold(&mut lab, false);
    assert_eq!(arps(lab.take_sent()), 0, "who gives up is silent");
    assert_eq!(lab.one_frame(question.frame()), refused, "after");
}

/// Packets on their way during a handover are not lost.
#[test]
fn services_are_forwarded_wherever_their_address_is() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    for is_held in [true, false] {
        hold(&mut lab, is_held);
        lab.take_sent();
        let port = if is_held { 1 } else { 2 };
        let syn = request(Tcp(SYN), &format!("10.9.0.1:{port}"), VIP);
        assert!(matches!(lab.one(&syn), Outcome::Sent(..)), "held: {is_held}");
    }
}
