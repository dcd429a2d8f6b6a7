//! Clients crafted to collide in the connection table by somebody who knows the key: what they can
//! do is bounded, counted and over when they are, and under another key they do not collide at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use common::build::{ACK, SYN, Transport, request_from};
use common::lab::{Lab, Outcome, SIZE, Size};
use common::names::{SERVER, VIP, end, server, service, tcp};
use dataplane::connection::TableSize;
use dataplane::hash::{HashKey, owner_of};
use dataplane::service::Method;
use dataplane::verdict::DropReason;

/// The key that has come out, and keys of later starts.
const KNOWN: HashKey = HashKey::new([0x6b65_7931, 0x6b65_7932, 0x6b65_7933]);
const FRESH: [HashKey; 4] = [
    HashKey::new([1, 2, 3]),
    HashKey::new([0x6b65_7931, 0x6b65_7932, 0x6b65_7934]),
    HashKey::new([0x6b65_7930, 0x6b65_7932, 0x6b65_7933]),
    HashKey::new([u64::MAX, 0, u64::MAX]),
];
/// Connections of one bucket: eight, and eight more in each of eight spare buckets.
const BUCKET_MOST: usize = 72;
/// Connections of one client tuple.
const TUPLE_MOST: usize = 48;

type Client = (Ipv4Addr, u16);

/// The n-th of a great many clients.
fn client(n: u32) -> Client {
    (Ipv4Addr::from(0x6440_0000 + n / 60_000), 1024 + (n % 60_000) as u16)
}

/// Bucket, out of those of a table, and tag of a hash. The only thing that is known here of the
/// table's inside; if that changes, the flood below no longer meets its bound, and says so.
fn place(hash: impl std::fmt::Debug, connections: u32) -> (u32, u16) {
    let text = format!("{hash:?}");
    let word: u64 = text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let buckets = u64::from(TableSize { connections }.buckets());
    ((((word >> 32) * buckets) >> 32) as u32, (word >> 16) as u16)
}

fn bucket(key: &HashKey, (address, port): Client, connections: u32) -> u32 {
    place(key.client(address, port), connections).0
}

/// Clients whose connections lie in one bucket of a table of `SIZE` under [`KNOWN`], the one given.
fn crafted(wanted: u32, count: usize) -> Vec<Client> {
    let all = (0..).map(client);
    all.filter(|&client| bucket(&KNOWN, client, SIZE.connections) == wanted).take(count).collect()
}

fn lab(size: Size, key: HashKey, servers: &[&str]) -> Lab {
    let mut lab = Lab::keyed(size, key);
    lab.add_service(service(tcp(VIP), "rr"));
    for text in servers {
        lab.add_server(&tcp(VIP), server(text, Method::Direct, 1));
    }
    lab
}

fn send(lab: &mut Lab, flags: u8, client: Client, virtual_end: &str) -> Outcome {
    lab.one(&request_from(Transport::Tcp(flags), client, end(virtual_end)))
}

/// How many of these clients get a connection; the others are refused for their chain.
fn flood(lab: &mut Lab, clients: &[Client]) -> usize {
    let before = lab.dropped(DropReason::ChainFull);
    let mut accepted = 0;
    for &client in clients {
        match send(lab, SYN, client, VIP) {
            Outcome::Sent(..) => accepted += 1,
            other => assert_eq!(other, Outcome::Dropped(DropReason::ChainFull)),
        }
    }
    let counted = lab.dropped(DropReason::ChainFull) - before;
    assert_eq!(counted as usize, clients.len() - accepted, "each refused one is counted");
    accepted
}

#[test]
fn a_crafted_flood_is_bounded_and_only_under_its_key() {
    let clients = crafted(5, 400);
    assert_eq!(flood(&mut lab(SIZE, KNOWN, &[SERVER]), &clients), BUCKET_MOST);
    for key in FRESH {
        let mut lab = lab(SIZE, key, &[SERVER]);
        assert_eq!(flood(&mut lab, &clients), 400, "all have room");
        // 400 in 863 buckets by chance: eight in one bucket once in 20000 keys.
        let mut counts = [0_u32; 1024];
        for &client in &clients {
            counts[bucket(&key, client, SIZE.connections) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count <= 8), "{:?}", counts.iter().max());
    }
}

/// Those who are in stay, others get in, and it can be had again and again: nothing is lost to it.
#[test]
fn a_flood_harms_nobody_else_and_leaves_nothing_behind() {
    let mut lab = lab(SIZE, KNOWN, &[SERVER]);
    let mut clients = crafted(5, 400);
    let neighbour = clients.remove(0);
    let others: Vec<_> = (1_000_000..1_000_500).map(client).collect();
    let others: Vec<_> =
        others.into_iter().filter(|&other| bucket(&KNOWN, other, SIZE.connections) != 5).collect();
    // More rounds than it would take to lose all spare buckets, were they not given back.
    for round in 0..25 {
        assert!(matches!(send(&mut lab, SYN, neighbour, VIP), Outcome::Sent(..)));
        assert_eq!(flood(&mut lab, &clients), BUCKET_MOST - 1, "round {round}");
        assert_eq!(flood(&mut lab, &others), others.len(), "round {round}: other buckets");
        let sent = matches!(send(&mut lab, ACK, neighbour, VIP), Outcome::Sent(..));
        assert!(sent, "round {round}: of the same bucket, but there before");
        let all = (BUCKET_MOST + others.len()) as u32;
        assert_eq!((lab.connection_count(), lab.load(&tcp(VIP), SERVER).0), (all, all));
        lab.wait(901);
        lab.sweep_all();
        assert_eq!((lab.connection_count(), lab.load(&tcp(VIP), SERVER)), (0, (0, 0)));
        assert_eq!(lab.shards[0].connections(), 0);
    }
}

