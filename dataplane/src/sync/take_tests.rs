//! What becomes of records: connections and templates made, bound, brought up to date or replaced,
//! the counts that go along, and that nothing at all that is told does harm.

use super::*;
use crate::connection::state::LONGEST_S;
use crate::service::Family;
use crate::sync::rig_tests::{
    ACK, CLOSE_WAIT, FIN_ACK, FIN_WAIT, Kind, Rig, SYN, inactive, record, template,
};
use alloc::format;
use alloc::string::ToString;

const TCP: Kind = Kind::Tcp(ACK);
const VIP: &str = "10.0.0.1:80";
const VIP6: &str = "[2001:db8::1]:80";
const CLIENT: &str = "10.9.0.7:40000";
const ONE: &str = "10.1.0.1:8080";
const TWO: &str = "10.1.0.2:8080";
const THREE: &str = "10.1.0.3:80";

/// A director with a service on another port, so that the family is in use.
fn rig() -> Rig {
    let mut rig = Rig::new(1, 64, 64);
    rig.service(TCP, "10.0.0.1:9", None);
    rig
}

/// The same with a service and servers.
fn served(persistence_s: Option<u32>) -> Rig {
    let mut rig = rig();
    rig.service(TCP, VIP, persistence_s);
    for server in [ONE, TWO] {
        rig.server(TCP, VIP, server, Method::Nat);
    }
    rig.server(TCP, VIP, THREE, Method::Direct);
    rig
}

#[test]
fn without_a_service_connections_are_forwarded_as_their_flags_say() {
    let mut rig = rig();
    let ends = [
        ("10.9.0.1:1", "10.1.0.1:8080", Method::Nat),
        ("10.9.0.2:1", "10.1.0.2:80", Method::Direct),
        ("10.9.0.3:1", "10.1.0.3:80", Method::Tunnel),
        ("10.9.0.4:1", "10.1.0.4:8080", Method::Nat),
    ];
    for (client, real, method) in ends {
        rig.take(&record(client, VIP, real, method), Told::Live);
    }
    assert_eq!((rig.count(|sync| sync.made.get()), rig.count(|sync| sync.unbound.get())), (4, 4));
    // More than once, and in turns: all share the slot of connections without a server.
    for _ in 0..2 {
        for (n, (client, real, method)) in ends.iter().enumerate() {
            let sent = rig.request(TCP, client, VIP).expect("it is forwarded");
            let destination = match method {
                Method::Nat => (*real).to_string(),
                Method::Direct => VIP.to_string(),
                Method::Tunnel => "10.1.0.3:0".to_string(),
            };
            assert_eq!((sent.to, sent.destination.to_string()), (n as u8 + 1, destination));
        }
    }
    rig.check();
    rig.end();
}

/// Errors about a server's packets go to that server, too.
#[test]
fn errors_follow_connections_without_a_server() {
    let mut rig = rig();
    let ends = [("10.9.0.1:1", ONE, Method::Nat), ("10.9.0.2:1", "10.1.0.2:80", Method::Direct)];
    for (client, real, method) in ends {
        rig.take(&record(client, VIP, real, method), Told::Live);
    }
    for (client, to) in [("10.9.0.1:1", 1), ("10.9.0.2:1", 2), ("10.9.0.1:1", 1)] {
        let sent = rig.error(TCP, VIP, client).expect("it is forwarded");
        assert_eq!(sent.to, to, "{client}");
    }
    rig.check();
    rig.end();
}

#[test]
fn a_packet_binds_a_connection_whose_server_has_been_configured_since() {
    let mut rig = rig();
    rig.take(&record(CLIENT, VIP, ONE, Method::Direct), Told::Live);
    rig.service(TCP, VIP, None);
    rig.server(TCP, VIP, ONE, Method::Nat);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, 0));
    let sent = rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
    assert_eq!(sent.destination.to_string(), ONE, "by the server's method");
    assert_eq!(rig.load(TCP, VIP, ONE), (1, 0, 0));
    let sent = rig.reply(TCP, ONE, CLIENT).expect("it is translated");
    assert_eq!(sent.destination.to_string(), CLIENT);
    assert_eq!(sent.packet[12..16], [10, 0, 0, 1], "from the virtual address");
    rig.check();
    rig.end();
}

