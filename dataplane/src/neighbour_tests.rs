//! Life of a next hop: asked for, confirmed, doubted, evicted.

use super::*;
use crate::interface::Interface;
use core::mem::size_of;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn topology() -> Topology {
    let on_link = "10.1.0.254/16".parse().unwrap();
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let interface =
        Interface { port: PortId(0), vlan: None, mac, mtu: 1500, addresses: vec![on_link] };
    Topology::new(vec![interface], &[]).unwrap()
}

fn hop(n: u8) -> NextHop {
    NextHop { interface: InterfaceId(0), address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, n)) }
}

fn learned(n: u8) -> Learned {
    Learned { interface: InterfaceId(0), address: hop(n).address, mac: MAC }
}

fn seconds(n: u32) -> Tick {
    Tick(n * TICKS_PER_SECOND)
}

#[test]
fn a_hop_fits_half_a_cache_line() {
    assert!(size_of::<Hop>() <= 32, "{}", size_of::<Hop>());
}

#[test]
fn three_requests_a_second_apart_then_unreachable_then_anew() {
    let mut neighbours = Neighbours::new(4);
    let id = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    for second in 0..3 {
        assert_eq!(neighbours.ask(seconds(second), id), Ok(Some(hop(1))), "{second}");
        assert_eq!(neighbours.ask(seconds(second), id), Ok(None));
    }
    for _ in 0..2 {
        assert_eq!(neighbours.ask(seconds(3), id), Err(DropReason::NeighbourUnreachable));
    }
    assert_eq!(neighbours.ask(seconds(3).after(1), id), Ok(Some(hop(1))));
}

#[test]
fn only_addresses_asked_for_are_learned() {
    let mut neighbours = Neighbours::new(4);
    assert_eq!(neighbours.learn(seconds(0), &learned(1)), None);
    let id = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    assert!(!neighbours.hop(seconds(0), id).is_resolved);
    assert_eq!(neighbours.learn(seconds(0), &learned(1)), Some(id));
    assert_eq!(neighbours.learn(seconds(0), &learned(1)), None, "known already");
    assert!(neighbours.hop(seconds(0), id).is_resolved);
}

#[test]
fn a_used_address_is_confirmed_and_lost_without_answer() {
    let mut neighbours = Neighbours::new(4);
    let id = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    neighbours.learn(seconds(0), &learned(1));
    assert_eq!(neighbours.next_due(seconds(29), 0), None);
    for second in 30..33 {
        assert!(neighbours.hop(seconds(second), id).is_resolved);
        assert_eq!(neighbours.next_due(seconds(second), 0), Some((1, hop(1))));
    }
    assert_eq!(neighbours.next_due(seconds(33), 0), None);
    assert!(!neighbours.hop(seconds(33), id).is_resolved);
}

#[test]
fn a_full_table_evicts_what_is_idle_and_unresolved_ones_first() {
    let mut neighbours = Neighbours::new(2);
    let first = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    neighbours.fix(seconds(0), &topology(), hop(2), MAC).unwrap();
    let full = Err(DropReason::NeighbourTableFull);
    assert_eq!(neighbours.entry(seconds(0), &topology(), hop(3)), full, "just asked for");
    neighbours.learn(seconds(0), &learned(1));
    assert_eq!(neighbours.entry(seconds(5), &topology(), hop(3)), full, "resolved, lately used");
    let third = neighbours.entry(seconds(60), &topology(), hop(3)).unwrap();
    assert!(!neighbours.is_current(first), "stale");
    assert!(neighbours.is_current(third));
    let fourth = neighbours.entry(seconds(61), &topology(), hop(4)).unwrap();
    assert!(!neighbours.is_current(third), "never answered");
    assert_eq!(neighbours.entry(seconds(61), &topology(), hop(5)), full, "static ones stay");
    assert!(neighbours.is_current(fourth));
}

#[test]
fn only_answers_confirm() {
    let mut neighbours = Neighbours::new(2);
    let id = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    neighbours.learn(seconds(0), &learned(1));
    for second in (5..200).step_by(5) {
        neighbours.learn(seconds(second), &learned(1)); // unasked
        neighbours.hop(seconds(second), id);
    }
    assert_eq!(neighbours.next_due(seconds(200), 0), Some((1, hop(1))), "asked all the same");
    neighbours.learn(seconds(200), &learned(1));
    assert_eq!(neighbours.next_due(seconds(205), 0), None);
}

#[test]
fn an_address_unused_for_long_is_asked_for_anew() {
    let mut neighbours = Neighbours::new(2);
    let id = neighbours.entry(seconds(0), &topology(), hop(1)).unwrap();
    neighbours.learn(seconds(0), &learned(1));
    assert_eq!(neighbours.next_due(seconds(3601), 0), None);
    assert!(!neighbours.hop(seconds(3601), id).is_resolved);
}
