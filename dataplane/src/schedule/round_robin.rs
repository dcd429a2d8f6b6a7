//! `rr` and `wrr` (reference: Linux Virtual Server, "Job Scheduling Algorithms").

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::{Plan, Query, Schedule, greatest_common_divisor};
use crate::roster::{Member, Roster};

/// Place of the first member behind the one whose order is `after`, the roster being in
/// descending order. The one itself may be gone: its successor is the same. `place` is where it
/// last was; most often it still is there, and need not be searched for.
#[inline]
fn successor(members: &[Member], after: u32, place: u32) -> usize {
    match members.get(place as usize) {
        Some(member) if member.order == after => place as usize + 1,
        _ => members.partition_point(|member| member.order >= after),
    }
}

/// Round robin: servers in turn, whatever their weight, leaving out those of weight 0.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// Order of the server chosen last; one past every order to begin before the first.
    cursor: AtomicU64,
    /// Where that server was in its roster.
    place: AtomicU32,
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self { cursor: AtomicU64::new(BEFORE_FIRST), place: AtomicU32::new(0) }
    }
}

/// More than any member's order.
const BEFORE_FIRST: u64 = u32::MAX as u64;

impl RoundRobin {
    /// The next place that takes connections behind the one whose order is `cursor`.
    #[inline]
    fn next(&self, members: &[Member], cursor: u64) -> Option<usize> {
        let start = successor(members, cursor as u32, self.place.load(Relaxed));
        let (wrapped, ahead) = members.split_at(start);
        let takes = Member::is_eligible;
        match ahead.iter().position(takes) {
            Some(place) => Some(start + place),
            None => wrapped.iter().position(takes),
        }
    }
}

impl Schedule for RoundRobin {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let members = &*roster.members;
        let mut cursor = self.cursor.load(Relaxed);
        loop {
            let place = self.next(members, cursor)?;
            let next = u64::from(members[place].order);
            match self.cursor.compare_exchange_weak(cursor, next, Relaxed, Relaxed) {
                Ok(_) => {
                    self.place.store(place as u32, Relaxed);
                    return Some(place);
                }
                Err(moved) => cursor = moved, // another shard chose: take the one behind its choice
            }
        }
    }

    fn peek(&self, roster: &Roster, _: &Query) -> Option<usize> {
        self.next(&roster.members, self.cursor.load(Relaxed))
    }

    /// When the first server is deleted under the cursor, the next round begins before whoever is
    /// first by then, as the kernel's does.
    fn plan(&self, members: &[Member]) -> Plan {
        let cursor = self.cursor.load(Relaxed);
        if members.first().is_none_or(|first| u64::from(first.order) < cursor) {
            self.cursor.store(BEFORE_FIRST, Relaxed);
        }
        Plan::None
    }
}

/// Weighted round robin: rounds at falling levels of weight, each taking in turn the servers
/// whose weight reaches the level.
#[derive(Debug)]
pub(super) struct WeightedRoundRobin {
    /// Order of the server chosen last (upper half) and the current level (lower half).
    position: AtomicU64,
    /// Where that server was in its roster.
    place: AtomicU32,
}

impl Default for WeightedRoundRobin {
    fn default() -> Self {
        let position = AtomicU64::new(pack(BEFORE_FIRST as u32, 0));
        Self { position, place: AtomicU32::new(0) }
    }
}

fn pack(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

fn unpack(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

impl WeightedRoundRobin {
    /// The next place after `after` at `level`, or else the first at the highest lower level that
    /// some server reaches, beginning again from the top once the lowest is done.
    fn next(&self, roster: &Roster, after: u32, level: u32) -> Option<(usize, u32)> {
        let Plan::Levels { top, step } = *roster.plan else { return None };
        let members = &*roster.members;
        let start = successor(members, after, self.place.load(Relaxed));
        let level = level.max(1);
        if let Some(place) = first_reaching(&members[start..], level) {
            return Some((start + place, level));
        }
        // Weights decide how many levels there are, up to 2^31: go straight to the next that a
        // server reaches.
        let able = members.iter().filter(|member| member.is_eligible());
        let heaviest = able.map(|member| member.weight).max()?;
        let lower = if level > step { level - step } else { top };
        let above = lower.saturating_sub(heaviest);
        let level = lower.checked_sub(above.div_ceil(step) * step).filter(|&level| level > 0)?;
        Some((first_reaching(members, level)?, level))
    }
}

fn first_reaching(members: &[Member], level: u32) -> Option<usize> {
    members.iter().position(|member| member.weight >= level && !member.load.is_overloaded())
}

impl Schedule for WeightedRoundRobin {
    fn pick(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let mut position = self.position.load(Relaxed);
        loop {
            let (after, level) = unpack(position);
            let (place, level) = self.next(roster, after, level)?;
            let next = pack(roster.members[place].order, level);
            match self.position.compare_exchange_weak(position, next, Relaxed, Relaxed) {
                Ok(_) => {
                    self.place.store(place as u32, Relaxed);
                    return Some(place);
                }
                Err(moved) => position = moved,
            }
        }
    }

    fn peek(&self, roster: &Roster, _: &Query) -> Option<usize> {
        let (after, level) = unpack(self.position.load(Relaxed));
        self.next(roster, after, level).map(|(place, _)| place)
    }

    fn plan(&self, members: &[Member]) -> Plan {
        let weights = || members.iter().map(|member| member.weight);
        let step = weights().fold(0, greatest_common_divisor).max(1);
        let heaviest = weights().max().unwrap_or(0);
        let top = heaviest.saturating_sub(step - 1);
        let (_, level) = unpack(self.position.load(Relaxed));
        let level = if level > top || level == 0 {
            top
        } else if step > 1 {
            level / step * step + 1
        } else {
            level
        };
        self.position.store(pack(BEFORE_FIRST as u32, level), Relaxed);
        Plan::Levels { top, step }
    }
}
