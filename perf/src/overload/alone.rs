//! A shard alone, under one kind of load.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::service::Family;
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use super::{CONNECTIONS, Load, SERVICE};
use crate::pool::{Nowhere, PoolFrame};
use crate::workload::{self, Random, SERVER_SLOTS, Service, Tcp};

/// Slots for frames, which are written in turn.
const POOL: usize = 4096;
const NOW: Tick = Tick(2);

pub(super) struct Alone {
    shard: Shard<PoolFrame>,
    counters: Arc<Counters>,
    /// What is offered, at random.
    frames: Vec<Vec<u8>>,
    pool: Vec<PoolFrame>,
    random: Random,
}

impl Alone {
    fn new(is_strange: bool, connections: u32, frames: Vec<Vec<u8>>) -> Self {
        let counters = Arc::new(Counters::new(SERVER_SLOTS));
        let mut shard = SERVICE.shard(0, 1, is_strange, Arc::clone(&counters));
        SERVICE.open(&mut shard, connections);
        let pool = vec![PoolFrame::holding(&[]); POOL];
        Self { shard, counters, frames, pool, random: Random(1) }
    }

    /// As many connections as there is room for, in random order.
    pub(super) fn well() -> Self {
        Self::new(false, CONNECTIONS, requests(0..CONNECTIONS))
    }

    /// All packets are one connection's.
    pub(super) fn elephant() -> Self {
        Self::new(false, CONNECTIONS, requests(0..1))
    }

    /// All packets are of clients for which there is no room.
    pub(super) fn table_full() -> Self {
        Self::new(false, CONNECTIONS, requests(CONNECTIONS..64 * CONNECTIONS))
    }

    pub(super) fn garbage() -> Self {
        let mut random = Random(7);
        let v6 = Service { family: Family::V6, ..SERVICE };
        let of = [SERVICE, v6];
        let frames = (0..4096).map(|n| workload::garbage(&of[n % 2], &mut random)).collect();
        Self::new(false, CONNECTIONS, frames)
    }

    /// The next hop is not known, and there is no buffer to ask for it.
    pub(super) fn no_buffers() -> Self {
        Self::new(true, 0, requests(0..CONNECTIONS))
    }

    fn turn(&mut self, packets: u32, is_judged: bool) -> f64 {
        let mut verdicts = [Verdict::Consumed; BURST];
        let bursts = packets as usize / BURST;
        let start = Instant::now();
        for n in 0..bursts {
            let at = n * BURST % POOL;
            let burst = &mut self.pool[at..at + BURST];
            for frame in burst.iter_mut() {
                frame.fill(&self.frames[self.random.below(self.frames.len() as u32) as usize]);
            }
            if is_judged {
                self.shard.process(NOW, &Nowhere, burst, &mut verdicts);
                for (frame, verdict) in burst.iter().zip(verdicts) {
                    if let Verdict::Hold(hop) = verdict {
                        let _ = self.shard.hold(NOW, &mut Nowhere, hop, frame.clone());
                    }
                }
            }
            black_box((&mut *burst, &mut verdicts));
        }
        start.elapsed().as_nanos() as f64 / (bursts * BURST) as f64
    }
}

fn requests(clients: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    clients.map(|client| SERVICE.request(client, Tcp::Data)).collect()
}

impl Load for Alone {
    fn sample(&mut self, packets: u32) -> f64 {
        let without = self.turn(packets, false);
        self.turn(packets, true) - without
    }

    fn drops(&self) -> String {
        workload::drops(&[&self.counters])
    }
}