#[test]
fn an_update_binds_it_too_and_counts_follow_states() {
    let mut rig = rig();
    let told = record(CLIENT, VIP, ONE, Method::Nat);
    rig.take(&told, Told::Live);
    rig.service(TCP, VIP, None);
    rig.server(TCP, VIP, ONE, Method::Nat);
    rig.take(&inactive(&told, CLOSE_WAIT), Told::Live);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 1, 0));
    rig.check();
    rig.take(&told, Told::Live);
    assert_eq!(rig.load(TCP, VIP, ONE), (1, 0, 0));
    assert_eq!(rig.count(|sync| sync.updated.get()), 2);
    rig.wait(899);
    rig.check();
    assert_eq!(rig.load(TCP, VIP, ONE), (1, 0, 0));
    rig.wait(1);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, 0), "it has run out");
    rig.end();
}

#[test]
fn a_server_of_any_port_is_meant_first_where_ports_are_kept() {
    let mut rig = rig();
    rig.service(TCP, "10.0.0.1:0", Some(300));
    for end in ["10.1.0.1:0", "10.1.0.1:80"] {
        rig.server(TCP, "10.0.0.1:0", end, Method::Direct);
    }
    rig.take(&record(CLIENT, VIP, "10.1.0.1:80", Method::Direct), Told::Live);
    assert_eq!(rig.load(TCP, "10.0.0.1:0", "10.1.0.1:0"), (1, 0, 0));
    let nat = record("10.9.0.8:1", VIP, "10.1.0.1:80", Method::Nat);
    rig.take(&nat, Told::Live);
    assert_eq!(rig.load(TCP, "10.0.0.1:0", "10.1.0.1:80"), (1, 0, 0), "not where they change");
    rig.end();
}

/// A client's port has been used again, for a connection to another server.
#[test]
fn a_late_farewell_is_ignored_and_an_active_connection_replaces() {
    let mut rig = served(None);
    let (old, new) = (record(CLIENT, VIP, ONE, Method::Nat), record(CLIENT, VIP, TWO, Method::Nat));
    rig.take(&new, Told::Live);
    rig.take(&inactive(&old, FIN_WAIT), Told::Live);
    assert_eq!(rig.count(|sync| sync.late.get()), 1);
    assert_eq!((rig.load(TCP, VIP, ONE), rig.load(TCP, VIP, TWO)), ((0, 0, 0), (1, 0, 0)));
    rig.take(&old, Told::Live);
    assert_eq!((rig.load(TCP, VIP, ONE), rig.load(TCP, VIP, TWO)), ((1, 0, 0), (0, 0, 0)));
    assert_eq!(rig.shards[0].connections(), 1);
    let sent = rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
    assert_eq!(sent.destination.to_string(), ONE);
    rig.check();
    rig.end();
}

/// What has run out but was not swept yet is no obstacle.
#[test]
fn what_has_run_out_is_made_anew() {
    let mut rig = served(None);
    let old = record(CLIENT, VIP, ONE, Method::Nat);
    rig.take(&Record { timeout_s: 10, ..old }, Told::Live);
    rig.now = rig.now.after_seconds(10);
    rig.take(&inactive(&record(CLIENT, VIP, TWO, Method::Nat), FIN_WAIT), Told::Live);
    assert_eq!((rig.load(TCP, VIP, ONE), rig.load(TCP, VIP, TWO)), ((0, 0, 0), (0, 1, 0)));
    assert_eq!(rig.count(|sync| sync.made.get()), 2);
    rig.end();
}

