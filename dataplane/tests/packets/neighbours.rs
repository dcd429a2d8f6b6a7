//! Next hops: asked for, waited for, given up.

use dataplane::packet::ethernet::Mac;
use dataplane::service::Method;
use dataplane::verdict::{DropReason, PortId};

use crate::common::build::{Arp, Packet, SYN, Transport, is_at, reply, request};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{CLIENT, CLIENTS, SERVER, SERVERS, VIP, VLAN, ip, own_mac};
use crate::{assert_sent, lab, lab_of};
use Transport::{Tcp, Udp};

const STRANGE: Size = Size { knows_hops: false, ..SIZE };

/// The director's own question for a next hop.
fn asked(port: PortId, vlan: Option<u16>, from: &str, target: &str) -> (PortId, Vec<u8>) {
    let link = (own_mac(port), Mac::BROADCAST);
    let (sender, target) = ((own_mac(port), ip(from)), (Mac::default(), ip(target)));
    (port, Arp { port, vlan, link, operation: 1, sender, target }.bytes())
}

fn asked_for_server() -> (PortId, Vec<u8>) {
    asked(SERVERS, None, "10.1.255.254", "10.1.0.1")
}

/// Datagram number `n` of a client.
fn numbered(n: u16) -> Packet {
    request(Udp(true), CLIENT, VIP).payload(&n.to_be_bytes())
}

fn server_answers(lab: &mut Lab) {
    let answer = is_at(SERVERS, "10.1.0.1", "10.1.255.254");
    assert_eq!(lab.one_frame(answer.frame()), Outcome::Consumed);
}

#[test]
fn frames_wait_for_an_unknown_next_hop_and_leave_in_order() {
    for method in [Method::Nat, Method::Direct, Method::Tunnel] {
        let mut lab = lab_of(STRANGE, method, &[SERVER]);
        for n in 0..5 {
            assert_eq!(lab.one(&numbered(n)), Outcome::Held);
        }
        assert_eq!(lab.take_sent(), [asked_for_server()], "asked once");
        server_answers(&mut lab);
        let expected: Vec<_> = (0..5)
            .map(|n| {
                let packet = numbered(n).sent(SERVERS, None, "10.1.0.1");
                let packet = match method {
                    Method::Nat => packet.to(SERVER),
                    Method::Direct => packet,
                    Method::Tunnel => packet.wrapped("10.1.255.254", "10.1.0.1", 0, 0),
                };
                (SERVERS, packet.bytes())
            })
            .collect();
        assert_eq!(lab.take_sent(), expected, "{method:?}");
        assert!(matches!(lab.one(&numbered(9)), Outcome::Sent(..)), "known from now on");
    }
}

#[test]
fn questions_go_out_where_the_next_hop_is() {
    let mut lab = lab_of(STRANGE, Method::Nat, &["10.7.0.1:80"]);
    lab.one(&numbered(0));
    assert_eq!(lab.take_sent(), [asked(SERVERS, Some(VLAN), "10.7.255.254", "10.7.0.1")]);
    let mut answer = is_at(SERVERS, "10.7.0.1", "10.7.255.254");
    // The same address on another interface is another station.
    assert_eq!(lab.one_frame(answer.frame()), Outcome::Consumed);
    assert_eq!(lab.one(&numbered(1)), Outcome::Held);
    answer.vlan = Some(VLAN);
    assert_eq!(lab.one_frame(answer.frame()), Outcome::Consumed);
    assert_eq!(lab.take_sent().len(), 2);

    // Far clients are answered through their gateway, which is asked for in their place.
    let client = "100.64.1.2:99";
    lab.one(&request(Udp(true), client, VIP));
    let answer = reply(Udp(true), "10.7.0.1:80", client).vlan(VLAN);
    lab.take_sent();
    assert_eq!(lab.one(&answer), Outcome::Held);
    assert_eq!(lab.take_sent(), [asked(CLIENTS, None, "10.9.255.254", "10.9.0.254")]);
    lab.one_frame(is_at(CLIENTS, "10.9.0.254", "10.9.255.254").frame());
    let expected = answer.from(VIP).sent(CLIENTS, None, "10.9.0.254");
    assert_eq!(lab.take_sent(), [(CLIENTS, expected.bytes())]);
}

