//! `lblc` and `lblcr`: destinations stay with a server, or a set of servers, that has them in its
//! cache. Meant for proxies, where the destination is not the director's own.
//!
//! The cache is the one thing here that needs a lock, and memory when a destination is new; both
//! only when a connection is made.

use alloc::vec::Vec;
use core::net::IpAddr;
use hashbrown::HashMap;
use spin::Mutex;

use super::least_connection::{Least, overhead};
use super::{Plan, Query, Schedule};
use crate::roster::{Member, Roster};
use crate::time::{TICKS_PER_SECOND, Tick};

/// Destinations above which those idle for [`IDLE`] are forgotten early.
const MANY: usize = 16_384;
/// Destinations that are remembered at most.
const MOST: usize = MANY * 3 / 2;
const IDLE: u32 = 360 * TICKS_PER_SECOND;
/// Deleted servers that a set keeps, as they may come back.
const DELETED: usize = 32;
/// How often destinations are looked through.
const EVERY: u32 = 60 * TICKS_PER_SECOND;
/// Every so many times, all that have expired are forgotten.
const FULL_CHECK: u32 = 30;

/// Servers of a destination, by their serial numbers, the one added last in front.
#[derive(Debug)]
struct Entry {
    servers: Vec<u64>,
    used: Tick,
    /// When the set has last changed.
    changed: Tick,
}

#[derive(Debug, Default)]
struct Cache {
    entries: HashMap<IpAddr, Entry>,
    checked: Option<Tick>,
    checks: u32,
}

/// Locality-based least connection.
#[derive(Debug)]
pub(super) struct Locality {
    /// `lblcr`: a destination has a set of servers.
    replicates: bool,
    cache: Mutex<Cache>,
}

impl Locality {
    pub(super) fn new(replicates: bool) -> Self {
        Self { replicates, cache: Mutex::default() }
    }

    /// The server that a known destination stays with, unless that is overloaded.
    fn cached(&self, entry: &Entry, roster: &Roster) -> Option<usize> {
        let place = if self.replicates {
            Least::WeightedConnections.search(entry.members(roster))
        } else {
            let member = entry.members(roster).next();
            member.filter(|(_, member)| member.weight > 0).map(|(place, _)| place)
        };
        place.filter(|&place| !is_overloaded(roster, &roster.members[place]))
    }

    fn expiration(&self, lblc_s: u32, lblcr_s: u32) -> u32 {
        let seconds = if self.replicates { lblcr_s } else { lblc_s };
        seconds.saturating_mul(TICKS_PER_SECOND).min(i32::MAX as u32)
    }
}

impl Schedule for Locality {
    fn pick(&self, roster: &Roster, query: &Query) -> Option<usize> {
        let mut cache = self.cache.lock();
        let has_room = cache.entries.len() < MOST;
        let mut known = cache.entries.get_mut(&query.destination);
        if let Some(entry) = &mut known {
            entry.used = query.now;
            let cached = self.cached(entry, roster);
            if self.replicates {
                let expiration = self.expiration(query.lblc_expiration_s, query.lblcr_expiration_s);
                entry.thin_out(roster, query.now, expiration);
            }
            if cached.is_some() {
                return cached;
            }
        }
        let place = Least::WeightedConnections.pick(roster, query)?;
        let serial = roster.members[place].serial;
        match known {
            Some(entry) if self.replicates => entry.add(roster, serial, query.now),
            Some(entry) => entry.servers[0] = serial,
            None if has_room => {
                let servers = alloc::vec![serial];
                let entry = Entry { servers, used: query.now, changed: query.now };
                cache.entries.insert(query.destination, entry);
            }
            None => {}
        }
        Some(place)
    }

    fn peek(&self, roster: &Roster, query: &Query) -> Option<usize> {
        let cache = self.cache.lock();
        let known = cache.entries.get(&query.destination);
        let cached = known.and_then(|entry| self.cached(entry, roster));
        cached.or_else(|| Least::WeightedConnections.peek(roster, query))
    }

    fn plan(&self, members: &[Member]) -> Plan {
        Least::WeightedConnections.plan(members)
    }

    fn tick(&self, now: Tick, lblc_s: u32, lblcr_s: u32) {
        let mut cache = self.cache.lock();
        if now.since(*cache.checked.get_or_insert(now)) < EVERY {
            return;
        }
        cache.checked = Some(now);
        cache.checks += 1;
        if cache.checks.is_multiple_of(FULL_CHECK) {
            let expiration = self.expiration(lblc_s, lblcr_s);
            cache.entries.retain(|_, entry| now.since(entry.used) < expiration);
        } else if cache.entries.len() > MANY {
            let mut surplus = ((cache.entries.len() - MANY) * 4 / 3).min(MANY / 2);
            cache.entries.retain(|_, entry| {
                let goes = surplus > 0 && now.since(entry.used) >= IDLE;
                surplus -= usize::from(goes);
                !goes
            });
        }
    }
}

impl Entry {
    /// The entry's servers that the roster still has, with their places.
    fn members<'r>(&self, roster: &'r Roster) -> impl Iterator<Item = (usize, &'r Member)> {
        let places = self.servers.iter();
        places.filter_map(|&serial| {
            let place = roster.members.iter().position(|member| member.serial == serial)?;
            Some((place, &roster.members[place]))
        })
    }

    /// A set that has not changed for long loses its most loaded server.
    fn thin_out(&mut self, roster: &Roster, now: Tick, expiration: u32) {
        if self.servers.len() > 1 && now.since(self.changed) > expiration {
            let heavy = self.members(roster).filter(|(_, member)| member.weight > 0);
            let most = heavy.reduce(|most, other| {
                let (a, b) = (most.1, other.1);
                let is_heavier = u128::from(overhead(b)) * u128::from(a.weight)
                    > u128::from(overhead(a)) * u128::from(b.weight);
                if is_heavier { other } else { most }
            });
            if let Some((_, member)) = most {
                self.servers.retain(|&serial| serial != member.serial);
                self.changed = now;
            }
        }
    }

    fn add(&mut self, roster: &Roster, serial: u64, now: Tick) {
        if !self.servers.contains(&serial) {
            if self.servers.len() >= roster.members.len() + DELETED {
                // They stay, as in the kernel, but do not pile up.
                self.servers.retain(|&known| roster.members.iter().any(|m| m.serial == known));
            }
            self.servers.insert(0, serial);
            self.changed = now;
        }
    }
}

/// Whether a server has more than it should while another has less than half.
fn is_overloaded(roster: &Roster, member: &Member) -> bool {
    let is_half_empty =
        |other: &Member| u64::from(other.load.active()) * 2 < u64::from(other.weight);
    member.load.active() > member.weight && roster.members.iter().any(is_half_empty)
}
