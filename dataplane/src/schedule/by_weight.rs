//! `fo` and `ovf`, which fill the heaviest server first, and `none`, which fills none.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Plan, Query, Schedule};
use crate::roster::{Member, Roster};

/// `fo`, fail-over: the heaviest server as long as it takes connections.
#[derive(Debug)]
pub(super) struct FailOver;

impl Schedule for FailOver {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        heaviest(roster, |_| true)
    }

    fn plan(&self, members: &[Member]) -> Plan {
        by_weight(members)
    }
}

/// `ovf`, overflow: the heaviest server that has no more active connections than weight.
#[derive(Debug)]
pub(super) struct Overflow;

impl Schedule for Overflow {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        heaviest(roster, |member| member.load.active() <= member.weight)
    }

    fn plan(&self, members: &[Member]) -> Plan {
        by_weight(members)
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

/// The places of members, heaviest first, and in their order among equals.
fn by_weight(members: &[Member]) -> Plan {
    let mut places: Vec<u16> = (0..members.len()).map(|place| place as u16).collect();
    places.sort_by_key(|&place| Reverse(members[usize::from(place)].weight));
    Plan::Table(places.into())
}

/// The first of the heaviest members that may be chosen and fit.
fn heaviest(roster: &Roster, fits: impl Fn(&Member) -> bool) -> Option<usize> {
    let Plan::Table(places) = &*roster.plan else { return None };
    places.iter().map(|&place| usize::from(place)).find(|&place| {
        roster.members.get(place).is_some_and(|member| member.is_eligible() && fits(member))
    })
}