/// A request for one of our addresses tells us where the asker is as well.
#[test]
fn a_question_from_the_next_hop_is_an_answer_too() {
    let mut lab = lab_of(STRANGE, Method::Direct, &[SERVER]);
    lab.one(&numbered(0));
    lab.take_sent();
    let mut question = is_at(SERVERS, "10.1.0.1", "10.1.255.254");
    question.operation = 1;
    assert!(matches!(lab.one_frame(question.frame()), Outcome::Sent(..)));
    assert_eq!(lab.take_sent().len(), 1, "what waited");
}

#[test]
fn queues_are_bounded_per_next_hop_and_in_all() {
    let servers = ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80", "10.1.0.4:80", "10.1.0.5:80"];
    let mut lab = lab_of(STRANGE, Method::Direct, &servers);
    let from = |port: u16| request(Udp(true), &format!("10.9.0.1:{port}"), VIP);
    // Round robin: client port n goes to server n modulo 5, newest first.
    let first: Vec<_> = (0..5).map(|port| lab.one(&from(port))).collect();
    assert!(first.iter().all(|outcome| *outcome == Outcome::Held));
    for n in 1..40 {
        let expected = match n {
            1..32 => Outcome::Held,
            _ => Outcome::Dropped(DropReason::HoldQueueFull),
        };
        assert_eq!(lab.one(&from(0)), expected, "{n}");
    }
    assert_eq!(lab.one(&from(1)), Outcome::Held, "others still have room");
    assert_eq!(lab.dropped(DropReason::HoldQueueFull), 8);
}

#[test]
fn the_queue_of_all_next_hops_is_bounded_and_each_is_asked_for() {
    let servers: Vec<_> = (1..=20).map(|n| format!("10.1.0.{n}:80")).collect();
    let servers: Vec<_> = servers.iter().map(String::as_str).collect();
    let mut lab = lab_of(Size { servers: 64, neighbours: 64, ..STRANGE }, Method::Direct, &servers);
    let from = |port: u16| request(Udp(true), &format!("10.9.0.1:{port}"), VIP);
    let outcomes: Vec<_> = (0..30).flat_map(|_| 0..20).map(|port| lab.one(&from(port))).collect();
    let held = outcomes.iter().filter(|outcome| **outcome == Outcome::Held).count();
    assert_eq!((held, lab.dropped(DropReason::HoldQueueFull)), (512, 600 - 512));
    assert_eq!(lab.take_sent().len(), 20);
}

#[test]
fn three_questions_then_the_next_hop_is_unreachable() {
    let mut lab = lab_of(STRANGE, Method::Direct, &[SERVER]);
    assert_eq!(lab.one(&numbered(0)), Outcome::Held);
    lab.idle(2);
    assert_eq!(lab.take_sent(), vec![asked_for_server(); 3], "at once, after 1 and after 2 s");
    lab.wait_ticks(95);
    lab.tick();
    assert_eq!(lab.take_released(), Vec::<Vec<u8>>::new(), "not yet");
    lab.idle(1);
    assert_eq!(lab.take_released().len(), 1);
    assert_eq!(lab.dropped(DropReason::NeighbourUnreachable), 1);
    assert_eq!(lab.take_sent(), [], "nobody waits, nobody asks");
    assert_eq!(lab.one(&numbered(1)), Outcome::Held, "the next packet starts over");
    assert_eq!(lab.take_sent(), [asked_for_server()]);
}

/// All that waits for an unreachable next hop waits in vain.
#[test]
fn every_frame_for_an_unreachable_next_hop_is_given_up() {
    let mut lab = lab_of(STRANGE, Method::Direct, &[SERVER]);
    for n in 0..5 {
        assert_eq!(lab.one(&numbered(n)), Outcome::Held);
    }
    lab.idle(4);
    assert_eq!(lab.take_released().len(), 5);
    assert_eq!(lab.dropped(DropReason::NeighbourUnreachable), 5);
}

