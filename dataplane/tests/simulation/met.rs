//! How often what has been met: a simulation that no longer gets anywhere must not pass.

use std::collections::BTreeMap;
use std::fmt;

use crate::gate::Gate;
use crate::model::Outcome;

#[derive(Default)]
pub(crate) struct Met(BTreeMap<String, u64>);

impl Met {
    pub(crate) fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn outcome(&mut self, of: &str, outcome: &Outcome) {
        self.count(&match outcome {
            Outcome::ToServer { method, .. } => format!("{of} to server {method:?}"),
            Outcome::ToClient { .. } => format!("{of} to client"),
            other => format!("{of} {other:?}"),
        });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// Everything that this version can do must have been met, in a run that is not too short.
    pub(crate) fn check(&self, gate: &Gate) {
        let mut expected =
            vec!["opened", "no room", "rescheduled", "TCP to client", "UDP to client"];
        expected.extend(["TCP to server Nat", "TCP to server Direct", "TCP to server Tunnel"]);
        expected.extend(["UDP to server Nat", "TCP Dropped", "resumed", "watched"]);
        if gate.answers {
            expected.extend(["TCP Reset", "TCP PortUnreachable", "UDP PortUnreachable"]);
            expected.extend(["TCP TimeExceeded", "TCP Routed", "UDP Routed"]);
        }
        if gate.icmp {
            expected.extend(["error to client", "error to server Nat", "error to server Direct"]);
            expected.extend(["error to server Tunnel", "error Routed", "error Dropped"]);
        }
        for (is_there, what) in [
            (gate.thresholds, "overloaded"),
            (gate.persistence, "template"),
            (gate.persistence, "template invalidated"),
            (gate.persistence, "template kept on"),
            (gate.marks, "by mark"),
            (gate.one_packet, "one packet"),
            (gate.six, "IPv6"),
            (gate.sleeps, "asleep"),
        ] {
            if is_there {
                expected.push(what);
            }
        }
        if !gate.knobs {
            expected.retain(|&what| what != "rescheduled");
        }
        let lives = self.0.get("lives").copied().unwrap_or(0);
        for what in expected.into_iter().filter(|_| lives >= 1000) {
            let count = self.0.get(what).copied().unwrap_or(0);
            assert!(count >= 20, "{what}: only {count} times in {lives} lives");
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "{count:>9} {what}"))
    }
}
