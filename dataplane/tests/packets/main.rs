//! Packets in, verdicts and packets out: tables whose rows say what they show.
//!
//! An expected frame is built by etherparse from scratch and compared byte for byte, so every
//! checksum in it has been computed anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../common/mod.rs"]
mod common;

mod admin;
mod arp;
mod direct;
mod drops;
mod floating;
mod icmp;
mod life;
mod nat;
mod neighbours;
mod persistence;
mod schedule;
mod six;
mod tunnel;

use common::build::Packet;
use common::lab::{Lab, Outcome, SIZE, Size};
use common::names::{VIP, server, service, tcp, udp};
use dataplane::service::Method;

/// A laboratory whose services at [`VIP`], TCP and UDP, have these servers in turn.
fn lab(method: Method, servers: &[&str]) -> Lab {
    lab_of(SIZE, method, servers)
}

fn lab_of(size: Size, method: Method, servers: &[&str]) -> Lab {
    let mut lab = Lab::new(size);
    for key in [tcp(VIP), udp(VIP)] {
        lab.add_service(service(key, "rr"));
        for text in servers {
            lab.add_server(&key, server(text, method, 1));
        }
    }
    lab
}

/// Asserts that a packet left exactly as `expected`.
#[track_caller]
fn assert_sent(outcome: &Outcome, expected: &Packet, shows: &str) {
    let expected = Outcome::Sent(expected.port, expected.bytes());
    assert_eq!(hex(outcome), hex(&expected), "{shows}");
}

/// Readable when it differs.
fn hex(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Sent(port, bytes) => {
            let words: Vec<_> = bytes.chunks(2).map(hex_word).collect();
            format!("port {} {}", port.0, words.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn hex_word(word: &[u8]) -> String {
    word.iter().map(|byte| format!("{byte:02x}")).collect()
}
