//! The world of a real process: its daemon, its clock, its signals and its terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::screen::Screen;
use super::wait::{self, World};
use super::words::Order;
use crate::client::Invocation;
use crate::session::Reply;

/// Between two looks for a signal.
const NAP: Duration = Duration::from_millis(50);

struct Process<'a> {
    invocation: &'a Invocation,
    start: Instant,
    /// The signal that came, else 0.
    signal: Arc<AtomicUsize>,
}

/// Drains a server: waits, and shows progress on standard output, or with `--json` on standard error.
pub(crate) fn wait(order: &Order, invocation: &Invocation) -> Reply {
    let signal = Arc::<AtomicUsize>::default();
    for number in [SIGINT, SIGTERM] {
        let value = usize::try_from(number).unwrap_or_default();
        // Without a handler the process just ends, as others do.
        let _ = flag::register_usize(number, Arc::clone(&signal), value);
    }
    let mut process = Process { invocation, start: Instant::now(), signal };
    if order.is_json {
        let is_terminal = io::stderr().is_terminal();
        wait::run(order, &mut process, &mut Screen::new(&mut io::stderr(), is_terminal))
    } else {
        let is_terminal = io::stdout().is_terminal();
        wait::run(order, &mut process, &mut Screen::new(&mut io::stdout(), is_terminal))
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
