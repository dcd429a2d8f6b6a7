//! What stands in capsule's pipeline: the dataplane, and a counter at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrayvec::{ArrayVec, IntoIter};
use capsule::Mbuf;
use capsule::batch::{Batch, Disposition, PacketRx, PacketTx};
use dataplane::BURST;
use dataplane::frame::Host;
use dataplane::shard::Shard;
use dataplane::time::{TICKS_PER_SECOND, Tick};
use dataplane::verdict::{PortId, Verdict};

use crate::frame::{CapsuleFrame, prefetch};

/// Bursts between two looks at the clock, as in our engine.
const BURSTS_PER_LOOK: u32 = 32;

/// A batch of packets from `rx`, judged by the dataplane as one burst.
pub(crate) struct Judged<Rx> {
    rx: Rx,
    shard: Box<Shard<CapsuleFrame>>,
    outbox: Outbox,
    frames: IntoIter<CapsuleFrame, BURST>,
    verdicts: [Verdict; BURST],
    /// The next verdict.
    place: usize,
    started: Instant,
    now: Tick,
    bursts: u32,
}

impl<Rx> Judged<Rx> {
    pub(crate) fn new(rx: Rx, shard: Shard<CapsuleFrame>) -> Self {
        Self {
            rx,
            shard: Box::new(shard),
            outbox: Outbox::default(),
            frames: ArrayVec::new().into_iter(),
            verdicts: [Verdict::Consumed; BURST],
            place: 0,
            started: Instant::now(),
            now: Tick(0),
            bursts: 0,
        }
    }
}

impl<Rx: PacketRx> Batch for Judged<Rx> {
    type Item = Mbuf;

    fn replenish(&mut self) {
        if self.bursts.is_multiple_of(BURSTS_PER_LOOK) {
            let ticks = self.started.elapsed().as_secs_f64() * f64::from(TICKS_PER_SECOND);
            self.now = Tick(ticks as u32);
            self.shard.tick(self.now, &mut self.outbox);
        }
        self.bursts = self.bursts.wrapping_add(1);
        // Capsule asks its ports for 32 at a time, and a burst is no less.
        let mut burst: ArrayVec<_, BURST> =
            self.rx.receive().into_iter().map(CapsuleFrame).collect();
        self.shard.process(self.now, &self.outbox, &mut burst, &mut self.verdicts);
        (self.frames, self.place) = (burst.into_iter(), 0);
    }

    #[inline]
    fn next(&mut self) -> Option<Disposition<Mbuf>> {
        let Some(CapsuleFrame(mbuf)) = self.frames.next() else {
            return self.outbox.0.pop().map(Disposition::Act);
        };
        let verdict = self.verdicts[self.place];
        self.place += 1;
        Some(match verdict {
            Verdict::Transmit(_) => Disposition::Act(mbuf),
            // One shard that knows its neighbours: nothing is held or handed over.
            _ => Disposition::Drop(mbuf),
        })
    }
}

/// Frames of the dataplane's own making, which leave with the next batch.
#[derive(Default)]
struct Outbox(Vec<Mbuf>);

impl Host for Outbox {
    type Frame = CapsuleFrame;

    fn allocate(&mut self, length: usize) -> Option<CapsuleFrame> {
        let mut mbuf = Mbuf::new().ok()?;
        mbuf.extend(0, length).ok()?;
        Some(CapsuleFrame(mbuf))
    }

    fn send(&mut self, _: PortId, frame: CapsuleFrame) {
        self.0.push(frame.0);
    }

    fn release(&mut self, frame: CapsuleFrame) {
        drop(frame);
    }

    #[inline]
    fn prefetch<T>(&self, at: &T) {
        prefetch(at);
    }
}

/// Counts what goes out.
pub(crate) struct Counted<Tx> {
    pub(crate) tx: Tx,
    pub(crate) sent: Arc<AtomicU64>,
}

impl<Tx: PacketTx> PacketTx for Counted<Tx> {
    fn transmit(&mut self, packets: Vec<Mbuf>) {
        // One writer: no locked instruction is needed.
        let sent = self.sent.load(Ordering::Relaxed) + packets.len() as u64;
        self.sent.store(sent, Ordering::Relaxed);
        self.tx.transmit(packets);
    }
}