/// The rest of a full copy may have been made before packets came here.
#[test]
fn a_copy_never_moves_what_packets_have_passed_since() {
    let told = record(CLIENT, VIP, ONE, Method::Nat);
    let elsewhere = record(CLIENT, VIP, TWO, Method::Nat);
    let older = inactive(&told, FIN_WAIT);
    let ways: [fn(&mut Rig); 3] = [
        |rig| {
            rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
        },
        |rig| {
            rig.reply(TCP, ONE, CLIENT).expect("it is translated");
        },
        |_| {},
    ];
    for (n, pass) in ways.iter().enumerate() {
        let mut rig = served(None);
        rig.take(&told, Told::Live);
        pass(&mut rig);
        rig.take(&older, Told::Whole);
        let is_moved = n == 2;
        assert_eq!(rig.load(TCP, VIP, ONE), if is_moved { (0, 1, 0) } else { (1, 0, 0) }, "{n}");
        rig.take(&elsewhere, Told::Whole);
        assert_eq!(rig.load(TCP, VIP, TWO), (0, 0, 0), "it is never replaced");
        // The other director's word as it happens counts, and from then on its copy does again.
        rig.take(&told, Told::Live);
        rig.take(&older, Told::Whole);
        assert_eq!(rig.load(TCP, VIP, ONE), (0, 1, 0), "{n}");
        rig.end();
    }
    let mut rig = served(None);
    let sent = rig.request(Kind::Tcp(SYN), CLIENT, VIP).expect("it is scheduled");
    let real = sent.destination.to_string();
    rig.take(&record(CLIENT, VIP, ONE, Method::Nat), Told::Whole);
    rig.take(&record(CLIENT, VIP, TWO, Method::Nat), Told::Whole);
    assert_eq!(rig.count(|sync| sync.late.get()), 2, "what was opened here is ours");
    assert!(rig.request(TCP, CLIENT, VIP).is_some_and(|sent| sent.destination.to_string() == real));
    rig.end();
}

#[test]
fn a_copy_never_moves_a_template_that_was_used_here() {
    let (one, two) = (template("10.9.0.7:0", VIP, ONE), template("10.9.0.7:0", VIP, TWO));
    let mut rig = served(Some(300));
    rig.take(&one, Told::Whole);
    rig.take(&two, Told::Whole);
    assert_eq!(rig.load(TCP, VIP, TWO), (0, 0, 1), "it has not been used here");
    let to = |rig: &mut Rig, client| {
        rig.request(Kind::Tcp(SYN), client, VIP).expect("it is scheduled").destination.to_string()
    };
    assert_eq!(to(&mut rig, CLIENT), TWO, "the client stays where it was");
    rig.take(&one, Told::Whole);
    assert_eq!(rig.count(|sync| sync.late.get()), 1, "a connection is under it");
    rig.wait(100);
    assert_eq!(rig.shards[0].connections(), 0, "that has ended");
    rig.take(&one, Told::Whole);
    assert_eq!(to(&mut rig, "10.9.0.7:40001"), TWO, "but it has been");
    rig.take(&one, Told::Live);
    rig.check();
    assert_eq!(to(&mut rig, "10.9.0.7:40002"), ONE, "what happens now counts");
    rig.check();
    rig.end();
}

#[test]
fn templates_keep_their_clients_and_count() {
    let mut rig = served(Some(300));
    let told = template("10.9.0.7:0", VIP, ONE);
    for _ in 0..3 {
        rig.take(&told, Told::Live);
        assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, 1));
    }
    assert_eq!((rig.count(|sync| sync.made.get()), rig.count(|sync| sync.updated.get())), (1, 2));
    for port in 1..5 {
        let client = format!("10.9.0.7:{port}");
        let sent = rig.request(Kind::Tcp(SYN), &client, VIP).expect("it is scheduled");
        assert_eq!(sent.destination.to_string(), ONE);
    }
    assert_eq!(rig.load(TCP, VIP, ONE), (4, 0, 1));
    // Its server is deleted: the record means nobody now, and the client goes elsewhere.
    rig.delete_server(TCP, VIP, ONE);
    rig.take(&told, Told::Live);
    rig.check();
    let sent = rig.request(Kind::Tcp(SYN), "10.9.0.7:9", VIP).expect("it is scheduled");
    assert_ne!(sent.destination.to_string(), ONE);
    rig.check();
    rig.end();
}

/// Whoever takes a template without a server, any shard may end it.
#[test]
fn templates_without_a_server_end_at_any_shard() {
    for ends_at in 0..3 {
        let mut rig = Rig::new(3, 64, 1024);
        for host in 1..=99 {
            rig.take(&template(&format!("10.9.0.{host}:0"), VIP, ONE), Told::Live);
        }
        assert_eq!(rig.templates.len(), 99);
        rig.now = rig.now.after_seconds(300);
        rig.shards[ends_at].sweep_all_templates(rig.now);
        assert_eq!(rig.templates.len(), 0);
        rig.end();
    }
}

