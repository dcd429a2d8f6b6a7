//! When connections are told again, and that no record is lost uncounted.

use super::*;
use crate::service::Method;
use crate::sync::rig_tests::{ACK, CLOSE_WAIT, ESTABLISHED, FIN_ACK, FIN_WAIT, Kind, Rig, SYN};
use alloc::format;
use alloc::string::String;

const TCP: Kind = Kind::Tcp(ACK);
const VIP: &str = "10.0.0.1:80";
const CLIENT: &str = "10.9.0.7:40000";
const SERVER: &str = "10.1.0.1:8080";
/// State of TCP by the kernel's number.
const TIME_WAIT: u16 = 5;

/// A master with a service and an open connection, of which nothing has been told yet.
fn master(threshold: &str, refresh: &str, retries: &str) -> Rig {
    let mut rig = Rig::new(1, 64, 64);
    rig.service(TCP, VIP, None);
    rig.server(TCP, VIP, SERVER, Method::Nat);
    rig.service(Kind::Udp, VIP, None);
    rig.server(Kind::Udp, VIP, SERVER, Method::Nat);
    rig.set("sync_threshold", threshold);
    rig.set("sync_refresh_period", refresh);
    rig.set("sync_retries", retries);
    rig.request(Kind::Tcp(SYN), CLIENT, VIP).expect("it is scheduled");
    rig.reply(Kind::Tcp(SYN | ACK), SERVER, CLIENT).expect("it is translated");
    rig.roles(true, false);
    rig
}

/// The seconds, of so many, in which a packet each second is told.
fn seconds(rig: &mut Rig, kind: Kind, most: u32) -> Vec<u32> {
    let is_told = |second: &u32| {
        if *second > 0 {
            rig.wait(1);
        }
        rig.request(kind, CLIENT, VIP).expect("it is forwarded");
        let told = rig.told();
        assert!(told.len() <= 1);
        !told.is_empty()
    };
    (0..most).filter(is_told).collect()
}

/// Once a refresh period, and after that as many retries as allowed, an eighth of it apart
/// (reference §7.1, rule 6).
#[test]
fn a_refresh_period_limits_and_retries_repeat() {
    let mut rig = master("0 1", "16", "2");
    assert_eq!(seconds(&mut rig, TCP, 45), [0, 2, 4, 20, 22, 24, 40, 42, 44]);
    let mut rig = master("0 1", "16", "0");
    assert_eq!(seconds(&mut rig, TCP, 45), [0, 16, 32]);
    // Without a period of packets every packet is looked at, too.
    let mut rig = master("3 0", "16", "1");
    assert_eq!(seconds(&mut rig, TCP, 45), [0, 2, 18, 20, 36, 38]);
    // A period of packets holds as well: every fifth, which is the second after the first.
    let mut rig = master("3 5", "16", "3");
    assert_eq!(seconds(&mut rig, TCP, 45), [1, 6, 11, 16, 36, 41]);
    // To the tick.
    let mut rig = master("0 1", "16", "1");
    for (ticks, is_told) in [(0, true), (199, false), (1, true), (1599, false), (1, true)] {
        rig.now = rig.now.after(ticks);
        rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
        assert_eq!(!rig.told().is_empty(), is_told, "{ticks}");
    }
}

/// A connection that ends soon is told at least by halves of its time, but not within ten seconds.
#[test]
fn short_timeouts_limit_the_limit() {
    for (timeout, expected) in [(15, [0, 10, 20, 30]), (30, [0, 15, 30, 45])] {
        let mut rig = master("0 1", "100", "0");
        rig.settings.timeouts.set(0, 0, timeout).expect("it is short");
        rig.set("sync_retries", "0");
        assert_eq!(seconds(&mut rig, Kind::Udp, 50)[..4], expected);
    }
}

/// News is told whatever was told before, and counts as told.
#[test]
fn news_is_told_at_once_and_begins_a_period() {
    let mut rig = master("0 1", "16", "2");
    assert_eq!(seconds(&mut rig, TCP, 1), [0]);
    rig.wait(1);
    rig.reply(Kind::Tcp(FIN_ACK), SERVER, CLIENT).expect("it is translated");
    let told = rig.told();
    assert_eq!((told.len(), told[0].state, told[0].timeout_s), (1, FIN_WAIT, 120));
    rig.wait(1);
    rig.request(Kind::Tcp(FIN_ACK), CLIENT, VIP).expect("it is forwarded");
    let told = rig.told();
    assert_eq!((told.len(), told[0].state, told[0].timeout_s), (1, TIME_WAIT, 120));
    rig.wait(1);
    assert_eq!(seconds(&mut rig, TCP, 10), [1, 3], "two seconds after that, and again");
}

