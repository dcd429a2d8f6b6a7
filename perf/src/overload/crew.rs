//! Workers with ports in memory and rings between them, turned in turn on one thread.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::hash::owner_of;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId};
use engine::clock::Clock;
use engine::links::links;
use engine::port::memory::{MemoryFrame, MemoryPorts};
use engine::worker::{Idle, Worker};

use super::{CONNECTIONS, Load, SERVICE};
use crate::workload::{self, KEY, SERVER_SLOTS, Tcp};

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
        let (_, ends) = links(workers, 1, &Arc::new(AtomicBool::new(false)));
        let (to_first, first) = bounded(CONNECTIONS as usize);
        let (outgoing, from_workers) = bounded(queue);
        let counters: Vec<_> =
            (0..workers).map(|_| Arc::new(Counters::new(SERVER_SLOTS))).collect();
        let hired = ends.into_iter().zip(0..).map(|(ends, id)| {
            let incoming = if id == 0 { first.clone() } else { bounded(1).1 };
            let ports = MemoryPorts::new(vec![(incoming, outgoing.clone())]);
            let counters = Arc::clone(&counters[usize::from(id)]);
            let shard = SERVICE.shard(id, workers, false, Arc::clone(&counters));
            Worker::new(shard, ports, ends, counters, Clock::start(), Idle::Spin)
        });
        let hired = hired.collect();
        let is_owned = |&client: &u32| {
            let (address, port) = SERVICE.client(client);
            let IpAddr::V4(address) = address else { unreachable!("an IPv4 service") };
            owner_of(&KEY, address, port, workers) == ShardId(owner)
        };
        let clients = (0..).filter(is_owned).take(CONNECTIONS as usize);
        let frames = clients.map(|client| SERVICE.request(client, Tcp::Data)).collect();
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
        let rounds = packets / CONNECTIONS;
        let elapsed: u64 = (0..rounds).map(|_| self.round()).sum();
        elapsed as f64 / f64::from(rounds * CONNECTIONS)
    }

    fn drops(&self) -> String {
        let counters: Vec<_> = self.counters.iter().map(Arc::as_ref).collect();
        workload::drops(&counters)
    }
}