/// One that is bound, or loses its server, at another shard than it came to.
#[test]
fn templates_are_bound_and_unbound_at_any_shard() {
    let mut rig = Rig::new(2, 64, 64);
    let told = template("10.9.0.7:0", VIP, ONE);
    rig.shards[0].take(rig.now, &told, Told::Live);
    rig.service(TCP, VIP, Some(300));
    rig.server(TCP, VIP, ONE, Method::Nat);
    rig.shards[1].take(rig.now, &told, Told::Live);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, 1));
    rig.delete_server(TCP, VIP, ONE);
    rig.shards[0].take(rig.now, &told, Told::Live);
    rig.shards[1].take(rig.now, &template("10.9.0.7:0", VIP, TWO), Told::Live);
    rig.check();
    rig.end();
}

#[test]
fn full_tables_are_counted() {
    let mut rig = Rig::new(1, 8, 8);
    rig.service(TCP, VIP, None);
    rig.server(TCP, VIP, ONE, Method::Nat);
    for port in 1..=10 {
        rig.take(&record(&format!("10.9.0.7:{port}"), VIP, ONE, Method::Nat), Told::Live);
    }
    assert_eq!((rig.count(|sync| sync.made.get()), rig.count(|sync| sync.no_room.get())), (8, 2));
    assert_eq!(rig.load(TCP, VIP, ONE), (8, 0, 0));
    rig.check();
    // One that is known needs no room, and neither does one that takes another's place.
    rig.take(&record("10.9.0.7:1", VIP, ONE, Method::Nat), Told::Live);
    rig.take(&record("10.9.0.7:2", VIP, TWO, Method::Nat), Told::Live);
    assert_eq!(rig.count(|sync| sync.no_room.get()), 2);
    rig.end();

    let mut rig = Rig::new(1, 8, 8);
    rig.service(TCP, VIP, Some(300));
    rig.server(TCP, VIP, ONE, Method::Nat);
    for (n, m) in (0..10).flat_map(|n| (0..250).map(move |m| (n, m))) {
        rig.take(&template(&format!("10.9.{n}.{m}:0"), VIP, ONE), Told::Live);
    }
    let made = rig.count(|sync| sync.made.get());
    assert_eq!(made + rig.count(|sync| sync.no_room.get()), 2500);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, made as u32));
    assert_eq!(rig.templates.len() as u64, made);
    rig.end();
}

#[test]
fn timeouts_are_the_told_ones_within_limits() {
    let mut rig = served(Some(300));
    let connection = record(CLIENT, VIP, ONE, Method::Nat);
    let template = template("10.9.0.7:0", VIP, ONE);
    for (told, connections, templates) in [
        (0, 900, 180),
        (77, 77, 77),
        (LONGEST_S, LONGEST_S, LONGEST_S),
        (LONGEST_S + 1, LONGEST_S, LONGEST_S),
        (u32::MAX, LONGEST_S, LONGEST_S),
    ] {
        rig.take(&Record { timeout_s: told, ..connection }, Told::Live);
        rig.take(&Record { timeout_s: told, ..template }, Told::Live);
        let (_, known) = rig.shards[0].v4.connections.at(0).expect("it is there");
        assert_eq!(rig.now.seconds_until(known.expires), connections, "{told}");
        rig.templates.list(rig.now, |info| assert_eq!(info.expires_s, templates, "{told}"));
    }
    // Without a time it lasts as its state says.
    rig.take(&Record { timeout_s: 0, ..inactive(&connection, CLOSE_WAIT) }, Told::Live);
    let (_, known) = rig.shards[0].v4.connections.at(0).expect("it is there");
    assert_eq!(rig.now.seconds_until(known.expires), 60);
    rig.end();
}

