//! What the cases with real clients share: waiting for the table to be as the client should make
//! it, and showing its calls.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::daemon::Control;
use tests::interrupt;
use tests::lab::Method;
use tests::traffic::Span;

/// Checks come every second and take up to two.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// The line of a service in [`lines`].
pub(crate) fn service(protocol: &str, address: &str, flags: &str) -> String {
    format!("{protocol} {address} {flags}")
}

/// The line of a server in [`lines`].
pub(crate) fn server(address: &str, method: Method, weight: u32) -> String {
    let word = match method {
        Method::Nat => "Masq",
        Method::Tunnel => "Tunnel",
        Method::Direct => "Route",
    };
    format!("-> {address} {word} {weight}")
}

/// The listing without its titles and the counts of connections.
pub(crate) fn lines(control: &Control<'_>) -> Result<Vec<String>> {
    Ok(control.table()?.lines().skip(3).map(str::to_owned).collect())
}

/// Waits until the table is just this, and tells when that came to be: between two looks.
pub(crate) fn await_table(control: &Control<'_>, wanted: &[String]) -> Result<Span> {
    await_lines(control, &wanted.join("\n"), |lines| lines == wanted)
}

/// Waits until the table has no line with `text`; as [`await_table`].
pub(crate) fn await_table_without(control: &Control<'_>, text: &str) -> Result<Span> {
    await_lines(control, &format!("no {text}"), |lines| {
        !lines.iter().any(|line| line.contains(text))
    })
}

fn await_lines(
    control: &Control<'_>,
    wanted: &str,
    fits: impl Fn(&[String]) -> bool,
) -> Result<Span> {
    let started = Instant::now();
    let mut from = started;
    loop {
        interrupt::check()?;
        let looked = Instant::now();
        let lines = lines(control)?;
        if fits(&lines) {
            return Ok(Span { from, to: Instant::now() });
        }
        ensure!(
            started.elapsed() < PATIENCE,
            "after {} s the table is\n{}\ninstead of\n{wanted}",
            PATIENCE.as_secs(),
            lines.join("\n")
        );
        from = looked;
        thread::sleep(PAUSE);
    }
}

/// Prints the calls that a client made, each once with its number.
pub(crate) fn print_calls(name: &str, calls: &[String]) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for call in calls {
        *counts.entry(call).or_default() += 1;
    }
    println!("{name}: {} calls of ipvsadm:", calls.len());
    for (call, count) in counts {
        println!("{count:6}  ipvsadm {call}");
    }
}
