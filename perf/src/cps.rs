//! New connections: every packet is the SYN of a new flow, its client drawn at random. Scheduler,
//! table and counters take part; writing the frames is taken off.

use std::hint::black_box;

use anyhow::Result;
use dataplane::BURST;
use dataplane::service::{Method, Protocol};
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use crate::drops;
use crate::frames::Client;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::pool::{Nowhere, Pool};
use crate::sample::Samples;
use crate::setup::{self, Setup};
use crate::traffic::{Kind, Traffic};

const SCHEDULERS: [(&str, u32); 7] =
    [("rr", 2), ("rr", 10), ("rr", 100), ("lc", 100), ("wlc", 100), ("sh", 100), ("mh", 100)];
/// In a sample: the table begins empty and ends full.
const CONNECTIONS: u32 = 1 << 20;
/// Seconds after which no connection is left that nobody answers.
const FORGOTTEN_S: u32 = 3600;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options { repeats: 3, ..Options::default() };
    let options = options.parse(&["family", "connections", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "cps: new connections per second, one core, no I/O; writing the frames is taken off",
    )?;
    let mut pool = Pool::new();
    for &family in &options.families {
        progress(&format!("cps, IPv{}", setup::family_number(family)));
        for &connections in options.connections.as_deref().unwrap_or(&[CONNECTIONS]) {
            for (scheduler, servers) in SCHEDULERS {
                let setup = Setup {
                    scheduler,
                    servers,
                    ..Setup::one(family, Method::Direct, Protocol::Tcp, connections)
                };
                output.row(&measure(&mut pool, setup, options.repeats))?;
            }
        }
    }
    Ok(())
}

fn measure(pool: &mut Pool, setup: Setup, repeats: u32) -> Row {
    let Setup { family, method, protocol, scheduler, servers, table, .. } = setup;
    let (mut shard, counters) = setup.shard();
    let traffic = Traffic::new(family, protocol, Kind::Opening);
    let (mut net, mut gross, mut allocations) = (Samples::default(), Samples::default(), 0);
    let mut now = Tick(1);
    let mut verdicts = [Verdict::Consumed; BURST];
    // The first round is not counted: it fetches what the others find near.
    for round in 0..=repeats {
        let clients = || (0..table).map(|n| Client::scattered(n, round));
        let (mut ours, mut theirs) = (clients(), clients());
        let without = pool.timed_turn(
            table,
            |frame| traffic.write(frame, theirs.next().expect("one a frame")),
            |_| {},
        );
        let mut with = 0.0;
        let allocated = allocation_counter::measure(|| {
            with = pool.timed_turn(
                table,
                |frame| traffic.write(frame, ours.next().expect("one a frame")),
                |burst| {
                    shard.process(now, &Nowhere, burst, &mut verdicts);
                    black_box(&mut verdicts);
                },
            );
        });
        assert_eq!(shard.connections(), table);
        now = now.after_seconds(FORGOTTEN_S);
        shard.sweep_all(now);
        assert_eq!(shard.connections(), 0);
        if round > 0 {
            net.push(with - without);
            gross.push(with);
            allocations += allocated.count_total;
        }
    }
    drops::check_none(&counters);
    Row {
        bench: "cps",
        method: Some(setup::method_name(method)),
        family: Some(setup::family_number(family)),
        protocol: Some(setup::protocol_name(protocol)),
        scheduler: Some(scheduler),
        servers: Some(servers),
        connections: Some(table),
        workers: Some(1),
        ns_per_packet: Some(net.median()),
        ns_gross: Some(gross.median()),
        per_second: Some(1e9 / net.median()),
        allocations: Some(allocations),
        ..Row::default()
    }
    .spread(&net)
}
