//! `lc` and `wlc`: the server with the fewest connections, an active one counting as much as 256
//! inactive ones.

use super::{Query, Schedule};
use crate::roster::Roster;

/// Whether a server's weight divides its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weighting {
    /// `lc`.
    Ignored,
    /// `wlc`.
    Counted,
}

#[derive(Debug)]
pub(super) struct LeastConnection(pub(super) Weighting);

impl Schedule for LeastConnection {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let mut least: Option<(usize, u64, u64)> = None;
        for (place, member) in roster.members.iter().enumerate() {
            if !member.is_eligible() {
                continue;
            }
            let (active, inactive) = member.load.both();
            let load = (u64::from(active) << 8) + u64::from(inactive);
            let weight = match self.0 {
                Weighting::Ignored => 1,
                Weighting::Counted => u64::from(member.weight),
            };
            // Compares load / weight without dividing.
            let replaces = least.is_none_or(|(_, least_load, least_weight)| {
                least_load.saturating_mul(weight) > load.saturating_mul(least_weight)
            });
            if replaces {
                least = Some((place, load, weight));
            }
        }
        least.map(|(place, ..)| place)
    }
}
