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
    /// The first of the least loaded among some members that take connections.
    #[inline]
    pub(super) fn search<'r>(
        self,
        members: impl Iterator<Item = (usize, &'r Member)>,
    ) -> Option<usize> {
        let delay = |member: &Member| u64::from(member.load.active()) + 1;
        // A loop for each, so that it does not choose anew for every member.
        match self {
            Self::Connections => search_by(members, |member| (overhead(member), 1)),
            Self::WeightedConnections => {
                search_by(members, |member| (overhead(member), member.weight))
            }
            Self::ExpectedDelay => search_by(members, |member| (delay(member), member.weight)),
            // Nothing is less than an idle server's load, so the first of them wins.
            Self::NeverQueue => search_by(members, |member| match delay(member) {
                1 => (0, 1),
                delay => (delay, member.weight),
            }),
        }
    }
}

/// The first of the least loaded, given the load and the weight that divides it.
#[inline]
fn search_by<'r>(
    members: impl Iterator<Item = (usize, &'r Member)>,
    load: impl Fn(&Member) -> (u64, u32),
) -> Option<usize> {
    // More than any load by any weight, as 1 divided by 0 is.
    let (mut best, mut best_load, mut best_weight) = (None, 1, 0);
    for (place, member) in members {
        let (load, weight) = load(member);
        // Compared without dividing.
        let is_less =
            u128::from(best_load) * u128::from(weight) > u128::from(load) * u128::from(best_weight);
        if is_less && member.is_eligible() {
            (best, best_load, best_weight) = (Some(place), load, weight);
        }
    }
    best
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
