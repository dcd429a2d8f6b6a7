//! A pool of frames as large as a NIC's, and the timed loop over it.

use std::hint::black_box;
use std::time::Duration;

use dataplane::BURST;
use dataplane::frame::{Frame, Host};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, Verdict};
use engine::port::prefetch::prefetch;
use nix::time::{ClockId, clock_gettime};

use crate::frames::Client;
use crate::setup::Setup;
use crate::traffic::{Kind, Traffic};

const SLOT: usize = 256;
const HEADROOM: usize = 64;
/// Frames of the pool, in whole bursts.
const POOL: usize = (16 << 20) / size_of::<PoolFrame>() / BURST * BURST;

/// A frame in a slot of the pool; like a NIC's it begins with a cache line, and where it is in its
/// slot stands in another.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct PoolFrame {
    slot: [u8; SLOT],
    start: u8,
    end: u8,
}

impl PoolFrame {
    pub(crate) fn new() -> Self {
        Self { slot: [0; SLOT], start: 0, end: 0 }
    }

    /// Puts other bytes into the slot, with room in front.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> &mut [u8] {
        self.start = HEADROOM as u8;
        self.end = (HEADROOM + bytes.len()) as u8;
        let frame = self.bytes_mut();
        frame.copy_from_slice(bytes);
        frame
    }

    /// Opens `room` bytes in front, which is less than there are.
    #[inline]
    pub(crate) fn open(&mut self, room: u8) -> &mut [u8] {
        self.start -= room;
        self.bytes_mut()
    }
}

impl Frame for PoolFrame {
    #[inline]
    fn port(&self) -> PortId {
        PortId(0)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        let start = usize::from(self.start).wrapping_add_signed(distance);
        let end = start.wrapping_add(length);
        if start > end || end > usize::from(self.end) {
            return None;
        }
        (self.start, self.end) = (start as u8, end as u8);
        self.slot.get_mut(start..end)
    }
}

/// A host that sends nowhere: verdicts are all that is measured.
pub(crate) struct Nowhere;

impl Host for Nowhere {
    type Frame = PoolFrame;

    fn allocate(&mut self, _: usize) -> Option<PoolFrame> {
        None
    }

    fn send(&mut self, _: PortId, _: PoolFrame) {}

    fn release(&mut self, _: PoolFrame) {}

    #[inline]
    fn prefetch<T>(&self, at: &T) {
        prefetch(at);
    }
}

/// Random numbers, good enough to choose connections.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number less than `limit`.
    #[inline]
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}

/// All frames; each turn goes over them burst by burst.
pub(crate) struct Pool {
    frames: Vec<PoolFrame>,
    /// Where the next burst begins.
    at: usize,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self { frames: (0..POOL).map(|_| PoolFrame::new()).collect(), at: 0 }
    }

    /// Writes a burst and has it judged.
    #[inline(always)]
    pub(crate) fn burst(
        &mut self,
        frames: usize,
        mut write: impl FnMut(&mut PoolFrame),
        judge: impl FnOnce(&mut [PoolFrame]),
    ) {
        let burst = &mut self.frames[self.at..self.at + frames];
        self.at = (self.at + BURST) % POOL;
        burst.iter_mut().for_each(&mut write);
        judge(burst);
        black_box(burst);
    }

    /// Writes and judges bursts until `packets` have been.
    #[inline(always)]
    pub(crate) fn turn(
        &mut self,
        packets: u32,
        mut write: impl FnMut(&mut PoolFrame),
        mut judge: impl FnMut(&mut [PoolFrame]),
    ) {
        let mut left = packets as usize;
        while left > 0 {
            let frames = left.min(BURST);
            self.burst(frames, &mut write, &mut judge);
            left -= frames;
        }
    }

    /// A turn's nanoseconds per packet, in the processor's time.
    #[inline(always)]
    pub(crate) fn timed_turn(
        &mut self,
        packets: u32,
        write: impl FnMut(&mut PoolFrame),
        judge: impl FnMut(&mut [PoolFrame]),
    ) -> f64 {
        let start = processor_time();
        self.turn(packets, write, judge);
        (processor_time() - start).as_nanos() as f64 / f64::from(packets)
    }

    /// Nanoseconds per packet that `judge` takes for frames of random clients: with it, and that
    /// less the same loop without it.
    pub(crate) fn sample(
        &mut self,
        packets: u32,
        traffic: &Traffic,
        clients: u32,
        random: &mut Random,
        mut judge: impl FnMut(&mut [PoolFrame]),
    ) -> Cost {
        let mut write = |frame: &mut PoolFrame| {
            traffic.write(frame, Client::numbered(random.below(clients)));
        };
        // What others have taken from the caches since the last sample comes back.
        self.turn(packets / 8, &mut write, &mut judge);
        let without = self.timed_turn(packets, &mut write, |_| {});
        let gross = self.timed_turn(packets, &mut write, &mut judge);
        Cost { net: gross - without, gross }
    }

    /// Has clients open their connections and go on with them once.
    pub(crate) fn fill(
        &mut self,
        shard: &mut Shard<PoolFrame>,
        setup: Setup,
        clients: &(impl ExactSizeIterator<Item = Client> + Clone),
    ) {
        for kind in [Kind::Opening, Kind::Request] {
            let traffic = Traffic::new(setup.family, setup.protocol, kind);
            self.visit(shard, &traffic, clients.clone());
        }
        assert_eq!(shard.connections() as usize, clients.len());
    }

    /// Has a shard judge one frame of each of so many clients.
    pub(crate) fn visit(
        &mut self,
        shard: &mut Shard<PoolFrame>,
        traffic: &Traffic,
        clients: impl ExactSizeIterator<Item = Client>,
    ) {
        let packets = clients.len() as u32;
        let mut clients = clients;
        let mut verdicts = [Verdict::Consumed; BURST];
        self.turn(
            packets,
            |frame| traffic.write(frame, clients.next().expect("as many as it says")),
            |burst| shard.process(Tick(1), &Nowhere, burst, &mut verdicts),
        );
    }
}

/// Time that this thread has had a processor: what others take of it meanwhile does not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}

/// Nanoseconds per packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Without the writing of the frames.
    pub(crate) net: f64,
    pub(crate) gross: f64,
}
