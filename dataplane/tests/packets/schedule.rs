//! Schedulers through real packets, by one shard and by four.

use dataplane::service::Method;

use crate::common::build::{FIN, Packet, SYN, Transport, request};
use crate::common::check::see;
use crate::common::lab::{Lab, SIZE, Size};
use crate::common::names::{VIP, server, service, tcp, udp};
use Transport::{Tcp, Udp};

fn syn(n: u16) -> Packet {
    request(Tcp(SYN), &format!("10.9.0.1:{}", 1000 + n), VIP)
}

/// Servers 10.1.0.1, .2, .3 with these weights, added in this order.
fn lab(scheduler: &str, weights: &[i64], shards: u16) -> Lab {
    let mut lab = Lab::new(Size { shards, ..SIZE });
    for key in [tcp(VIP), udp(VIP)] {
        lab.add_service(service(key, scheduler));
        for (n, &weight) in weights.iter().enumerate() {
            lab.add_server(&key, server(&text(n as u8 + 1), Method::Nat, weight));
        }
    }
    lab
}

fn text(n: u8) -> String {
    format!("10.1.0.{n}:80")
}

/// The last byte of the address each packet went to.
fn chosen(lab: &mut Lab, packets: impl Iterator<Item = Packet>) -> Vec<u8> {
    let shards = lab.shards.len();
    packets
        .enumerate()
        .map(|(n, packet)| {
            let outcome = lab.offer(n % shards, vec![packet.frame()]).remove(0);
            see(outcome.bytes()).destination.0.octets()[3]
        })
        .collect()
}

#[test]
fn each_scheduler_spreads_new_connections_its_way() {
    // Newest first, as the kernel keeps servers: 3, 2, 1. `wrr` begins at the level that it had
    // when there was one server only, as the kernel's does.
    let rows: [(&str, &str, &[i64], &[u8]); 7] = [
        ("rr takes turns", "rr", &[1, 1, 1], &[3, 2, 1, 3, 2, 1, 3]),
        ("rr ignores weights but 0", "rr", &[9, 0, 1], &[3, 1, 3, 1]),
        ("wrr by weight", "wrr", &[2, 3, 4], &[3, 2, 1, 3, 3, 2, 3, 2, 1, 3, 2, 1]),
        ("wrr by their ratio", "wrr", &[100, 200], &[2, 1, 2, 2, 1, 2]),
        ("lc to the fewest connections", "lc", &[5, 1, 1], &[3, 2, 1, 3, 2, 1]),
        ("wlc to the fewest by weight", "wlc", &[1, 2, 0], &[2, 1, 2, 2, 1, 2]),
        ("wlc, equal weights", "wlc", &[7, 7], &[2, 1, 2, 1]),
    ];
    for (shows, scheduler, weights, expected) in rows {
        for shards in [1, 2, 4] {
            let mut lab = lab(scheduler, weights, shards);
            let count = expected.len() as u16;
            assert_eq!(chosen(&mut lab, (0..count).map(syn)), expected, "{shows}, {shards} shards");
        }
    }
}

/// Sequences recorded from the kernel, servers as letters in listing order, the newest first: of a
/// table built by adding servers to the `wrr` service, and of `wrr` given to a whole table.
#[test]
fn wrr_sequences_are_the_kernels() {
    let rows: [(&[i64], &str, &str); 5] = [
        (&[4, 3, 2], "ABCAABABC", "AABABCABC"),
        (&[1, 1, 1], "ABC", "ABC"),
        (&[5, 1], "ABAAAA", "AAAAAB"),
        (&[2, 4, 6], "ABCCBC", "CBCABC"),
        (&[3, 0, 1], "ACAA", "AAAC"),
    ];
    for (listed, added, edited) in rows {
        let weights: Vec<_> = listed.iter().copied().rev().collect();
        let count = 2 * added.len() as u16;
        let letters = |choices: Vec<u8>| -> String {
            choices.iter().map(|&n| (b'A' + listed.len() as u8 - n) as char).collect()
        };
        let mut by_adding = lab("wrr", &weights, 2);
        assert_eq!(letters(chosen(&mut by_adding, (0..count).map(syn))), added.repeat(2));
        let mut by_editing = lab("rr", &weights, 2);
        by_editing.edit_service(service(tcp(VIP), "wrr"));
        assert_eq!(letters(chosen(&mut by_editing, (0..count).map(syn))), edited.repeat(2));
    }
}

#[test]
fn least_connection_follows_closing_and_expiry() {
    for scheduler in ["lc", "wlc"] {
        let mut lab = lab(scheduler, &[1, 1], 2);
        assert_eq!(chosen(&mut lab, (0..4).map(syn)), [2, 1, 2, 1]);
        // Both connections of server 1 close: two inactive ones weigh less than two active ones.
        for n in [1, 3] {
            lab.one(&syn(n).transport(Tcp(FIN)));
        }
        assert_eq!(chosen(&mut lab, (4..7).map(syn)), [1, 1, 2], "{scheduler}");
        lab.wait(120);
        lab.sweep_all();
        assert_eq!(lab.load(&tcp(VIP), &text(1)), (0, 0));
        assert_eq!(chosen(&mut lab, (7..9).map(syn)), [2, 1], "{scheduler}, all forgotten");
    }
}

#[test]
fn an_active_connection_weighs_256_datagram_ones() {
    let mut lab = Lab::new(SIZE);
    let key = udp(VIP);
    lab.add_service(service(key, "lc"));
    for n in [1, 2] {
        lab.add_server(&key, server(&text(n), Method::Nat, 1));
    }
    let datagram = |n: u16| request(Udp(true), &format!("10.9.0.1:{}", 1000 + n), VIP);
    let choices = chosen(&mut lab, (0..10).map(datagram));
    assert_eq!(choices, [2, 1, 2, 1, 2, 1, 2, 1, 2, 1], "all inactive, all equal");
}

#[test]
fn packets_of_a_connection_do_not_advance_the_scheduler() {
    let mut lab = lab("rr", &[1, 1], 1);
    assert_eq!(chosen(&mut lab, [0, 0, 0, 1, 0, 2].into_iter().map(syn)), [2, 2, 2, 1, 2, 2]);
}

#[test]
fn servers_come_and_go() {
    let mut lab = lab("rr", &[1, 1, 1], 1);
    let key = tcp(VIP);
    assert_eq!(chosen(&mut lab, (0..2).map(syn)), [3, 2]);
    lab.delete_server(&key, &text(2));
    assert_eq!(chosen(&mut lab, (2..4).map(syn)), [1, 3], "on behind the one deleted");
    lab.add_server(&key, server(&text(4), Method::Nat, 1));
    assert_eq!(chosen(&mut lab, (4..7).map(syn)), [1, 4, 3], "the newest comes first in a turn");
    lab.edit_service(service(key, "wrr"));
    assert_eq!(chosen(&mut lab, (7..10).map(syn)), [4, 3, 1], "another scheduler starts anew");
    lab.edit_service(service(key, "wrr"));
    lab.edit_server(&key, server(&text(4), Method::Nat, 2));
    assert_eq!(chosen(&mut lab, (10..14).map(syn)), [4, 3, 1, 4], "at the level it was");
}
