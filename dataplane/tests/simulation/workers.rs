//! Several workers give the distribution of one.

use std::net::Ipv4Addr;

use dataplane::service::Method;

use crate::common::build::{Transport, request};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{server, service, tcp};

const VIP: &str = "10.9.0.100:80";
const WEIGHTS: [i64; 5] = [1, 2, 3, 5, 0];
const CLIENTS: u32 = 600;

/// The servers that clients get one after the other, some of whose connections end in between.
fn choices(scheduler: &str, shards: u16) -> (Vec<u8>, Vec<(u32, u32)>) {
    let mut lab = Lab::new(Size { shards, ..SIZE });
    lab.add_service(service(tcp(VIP), scheduler));
    let names: Vec<String> = (1..=WEIGHTS.len()).map(|n| format!("10.1.0.{n}:80")).collect();
    for (name, weight) in names.iter().zip(WEIGHTS) {
        lab.add_server(&tcp(VIP), server(name, Method::Direct, weight));
    }
    let mut chosen = Vec::new();
    for n in 0..CLIENTS {
        let client = Ipv4Addr::from(0x0a09_0100 + n * 7 % 4000);
        let from = format!("{client}:{}", 1000 + n % 50);
        let shard = n as usize % usize::from(shards);
        let syn = request(Transport::Tcp(2), &from, VIP).frame();
        let Outcome::Sent(_, bytes) = lab.offer(shard, vec![syn]).remove(0) else {
            panic!("every client gets a server")
        };
        chosen.push(bytes[5]);
        if n % 3 == 0 {
            let reset = request(Transport::Tcp(4), &from, VIP).frame();
            lab.offer(0, vec![reset]);
        }
        if n % 40 == 0 {
            lab.wait(5);
            lab.sweep_all();
        }
    }
    let loads = names.iter().map(|name| lab.load(&tcp(VIP), name)).collect();
    (chosen, loads)
}

#[test]
fn several_workers_choose_as_one() {
    for scheduler in ["rr", "wrr", "lc", "wlc"] {
        let one = choices(scheduler, 1);
        for shards in [2, 4] {
            assert_eq!(choices(scheduler, shards), one, "{scheduler}, {shards} workers");
        }
    }
}
