//! The world of a real process: its daemon, its clock and its signals.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::World;
use crate::client::Invocation;
use crate::session::Reply;

/// Between two looks for a signal.
const NAP: Duration = Duration::from_millis(50);

/// A process that waits.
pub(crate) struct Process<'a> {
    invocation: &'a Invocation,
    start: Instant,
    /// The signal that came, else 0.
    signal: Arc<AtomicUsize>,
}

impl<'a> Process<'a> {
    /// Starts now. From now on SIGINT and SIGTERM only end the sleep.
    pub(crate) fn new(invocation: &'a Invocation) -> Self {
        let signal = Arc::<AtomicUsize>::default();
        for number in [SIGINT, SIGTERM] {
            let value = usize::try_from(number).unwrap_or_default();
            // Without a handler the process just ends, as others do.
            let _ = flag::register_usize(number, Arc::clone(&signal), value);
        }
        Self { invocation, start: Instant::now(), signal }
    }
}

impl World for Process<'_> {
    fn ask(&mut self, argv: &[String]) -> Result<Reply, Reply> {
        self.invocation.ask(argv, None).map_err(|error| self.invocation.no_answer(&error))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&mut self, time: Duration) -> Option<u8> {
        let end = Instant::now() + time;
        loop {
            let signal = self.signal.load(Ordering::Relaxed);
            if signal != 0 {
                return u8::try_from(signal).ok();
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::sleep(left.min(NAP));
        }
    }

    fn say(&mut self, text: &str) {
        // Nothing can be done about a standard error that does not take the text.
        let _ = writeln!(io::stderr(), "{text}");
    }
}
