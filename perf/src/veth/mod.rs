//! stub

pub(crate) mod pollvsd;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tests::interrupt;

/// Between two looks at whether we are to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Sleeps, and fails soon after a signal.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        interrupt::check()?;
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::sleep(left.min(LOOK)),
            _ => return Ok(()),
        }
    }
}