/// Nothing is made of what is no connection.
#[test]
fn what_cannot_be_is_counted() {
    let mut rig = served(None);
    let good = record(CLIENT, VIP, ONE, Method::Nat);
    let six = record("[2001:db8::7]:1", VIP6, "[2001:db8:1::1]:80", Method::Nat);
    let bad = [
        Record { protocol: 0, state: 0, ..good },
        Record { protocol: 1, state: 0, ..good },
        Record { protocol: 255, state: 0, ..good },
        Record { state: 11, ..good },
        Record { protocol: 17, state: 1, ..good },
        Record { protocol: 132, state: 14, ..good },
        Record { virtual_end: six.virtual_end, ..good },
        Record { real: six.real, ..good },
        Record { client: six.client, ..good },
        Record { real: six.real, ..template("10.9.0.7:0", VIP, ONE) },
        Record { virtual_end: six.virtual_end, ..template("10.9.0.7:0", VIP, ONE) },
    ];
    for (record, n) in bad.iter().zip(1..) {
        rig.take(record, Told::Live);
        assert_eq!(rig.count(|sync| sync.unfit.get()), n, "{record:?}");
    }
    assert_eq!((rig.shards[0].connections(), rig.templates.len()), (0, 0));
    for protocol in [50, 51] {
        rig.take(&Record { protocol, state: 0, ..good }, Told::Live);
    }
    assert_eq!(rig.shards[0].connections(), 2, "AH and ESP, as the kernel");
    rig.end();
}

/// A server that is deleted keeps its count until its connections end; one that comes back has it.
#[test]
fn deleted_servers_keep_their_counts() {
    let mut rig = served(None);
    let told = record(CLIENT, VIP, ONE, Method::Nat);
    rig.take(&told, Told::Live);
    rig.delete_server(TCP, VIP, ONE);
    rig.take(&inactive(&told, FIN_WAIT), Told::Live);
    rig.check();
    assert!(rig.request(TCP, CLIENT, VIP).is_none(), "its server is gone");
    rig.server(TCP, VIP, ONE, Method::Nat);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 1, 0));
    assert!(rig.request(TCP, CLIENT, VIP).is_some());
    rig.delete_server(TCP, VIP, ONE);
    rig.wait(1000);
    rig.wait(1000);
    rig.check();
    rig.take(&told, Told::Live);
    assert_eq!(rig.count(|sync| sync.unbound.get()), 1);
    rig.end();
}

/// A connection that has been taken goes on here: to its end, with its counts.
#[test]
fn packets_move_on_what_was_taken() {
    let mut rig = served(None);
    rig.roles(true, true);
    rig.take(&record(CLIENT, VIP, ONE, Method::Nat), Told::Live);
    rig.request(Kind::Tcp(FIN_ACK), CLIENT, VIP).expect("it is forwarded");
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 1, 0));
    let told = rig.told();
    assert_eq!((told.len(), told[0].state, told[0].timeout_s), (1, CLOSE_WAIT, 60));
    rig.wait(60);
    assert_eq!(rig.load(TCP, VIP, ONE), (0, 0, 0));
    rig.end();
}

#[test]
fn backup_only_stops_requests_but_no_replies() {
    for family in [Family::V4, Family::V6] {
        let (vip, client, server) = match family {
            Family::V4 => (VIP, CLIENT, ONE),
            Family::V6 => (VIP6, "[2001:db8:9::7]:40000", "[2001:db8:1::1]:8080"),
        };
        let mut rig = Rig::new(1, 64, 64);
        rig.service(TCP, vip, None);
        rig.server(TCP, vip, server, Method::Nat);
        rig.take(&record(client, vip, server, Method::Nat), Told::Live);
        let is_forwarded = |rig: &mut Rig| {
            let sent = rig.request(TCP, client, vip);
            sent.is_some_and(|sent| sent.destination.to_string() == server)
        };
        for (backup_only, is_backup, takes) in
            [("0", true, true), ("1", true, false), ("1", false, true), ("0", false, true)]
        {
            rig.set("backup_only", backup_only);
            rig.roles(false, is_backup);
            assert_eq!(is_forwarded(&mut rig), takes, "{backup_only} {is_backup}");
            let sent = rig.reply(TCP, server, client).expect("it is translated");
            assert_eq!(sent.destination.to_string(), client);
        }
        // The other order.
        rig.roles(false, true);
        rig.set("backup_only", "1");
        assert!(!is_forwarded(&mut rig));
        rig.end();
    }
}
