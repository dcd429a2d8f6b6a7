//! What was to be reached, and what was.

use super::{Fields, number, word};
use crate::output;

/// Connections for which there are goals.
pub(super) const GOAL_CONNECTIONS: [u32; 3] = [1 << 10, 1 << 20, 1 << 22];
/// What the limit probe took for them on the machine of which the goals are, in ns.
const PROBE_THERE: [f64; 3] = [5.6, 17.5, 20.0];
/// IPv6 may take this much more time than IPv4.
const SIX: f64 = 1.4;

/// Nanoseconds per packet that IPv4 may take at most.
pub(super) fn ns(method: &str, connections: u32) -> Option<f64> {
    let place = GOAL_CONNECTIONS.iter().position(|&goal| goal == connections)?;
    Some(if method == "nat" { [16.0, 32.0, 38.0] } else { [12.0, 25.0, 30.0] }[place])
}

/// A table of goals that there are figures for.
pub(super) fn section(rows: &[&Fields]) -> String {
    let mut lines = Vec::new();
    for family in [4, 6] {
        for method in ["dr", "ipip", "nat"] {
            for connections in GOAL_CONNECTIONS {
                let factor = if family == 4 { 1.0 } else { SIX };
                let goal = ns(method, connections).map_or(0.0, |goal| goal * factor);
                let is_it = |row: &&&Fields| {
                    is(row, "dataplane", Some(family), Some(connections))
                        && word(row, "method") == Some(method)
                };
                let what =
                    format!("IPv{family} {method}, {connections} connections: ns per packet");
                let rows = rows.iter().filter(is_it);
                lines.extend(worst(&what, Goal::AtMost(goal), "ns_per_packet", rows));
            }
        }
    }
    for family in [4, 6] {
        for (scheduler, servers, goal) in [("rr", 100, 8e6), ("wlc", 100, 4e6)] {
            let is_it = |row: &&&Fields| {
                is(row, "cps", Some(family), None)
                    && word(row, "scheduler") == Some(scheduler)
                    && number(row, "servers") == Some(f64::from(servers))
            };
            let what =
                format!("IPv{family} {scheduler}, {servers} servers: connections per second");
            lines.extend(worst(
                &what,
                Goal::AtLeast(goal),
                "per_second",
                rows.iter().filter(is_it),
            ));
        }
        let goal = Goal::AtMost(if family == 4 { 80.0 } else { 160.0 });
        let is_it = |row: &&&Fields| is(row, "memory", Some(family), None);
        let what = format!("IPv{family}: bytes per connection, slack included");
        lines.extend(worst(&what, goal, "bytes_per_connection", rows.iter().filter(is_it)));
    }
    let is_it = |row: &&&Fields| is(row, "scale", None, None);
    let what = "N workers against N times one: ratio";
    lines.extend(worst(what, Goal::AtLeast(0.95), "ratio", rows.iter().filter(is_it)));
    let counted = rows.iter().filter(|row| word(row, "bench") == Some("dataplane"));
    lines.extend(worst("allocations", Goal::AtMost(0.0), "allocations", counted));
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "## Goals\n\nThe worst of all rows that a goal is about. Goals in ns were set on another \
         machine, where a limit probe took 5.6, 17.5 and 20 ns at 1 Ki, 1 Mi and 4 Mi \
         connections; ours is another program for the same work.\n\n\
         | figure | goal | here | met | limit probe | here / probe | goal / probe there |\n\
         |---|---|---|---|---|---|---|\n{}\n",
        lines.concat()
    )
}

#[derive(Clone, Copy)]
enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

fn worst<'a>(
    what: &str,
    goal: Goal,
    field: &str,
    rows: impl Iterator<Item = &'a &'a Fields>,
) -> Option<String> {
    let values = rows.filter_map(|row| Some((number(row, field)?, *row)));
    let (worst, (value, row)) = match goal {
        Goal::AtMost(most) => (most, values.max_by(|one, other| one.0.total_cmp(&other.0))?),
        Goal::AtLeast(least) => (least, values.min_by(|one, other| one.0.total_cmp(&other.0))?),
    };
    let (sign, is_met) = match goal {
        Goal::AtMost(most) => ("≤", value <= most),
        Goal::AtLeast(least) => ("≥", value >= least),
    };
    let shown = |value: Option<f64>| {
        value.map_or(String::new(), |value| output::cell(&serde_json::json!(value)))
    };
    let has_probe = word(row, "peer") == Some("limit probe") && field == "ns_per_packet";
    let probe = |field| shown(number(row, field).filter(|_| has_probe));
    let connections = number(row, "connections").filter(|_| has_probe);
    let place =
        connections.and_then(|n| GOAL_CONNECTIONS.iter().position(|&goal| f64::from(goal) == n));
    Some(format!(
        "| {what} | {sign} {} | {} | {} | {} | {} | {} |\n",
        shown(Some(worst)),
        shown(Some(value)),
        if is_met { "yes" } else { "no" },
        probe("peer_median"),
        probe("ratio"),
        shown(place.map(|place| worst / PROBE_THERE[place]))
    ))
}

fn is(row: &Fields, bench: &str, family: Option<u8>, connections: Option<u32>) -> bool {
    let fits = |field, wanted: Option<f64>| wanted.is_none() || number(row, field) == wanted;
    word(row, "bench") == Some(bench)
        && fits("family", family.map(f64::from))
        && fits("connections", connections.map(f64::from))
}
