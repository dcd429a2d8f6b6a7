//! Rings between workers: a frame that arrives where its connection is not owned crosses once.

use dataplane::verdict::ShardId;
use rtrb::{Consumer, Producer, RingBuffer};

/// Frames that may be under way from one worker to another.
pub const RING_FRAMES: usize = 1024;

/// One worker's ends of the rings to and from all others.
pub struct Handoff<F> {
    /// By target; none to itself.
    outgoing: Vec<Option<Producer<F>>>,
    incoming: Vec<Consumer<F>>,
}

impl<F> Handoff<F> {
    /// The ends of rings between each two of `workers`, one value for each worker.
    #[must_use]
    pub fn mesh(workers: usize) -> Vec<Self> {
        let empty = || Self { outgoing: Vec::new(), incoming: Vec::new() };
        let mut ends: Vec<Self> = (0..workers).map(|_| empty()).collect();
        for from in 0..workers {
            for to in 0..workers {
                if from == to {
                    ends[from].outgoing.push(None);
                    continue;
                }
                let (producer, consumer) = RingBuffer::new(RING_FRAMES);
                ends[from].outgoing.push(Some(producer));
                ends[to].incoming.push(consumer);
            }
        }
        ends
    }

    /// Sends a frame to the worker of a shard.
    ///
    /// # Errors
    /// The frame comes back when the ring is full.
    pub fn send(&mut self, to: ShardId, frame: F) -> Result<(), F> {
        let ring = self.outgoing[usize::from(to.0)].as_mut();
        let ring = ring.expect("a shard sends to its owner only what it does not own");
        ring.push(frame).map_err(|rtrb::PushError::Full(frame)| frame)
    }

    /// How many workers may send to this one.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.incoming.len()
    }

    /// Frames that wait in the rings to this worker.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.incoming.iter().map(|ring| ring.slots() as u64).sum()
    }

    /// Moves frames from a peer to an empty burst.
    pub fn receive<const N: usize>(&mut self, peer: usize, burst: &mut arrayvec::ArrayVec<F, N>) {
        let ring = &mut self.incoming[peer];
        let count = ring.slots().min(burst.remaining_capacity());
        if count == 0 {
            return;
        }
        if let Ok(chunk) = ring.read_chunk(count) {
            burst.extend(chunk);
        }
    }
}
