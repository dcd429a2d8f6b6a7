//! Memory per connection: how much a process grows by a shard that is full, everything counted.
//! Each size is a process of its own, so that what another has freed does not blur it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use dataplane::service::{Family, Method, Protocol};

use crate::drops;
use crate::frames::Client;
use crate::options::{FEWEST, Options};
use crate::output::{Output, Row, progress};
use crate::pool::Pool;
use crate::sample::Samples;
use crate::setup::{self, Setup};

const CONNECTIONS: [u32; 2] = [1 << 20, 1 << 22];

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options { repeats: 1, ..Options::default() };
    let options = options.parse(&["family", "connections", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "memory: resident growth by a full shard, divided by its connections",
    )?;
    for &family in &options.families {
        for &connections in options.connections.as_deref().unwrap_or(&CONNECTIONS) {
            let number = setup::family_number(family);
            progress(&format!("memory, IPv{number}, {connections} connections"));
            let mut samples = Samples::default();
            for _ in 0..options.repeats {
                samples.push(growth_of_child(family, connections)? / f64::from(connections));
            }
            let row = Row {
                bench: "memory",
                family: Some(number),
                connections: Some(connections),
                bytes_per_connection: Some(samples.median()),
                ..Row::default()
            };
            output.row(&row.spread(&samples))?;
        }
    }
    Ok(())
}

fn growth_of_child(family: Family, connections: u32) -> Result<f64> {
    let family = setup::family_number(family).to_string();
    let child = Command::new(std::env::current_exe()?)
        .args(["fill", "--family", &family, "--connections", &connections.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&child.stdout);
    let bytes = said.trim().parse().ok().filter(|_| child.status.success());
    bytes.with_context(|| {
        format!("filling {connections} connections: {}", String::from_utf8_lossy(&child.stderr))
    })
}

/// What `memory` starts itself again for: fills a shard and prints by how many bytes that grew.
pub(crate) fn fill_one(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::default().parse(&["family", "connections"], words)?;
    let (&[family], Some(&[connections])) =
        (options.families.as_slice(), options.connections.as_deref())
    else {
        bail!("one family and one number of connections");
    };
    let mut pool = Pool::new();
    let mut filled = |connections| {
        let setup = Setup::one(family, Method::Direct, Protocol::Tcp, connections);
        let (mut shard, counters) = setup.shard();
        pool.fill(&mut shard, setup, &(0..connections).map(Client::numbered));
        drops::check_none(&counters);
        (shard, counters)
    };
    // Brings in the code, which is not to count.
    let small = filled(FEWEST);
    let before = resident()?;
    let full = filled(connections);
    let after = resident()?;
    println!("{}", after.saturating_sub(before));
    drop((small, full));
    Ok(())
}

/// Bytes that this process occupies.
fn resident() -> Result<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    resident_in(&rollup).context("no Rss in smaps_rollup")
}

fn resident_in(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        let rollup = "5580-7fff ---p 00000000 00:00 0  [rollup]\nRss:     1872 kB\nPss: 200 kB\n";
        assert_eq!(resident_in(rollup), Some(1872 * 1024));
        assert!(resident().unwrap() > 1 << 18);
    }
}
