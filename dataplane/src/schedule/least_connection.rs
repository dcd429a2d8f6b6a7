//! Schedulers that choose the server with the least load: `lc`, `wlc`, `sed`, `nq`, and `twos`,
//! which compares only two.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::tournament::Tournament;
use super::{Plan, Query, Schedule};
use crate::roster::{Member, Roster};

/// Members from which on a tournament is cheaper than a search.
const MANY: usize = 16;

/// What counts as a server's load, before and after it is divided by the weight.
#[derive(Clone, Copy, Debug)]
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
    /// Whether one server is less loaded than another, compared without dividing.
    pub(super) fn is_lighter(self, one: &Member, other: &Member) -> bool {
        let (one_load, one_weight) = self.load(one);
        let (other_load, other_weight) = self.load(other);
        u128::from(other_load) * u128::from(one_weight)
            > u128::from(one_load) * u128::from(other_weight)
    }

    /// Load and weight.
    fn load(self, member: &Member) -> (u64, u32) {
        let delay = || u64::from(member.load.active()) + 1;
        match self {
            Self::Connections => (overhead(member), 1),
            Self::WeightedConnections => (overhead(member), member.weight),
            Self::ExpectedDelay => (delay(), member.weight),
            // Nothing is less than an idle server's load, so the first of them wins.
            Self::NeverQueue if member.load.active() == 0 => (0, 1),
            Self::NeverQueue => (delay(), member.weight),
        }
    }

    /// The first of the least loaded among some members that take connections.
    pub(super) fn search<'r>(
        self,
        members: impl Iterator<Item = (usize, &'r Member)>,
    ) -> Option<usize> {
        let able = members.filter(|(_, member)| member.is_eligible());
        let lighter = |best: (usize, &'r Member), other: (usize, &'r Member)| {
            if self.is_lighter(other.1, best.1) { other } else { best }
        };
        able.reduce(lighter).map(|(place, _)| place)
    }
}

impl Schedule for Least {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        match &*roster.plan {
            Plan::Tournament(tournament) => tournament.winner(&roster.members),
            _ => self.search(roster.members.iter().enumerate()),
        }
    }

    fn plan(&self, members: &[Member]) -> Plan {
        if members.len() < MANY {
            return Plan::None;
        }
        Plan::Tournament(Tournament::new(*self, members))
    }
}

/// `twos`: two servers drawn by weight, of which the less loaded one takes the connection.
#[derive(Debug, Default)]
pub(super) struct Twos {
    /// Draws so far: mixed, they are the random numbers.
    draws: AtomicU64,
}

impl Schedule for Twos {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        Self::choose(roster, self.draws.fetch_add(2, Relaxed))
    }

    fn peek(&self, roster: &Roster, _: &Query) -> Option<usize> {
        Self::choose(roster, self.draws.load(Relaxed))
    }
}

impl Twos {
    /// The choice by two draws, of which the first has number `first`.
    fn choose(roster: &Roster, first: u64) -> Option<usize> {
        let places = || roster.members.iter().enumerate().filter(|(_, m)| m.is_eligible());
        let total: u64 = places().map(|(_, member)| u64::from(member.weight)).sum();
        let drawn =
            [first, first.wrapping_add(1)].map(|number| draw(number, total)).map(|mut rest| {
                places().find(|(_, member)| {
                    let reached = rest <= u64::from(member.weight);
                    rest = rest.saturating_sub(u64::from(member.weight));
                    reached
                })
            });
        Least::WeightedConnections.search(drawn.into_iter().flatten())
    }
}

/// The draw of this number: from 0 to `most`, both included, as in the kernel.
fn draw(number: u64, most: u64) -> u64 {
    let random = crate::hash::stretch(number, 1);
    ((u128::from(random) * (u128::from(most) + 1)) >> 64) as u64
}