#[test]
fn a_configured_next_hop_is_not_moved_by_arp() {
    let mut lab = lab(Method::Direct, &[SERVER]);
    let mut lie = is_at(SERVERS, "10.1.0.1", "10.1.255.254");
    lie.sender.0 = Mac([2, 9, 9, 9, 9, 9]);
    lab.one_frame(lie.frame());
    let expected = numbered(0).sent(SERVERS, None, "10.1.0.1");
    assert_sent(&lab.one(&numbered(0)), &expected, "as configured");
    lab.idle(120);
    lab.one(&numbered(1));
    assert_eq!(lab.take_sent(), [], "never asked for");
}

#[test]
fn a_learned_next_hop_follows_its_station_and_is_asked_for_again() {
    let mut lab = lab_of(STRANGE, Method::Direct, &[SERVER]);
    lab.one(&numbered(0));
    server_answers(&mut lab);
    let mut moved = is_at(SERVERS, "10.1.0.1", "10.1.255.254");
    moved.sender.0 = Mac([2, 9, 9, 9, 9, 9]);
    lab.one_frame(moved.frame());
    let outcome = lab.one(&numbered(1));
    assert_ne!(outcome.bytes()[..6], [2, 9, 9, 9, 9, 9], "not within a second of an answer");
    lab.idle(1);
    lab.one_frame(moved.frame());
    let outcome = lab.one(&numbered(1));
    assert_eq!(outcome.bytes()[..6], [2, 9, 9, 9, 9, 9], "another card");
    lab.take_sent();
    lab.idle(2);
    assert_eq!(lab.take_sent()[..1], [asked_for_server()], "which nobody asked for: is it true?");
    lab.one_frame(moved.frame());
    lab.take_sent();
    lab.idle(28);
    lab.one(&numbered(2));
    assert_eq!(lab.take_sent(), [], "still fresh");
    let mut questions = 0;
    let lost = loop {
        lab.idle(1);
        questions += lab.take_sent().iter().filter(|frame| **frame == asked_for_server()).count();
        assert!(questions <= 3, "a second look after half a minute, three times");
        let outcome = lab.one(&numbered(3));
        if !matches!(outcome, Outcome::Sent(..)) {
            break outcome;
        }
    };
    assert_eq!((lost, questions), (Outcome::Held, 3), "in use until three have failed");
}

#[test]
fn without_buffers_a_frame_waits_for_a_later_question() {
    let mut lab = lab_of(STRANGE, Method::Direct, &[SERVER]);
    lab.host.buffers = 0;
    assert_eq!(lab.one(&numbered(0)), Outcome::Held);
    assert_eq!((lab.take_sent(), lab.dropped(DropReason::BufferEmpty)), (vec![], 1));
    lab.host.buffers = 1;
    lab.idle(1);
    assert_eq!(lab.take_sent(), [asked_for_server()]);
}

#[test]
fn what_one_shard_hears_all_know() {
    let mut lab = lab_of(Size { shards: 4, ..STRANGE }, Method::Direct, &[SERVER]);
    let from = |port: u16| request(Udp(true), &format!("10.9.0.1:{port}"), VIP);
    let outcomes = lab.burst(&(100..140).map(from).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Held));
    assert_eq!(lab.take_sent(), vec![asked_for_server(); 4], "each shard asks for itself");
    server_answers(&mut lab);
    let mut sent: Vec<_> = lab.take_sent().into_iter().map(|(_, bytes)| bytes).collect();
    let mut expected: Vec<_> =
        (100..140).map(|port| from(port).sent(SERVERS, None, "10.1.0.1").bytes()).collect();
    sent.sort();
    expected.sort();
    assert_eq!(sent, expected);
    assert!(matches!(lab.one(&request(Tcp(SYN), CLIENT, VIP)), Outcome::Sent(..)));
}
