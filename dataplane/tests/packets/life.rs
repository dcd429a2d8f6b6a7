//! Lives of connections: states, timeouts, counts, expiry and reuse.

use dataplane::command::Command;
use dataplane::connection::state::State;
use dataplane::service::Method;
use dataplane::settings::Settings;
use dataplane::time::Tick;
use dataplane::verdict::DropReason;

use crate::common::build::{ACK, FIN, Packet, RST, SYN, Transport, reply, request};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{CLIENT, SERVER, VIP, tcp, udp};
use crate::{lab, lab_of};
use Transport::{Tcp, Udp};

/// One step of a TCP life: who speaks, the flags, and how the connection stands then: its state,
/// the seconds it has left, and its server's active and inactive connections.
type Step = (bool, u8, State, u32, (u32, u32));

const CLIENT_SPEAKS: bool = true;
const SERVER_SPEAKS: bool = false;

fn live(method: Method, steps: &[Step]) {
    let mut lab = lab(method, &[SERVER]);
    for (n, &(is_client, flags, state, seconds, load)) in steps.iter().enumerate() {
        lab.wait_ticks(50);
        let packet = match is_client {
            true => request(Tcp(flags), CLIENT, VIP),
            false => reply(Tcp(flags), SERVER, CLIENT),
        };
        assert!(matches!(lab.one(&packet), Outcome::Sent(..)), "step {n}");
        let connection = lab.connection();
        assert_eq!((connection.state, connection.expires_s), (state, seconds), "step {n}");
        assert_eq!(lab.load(&tcp(VIP), SERVER), load, "step {n}");
    }
    let last = steps.last().unwrap().3;
    lab.wait_ticks(last * 100 - 1);
    lab.sweep_all();
    assert_eq!(lab.connection_count(), 1, "until the very end");
    lab.wait_ticks(1);
    lab.sweep_all();
    assert_eq!(lab.connection_count(), 0);
    assert_eq!(lab.load(&tcp(VIP), SERVER), (0, 0), "nothing left to count");
}

