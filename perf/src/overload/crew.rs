//! Workers with ports in memory and rings between them, turned in turn on one thread.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId};
use engine::clock::Clock;
use engine::links::links;
use engine::port::memory::{MemoryFrame, MemoryPorts};
use engine::worker::{Idle, Worker};

use super::{CONNECTIONS, Load, SETUP};
use crate::drops::Drops;
use crate::frames::Client;
use crate::setup::Setup;
use crate::traffic::{Kind, Traffic};

const NOW: Tick = Tick(2);
/// Turns that take all frames of a round from the first worker's port.
const TURNS: u32 = CONNECTIONS / BURST as u32;

pub(super) struct Crew {
    workers: Vec<Worker<MemoryPorts>>,
    counters: Vec<Arc<Counters>>,
    /// What comes in at the first worker in a round.
    frames: Vec<Vec<u8>>,
    to_first: Sender<MemoryFrame>,
    from_workers: Receiver<MemoryFrame>,
    /// Turns of the first worker for each of the second, if that turns at all.
    turns_for_one: Option<u32>,
}

impl Crew {
    fn new(workers: u16, owner: u16, queue: usize, turns_for_one: Option<u32>) -> Self {
        let setup = Setup { shards: workers, ..SETUP };
        let world = setup.world();
        let (_, ends) = links(workers, 1, &Arc::new(AtomicBool::new(false)));
        let (to_first, first) = bounded(CONNECTIONS as usize);
        let (outgoing, from_workers) = bounded(queue);
        let hired = ends.into_iter().zip(0..).map(|(ends, id)| {
            let incoming = if id == 0 { first.clone() } else { bounded(1).1 };
            let ports = MemoryPorts::new(vec![(incoming, outgoing.clone())]);
            let (shard, counters) = world.shard(id);
            let worker =
                Worker::new(shard, ports, ends, Arc::clone(&counters), Clock::start(), Idle::Spin);
            (worker, counters)
        });
        let (hired, counters) = hired.unzip();
        let traffic = Traffic::new(setup.family, setup.protocol, Kind::Request);
        let is_owned = |&client: &Client| setup.owner(client) == ShardId(owner);
        let clients = (0..).map(Client::numbered).filter(is_owned).take(CONNECTIONS as usize);
        let frames = clients.map(|client| traffic.frame(client)).collect();
        Self { workers: hired, counters, frames, to_first, from_workers, turns_for_one }
    }

    /// One worker with room for all.
    pub(super) fn well() -> Self {
        Self::new(1, 0, CONNECTIONS as usize, None)
    }

    /// Nothing is taken out.
    pub(super) fn transmit_full() -> Self {
        Self::new(1, 0, 0, None)
    }

    /// The owner of all connections stands still.
    pub(super) fn ring_full() -> Self {
        Self::new(2, 1, CONNECTIONS as usize, None)
    }

    /// The owner of all connections is half as fast as the worker that receives them.
    pub(super) fn one_owner() -> Self {
        Self::new(2, 1, CONNECTIONS as usize, Some(2))
    }

    /// Nanoseconds for one round of frames.
    fn round(&mut self) -> u64 {
        for frame in &self.frames {
            let frame = MemoryFrame::new(PortId(0), frame);
            self.to_first.try_send(frame).expect("the channel holds a round");
        }
        let start = Instant::now();
        for turn in 0..TURNS {
            self.workers[0].turn(NOW);
            if self.turns_for_one.is_some_and(|turns| turn % turns == 0) {
                self.workers[1].turn(NOW);
            }
        }
        let elapsed = start.elapsed().as_nanos() as u64;
        self.from_workers.try_iter().for_each(drop);
        elapsed
    }
}

impl Load for Crew {
    fn sample(&mut self, packets: u32) -> f64 {
        let rounds = (packets / CONNECTIONS).max(1);
        let elapsed: u64 = (0..rounds).map(|_| self.round()).sum();
        elapsed as f64 / f64::from(rounds * CONNECTIONS)
    }

    fn drops(&self) -> Drops {
        let counters: Vec<_> = self.counters.iter().map(Arc::as_ref).collect();
        Drops::of(&counters)
    }
}
