//! What two directors list, row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::guest::Director;
use crate::interrupt;

const POLL: Duration = Duration::from_millis(50);

/// A row of `ipvsadm -Lnc`, without its expiry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// `TCP`, `UDP`, or `IP` for templates of firewall marks.
    pub protocol: String,
    /// Address and port of the client, as listed.
    pub client: String,
    /// Of the virtual service.
    pub service: String,
    /// Of the real server.
    pub server: String,
    /// The state's name.
    pub state: String,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, client, service, server, state } = self;
        write!(out, "{protocol} {state} {client} {service} {server}")
    }
}

/// The rows of `-Lnc` with the time that they have left.
///
/// # Errors
/// When it is no such listing.
pub fn connections(listing: &str) -> Result<BTreeMap<Row, Duration>> {
    let mut rows = BTreeMap::new();
    for line in listing.lines().skip(2) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        let row = || format!("not a row: {line:?}");
        let [protocol, expire, state, client, service, server, ..] = &words[..] else {
            bail!(row());
        };
        let (minutes, seconds) = expire.split_once(':').with_context(row)?;
        let left = minutes.parse::<u64>()? * 60 + seconds.parse::<u64>()?;
        let [protocol, client, service, server, state] =
            [protocol, client, service, server, state].map(String::clone);
        let key = Row { protocol, client, service, server, state };
        ensure!(rows.insert(key, Duration::from_secs(left)).is_none(), "twice: {line:?}");
    }
    Ok(rows)
}

/// What differs between two lists: rows that one of them lacks, and those whose expiry is more
/// than `slack` apart.
#[must_use]
pub fn differences(
    ours: &BTreeMap<Row, Duration>,
    theirs: &BTreeMap<Row, Duration>,
    slack: Duration,
) -> Vec<String> {
    let mut found = Vec::new();
    for (row, left) in ours {
        match theirs.get(row) {
            None => found.push(format!("only the first has  {row}")),
            Some(other) if left.abs_diff(*other) > slack => {
                found.push(format!("ends in {left:?} and {other:?}: {row}"));
            }
            Some(_) => {}
        }
    }
    let other = theirs.keys().filter(|row| !ours.contains_key(row));
    found.extend(other.map(|row| format!("only the second has {row}")));
    found
}

/// Waits until two directors list the same connections, those that `wanted` takes.
///
/// # Errors
/// When they do not within `limit`: what differs.
pub fn await_equal(
    first: &dyn Director,
    second: &dyn Director,
    slack: Duration,
    limit: Duration,
    wanted: impl Fn(&Row) -> bool,
) -> Result<BTreeMap<Row, Duration>> {
    let deadline = Instant::now() + limit;
    loop {
        interrupt::check()?;
        let [mut one, mut other] =
            [connections(&first.admin("-Lnc")?)?, connections(&second.admin("-Lnc")?)?];
        one.retain(|row, _| wanted(row));
        other.retain(|row, _| wanted(row));
        let found = differences(&one, &other, slack);
        if found.is_empty() && !one.is_empty() {
            return Ok(one);
        }
        ensure!(
            Instant::now() < deadline,
            "{} and {} list different connections, of {} and {}:\n{}",
            first.name(),
            second.name(),
            one.len(),
            other.len(),
            found.join("\n")
        );
        thread::sleep(POLL);
    }
}

/// How many rows of `/proc/net/ip_vs_conn_sync` have which origin: `LOCAL` or `SYNC`.
#[must_use]
pub fn origins(file: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in file.lines().skip(1) {
        // The origin is the last word but one; the last is the expiry.
        if let Some(origin) = line.split_whitespace().rev().nth(1) {
            *counts.entry(origin.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// The lines of servers in `-Ln`, each with its service, and so with the counts of connections.
#[must_use]
pub fn active(listing: &str) -> BTreeSet<String> {
    let mut service = String::new();
    let mut servers = BTreeSet::new();
    for line in listing.lines().skip(3) {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("  ->") {
            servers.insert(format!("{service} {words}"));
        } else {
            service = words;
        }
    }
    servers
}
