//! Real time, turned into the dataplane's ticks.

use std::time::Instant;

use dataplane::time::{TICKS_PER_SECOND, Tick};

const NS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND as u64;

/// A clock that starts at tick 0; copies of it agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Ticks since the start.
    #[must_use]
    pub fn now(&self) -> Tick {
        Self::tick(self.now_ns())
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        let elapsed = self.0.elapsed();
        // Enough for 584 years.
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// The tick of a moment in nanoseconds since the start.
    #[must_use]
    pub fn tick(ns: u64) -> Tick {
        // Wraps as ticks do.
        Tick((ns / NS_PER_TICK) as u32)
    }
}
