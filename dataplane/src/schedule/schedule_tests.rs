//! Choices against the kernel's recorded ones, and against sharing by several shards.

extern crate std;

use super::{Plan, Query, Scheduler, by_name};
use crate::roster::{Load, Member, Roster, ServerId};
use crate::service::{Method, Protocol, ServiceKey};
use crate::time::Tick;
use alloc::{sync::Arc, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};
use proptest::prelude::*;

/// Servers in roster order (newest first) with these weights; the oldest has order 1.
fn members(weights: &[u32]) -> Vec<Member> {
    let count = weights.len() as u32;
    weights
        .iter()
        .zip(0..)
        .map(|(&weight, n)| Member {
            id: ServerId(n),
            order: count - n,
            weight,
            last_weight: weight,
            serial: u64::from(n),
            method: Method::Direct,
            is_plain_tunnel: true,
            address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, n as u8)),
            port: 80,
            load: Arc::new(Load::default()),
        })
        .collect()
}

const ANYBODY: Query = Query {
    client: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 7)),
    client_port: 40000,
    destination: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    now: Tick(0),
    lblc_expiration_s: 86_400,
    lblcr_expiration_s: 86_400,
};

/// A roster as control makes it when members have changed.
fn roster(scheduler: &Arc<Scheduler>, members: &[Member]) -> Roster {
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        port: 80,
    };
    Roster {
        key,
        scheduler: Arc::clone(scheduler),
        flags: 0,
        plan: Arc::new(scheduler.plan(members)),
        persistence: None,
        one_packet: false,
        members: members.into(),
    }
}

fn scheduler(name: &str) -> Arc<Scheduler> {
    Arc::new(by_name(name).unwrap())
}

fn picks(name: &str, members: &[Member], count: usize) -> Vec<Option<usize>> {
    let roster = roster(&scheduler(name), members);
    (0..count)
        .map(|_| {
            let place = roster.scheduler.pick(&roster, &ANYBODY);
            if let Some(place) = place {
                members[place].load.bind(true);
            }
            place
        })
        .collect()
}

fn some(places: &[usize]) -> Vec<Option<usize>> {
    places.iter().copied().map(Some).collect()
}

#[test]
fn rr_takes_turns_and_leaves_out_weight_zero() {
    assert_eq!(picks("rr", &members(&[1, 0, 5]), 5), some(&[0, 2, 0, 2, 0]));
    assert_eq!(picks("rr", &members(&[0, 0]), 2), [None, None]);
    assert_eq!(picks("rr", &[], 1), [None]);
}

#[test]
fn rr_goes_on_behind_a_deleted_server() {
    let scheduler = scheduler("rr");
    let mut servers = members(&[1, 1, 1, 1]);
    let pick = |servers: &[Member]| scheduler.pick(&roster(&scheduler, servers), &ANYBODY);
    assert_eq!((0..2).map(|_| pick(&servers)).collect::<Vec<_>>(), some(&[0, 1]));
    servers.remove(1); // the one under the cursor
    assert_eq!((0..3).map(|_| pick(&servers)).collect::<Vec<_>>(), some(&[1, 2, 0]));
}

#[test]
fn rr_begins_anew_when_the_first_is_deleted_under_the_cursor() {
    let scheduler = scheduler("rr");
    let mut servers = members(&[1, 1, 1]);
    let pick = |servers: &[Member]| scheduler.pick(&roster(&scheduler, servers), &ANYBODY);
    assert_eq!(pick(&servers), Some(0));
    servers.remove(0);
    let _ = roster(&scheduler, &servers);
    let mut newest = servers[0].clone();
    newest.order += 5;
    servers.insert(0, newest);
    assert_eq!(pick(&servers), Some(0));
}

/// Weights may lie two thousand million levels apart, which must not take as many steps.
#[test]
fn wrr_is_quick_with_distant_weights() {
    let expected = some(&[0, 0, 0, 0]);
    assert_eq!(picks("wrr", &members(&[i32::MAX as u32, 1]), 4), expected);
}

