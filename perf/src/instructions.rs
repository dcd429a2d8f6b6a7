//! `perf-instructions PACKETS [CASE]`: the hot paths under a fixed load and without a clock, for
//! `perf/guard`, which counts their instructions. A program of its own, so that no other benchmark
//! moves the figures.
//!
//! Callgrind collects between entry to and return from [`guarded_process`], and writes a part of
//! its file at each return from [`guarded_case_ends`]. Both are functions of their own whatever
//! the optimiser does around them, so what it inlines below or merges elsewhere changes nothing.

#![expect(dead_code, reason = "the modules have more than is needed here")]

mod drops;
mod frames;
mod pool;
mod setup;
mod traffic;

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use dataplane::BURST;
use dataplane::command::{Command, SyncRoles};
use dataplane::service::{Family, Method, Protocol};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use drops::Drops;
use frames::Client;
use pool::{Nowhere, Pool, PoolFrame, Random};
use setup::Setup;
use traffic::{Kind, Traffic, garbage};

/// Connections that are there before the load.
const CONNECTIONS: u32 = 1024;
/// The same where backups are told: few, so that each has many times the packets between two
/// tellings.
const TOLD_CONNECTIONS: u32 = 64;
/// Packets of one case, at most: each may open a connection.
const MAX_PACKETS: u32 = 1 << 16;

/// What the packets of a case are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Request,
    /// Requests of which a backup is told.
    Told,
    Reply,
    New,
    Garbage,
}

struct Case {
    name: String,
    load: Load,
    setup: Setup,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, load, setup: Setup| {
        let Setup { protocol, family, .. } = setup;
        let (protocol, family) = (setup::protocol_name(protocol), setup::family_number(family));
        cases.push(Case { name: format!("{name}-{protocol}-{family}"), load, setup });
    };
    const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
    let usual = |family, method, protocol| Setup::one(family, method, protocol, 2 * CONNECTIONS);
    let ways = [
        ("dr", Method::Direct, Load::Request),
        ("ipip", Method::Tunnel, Load::Request),
        ("nat-request", Method::Nat, Load::Request),
        ("nat-reply", Method::Nat, Load::Reply),
        ("dr-told", Method::Direct, Load::Told),
        ("nat-told", Method::Nat, Load::Told),
    ];
    for (way, method, load) in ways {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for family in FAMILIES {
                add(way, load, usual(family, method, protocol));
            }
        }
    }
    for scheduler in ["rr", "wlc"] {
        for family in FAMILIES {
            let setup = usual(family, Method::Direct, Protocol::Tcp);
            let setup = Setup { scheduler, servers: 100, table: MAX_PACKETS, ..setup };
            add(&format!("new-{scheduler}"), Load::New, setup);
        }
    }
    for family in FAMILIES {
        add("garbage", Load::Garbage, usual(family, Method::Direct, Protocol::Udp));
    }
    cases
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let packets = words.next().and_then(|word| word.parse().ok());
    let packets: u32 = packets.context("usage: perf-instructions PACKETS [CASE]")?;
    let is_sound = packets > 0 && packets <= MAX_PACKETS && packets.is_multiple_of(BURST as u32);
    ensure!(is_sound, "packets are a multiple of {BURST}, at most {MAX_PACKETS}");
    let mut cases = cases();
    if let Some(name) = words.next() {
        cases.retain(|case| case.name == name);
        ensure!(!cases.is_empty(), "no case {name:?}; without one all run, and are named");
    }
    for case in &cases {
        println!("{} {}", case.name, case.run(packets));
    }
    Ok(())
}

impl Case {
    /// Has so many packets judged, and says what became of them.
    fn run(&self, packets: u32) -> String {
        let Setup { family, protocol, .. } = self.setup;
        let (mut shard, counters) = self.setup.shard();
        let connections = if self.load == Load::Told { TOLD_CONNECTIONS } else { CONNECTIONS };
        if self.load != Load::New {
            let clients = (0..connections).map(Client::numbered);
            Pool::new().fill(&mut shard, self.setup, &clients);
        }
        let roles = SyncRoles { is_master: self.load == Load::Told, is_backup: false };
        shard.apply(Tick(2), Command::PutSync(roles));
        let traffic = Traffic::new(
            family,
            protocol,
            match self.load {
                Load::Reply => Kind::Reply,
                Load::New => Kind::Opening,
                Load::Request | Load::Told | Load::Garbage => Kind::Request,
            },
        );
        let mut random = Random(1);
        let mut burst = vec![PoolFrame::new(); BURST];
        let mut forwarded = 0;
        for first in (0..packets).step_by(BURST) {
            for (frame, number) in burst.iter_mut().zip(first..) {
                let number =
                    if self.load == Load::New { number } else { random.below(connections) };
                let mut bytes = traffic.frame(Client::numbered(number));
                if self.load == Load::Garbage {
                    bytes = garbage(bytes, &mut random);
                }
                frame.fill(&bytes);
            }
            let mut verdicts = [Verdict::Consumed; BURST];
            guarded_process(&mut shard, &mut burst, &mut verdicts);
            let sent = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Transmit(_)));
            forwarded += sent.count();
        }
        guarded_case_ends(&self.name);
        let expected = if self.load == Load::Garbage { 0 } else { packets as usize };
        let drops = Drops::of(&[&counters]);
        assert_eq!(forwarded, expected, "{}: {drops}", self.name);
        format!("{forwarded} forwarded, dropped: {drops}")
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
    if shard.has_told() {
        shard.fetch_told().for_each(|record| {
            black_box(&record);
        });
    }
    // Something to do after it, so that it is a call and not a jump.
    black_box(&verdicts);
}

/// Here a case's count is written down.
#[inline(never)]
fn guarded_case_ends(name: &str) {
    black_box(name);
}
