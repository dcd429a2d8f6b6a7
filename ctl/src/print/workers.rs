//! `pollvsadm workers`: how busy each worker is, and what its frames cost.

use std::fmt::Write;

use super::add;
use crate::load::{WorkerCounts, WorkerRow, Workers};

/// Three tables of all workers: since the start, in the last second, and at this moment.
#[must_use]
pub fn workers(workers: &Workers) -> String {
    let mut out = String::new();
    counts(&mut out, "Since the start", workers, |row| &row.total);
    counts(&mut out, "In the last second", workers, |row| &row.per_second);
    add!(out, "Connections, frames sent on, and most frames that waited within a second\n");
    add!(out, "worker  core  connections            sent     handed over");
    add!(out, "  in rings  in receive queues\n");
    for row in &workers.rows {
        let WorkerRow { number, core, connections, total, ring_depth, queue_depth, .. } = row;
        add!(out, "{number:>6} {core:>5} {connections:>12} {:>15}", total.transmitted);
        let queue = queue_depth.map_or_else(|| "-".to_owned(), |depth| depth.to_string());
        add!(out, " {:>15} {ring_depth:>9} {queue:>18}\n", total.handed_over);
    }
    out
}

fn counts(out: &mut String, title: &str, workers: &Workers, of: fn(&WorkerRow) -> &WorkerCounts) {
    add!(out, "{title}\n");
    add!(out, "worker  core           polls  busy polls  busy time          frames");
    add!(out, "   burst  ns/frame  cycles/frame\n");
    for row in &workers.rows {
        let (number, core, counts) = (row.number, row.core, of(row));
        let share = |share: Option<f64>| decimal(share.map(|share| share * 100.0), 1, " %");
        add!(out, "{number:>6} {core:>5} {:>15}", counts.polls);
        add!(out, " {:>11}", share(counts.busy_poll_share()));
        add!(out, " {:>10} {:>15}", share(counts.busy_share()), counts.frames);
        add!(out, " {:>7}", decimal(counts.frames_per_burst(), 2, ""));
        add!(out, " {:>9}", decimal(counts.ns_per_frame(), 1, ""));
        add!(out, " {:>13}\n", decimal(counts.cycles_per_frame(workers.tsc_hz), 0, ""));
    }
}

/// A number with so many decimals, and its unit; `-` where there is none.
fn decimal(value: Option<f64>, decimals: usize, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_to_the_byte() {
        let total = WorkerCounts {
            polls: 2_000_000_000,
            busy_polls: 500_000_000,
            bursts: 500_000_000,
            frames: 2_100_000_000,
            transmitted: 2_000_000_000,
            handed_over: 7,
            busy_ns: 210_000_000_000,
            run_ns: 800_000_000_000,
        };
        let busy = WorkerRow {
            number: 0,
            core: 62,
            connections: 1_048_576,
            total,
            per_second: WorkerCounts { polls: 900_000, run_ns: 1_000_000_000, ..total },
            ring_depth: 1024,
            queue_depth: Some(31),
        };
        let new = WorkerRow { number: 1, core: 63, ..WorkerRow::default() };
        let mut all = Workers { tsc_hz: Some(2_500_000_000), rows: vec![busy, new] };
        all.rows[0].per_second.busy_ns = 999_000_000;
        all.rows[0].per_second.busy_polls = 899_000;
        let heading = "worker  core           polls  busy polls  busy time          frames   \
                       burst  ns/frame  cycles/frame";
        let expected = format!(
            "\
Since the start
{heading}
     0    62      2000000000      25.0 %     26.2 %      2100000000    4.20     100.0           250
     1    63               0           -          -               0       -         -             -
In the last second
{heading}
     0    62          900000      99.9 %     99.9 %      2100000000    4.20       0.5             1
     1    63               0           -          -               0       -         -             -
Connections, frames sent on, and most frames that waited within a second
worker  core  connections            sent     handed over  in rings  in receive queues
     0    62      1048576      2000000000               7      1024                 31
     1    63            0               0               0         0                  -
"
        );
        assert_eq!(workers(&all), expected);
        all.tsc_hz = None;
        let line = workers(&all).lines().nth(2).expect("worker 0").to_owned();
        assert!(line.ends_with("    100.0             -"), "{line}");
        assert!(expected.lines().all(|line| line.len() <= 100), "{expected}");
    }
}
