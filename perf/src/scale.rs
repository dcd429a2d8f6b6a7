//! Workers side by side: each on a core of its own, with its own frames in memory and its share of
//! the connections; flows come to their owners. All together against one alone times their number.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use core_affinity::CoreId;
use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::service::{Family, Method, Protocol};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::{ShardId, Verdict};

use crate::drops;
use crate::frames::Client;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::pool::{Nowhere, Pool, PoolFrame, Random};
use crate::sample::Samples;
use crate::setup::{self, Setup, World};
use crate::traffic::{Kind, Traffic};

/// Of each worker.
const CONNECTIONS: [u32; 2] = [1 << 16, 1 << 20];
/// Bursts between two looks at the clock.
const BURSTS: u32 = 64;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let known = ["family", "method", "connections", "seconds", "repeats"];
    let options =
        Options { families: vec![Family::V4], methods: vec![Method::Tunnel], ..Options::default() };
    let options = options.parse(&known, words)?;
    let mut output = Output::start(
        options.is_json,
        "scale: Mpps of workers with frames of their own in memory, the frames' writing included; \
         connections are each worker's",
    )?;
    let cores = core_affinity::get_core_ids().filter(|cores| !cores.is_empty());
    let cores = cores.context("the system does not say which cores there are")?;
    for &family in &options.families {
        for &method in &options.methods {
            for &connections in options.connections.as_deref().unwrap_or(&CONNECTIONS) {
                for workers in crew_sizes(cores.len() as u16) {
                    progress(&format!("scale, {workers} workers, {connections} each"));
                    let setup = Setup {
                        shards: workers,
                        ..Setup::one(family, method, Protocol::Tcp, connections)
                    };
                    output.row(&measure(setup, &cores, &options))?;
                }
            }
        }
    }
    Ok(())
}

/// 1, 2, 4 and so on, and as many as there are cores.
fn crew_sizes(cores: u16) -> Vec<u16> {
    let most = cores.max(2);
    let powers = (0..16).map(|shift| 1 << shift).take_while(|&size| size < most);
    powers.chain([most]).collect()
}

/// Who works in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    All,
    /// One worker, by number.
    One(u16),
    Over,
}

fn measure(setup: Setup, cores: &[CoreId], options: &Options) -> Row {
    let workers = setup.shards;
    let world = setup.world();
    let barrier = Barrier::new(usize::from(workers) + 1);
    let shift = Mutex::new(Shift::Over);
    let packets_per_second = AtomicU64::new(0);
    let length = Duration::from_secs_f64(options.seconds);
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    thread::scope(|scope| {
        for n in 0..workers {
            let (world, barrier, shift, rate) = (&world, &barrier, &shift, &packets_per_second);
            let core = cores[usize::from(n) % cores.len()];
            scope.spawn(move || {
                assert!(core_affinity::set_for_current(core), "cannot be pinned to {core:?}");
                let mut worker = Worker::new(setup, world, n);
                loop {
                    barrier.wait();
                    let now = *shift.lock().expect("nobody panics with it");
                    if now == Shift::All || now == Shift::One(n) {
                        rate.fetch_add(worker.work(length), Relaxed);
                    } else if now == Shift::Over {
                        return;
                    }
                    barrier.wait();
                }
            });
        }
        let sample = |who| {
            *shift.lock().expect("nobody panics with it") = who;
            packets_per_second.store(0, Relaxed);
            barrier.wait();
            barrier.wait();
            packets_per_second.load(Relaxed) as f64 / 1e6
        };
        sample(Shift::All);
        for repeat in 0..options.repeats {
            ours.push(sample(Shift::All));
            if workers > 1 {
                let alone = sample(Shift::One(repeat as u16 % workers));
                theirs.push(alone * f64::from(workers));
            }
        }
        *shift.lock().expect("nobody panics with it") = Shift::Over;
        barrier.wait();
    });
    let Setup { family, method, protocol, table, .. } = setup;
    let has_cores = usize::from(workers) <= cores.len();
    let row = Row {
        bench: "scale",
        case: (!has_cores).then(|| "workers share cores".to_owned()),
        method: Some(setup::method_name(method)),
        family: Some(setup::family_number(family)),
        protocol: Some(setup::protocol_name(protocol)),
        connections: Some(table),
        workers: Some(workers),
        mpps: Some(ours.median()),
        ..Row::default()
    }
    .spread(&ours);
    match workers {
        1 => row,
        _ => row.against(&format!("{workers} x one worker"), &ours, &theirs),
    }
}

/// A shard, its clients and its frames.
struct Worker {
    shard: Shard<PoolFrame>,
    counters: Arc<Counters>,
    clients: Vec<Client>,
    pool: Pool,
    traffic: Traffic,
    random: Random,
}

impl Worker {
    /// Made on its own core, so that its memory is near.
    fn new(setup: Setup, world: &World, n: u16) -> Self {
        let Setup { family, protocol, table, .. } = setup;
        let (mut shard, counters) = world.shard(n);
        let mut pool = Pool::new();
        let clients: Vec<_> = (0..)
            .map(Client::numbered)
            .filter(|&client| setup.owner(client) == ShardId(n))
            .take(table as usize)
            .collect();
        pool.fill(&mut shard, setup, &clients.iter().copied());
        let traffic = Traffic::new(family, protocol, Kind::Request);
        let random = Random(u64::from(n));
        Self { shard, counters, clients, pool, traffic, random }
    }

    /// Forwards for some time; packets per second.
    fn work(&mut self, length: Duration) -> u64 {
        let Self { shard, clients, pool, traffic, random, .. } = self;
        let mut verdicts = [Verdict::Consumed; BURST];
        let (mut packets, start) = (0, Instant::now());
        let elapsed = loop {
            pool.turn(
                BURSTS * BURST as u32,
                |frame| {
                    let client = clients[random.below(clients.len() as u32) as usize];
                    traffic.write(frame, client);
                },
                |burst| {
                    shard.process(Tick(2), &Nowhere, burst, &mut verdicts);
                    black_box(&mut verdicts);
                },
            );
            packets += u64::from(BURSTS) * BURST as u64;
            let elapsed = start.elapsed();
            if elapsed >= length {
                break elapsed;
            }
        };
        drops::check_none(&self.counters);
        (packets as f64 / elapsed.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crews_grow_to_all_cores() {
        assert_eq!(crew_sizes(1), [1, 2]);
        assert_eq!(crew_sizes(2), [1, 2]);
        assert_eq!(crew_sizes(6), [1, 2, 4, 6]);
    }
}
