//! Real time, turned into the dataplane's ticks.

use std::time::Instant;

use dataplane::time::{TICKS_PER_SECOND, Tick};

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
        let elapsed = self.0.elapsed();
        let per_tick = 1_000_000_000 / u128::from(TICKS_PER_SECOND);
        // Wraps as ticks do.
        Tick((elapsed.as_nanos() / per_tick) as u32)
    }
}
