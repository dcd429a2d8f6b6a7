//! Several workers give the distribution of one.

use std::net::Ipv4Addr;

use dataplane::service::Method;

use crate::common::build::{Transport, request};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{server, service, tcp};

const VIP: &str = "10.9.0.100:80";
const CLIENTS: u32 = 600;

/// The servers that clients get one after the other, some of whose connections end in between; and
/// the servers' loads in the end.
fn choices(scheduler: &str, servers: i64, shards: u16) -> (Vec<Vec<u8>>, Vec<(u32, u32)>) {
    let mut lab = Lab::new(Size { shards, servers: 64, ..SIZE });
    lab.add_service(service(tcp(VIP), scheduler));
    let ends = (0..servers).map(|n| format!("10.1.0.{}:{}", 1 + n % 8, 8000 + n / 8));
    let ends: Vec<String> = ends.collect();
    for (end, n) in ends.iter().zip(0..) {
        lab.add_server(&tcp(VIP), server(end, Method::Nat, n % 5));
    }
    let mut chosen = Vec::new();
    for n in 0..CLIENTS {
        let client = Ipv4Addr::from(0x6440_0100 + n * 7 % 4000);
        let from = format!("{client}:{}", 1000 + n % 50);
        let shard = n as usize % usize::from(shards);
        let syn = request(Transport::Tcp(2), &from, VIP).frame();
        let Outcome::Sent(_, bytes) = lab.offer(shard, vec![syn]).remove(0) else {
            panic!("every client gets a server")
        };
        chosen.push([&bytes[30..34], &bytes[36..38]].concat());
        if n % 3 == 0 {
            let reset = request(Transport::Tcp(4), &from, VIP).frame();
            lab.offer(0, vec![reset]);
        }
        if n % 40 == 0 {
            lab.wait(5);
            lab.sweep_all();
        }
    }
    let loads = ends.iter().map(|end| lab.load(&tcp(VIP), end)).collect();
    (chosen, loads)
}

/// A few servers, which are searched, and many, of which the least loaded is kept track of.
#[test]
fn several_workers_choose_as_one() {
    for (scheduler, servers) in
        ["rr", "wrr", "lc", "wlc", "sed", "nq"].into_iter().flat_map(|name| [(name, 5), (name, 40)])
    {
        let one = choices(scheduler, servers, 1);
        for shards in [2, 4] {
            let several = choices(scheduler, servers, shards);
            assert_eq!(several, one, "{scheduler}, {servers} servers, {shards} workers");
        }
    }
}
