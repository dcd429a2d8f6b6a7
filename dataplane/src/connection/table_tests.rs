//! The table against a plain model, and its bounds.

use super::*;
use crate::connection::Flags;
use crate::service::Method;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use proptest::prelude::*;

const KEY: HashKey = HashKey::new([11, 22, 33]);

fn connection(client: u32, port: u16, virtual_port: u16) -> Connection<Ipv4Addr> {
    Connection {
        client: Ipv4Addr::from(client),
        client_port: port,
        virtual_port,
        protocol: 6,
        flags: Flags::new(Method::Nat),
        ..Connection::FREE
    }
}

fn insert(table: &mut Table<Ipv4Addr>, new: Connection<Ipv4Addr>) -> Result<RecordId, DropReason> {
    table.insert(table.hash(new.client, new.client_port), new)
}

fn find(table: &Table<Ipv4Addr>, like: &Connection<Ipv4Addr>) -> Option<RecordId> {
    table.find(table.hash(like.client, like.client_port), |found| {
        (found.client, found.client_port, found.virtual_port)
            == (like.client, like.client_port, like.virtual_port)
    })
}

#[test]
fn it_fills_to_its_capacity_and_no_further() {
    let mut table = Table::new(TableSize { connections: 10_000 }, KEY);
    for n in 0..10_000 {
        assert!(insert(&mut table, connection(n, 1024, 80)).is_ok(), "{n}");
    }
    assert_eq!(insert(&mut table, connection(1 << 30, 1024, 80)), Err(DropReason::TableFull));
    for n in 0..10_000 {
        let id = find(&table, &connection(n, 1024, 80)).unwrap();
        assert_eq!(table.remove(id).client, Ipv4Addr::from(n));
    }
    assert!(table.is_empty());
    assert!(insert(&mut table, connection(7, 1, 1)).is_ok());
}

/// One client tuple with thousands of virtual ports shares a bucket: its chain is bounded, and
/// clients of other buckets still get in, as many as there are records left.
#[test]
fn one_crowded_client_does_not_hurt_others() {
    let mut table = Table::new(TableSize { connections: 4096 }, KEY);
    let results: Vec<_> =
        (0..3000).map(|port| insert(&mut table, connection(1, 1, port))).collect();
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(accepted, MAX_PER_TUPLE as usize);
    assert!(results[accepted..].iter().all(|result| *result == Err(DropReason::ChainFull)));
    let others = (2..3500).filter(|&n| insert(&mut table, connection(n, 1024, 80)).is_ok()).count();
    assert!(others > 3490, "{others}");
    for port in 0..accepted as u16 {
        let id = find(&table, &connection(1, 1, port)).unwrap();
        table.remove(id);
    }
    assert!(find(&table, &connection(2, 1024, 80)).is_some());
}

/// Refused connections take no spare bucket with them, and ended ones give theirs back.
#[test]
fn spare_buckets_come_back() {
    let mut table = Table::new(TableSize { connections: 4096 }, KEY);
    for client in 0..200 {
        let accepted: Vec<_> = (0..60)
            .map_while(|port| insert(&mut table, connection(client, 1, port)).ok())
            .collect();
        assert_eq!(accepted.len(), MAX_PER_TUPLE as usize, "client {client}");
        for id in accepted {
            table.remove(id);
        }
        assert_eq!(table.free_buckets, table.all_spares());
    }
    assert_eq!(table.touched(), 0, "an empty table has nothing to sweep");
}

/// Crowded clients may not take the spare buckets that others need.
#[test]
fn crowds_leave_spare_buckets_to_others() {
    let mut table = Table::new(TableSize { connections: 100_000 }, KEY);
    for client in 0..1000 {
        for port in 0..60 {
            let _ = insert(&mut table, connection(client, 1, port));
        }
    }
    let refused = (10_000..30_000)
        .filter(|&n| insert(&mut table, connection(n, 1024, 80)) == Err(DropReason::ChainFull))
        .count();
    assert!(refused < 20, "{refused} of 20000 honest clients");
}

/// Tuples that collide under one key are scattered under another.
#[test]
fn collisions_of_one_key_are_not_collisions_of_another() {
    let colliding: Vec<_> = (0..1_000_000_u32)
        .filter(|&n| KEY.client(Ipv4Addr::from(n), 80).bucket(1024) == 5)
        .take(500)
        .collect();
    assert_eq!(colliding.len(), 500);
    let other = HashKey::new([44, 55, 66]);
    let mut counts = [0_u32; 1024];
    for &n in &colliding {
        counts[other.client(Ipv4Addr::from(n), 80).bucket(1024) as usize] += 1;
    }
    assert!(counts.iter().all(|&count| count < 10), "{:?}", counts.iter().max());
}

proptest! {
    /// Random inserts, removals and lookups agree with a list.
    #[test]
    fn it_agrees_with_a_list(steps in prop::collection::vec((0_u32..40, 0_u16..6, any::<bool>()), 1..400)) {
        let mut table = Table::new(TableSize { connections: 64 }, KEY);
        let mut model: Vec<(u32, u16)> = Vec::new();
        for (client, port, insert_it) in steps {
            let wanted = connection(client, 99, port);
            let known = model.iter().position(|&entry| entry == (client, port));
            prop_assert_eq!(find(&table, &wanted).is_some(), known.is_some());
            if insert_it && known.is_none() {
                if insert(&mut table, wanted).is_ok() {
                    model.push((client, port));
                } else {
                    prop_assert_eq!(model.len(), 64);
                }
            } else if let (false, Some(place)) = (insert_it, known) {
                let id = find(&table, &wanted).unwrap();
                table.remove(id);
                model.swap_remove(place);
            }
            prop_assert_eq!(table.len() as usize, model.len());
        }
    }
}