#[test]
fn nat_sees_a_whole_life() {
    use State::{Established, FinWait, SynRecv, TimeWait};
    live(
        Method::Nat,
        &[
            (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
            (SERVER_SPEAKS, SYN | ACK, SynRecv, 60, (1, 0)),
            (CLIENT_SPEAKS, ACK, Established, 900, (1, 0)),
            (SERVER_SPEAKS, ACK, Established, 900, (1, 0)),
            (SERVER_SPEAKS, FIN | ACK, FinWait, 120, (0, 1)),
            (CLIENT_SPEAKS, ACK, FinWait, 120, (0, 1)),
            (CLIENT_SPEAKS, FIN | ACK, TimeWait, 120, (0, 1)),
            (SERVER_SPEAKS, ACK, TimeWait, 120, (0, 1)),
        ],
    );
}

#[test]
fn nat_sees_the_client_close_first_and_resets() {
    use State::{Close, CloseWait, Established, SynRecv, TimeWait};
    live(
        Method::Nat,
        &[
            (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
            (CLIENT_SPEAKS, ACK, Established, 900, (1, 0)),
            (CLIENT_SPEAKS, FIN | ACK, CloseWait, 60, (0, 1)),
            (SERVER_SPEAKS, FIN | ACK, TimeWait, 120, (0, 1)),
            (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
            (SERVER_SPEAKS, RST, Close, 10, (0, 1)),
            (CLIENT_SPEAKS, ACK, Close, 10, (0, 1)),
        ],
    );
}

#[test]
fn direct_routing_and_tunnels_see_the_client_only() {
    use State::{Close, Established, FinWait, SynRecv};
    for method in [Method::Direct, Method::Tunnel] {
        live(
            method,
            &[
                (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
                (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
                (CLIENT_SPEAKS, ACK, Established, 900, (1, 0)),
                (CLIENT_SPEAKS, SYN, Established, 900, (1, 0)),
                (CLIENT_SPEAKS, FIN | ACK, FinWait, 120, (0, 1)),
                (CLIENT_SPEAKS, RST, Close, 10, (0, 1)),
                (CLIENT_SPEAKS, SYN, SynRecv, 60, (1, 0)),
                (CLIENT_SPEAKS, 0, Close, 10, (0, 1)),
            ],
        );
    }
}

#[test]
fn datagrams_have_one_inactive_state_refreshed_from_both_sides() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    for packet in [request(Udp(true), CLIENT, VIP), reply(Udp(true), SERVER, CLIENT)] {
        lab.wait(299);
        assert!(matches!(lab.one(&packet), Outcome::Sent(..)));
        let connection = lab.connection();
        assert_eq!((connection.state, connection.expires_s), (State::Udp, 300));
        assert_eq!(lab.load(&udp(VIP), SERVER), (0, 1));
    }
    assert_eq!(lab.traffic(&udp(VIP), SERVER), [1, 1, 1, 45, 32]);
    lab.wait(300);
    lab.sweep_all();
    assert_eq!((lab.connection_count(), lab.load(&udp(VIP), SERVER)), (0, (0, 0)));
}

#[test]
fn listings_name_all_three_ends_and_no_expired_ones() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let clients: Vec<_> = (0..7).map(|n| format!("10.9.0.1:{}", 100 + n)).collect();
    for client in &clients {
        lab.one(&request(Tcp(SYN), client, VIP));
        lab.wait(1);
    }
    let all = lab.connections();
    assert_eq!(all.len(), 7, "read in pages of three");
    for (info, client) in all.iter().zip(&clients) {
        let text = |(address, port)| format!("{address}:{port}");
        let ends = [text(info.client), text(info.virtual_end), text(info.real)];
        assert_eq!((ends, info.protocol), ([client.clone(), VIP.into(), SERVER.into()], 6));
    }
    lab.wait(56);
    assert_eq!(lab.connections().len(), 3, "the first four have run out");
    assert_eq!(lab.connection_count(), 7, "though nobody has swept");
}

/// A record that has run out is as good as none, swept or not.
#[test]
fn a_connection_met_when_expired_is_replaced() {
    let mut lab = lab(Method::Nat, &[SERVER, "10.1.0.2:8080"]);
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let first = lab.one(&syn);
    lab.wait_ticks(5999);
    assert_eq!(lab.one(&syn), first, "same server while it lives");
    lab.wait(60);
    let second = lab.one(&syn);
    assert_ne!(second.bytes()[30..34], first.bytes()[30..34], "scheduled anew");
    assert_eq!(lab.connection_count(), 1);
    assert_eq!(lab.load(&tcp(VIP), SERVER), (1, 0));
    assert_eq!(lab.load(&tcp(VIP), "10.1.0.2:8080"), (0, 0));
    lab.wait(60);
    let outcome = lab.one(&request(Tcp(ACK), CLIENT, VIP));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoConnection));
    assert_eq!(lab.connection_count(), 0, "and gone");
}

#[test]
fn a_reply_to_an_expired_connection_is_none() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    lab.one(&request(Udp(true), CLIENT, VIP));
    lab.wait(300);
    let outcome = lab.one(&reply(Udp(true), SERVER, CLIENT));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoConnection));
    assert_eq!(lab.load(&udp(VIP), SERVER), (0, 0));
}

/// Without `conn_reuse_mode`, a SYN on a connection that is over opens it again on the same server.
#[test]
fn a_syn_reuses_a_closed_connection() {
    let mut lab = lab(Method::Nat, &[SERVER, "10.1.0.2:8080"]);
    lab.apply(&Command::PutSettings(Settings { conn_reuse_mode: 0, ..Settings::default() }));
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let first = lab.one(&syn);
    lab.one(&request(Tcp(RST), CLIENT, VIP));
    lab.one(&reply(Tcp(RST), "10.1.0.2:8080", CLIENT));
    assert_eq!(lab.connection().state, State::Close);
    assert_eq!(lab.one(&syn), first);
    assert_eq!(lab.connection().state, State::SynRecv);
    assert_eq!(lab.load(&tcp(VIP), "10.1.0.2:8080"), (1, 0));
    assert_eq!(lab.traffic(&tcp(VIP), "10.1.0.2:8080")[0], 1, "no new connection");
}

