//! Several workers are as one: the same clients get the same servers, and as many stay with each.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::service::Method;
use dataplane::time::Tick;

use crate::common::build::{ACK, FIN, Packet, RST, SYN, Transport, request_from};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{VIP, end, server, service, tcp, udp};
use crate::gate::Gate;
use crate::random::Random;

/// Weights of the servers 10.1.0.1 and so on.
const WEIGHTS: [i64; 6] = [3, 1, 4, 0, 2, 6];
const CLIENTS: usize = 400;

/// What clients do, the same for any number of workers.
#[derive(Clone, Copy)]
enum Event {
    Packet {
        client: (Ipv4Addr, u16),
        transport: Transport,
        by: usize,
    },
    Pause(u32),
    /// A server leaves, or comes back.
    Leaves(usize),
    Comes(usize),
}

fn events(seed: u64) -> Vec<Event> {
    let mut random = Random::new(seed);
    let mut events = Vec::new();
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let client = (Ipv4Addr::from(0x0a09_0100 + n as u32 * 7 % 4000), 1024 + n as u16);
        let opens = if random.percent(70) { Transport::Tcp(SYN) } else { Transport::Udp(true) };
        clients.push((client, opens));
        events.push(Event::Packet { client, transport: opens, by: random.below(4) });
        for _ in 0..random.below(3) {
            let (client, opened) = random.of(&clients);
            let transport = match opened {
                Transport::Tcp(_) => Transport::Tcp(random.of(&[ACK, ACK, FIN | ACK, RST, SYN])),
                other => other,
            };
            events.push(Event::Packet { client, transport, by: random.below(4) });
        }
        match random.below(20) {
            0..4 => events.push(Event::Pause(random.between(1, 30) as u32)),
            4 => events.push(Event::Pause(random.between(60, 400) as u32)),
            5 => {
                let n = random.below(WEIGHTS.len());
                events.extend([Event::Leaves(n), Event::Pause(1), Event::Comes(n)]);
            }
            _ => {}
        }
    }
    events
}

/// What a run has shown: what became of each packet, and the loads in between and in the end.
#[derive(Debug, PartialEq)]
struct Shown {
    sent: Vec<Option<Vec<u8>>>,
    loads: Vec<(u32, u32)>,
}

fn run(scheduler: &str, shards: u16, events: &[Event]) -> Shown {
    let mut lab = Lab::new(Size { shards, start: Tick(u32::MAX - 20_000), ..SIZE });
    let name = |n: usize| format!("10.1.0.{}:80", n + 1);
    let spec = |n: usize| server(&name(n), Method::Direct, WEIGHTS[n]);
    for key in [tcp(VIP), udp(VIP)] {
        lab.add_service(service(key, scheduler));
        (0..WEIGHTS.len()).for_each(|n| lab.add_server(&key, spec(n)));
    }
    let mut shown = Shown { sent: Vec::new(), loads: Vec::new() };
    for &event in events {
        match event {
            Event::Packet { client, transport, by } => {
                let packet: Packet = request_from(transport, client, end(VIP));
                let by = by % usize::from(shards);
                let outcome = lab.offer(by, vec![packet.frame()]).remove(0);
                shown.sent.push(match outcome {
                    Outcome::Sent(_, bytes) => Some(bytes),
                    _ => None,
                });
            }
            Event::Pause(seconds) => {
                lab.wait(seconds);
                lab.sweep_all();
                loads(&lab, &mut shown.loads);
            }
            Event::Leaves(n) => [tcp(VIP), udp(VIP)].iter().for_each(|key| {
                lab.delete_server(key, &name(n));
            }),
            Event::Comes(n) => [tcp(VIP), udp(VIP)].iter().for_each(|key| {
                lab.add_server(key, spec(n));
            }),
        }
    }
    loads(&lab, &mut shown.loads);
    shown
}

/// Loads of all servers there are, by service and address.
fn loads(lab: &Lab, loads: &mut Vec<(u32, u32)>) {
    for key in [tcp(VIP), udp(VIP)] {
        let read = |id| lab.read(id);
        let view = lab.director.service(&key, &read).unwrap();
        let mut all: Vec<(IpAddr, (u32, u32))> =
            view.servers.iter().map(|s| (s.spec.address, s.load.both())).collect();
        all.sort();
        loads.extend(all.into_iter().map(|(_, load)| load));
    }
}

#[test]
fn several_workers_choose_as_one_does() {
    let gate = Gate::open();
    for &scheduler in &gate.schedulers {
        for seed in 0..3 {
            let events = events(seed);
            let one = run(scheduler, 1, &events);
            assert!(one.sent.iter().flatten().count() > CLIENTS / 2, "{scheduler} forwards");
            for shards in [2, 4] {
                let several = run(scheduler, shards, &events);
                assert!(several == one, "{scheduler} by {shards} workers, seed {seed}");
            }
        }
    }
}

/// The ring of servers does not depend on who takes a packet: each server gets its share exactly.
#[test]
fn shares_are_exact_by_any_number_of_workers() {
    let opening = |n: usize| {
        let client = (Ipv4Addr::new(10, 9, 1, n as u8), 5000);
        Event::Packet { client, transport: Transport::Tcp(SYN), by: n % 4 }
    };
    for (scheduler, clients, expected) in [
        ("rr", 50, [10, 10, 10, 0, 10, 10]),
        ("wrr", 48, [9, 3, 12, 0, 6, 18]),
        ("wlc", 48, [9, 3, 12, 0, 6, 18]),
        ("lc", 50, [10, 10, 10, 0, 10, 10]),
    ] {
        let events: Vec<_> = (0..clients).map(opening).collect();
        for shards in [1, 2, 4] {
            let shown = run(scheduler, shards, &events);
            let active: Vec<_> = shown.loads[..6].iter().map(|load| load.0).collect();
            assert_eq!(active, expected, "{scheduler} by {shards} workers");
        }
    }
}
