//! How busy a worker is: notes that it takes as it polls, and what it lets control read of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dataplane::counters::Counter;
use dataplane::time::{TICKS_PER_SECOND, Tick};

/// What a worker shows of itself: written by it alone, read by control at any time.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    /// Turns over all ports and rings.
    pub polls: Counter,
    /// Turns that found a frame.
    pub busy_polls: Counter,
    /// Bursts of frames, each from one port or ring.
    pub bursts: Counter,
    /// Time with frames, in nanoseconds.
    pub busy_ns: Counter,
    /// All time, in nanoseconds.
    pub run_ns: Counter,
    /// Connections that it owns.
    pub connections: Gauge,
    /// The most frames that waited in its rings at a look within a second.
    pub ring_depth: Gauge,
    /// The same in its receive queues; [`UNKNOWN`] when no port can say.
    pub queue_depth: Gauge,
    /// Frames dropped because a port's transmit queue stayed full, by the port's place.
    pub queue_full: Box<[Counter]>,
}

/// A depth that is not known.
pub const UNKNOWN: u64 = u64::MAX;

/// A value with a single writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the value; only the worker may.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Load {
    /// The load of a worker with so many ports.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        let load = Self {
            queue_full: (0..ports).map(|_| Counter::default()).collect(),
            ..Self::default()
        };
        load.queue_depth.set(UNKNOWN);
        load
    }
}

/// A worker's notes between two looks at the clock.
///
/// The clock is read after every empty turn, and after 32 others at the latest, so the time between
/// two readings is of turns with frames and at most one empty turn behind them. Such time is busy,
/// less what an empty turn takes usually; time of an empty turn alone is not.
#[derive(Debug)]
pub struct Meter {
    since_ns: u64,
    polls: u64,
    busy_polls: u64,
    /// The median of empty turns: it goes a nanosecond up or down with each, so that one during
    /// which the core was taken away hardly moves it.
    empty_ns: u64,
}

impl Meter {
    /// Notes from this moment on.
    #[must_use]
    pub fn start(now_ns: u64) -> Self {
        Self { since_ns: now_ns, polls: 0, busy_polls: 0, empty_ns: 0 }
    }

    /// A turn has been made.
    #[inline]
    pub fn turn(&mut self, busy: bool) {
        self.polls += 1;
        self.busy_polls += u64::from(busy);
    }

    /// The clock has been read; `bursts` have come in since it was before.
    #[inline]
    pub fn look(&mut self, now_ns: u64, bursts: u64, load: &Load) {
        let passed = now_ns.saturating_sub(self.since_ns);
        let empty = self.polls - self.busy_polls;
        if self.busy_polls > 0 {
            load.busy_polls.add(self.busy_polls);
            load.bursts.add(bursts);
            load.busy_ns.add(passed.saturating_sub(empty * self.empty_ns));
        } else if passed > self.empty_ns {
            self.empty_ns += 1;
        } else {
            self.empty_ns = self.empty_ns.saturating_sub(1);
        }
        load.polls.add(self.polls);
        self.pass(now_ns, load);
        (self.polls, self.busy_polls) = (0, 0);
    }

    /// Others had the core until now.
    pub fn pass(&mut self, now_ns: u64, load: &Load) {
        load.run_ns.add(now_ns.saturating_sub(self.since_ns));
        self.since_ns = now_ns;
    }
}

/// The most that waited for a worker, by looks at it.
#[derive(Debug, Default)]
pub struct Depths {
    looked: Tick,
    rings: u64,
    queues: Option<u64>,
}

impl Depths {
    /// Whether it is time for a look: a hundred times a second.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Tick) -> bool {
        now != self.looked
    }

    /// A look, with the frames that wait in rings and in receive queues. The most of a second is
    /// shown when it is over.
    pub fn look(&mut self, now: Tick, rings: u64, queues: Option<u64>, load: &Load) {
        if now.0 / TICKS_PER_SECOND != self.looked.0 / TICKS_PER_SECOND {
            load.ring_depth.set(self.rings);
            load.queue_depth.set(self.queues.unwrap_or(UNKNOWN));
            (self.rings, self.queues) = (0, None);
        }
        self.looked = now;
        self.rings = self.rings.max(rings);
        self.queues = self.queues.max(queues);
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