/// What is no news, or nobody's business, is not told.
#[test]
fn states_before_a_connection_is_open_are_not_told() {
    let mut rig = master("0 1", "0", "0");
    let states = |rig: &mut Rig| rig.told().iter().map(|record| record.state).collect::<Vec<_>>();
    rig.request(Kind::Tcp(SYN), CLIENT, VIP).expect("it is forwarded");
    assert_eq!(states(&mut rig), []);
    rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
    rig.reply(TCP, SERVER, CLIENT).expect("it is translated");
    assert_eq!(states(&mut rig), [ESTABLISHED], "a reply alone is not counted");
    rig.request(Kind::Tcp(FIN_ACK), CLIENT, VIP).expect("it is forwarded");
    rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
    assert_eq!(states(&mut rig), [CLOSE_WAIT, CLOSE_WAIT]);
    rig.roles(false, true);
    rig.request(TCP, CLIENT, VIP).expect("it is forwarded");
    assert_eq!(states(&mut rig), [], "no longer a master");
}

/// A client whose first SYN was lost behind us sends it again, and has had its share of packets
/// before it is connected.
#[test]
fn a_connection_that_opens_late_is_told_as_it_opens() {
    let mut rig = master("2 50", "0", "0");
    rig.request(Kind::Tcp(SYN), CLIENT, VIP).expect("the second, which is due");
    assert!(rig.told().is_empty());
    assert_eq!(seconds(&mut rig, TCP, 60), [0, 49], "the third, and then as always");
}

/// A burst whose every packet opens a connection at once, under a template, and tells of it.
#[test]
fn the_worst_burst_fits_and_the_next_is_counted() {
    let mut rig = Rig::new(1, 1024, 1024);
    rig.service(TCP, VIP, Some(300));
    rig.server(TCP, VIP, SERVER, Method::Nat);
    rig.set("sync_threshold", "0 1");
    rig.set("sloppy_tcp", "1");
    rig.roles(true, false);
    let clients =
        |net| (1..=BURST).map(|host| format!("10.{net}.0.{host}:9")).collect::<Vec<String>>();
    rig.burst(TCP, &clients(9), VIP);
    assert_eq!(rig.count(|sync| sync.untold.get()), 0);
    assert!(rig.shards[0].has_told());
    assert_eq!(rig.told().len(), 4 * BURST);
    assert!(!rig.shards[0].has_told());
    rig.burst(TCP, &clients(10), VIP);
    rig.burst(TCP, &clients(11), VIP);
    assert_eq!(rig.count(|sync| sync.untold.get()), 4 * BURST as u64);
    assert_eq!(rig.count(|sync| sync.told.get()), 4 * BURST as u64, "as they are fetched");
    assert_eq!(rig.told().len(), 4 * BURST);
    assert_eq!(rig.count(|sync| sync.told.get()), 8 * BURST as u64);
    rig.end();
}

#[test]
fn of_persistent_services_only_templates_may_be_told() {
    for (mode, expected) in [("0", 2), ("1", 0)] {
        let mut rig = Rig::new(1, 64, 64);
        for (vip, persistence_s) in [(VIP, Some(300)), ("10.0.0.2:80", None)] {
            rig.service(TCP, vip, persistence_s);
            rig.server(TCP, vip, SERVER, Method::Direct);
        }
        rig.set("sync_persist_mode", mode);
        rig.roles(true, false);
        let mut told = |vip| {
            for kind in [Kind::Tcp(SYN), TCP, TCP, Kind::Tcp(FIN_ACK)] {
                rig.request(kind, CLIENT, vip).expect("it is forwarded");
            }
            let (templates, others): (Vec<_>, Vec<_>) =
                rig.told().into_iter().partition(|it| it.flags.has(RecordFlags::TEMPLATE));
            (templates.is_empty(), others.len())
        };
        assert_eq!((told(VIP), told("10.0.0.2:80")), ((false, expected), (true, 2)));
        rig.end();
    }
}
