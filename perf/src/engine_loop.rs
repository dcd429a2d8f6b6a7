//! The worker's whole loop over ports in memory: allocations under load and at idle.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::BURST;
use dataplane::service::{Family, Method, Protocol};
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId};
use engine::clock::Clock;
use engine::links::links;
use engine::port::memory::{MemoryFrame, MemoryPorts};
use engine::worker::{Idle, Worker};

use crate::frames::{self, DUT_MAC};
use crate::setup::Setup;

const FLOWS: u32 = 1024;
const ROUNDS: u32 = 1000;

/// Allocations of the loop.
pub(crate) struct Allocations {
    pub(crate) packets: u64,
    pub(crate) under_load: u64,
    pub(crate) idle_turns: u32,
    pub(crate) at_idle: u64,
}

/// A worker and the far ends of its port.
struct Bench {
    worker: Worker<MemoryPorts>,
    to_worker: Sender<MemoryFrame>,
    from_worker: Receiver<MemoryFrame>,
    now: Tick,
}

pub(crate) fn measure() -> Allocations {
    let (shard, counters) = Setup::one(Family::V4, Method::Nat, Protocol::Udp, FLOWS).shard();
    let (to_worker, incoming) = bounded(FLOWS as usize);
    let (outgoing, from_worker) = bounded(FLOWS as usize);
    let ports = MemoryPorts::new(vec![(incoming, outgoing)]);
    // Nobody sends commands: the channel only has to stay open.
    let (_commands, mut ends) = links(1, 1, &Arc::new(AtomicBool::new(false)));
    let links = ends.remove(0);
    let worker =
        Worker::new(shard, ports, links, Arc::clone(&counters), Clock::start(), Idle::Spin);
    let mut bench = Bench { worker, to_worker, from_worker, now: Tick(1) };

    // Frames are made outside the count, and the first round makes the connections.
    let frames = frames::udp(DUT_MAC, FLOWS);
    let round = || -> Vec<MemoryFrame> {
        frames.iter().map(|frame| MemoryFrame::new(PortId(0), frame)).collect()
    };
    bench.forward(round());
    let mut under_load = 0;
    for _ in 0..ROUNDS {
        let frames = round();
        under_load += bench.forward(frames);
    }
    let at_idle = allocation_counter::measure(|| {
        for _ in 0..ROUNDS {
            bench.turn();
        }
    });
    let packets = u64::from(FLOWS) * u64::from(ROUNDS + 1);
    assert_eq!(counters.transmitted.get(), packets, "every frame is forwarded");
    assert_eq!(counters.dropped(DropReason::TransmitFull), 0);
    Allocations { packets, under_load, idle_turns: ROUNDS, at_idle: at_idle.count_total }
}

impl Bench {
    fn turn(&mut self) {
        self.now = self.now.after(1);
        self.worker.turn(self.now);
        self.worker.look_around(self.now);
    }

    /// Has frames forwarded, and returns how many allocations the worker made.
    fn forward(&mut self, frames: Vec<MemoryFrame>) -> u64 {
        let turns = frames.len().div_ceil(BURST);
        for frame in frames {
            self.to_worker.try_send(frame).expect("the channel holds a round");
        }
        let allocated = allocation_counter::measure(|| {
            for _ in 0..turns {
                self.turn();
            }
        });
        drop(self.from_worker.try_iter().collect::<Vec<_>>());
        allocated.count_total
    }
}
