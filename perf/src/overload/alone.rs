//! A shard alone, under one kind of load.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::service::Family;
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use super::{CONNECTIONS, Load, SETUP};
use crate::drops::Drops;
use crate::frames::Client;
use crate::pool::{Nowhere, Pool, PoolFrame, Random};
use crate::setup::Setup;
use crate::traffic::{Kind, Traffic, garbage};

const NOW: Tick = Tick(2);

pub(super) struct Alone {
    shard: Shard<PoolFrame>,
    counters: Arc<Counters>,
    /// What is offered, at random.
    frames: Vec<Vec<u8>>,
    pool: Pool,
    random: Random,
}

impl Alone {
    fn new(frames: Vec<Vec<u8>>) -> Self {
        let (mut shard, counters) = SETUP.shard();
        let mut pool = Pool::new();
        pool.fill(&mut shard, SETUP, &(0..CONNECTIONS).map(Client::numbered));
        Self { shard, counters, frames, pool, random: Random(1) }
    }

    /// As many connections as there is room for, in random order.
    pub(super) fn well() -> Self {
        Self::new(requests(0..CONNECTIONS))
    }

    /// All packets are one connection's.
    pub(super) fn elephant() -> Self {
        Self::new(requests(0..1))
    }

    /// All packets are of clients for which there is no room.
    pub(super) fn table_full() -> Self {
        Self::new(requests(CONNECTIONS..64 * CONNECTIONS))
    }

    pub(super) fn garbage() -> Self {
        let mut random = Random(7);
        let of = [Family::V4, Family::V6]
            .map(|family| Traffic::new(family, SETUP.protocol, Kind::Request));
        let good = |n: u32| of[n as usize % 2].frame(Client::numbered(n % CONNECTIONS));
        Self::new((0..4096).map(|n| garbage(good(n), &mut random)).collect())
    }

    /// The next hop is not known, and there is no buffer to ask for it.
    pub(super) fn no_buffers() -> Self {
        let (shard, counters) = Setup { knows_hops: false, ..SETUP }.shard();
        let (frames, pool) = (requests(0..CONNECTIONS), Pool::new());
        Self { shard, counters, frames, pool, random: Random(1) }
    }

    fn turn(&mut self, packets: u32, is_judged: bool) -> f64 {
        let Self { shard, frames, pool, random, .. } = self;
        let mut verdicts = [Verdict::Consumed; BURST];
        pool.timed_turn(
            packets,
            |frame| {
                frame.fill(&frames[random.below(frames.len() as u32) as usize]);
            },
            |burst| {
                if is_judged {
                    shard.process(NOW, &Nowhere, burst, &mut verdicts);
                    for (frame, verdict) in burst.iter().zip(verdicts) {
                        if let Verdict::Hold(hop) = verdict {
                            let _ = shard.hold(NOW, &mut Nowhere, hop, frame.clone());
                        }
                    }
                }
                black_box(&mut verdicts);
            },
        )
    }
}

fn requests(clients: Range<u32>) -> Vec<Vec<u8>> {
    let traffic = Traffic::new(SETUP.family, SETUP.protocol, Kind::Request);
    clients.map(|client| traffic.frame(Client::numbered(client))).collect()
}

impl Load for Alone {
    fn sample(&mut self, packets: u32) -> f64 {
        let without = self.turn(packets, false);
        self.turn(packets, true) - without
    }

    fn drops(&self) -> Drops {
        Drops::of(&[&self.counters])
    }
}
