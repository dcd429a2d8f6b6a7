//! `mh`: Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4), with the kernel's hash and table
//! size, so that directors with the same servers in the same order choose alike.

use alloc::vec;
use core::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::hashing::fold;
use super::{FALLBACK, Plan, Query, Schedule, WITH_PORT, greatest_common_divisor};
use crate::roster::{Member, Roster};

/// Entries of the table, a prime.
const ENTRIES: u32 = 4093;
/// Bits to which weights are scaled down.
const WEIGHT_BITS: u32 = 6;
const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;
const FREE: u16 = u16::MAX;

/// Maglev hashing.
#[derive(Debug)]
pub(super) struct Maglev;

impl Schedule for Maglev {
    fn pick(&self, roster: &Roster, query: &Query) -> Option<usize> {
        let port = if roster.flags & WITH_PORT != 0 { u32::from(query.client_port) } else { 0 };
        let key = port.wrapping_add(fold(query.client));
        let first = hash(key, FIRST_KEY);
        at(roster, first).or_else(|| {
            let may_try = roster.flags & FALLBACK != 0;
            (0..ENTRIES).filter(|_| may_try).find_map(|offset| {
                let offset = offset.wrapping_add(first) % ENTRIES;
                at(roster, hash(offset.wrapping_add(key), FIRST_KEY))
            })
        })
    }

    fn plan(&self, members: &[Member]) -> Plan {
        let weights = || members.iter().map(|member| member.last_weight);
        let divisor = weights().fold(0, greatest_common_divisor);
        if divisor == 0 {
            return Plan::None;
        }
        let heaviest = weights().max().unwrap_or(0) / divisor;
        let shift = (u32::BITS - heaviest.leading_zeros()).saturating_sub(WEIGHT_BITS);
        let mut walks: vec::Vec<_> = members.iter().map(|m| Walk::new(m, divisor, shift)).collect();
        let mut table = vec![FREE; ENTRIES as usize];
        let mut free = ENTRIES;
        loop {
            for (place, walk) in walks.iter_mut().enumerate() {
                for _ in 0..walk.turns {
                    while table[walk.at as usize] != FREE {
                        walk.at = (walk.at + walk.skip) % ENTRIES;
                    }
                    table[walk.at as usize] = place as u16;
                    free -= 1;
                    if free == 0 {
                        return Plan::Table(table.into());
                    }
                }
            }
        }
    }

    fn most_servers(&self) -> usize {
        ENTRIES as usize
    }
}

/// A server's order of preference for entries, and how many it takes in a row.
struct Walk {
    at: u32,
    skip: u32,
    turns: u32,
}

impl Walk {
    fn new(member: &Member, divisor: u32, shift: u32) -> Self {
        let key = fold(member.address).wrapping_add(u32::from(member.port));
        let share = member.last_weight / divisor;
        Self {
            at: hash(key, FIRST_KEY) % ENTRIES,
            skip: hash(key, SECOND_KEY) % (ENTRIES - 1) + 1,
            turns: if share == 0 { 0 } else { (share >> shift).max(1) },
        }
    }
}

/// The member at a hash, if it may be chosen.
fn at(roster: &Roster, hash: u32) -> Option<usize> {
    let Plan::Table(table) = &*roster.plan else { return None };
    let place = usize::from(*table.get((hash % ENTRIES) as usize)?);
    roster.members.get(place)?.is_eligible().then_some(place)
}

/// SipHash-1-3 of a word, its lower half.
fn hash(word: u32, key: u64) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&word.to_le_bytes());
    hasher.finish() as u32
}