fn fill(lab: &mut Lab, count: u16) {
    let syn = |n: u16| -> Packet { request(Tcp(SYN), &format!("10.9.0.1:{}", 1000 + n), VIP) };
    let outcomes = lab.burst(&(0..count).map(syn).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Sent(..))));
}

#[test]
fn ticks_sweep_the_whole_table_within_seconds() {
    let mut lab = lab(Method::Direct, &[SERVER]);
    fill(&mut lab, 1000);
    lab.wait(60);
    lab.tick();
    assert!(lab.connection_count() >= 1000 - 256, "little at a time");
    lab.idle(3);
    assert_eq!((lab.connection_count(), lab.load(&tcp(VIP), SERVER)), (0, (0, 0)));
    fill(&mut lab, 1000);
    assert_eq!(lab.connection_count(), 1000, "all records are free again");
}

/// Time starts anywhere and wraps; neither expiry nor next hops mind.
#[test]
fn time_starts_anywhere() {
    for start in [0, 0x7fff_f000, 0x8000_0001, 0xc000_0000, u32::MAX - 100] {
        let mut lab = lab_of(Size { start: Tick(start), ..SIZE }, Method::Direct, &[SERVER]);
        fill(&mut lab, 100);
        lab.idle(58);
        assert_eq!(lab.connection_count(), 100, "{start:#x}: not yet");
        lab.idle(5);
        assert_eq!(lab.connection_count(), 0, "{start:#x}: swept");
    }
}

#[test]
fn a_full_table_has_room_again_after_expiry() {
    let mut lab = lab_of(Size { connections: 50, ..SIZE }, Method::Direct, &[SERVER]);
    fill(&mut lab, 50);
    let late = request(Tcp(SYN), "10.9.0.2:1", VIP);
    assert_eq!(lab.one(&late), Outcome::Dropped(DropReason::TableFull));
    lab.wait(60);
    lab.sweep_all();
    assert!(matches!(lab.one(&late), Outcome::Sent(..)));
    assert_eq!(lab.load(&tcp(VIP), SERVER), (1, 0));
}

/// Counted, kept and given its time, though the packet itself went no further.
#[test]
fn a_refused_first_packet_leaves_its_connection() {
    let too_big = request(Tcp(SYN), CLIENT, VIP).payload(&[0; 1461]);
    for packet in [request(Tcp(SYN), CLIENT, VIP).ttl(1), too_big] {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert!(matches!(lab.one(&packet), Outcome::Dropped(_)));
        assert_eq!(lab.connection().expires_s, 60);
        assert_eq!(lab.load(&tcp(VIP), SERVER), (1, 0));
        let length = packet.packet().len() as u64;
        assert_eq!(lab.traffic(&tcp(VIP), SERVER), [1, 1, 0, length, 0]);
    }
}

/// As for requests: counted, moves the connection on, goes no further.
#[test]
fn a_refused_reply_leaves_no_trace() {
    let too_big = reply(Tcp(RST), SERVER, CLIENT).payload(&[0; 1461]);
    let rows = [
        (reply(Tcp(RST), SERVER, CLIENT).ttl(1), DropReason::TtlExpired),
        (reply(Tcp(RST), SERVER, CLIENT).ttl(0), DropReason::TtlExpired),
        (too_big, DropReason::TooBig),
    ];
    for (packet, reason) in rows {
        let mut lab = lab(Method::Nat, &[SERVER]);
        lab.one(&request(Tcp(SYN), CLIENT, VIP));
        assert_eq!(lab.one(&packet), Outcome::Dropped(reason));
        assert_eq!(lab.connection().state, State::SynRecv);
        assert_eq!(lab.traffic(&tcp(VIP), SERVER)[2], 0, "{reason:?}");
    }
}
