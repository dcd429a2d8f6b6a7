//! The recorded behaviour of the real kernel, replayed through the dataplane.
//!
//! Each scenario is played as it was recorded, and what comes out must be the same, byte for byte
//! but for what [`compare`] names. The last line says how many are.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod backend;
mod compare;
mod packets;
mod sched;
mod state;
mod sync;
mod world;

use std::collections::BTreeMap;

/// Scenarios that wait for features that this version does not have, by how their name begins or
/// ends, or what it contains.
const WAITING: &[(&str, &str)] = &[
    ("_gue", "GUE tunnels"),
    ("_gre", "GRE tunnels"),
    ("frag_", "fragments"),
    ("mtu1400_nat_nodf", "fragments"),
    ("mtu1400_dr_nodf", "fragments"),
    ("mtu_ipip_nodf", "fragments"),
    ("mtu1400_ipip_nodf", "fragments"),
    ("mtu_ipip_df_pmtudisc0", "fragments"),
    ("sctp", "SCTP"),
    ("tun6in4", "tunnels across address families"),
    ("tun4in6", "tunnels across address families"),
    ("sip_pe", "persistence by SIP"),
];

/// Scenarios that differ, and are meant to; ARCHITECTURE.md has the reasons.
const KEPT: &[&str] = &[
    // The recorded machine dropped correct messages, because its link did not verify checksums.
    "nat6_icmp_from_rs",
];

/// What came of the scenarios.
#[derive(Default)]
pub(crate) struct Tally {
    groups: BTreeMap<String, (usize, usize)>,
    kept: usize,
    waiting: Vec<String>,
    failed: bool,
}

impl Tally {
    /// Counts a scenario, which differs when there is something to say.
    pub(crate) fn count(&mut self, group: &str, name: &str, differences: &[String]) {
        let (equal, all) = self.groups.entry(group.to_owned()).or_default();
        *all += 1;
        if differences.is_empty() {
            *equal += 1;
            return;
        }
        let is_kept = KEPT.contains(&name);
        self.kept += usize::from(is_kept);
        self.failed |= !is_kept;
        println!("{}: {name}", if is_kept { "differs, and is meant to" } else { "DIFFERS" });
        differences.iter().take(6).for_each(|difference| println!("    {difference}"));
    }

    /// Whether a scenario waits for a feature; it is noted then.
    pub(crate) fn waits(&mut self, name: &str) -> bool {
        let Some((_, why)) = WAITING.iter().find(|(part, _)| name.contains(part)) else {
            return false;
        };
        self.waiting.push(format!("{name} ({why})"));
        true
    }
}

#[test]
fn recordings_are_equal() {
    let mut tally = Tally::default();
    if let Ok(file) = std::env::var("POLLVS_ORACLE_RECORDING") {
        let text = std::fs::read_to_string(&file).expect("the recording can be read");
        packets::replay(&text, &mut tally, |_| "live".to_owned());
    } else {
        packets::replay(include_str!("data/packets.jsonl"), &mut tally, packets::group_of);
        sched::replay(include_str!("data/sched.jsonl"), &mut tally);
        sched::replay_twos(include_str!("data/sched-twos-6.12.jsonl"), &mut tally);
        state::replay(include_str!("data/state.txt"), &mut tally);
        let sync = include_str!("data/sync.jsonl");
        sync::replay_master(sync, &mut tally);
        sync::replay_backup(include_str!("data/sync_backup.jsonl"), sync, &mut tally);
    }
    if !tally.waiting.is_empty() {
        println!("waiting for later features: {}", tally.waiting.join(", "));
    }
    for (group, (equal, all)) in &tally.groups {
        println!("oracle: {group} {equal} of {all} equal");
    }
    let equal: usize = tally.groups.values().map(|group| group.0).sum();
    let all: usize = tally.groups.values().map(|group| group.1).sum();
    println!("oracle: total {equal} of {all} equal, {} kept differences", tally.kept);
    assert!(!tally.failed, "see above");
    assert!(all > 0, "something was compared");
}