#[test]
fn wrr_walks_levels_of_weight() {
    // Weights 4, 3, 2: levels 4 to 1 give 0 | 0 1 | 0 1 2 | 0 1 2, the book's AABABCABC.
    assert_eq!(picks("wrr", &members(&[4, 3, 2]), 10), some(&[0, 0, 1, 0, 1, 2, 0, 1, 2, 0]));
    // A common divisor of 10: as weights 2 and 1.
    assert_eq!(picks("wrr", &members(&[20, 10]), 6), some(&[0, 0, 1, 0, 0, 1]));
    assert_eq!(picks("wrr", &members(&[0, 1]), 2), some(&[1, 1]));
    assert_eq!(picks("wrr", &members(&[0]), 1), [None]);
}

#[test]
fn wlc_weighs_and_lc_does_not() {
    assert_eq!(picks("lc", &members(&[1, 3]), 4), some(&[0, 1, 0, 1]));
    assert_eq!(picks("wlc", &members(&[1, 3]), 5), some(&[0, 1, 1, 1, 0]));
    assert_eq!(picks("wlc", &members(&[0, 0]), 1), [None]);
}

#[test]
fn an_active_connection_counts_as_256_inactive_ones() {
    let servers = members(&[1, 1]);
    servers[0].load.bind(true);
    for _ in 0..256 {
        servers[1].load.bind(false);
    }
    let roster = roster(&scheduler("lc"), &servers);
    let pick = || roster.scheduler.pick(&roster, &ANYBODY);
    assert_eq!(pick(), Some(0), "a tie goes to the first");
    servers[0].load.bind(false);
    assert_eq!(pick(), Some(1));
}

/// With many servers the least loaded one is kept track of; without a plan it is searched for.
fn tracked_and_searched(name: &str, members: &[Member]) -> (Roster, Roster) {
    let scheduler = scheduler(name);
    let tracked = roster(&scheduler, members);
    assert!(matches!(*tracked.plan, Plan::Tournament(_)));
    let mut searched = roster(&scheduler, members);
    searched.plan = Arc::default();
    (tracked, searched)
}

fn picks_of(roster: &Roster) -> Option<usize> {
    roster.scheduler.pick(roster, &ANYBODY)
}

proptest! {
    #[test]
    fn the_tracked_server_is_the_one_that_a_search_finds(
        name in prop::sample::select(alloc::vec!["lc", "wlc", "sed", "nq"]),
        weights in prop::collection::vec(0_u32..6, 16..70),
        steps in prop::collection::vec((0_usize..70, 0_u8..4), 0..300),
    ) {
        let members = members(&weights);
        members.iter().for_each(|member| member.load.set_thresholds(9, 5));
        let (tracked, searched) = tracked_and_searched(name, &members);
        prop_assert_eq!(picks_of(&tracked), picks_of(&searched));
        for (place, step) in steps {
            let place = place % members.len();
            let load = &members[place].load;
            let (active, inactive) = load.both();
            match step {
                0 => load.bind(true),
                1 => load.bind(false),
                2 if active > 0 => load.reclassify(false),
                3 if inactive > 0 => load.unbind(false),
                _ => continue,
            }
            tracked.load_changed(place as u32);
            prop_assert_eq!(picks_of(&tracked), picks_of(&searched));
        }
    }
}

#[test]
fn several_threads_keep_track_together() {
    for name in ["lc", "wlc", "sed", "nq"] {
        let members = members(&(0..100).map(|n| n % 7).collect::<Vec<_>>());
        let (tracked, searched) = tracked_and_searched(name, &members);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (tracked, members) = (&tracked, &members);
                scope.spawn(move || {
                    for n in 0..5_000 {
                        let place = (crate::hash::stretch(n, thread) % 100) as usize;
                        members[place].load.bind(n % 3 != 0);
                        tracked.load_changed(place as u32);
                        let _ = picks_of(tracked);
                    }
                });
            }
        });
        assert_eq!(picks_of(&tracked), picks_of(&searched), "{name}, once all is quiet");
    }
}

#[test]
fn unknown_names_are_refused() {
    assert!(by_name("wcl").is_none() && by_name("").is_none());
}
