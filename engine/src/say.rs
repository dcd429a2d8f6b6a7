//! Messages to whoever started the daemon.

use std::fmt::Display;
use std::io::{self, Write};

/// A line on standard output. A closed one is no reason to end, as `println!` would.
pub fn say(line: impl Display) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A line on standard error, likewise.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
