//! Schedulers that choose the server with the least load: `lc`, `wlc`, `sed`, `nq`, and `twos`,
//! which compares only two.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Query, Schedule};
use crate::roster::{Member, Roster};

/// What counts as a server's load, before and after it is divided by the weight.
#[derive(Debug)]
pub(super) enum Least {
    /// `lc`: connections, an active one as much as 256 inactive ones; the weight does not count.
    Connections,
    /// `wlc`: the same, by weight.
    WeightedConnections,
    /// `sed`: active connections with the one to come, by weight.
    ExpectedDelay,
    /// `nq`: as `sed`, but a server without active connections comes before all.
    NeverQueue,
}

/// Connections of a server as `lc`, `wlc` and others weigh them.
pub(super) fn overhead(member: &Member) -> u64 {
    let (active, inactive) = member.load.both();
    (u64::from(active) << 8) + u64::from(inactive)
}

impl Least {
    fn load(&self, member: &Member) -> u64 {
        match self {
            Self::Connections | Self::WeightedConnections => overhead(member),
            Self::ExpectedDelay | Self::NeverQueue => u64::from(member.load.active()) + 1,
        }
    }
}

impl Schedule for Least {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let places = roster.members.iter().enumerate().filter(|(_, member)| member.is_eligible());
        if let Self::NeverQueue = self
            && let Some((place, _)) = places.clone().find(|(_, member)| member.load.active() == 0)
        {
            return Some(place);
        }
        least(places.map(|(place, member)| {
            let weight = if let Self::Connections = self { 1 } else { member.weight };
            (place, self.load(member), weight)
        }))
    }
}

/// The first place with the least load for its weight, compared without dividing.
pub(super) fn least<P>(candidates: impl Iterator<Item = (P, u64, u32)>) -> Option<P> {
    let lighter = |best: (P, u64, u32), other: (P, u64, u32)| {
        let is_lighter =
            u128::from(best.1) * u128::from(other.2) > u128::from(other.1) * u128::from(best.2);
        if is_lighter { other } else { best }
    };
    candidates.reduce(lighter).map(|(place, ..)| place)
}

/// `twos`: two servers drawn by weight, of which the less loaded one takes the connection.
#[derive(Debug, Default)]
pub(super) struct Twos {
    /// Draws so far: mixed, they are the random numbers.
    draws: AtomicU64,
}

impl Schedule for Twos {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let places = || roster.members.iter().enumerate().filter(|(_, m)| m.is_eligible());
        let total: u64 = places().map(|(_, member)| u64::from(member.weight)).sum();
        let drawn = [self.draw(total), self.draw(total)].map(|mut rest| {
            places().find(|(_, member)| {
                let reached = rest <= u64::from(member.weight);
                rest = rest.saturating_sub(u64::from(member.weight));
                reached
            })
        });
        least(drawn.into_iter().flatten().map(|(place, m)| (place, overhead(m), m.weight)))
    }
}

impl Twos {
    /// A number from 0 to `most`, both included, as in the kernel.
    fn draw(&self, most: u64) -> u64 {
        let number = crate::hash::stretch(self.draws.fetch_add(1, Relaxed), 1);
        ((u128::from(number) * (u128::from(most) + 1)) >> 64) as u64
    }
}