/// One client tuple may not fill the bucket that it shares with others.
#[test]
fn a_crowded_client_leaves_room_in_its_bucket() {
    let services: Vec<_> = (1..=60).map(|port| format!("10.9.0.100:{}", 80 + port)).collect();
    let mut lab = lab(Size { services: 100, servers: 100, ..SIZE }, KNOWN, &[SERVER]);
    for end in &services {
        lab.add_service(service(tcp(end), "rr"));
        lab.add_server(&tcp(end), server(SERVER, Method::Direct, 1));
    }
    let clients = crafted(9, 100);
    let (crowd, others) = clients.split_first().unwrap();
    for _ in 0..2 {
        let before = lab.dropped(DropReason::ChainFull);
        let outcomes: Vec<_> =
            services.iter().map(|end| send(&mut lab, SYN, *crowd, end)).collect();
        let accepted =
            outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Sent(..))).count();
        assert_eq!(accepted, TUPLE_MOST);
        assert_eq!(lab.dropped(DropReason::ChainFull) - before, (60 - TUPLE_MOST) as u64);
        assert_eq!(flood(&mut lab, others), BUCKET_MOST - TUPLE_MOST, "of the same bucket");
        // Every one of them goes on.
        for end in &services[..TUPLE_MOST] {
            assert!(matches!(send(&mut lab, ACK, *crowd, end), Outcome::Sent(..)), "{end}");
        }
        for &other in &others[..BUCKET_MOST - TUPLE_MOST] {
            assert!(matches!(send(&mut lab, ACK, other, VIP), Outcome::Sent(..)), "{other:?}");
        }
        lab.wait(901);
        lab.sweep_all();
        assert_eq!(lab.connection_count(), 0);
    }
}

/// Clients of one bucket with one tag look alike until their records are read: more of them than a
/// bucket holds are told apart all the same.
#[test]
fn clients_of_one_bucket_and_tag_are_told_apart() {
    const SMALL: u32 = 64;
    const SEARCHED: u32 = 1_500_000;
    let group = |key: &HashKey, n| {
        let (address, port) = client(n);
        let (bucket, tag) = place(key.client(address, port), SMALL);
        (bucket << 16 | u32::from(tag)) as usize
    };
    let mut counts = vec![0_u8; (TableSize { connections: SMALL }.buckets() as usize) << 16];
    let groups: Vec<u32> = (0..SEARCHED).map(|n| group(&KNOWN, n) as u32).collect();
    groups.iter().for_each(|&group| counts[group as usize] += 1);
    let (largest, &most) = counts.iter().enumerate().max_by_key(|(_, count)| **count).unwrap();
    assert!(most > 8, "{most}");
    let alike: Vec<u32> = (0..SEARCHED).filter(|&n| groups[n as usize] == largest as u32).collect();

    let servers = ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.3:80"];
    let mut lab = lab(Size { connections: SMALL, ..SIZE }, KNOWN, &servers);
    // Who serves a client is to be seen by the link-layer address that its packets go to.
    let mut to = |flags, n| send(&mut lab, flags, client(n), VIP).bytes()[..6].to_vec();
    let chosen: Vec<_> = alike.iter().map(|&n| to(SYN, n)).collect();
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), servers.len());
    for (&n, chosen) in alike.iter().zip(&chosen).rev() {
        assert_eq!(to(ACK, n), *chosen, "client {n}");
    }
    assert_eq!(lab.connection_count(), u32::from(most));
    for key in FRESH {
        let places: BTreeSet<_> = alike.iter().map(|&n| group(&key, n)).collect();
        assert_eq!(places.len(), alike.len(), "no two alike");
    }
}

/// The same of IPv6 clients, whose lower halves somebody may choose from one prefix.
#[test]
fn crafted_ipv6_clients_scatter_under_another_key() {
    let client = |n: u32| Ipv6Addr::from(0x2001_0db8_0066_0001_u128 << 64 | u128::from(n));
    let bucket = |key: &HashKey, n| place(key.client(client(n), 4000), SIZE.connections).0 as usize;
    let crafted: Vec<u32> = (0..).filter(|&n| bucket(&KNOWN, n) == 7).take(400).collect();
    for key in FRESH {
        let mut counts = [0_u32; 1024];
        crafted.iter().for_each(|&n| counts[bucket(&key, n)] += 1);
        assert!(counts.iter().all(|&count| count <= 8), "{:?}", counts.iter().max());
    }
}

/// All that one worker is made to own under one key is shared among all under another.
#[test]
fn clients_crafted_for_one_owner_are_shared_under_another_key() {
    let owner = |key: &HashKey, (address, port): Client| owner_of(key, address, port, 4).0;
    let crafted: Vec<_> =
        (0..).map(client).filter(|&client| owner(&KNOWN, client) == 2).take(2000).collect();
    for key in FRESH {
        let mut counts = [0_u32; 4];
        crafted.iter().for_each(|&client| counts[usize::from(owner(&key, client))] += 1);
        // 500 each expected; six standard deviations are 116.
        assert!(counts.iter().all(|count| (384..=616).contains(count)), "{counts:?}");
    }
}
