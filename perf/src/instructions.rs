//! The hot paths under a fixed load and without a clock, for `perf/guard`, which counts their
//! instructions.
//!
//! Callgrind collects between entry to and return from [`guarded_process`], and writes a part of
//! its file at each return from [`guarded_case_ends`]. Both are functions of their own whatever
//! the optimiser does around them, so what it inlines below or merges elsewhere changes nothing.

use std::hint::black_box;
use std::sync::Arc;

use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::service::{Family, Method, Protocol};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use crate::pool::{Nowhere, PoolFrame};
use crate::setup;
use crate::workload::{self, Random, SERVER_SLOTS, Service, Tcp};

/// Connections that are there before the load.
const CONNECTIONS: u32 = 1024;
/// Packets of one case, at most: each may open a connection.
const MAX_PACKETS: u32 = 1 << 16;

/// What the packets of a case are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Request,
    Reply,
    New,
    Garbage,
}

struct Case {
    name: String,
    load: Load,
    service: Service,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, load, service| cases.push(Case { name, load, service });
    let usual = |method, protocol, family| Service {
        method,
        protocol,
        family,
        scheduler: "rr",
        servers: 1,
        connections: 2 * CONNECTIONS,
    };
    let families = [(Family::V4, 4), (Family::V6, 6)];
    let ways = [
        ("dr", Method::Direct, Load::Request),
        ("ipip", Method::Tunnel, Load::Request),
        ("nat-request", Method::Nat, Load::Request),
        ("nat-reply", Method::Nat, Load::Reply),
    ];
    for (way, method, load) in ways {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (family, number) in families {
                let name = format!("{way}-{}-{number}", setup::protocol_name(protocol));
                add(name, load, usual(method, protocol, family));
            }
        }
    }
    for scheduler in ["rr", "wlc"] {
        for (family, number) in families {
            let service = usual(Method::Direct, Protocol::Tcp, family);
            let service = Service { scheduler, servers: 100, connections: MAX_PACKETS, ..service };
            add(format!("new-{scheduler}-tcp-{number}"), Load::New, service);
        }
    }
    for (family, number) in families {
        let service = usual(Method::Direct, Protocol::Udp, family);
        add(format!("garbage-{number}"), Load::Garbage, service);
    }
    cases
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let (wanted, packets) = parse(words)?;
    let mut cases = cases();
    if let Some(name) = wanted {
        cases.retain(|case| case.name == name);
        if cases.is_empty() {
            return Err(format!("no case {name:?}; without --case all run, and are named"));
        }
    }
    for case in &cases {
        println!("{} {}", case.name, case.run(packets));
    }
    Ok(())
}

impl Case {
    /// Has so many packets judged, and says what became of them.
    fn run(&self, packets: u32) -> String {
        let service = &self.service;
        let counters = Arc::new(Counters::new(SERVER_SLOTS));
        let mut shard = service.shard(0, 1, false, Arc::clone(&counters));
        if self.load != Load::New {
            service.open(&mut shard, CONNECTIONS);
        }
        let mut random = Random(1);
        let mut burst = vec![PoolFrame::holding(&[]); BURST];
        let mut forwarded = 0;
        for first in (0..packets).step_by(BURST) {
            for (frame, number) in burst.iter_mut().zip(first..) {
                frame.fill(&match self.load {
                    Load::Request => service.request(random.below(CONNECTIONS), Tcp::Data),
                    Load::Reply => service.reply(random.below(CONNECTIONS), Tcp::Data),
                    Load::New => service.request(number, Tcp::Syn),
                    Load::Garbage => workload::garbage(service, &mut random),
                });
            }
            let mut verdicts = [Verdict::Consumed; BURST];
            guarded_process(&mut shard, &mut burst, &mut verdicts);
            let sent = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Transmit(_)));
            forwarded += sent.count();
        }
        guarded_case_ends(&self.name);
        let expected = if self.load == Load::Garbage { 0 } else { packets as usize };
        let drops = workload::drops(&[&counters]);
        assert_eq!(forwarded, expected, "{}: {drops}", self.name);
        if drops.is_empty() {
            format!("{forwarded} forwarded")
        } else {
            format!("dropped: {drops}")
        }
    }
}

/// All that is counted.
#[inline(never)]
fn guarded_process(
    shard: &mut Shard<PoolFrame>,
    burst: &mut [PoolFrame],
    verdicts: &mut [Verdict; BURST],
) {
    shard.process(Tick(2), &Nowhere, burst, verdicts);
    // Something to do after it, so that it is a call and not a jump.
    black_box(&verdicts);
}

/// Here a case's count is written down.
#[inline(never)]
fn guarded_case_ends(name: &str) {
    black_box(name);
}

fn parse(words: impl Iterator<Item = String>) -> Result<(Option<String>, u32), String> {
    use lexopt::prelude::*;
    let (mut name, mut packets) = (None, 4096);
    let mut parser = lexopt::Parser::from_args(words);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("case") => {
                name = Some(parser.value().and_then(ValueExt::string).map_err(text)?);
            }
            Long("packets") => {
                packets = parser.value().and_then(|value| value.parse()).map_err(text)?;
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let is_sound = packets > 0 && packets <= MAX_PACKETS && packets % BURST as u32 == 0;
    if !is_sound {
        return Err(format!("packets are a multiple of {BURST}, at most {MAX_PACKETS}"));
    }
    Ok((name, packets))
}
