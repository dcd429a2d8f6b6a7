//! `fo` and `ovf`, which fill the heaviest server first, and `none`, which fills none.

use super::{Query, Schedule};
use crate::roster::{Member, Roster};

/// `fo`, fail-over: the heaviest server as long as it takes connections.
#[derive(Debug)]
pub(super) struct FailOver;

impl Schedule for FailOver {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        heaviest(roster, |_| true)
    }
}

/// `ovf`, overflow: the heaviest server that has no more active connections than weight.
#[derive(Debug)]
pub(super) struct Overflow;

impl Schedule for Overflow {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        heaviest(roster, |member| member.load.active() <= member.weight)
    }
}

/// `none`: no server is ever chosen.
#[derive(Debug)]
pub(super) struct Nobody;

impl Schedule for Nobody {
    fn pick(&self, _: &Roster, _: &Query) -> Option<usize> {
        None
    }
}

/// The first of the heaviest members that may be chosen and fit.
fn heaviest(roster: &Roster, fits: impl Fn(&Member) -> bool) -> Option<usize> {
    let mut best: Option<(usize, u32)> = None;
    for (place, member) in roster.members.iter().enumerate() {
        let is_better = best.is_none_or(|(_, weight)| member.weight > weight);
        if is_better && member.is_eligible() && fits(member) {
            best = Some((place, member.weight));
        }
    }
    best.map(|(place, _)| place)
}
