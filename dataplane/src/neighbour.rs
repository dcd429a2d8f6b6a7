//! Next hops and their link-layer addresses, as one shard knows them.
//!
//! Every shard resolves for itself and tells the others what it hears, so there is no shared
//! table. Resolution follows the kernel's habits: a request each second, three tries, a second
//! look at an address that has been used for half a minute since it was confirmed.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use hashbrown::HashMap;

use crate::interface::{InterfaceId, NextHop, Topology};
use crate::packet::Network;
use crate::packet::ethernet::{LinkHeader, Mac};
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::verdict::{DropReason, PortId};

/// Ticks between two requests for the same address.
const ASK_EVERY: u32 = TICKS_PER_SECOND;
/// Requests without an answer after which a next hop counts as unreachable.
const TRIES: u8 = 3;
/// Ticks after which a confirmed address that is in use is asked for again.
const CONFIRM_EVERY: u32 = 30 * TICKS_PER_SECOND;
/// Ticks without use after which an entry may make room for another.
const IDLE: u32 = 10 * TICKS_PER_SECOND;
/// Ticks without use after which even a known address is asked for anew; stamps never get old
/// enough to wrap.
const FORGOTTEN: u32 = 3600 * TICKS_PER_SECOND;
/// Ticks for which a confirmed address is not changed by whoever says otherwise.
const LOCKED: u32 = TICKS_PER_SECOND;
/// Entries looked at for one that may go, so that a full table costs no full walk.
const EVICTION_WALK: usize = 64;

/// An entry of the table; stale once the entry has been given to another next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NeighbourId {
    place: u16,
    generation: u32,
}

impl NeighbourId {
    /// No neighbour: generations start at 1.
    pub const NONE: Self = Self { place: 0, generation: 0 };
}

/// An entry's place in the table, whatever next hop has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopPlace(u16);

impl NeighbourId {
    /// Where the entry is.
    #[inline]
    #[must_use]
    pub fn place(self) -> HopPlace {
        HopPlace(self.place)
    }
}

/// What a packet needs of its next hop: half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub struct Hop {
    /// The link header to put in front.
    pub header: LinkHeader,
    /// Whether the header's destination is known.
    pub is_resolved: bool,
    generation: u32,
    /// The port it leaves by.
    pub port: PortId,
    /// Largest IP packet on that link.
    pub mtu: u16,
    used: Tick,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: NextHop,
    confirmed: Tick,
    asked: Tick,
    /// Requests since the last answer.
    tries: u8,
    /// Configured, so never asked for and never evicted.
    is_static: bool,
}

/// A link-layer address heard of, for the other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Where.
    pub interface: InterfaceId,
    /// Whose.
    pub address: IpAddr,
    /// What it is.
    pub mac: Mac,
}

/// The next hops of one shard, up to a limit.
pub struct Neighbours {
    hops: Box<[Hop]>,
    entries: Box<[Entry]>,
    places: HashMap<NextHop, u16>,
    used: usize,
    /// Where the next walk for an entry to evict begins.
    hand: usize,
}

impl Neighbours {
    /// An empty table for up to `limit` next hops, at most 65,535.
    #[must_use]
    pub fn new(limit: u16) -> Self {
        let nobody = Entry {
            key: NextHop { interface: InterfaceId(0), address: IpAddr::V4(Ipv4Addr::UNSPECIFIED) },
            confirmed: Tick(0),
            asked: Tick(0),
            tries: 0,
            is_static: false,
        };
        let limit = usize::from(limit);
        Self {
            hops: vec![Hop::default(); limit].into_boxed_slice(),
            entries: vec![nobody; limit].into_boxed_slice(),
            places: HashMap::with_capacity(limit),
            used: 0,
            hand: 0,
        }
    }

    /// Whether an entry is still the next hop that it was.
    #[inline]
    #[must_use]
    pub fn is_current(&self, id: NeighbourId) -> bool {
        self.current(id).is_some()
    }

    /// The hop of an entry, if it still is the next hop that it was.
    #[inline]
    #[must_use]
    pub fn current(&self, id: NeighbourId) -> Option<&Hop> {
        let hop = self.hops.get(usize::from(id.place));
        hop.filter(|hop| hop.generation == id.generation && id.generation != 0)
    }

    /// The hop of a next hop, if there is an entry for it; that it is asked for is not noted.
    #[must_use]
    pub fn peek(&self, key: NextHop) -> Option<&Hop> {
        self.places.get(&key).map(|&place| &self.hops[usize::from(place)])
    }

    /// The hop of an entry, noting its use, if it still is the next hop that it was.
    #[inline(always)]
    pub fn usable(&mut self, now: Tick, id: NeighbourId) -> Option<&Hop> {
        let hop = self.hops.get_mut(usize::from(id.place))?;
        if (hop.generation != id.generation) | (id.generation == 0) {
            return None;
        }
        hop.used = now;
        Some(hop)
    }

    /// The hop of a current entry, noting its use.
    ///
    /// # Panics
    /// When the entry is none of this table's.
    #[inline]
    pub fn hop(&mut self, now: Tick, id: NeighbourId) -> &Hop {
        self.usable(now, id).expect("the caller makes sure it is current")
    }

    /// The entry of a next hop, made when there is none.
    ///
    /// # Errors
    /// [`DropReason::NeighbourTableFull`] when every entry looked at is in use.
    pub fn entry(
        &mut self,
        now: Tick,
        topology: &Topology,
        key: NextHop,
    ) -> Result<NeighbourId, DropReason> {
        if let Some(&place) = self.places.get(&key) {
            return Ok(self.id(place));
        }
        let place = self.free_place(now)?;
        self.places.insert(key, place);
        let interface = topology.interface(key.interface);
        let ether_type = match key.address {
            IpAddr::V4(_) => <Ipv4Addr as Network>::ETHER_TYPE,
            IpAddr::V6(_) => <Ipv6Addr as Network>::ETHER_TYPE,
        };
        let hop = &mut self.hops[usize::from(place)];
        *hop = Hop {
            header: LinkHeader::new(Mac::default(), interface.mac, interface.vlan, ether_type),
            is_resolved: false,
            generation: hop.generation.wrapping_add(1).max(1),
            port: interface.port,
            mtu: interface.mtu,
            used: now,
        };
        self.entries[usize::from(place)] = Entry {
            key,
            confirmed: now,
            // Long enough ago to be asked for at once.
            asked: Tick(now.0.wrapping_sub(ASK_EVERY)),
            tries: 0,
            is_static: false,
        };
        Ok(self.id(place))
    }

    /// The entry of the next hop towards an address.
    ///
    /// # Errors
    /// [`DropReason::NoRoute`], and as [`Neighbours::entry`].
    #[cold]
    pub fn towards(
        &mut self,
        now: Tick,
        topology: &Topology,
        to: IpAddr,
    ) -> Result<NeighbourId, DropReason> {
        self.entry(now, topology, topology.next_hop(to).ok_or(DropReason::NoRoute)?)
    }

    /// Fixes a next hop's address for good.
    ///
    /// # Errors
    /// As [`Neighbours::entry`].
    pub fn fix(
        &mut self,
        now: Tick,
        topology: &Topology,
        key: NextHop,
        mac: Mac,
    ) -> Result<(), DropReason> {
        let id = self.entry(now, topology, key)?;
        self.confirm(now, id.place, mac);
        self.entries[usize::from(id.place)].is_static = true;
        Ok(())
    }

    /// Takes note of an address, if it is one that is asked for or known. The entry is returned
    /// when it has just become usable.
    ///
    /// Only an answer to our own question confirms an address. Another address that was not asked
    /// for is believed, as takeovers of servers need it, but asked for again at once.
    pub fn learn(&mut self, now: Tick, learned: &Learned) -> Option<NeighbourId> {
        let key = NextHop { interface: learned.interface, address: learned.address };
        let &place = self.places.get(&key)?;
        let (hop, entry) =
            (&mut self.hops[usize::from(place)], &mut self.entries[usize::from(place)]);
        if entry.is_static {
            return None;
        }
        let was_resolved = hop.is_resolved;
        if !was_resolved || entry.tries > 0 {
            self.confirm(now, place, learned.mac);
        } else if hop.header.destination() != learned.mac && now.since(entry.confirmed) >= LOCKED {
            hop.header.set_destination(learned.mac);
            entry.confirmed = Tick(now.0.wrapping_sub(CONFIRM_EVERY));
        }
        (!was_resolved).then(|| self.id(place))
    }

    /// Whether to ask for an unresolved next hop now, which is then noted as done.
    ///
    /// # Errors
    /// [`DropReason::NeighbourUnreachable`] when it has not answered: all that waits now does so in
    /// vain. A packet at a later moment starts over.
    pub fn ask(&mut self, now: Tick, id: NeighbourId) -> Result<Option<NextHop>, DropReason> {
        let entry = &mut self.entries[usize::from(id.place)];
        if entry.tries > TRIES {
            if entry.asked == now {
                return Err(DropReason::NeighbourUnreachable);
            }
            entry.tries = 0;
        } else if now.since(entry.asked) < ASK_EVERY {
            return Ok(None);
        }
        let may_ask = entry.tries < TRIES;
        entry.asked = now;
        entry.tries += 1;
        if may_ask { Ok(Some(entry.key)) } else { Err(DropReason::NeighbourUnreachable) }
    }

    /// The next resolved entry, from `place` on, that is in use and due for a second look. One
    /// that has not answered becomes unresolved again.
    pub fn next_due(&mut self, now: Tick, mut place: usize) -> Option<(usize, NextHop)> {
        while place < self.used {
            let (hop, entry) = (&mut self.hops[place], &mut self.entries[place]);
            place += 1;
            if !entry.is_static && now.since(hop.used) >= FORGOTTEN {
                hop.is_resolved = false;
            }
            let due = hop.is_resolved
                && !entry.is_static
                && now.since(entry.confirmed) >= CONFIRM_EVERY
                && now.since(hop.used) < CONFIRM_EVERY
                && now.since(entry.asked) >= ASK_EVERY;
            if !due {
                continue;
            }
            if entry.tries == TRIES {
                hop.is_resolved = false;
                entry.tries = 0;
                continue;
            }
            entry.asked = now;
            entry.tries += 1;
            return Some((place, entry.key));
        }
        None
    }

    fn confirm(&mut self, now: Tick, place: u16, mac: Mac) {
        let (hop, entry) =
            (&mut self.hops[usize::from(place)], &mut self.entries[usize::from(place)]);
        hop.header.set_destination(mac);
        hop.is_resolved = true;
        entry.confirmed = now;
        entry.tries = 0;
    }

    /// The entry that has a place now.
    #[must_use]
    pub fn at(&self, place: HopPlace) -> NeighbourId {
        self.id(place.0)
    }

    fn id(&self, place: u16) -> NeighbourId {
        NeighbourId { place, generation: self.hops[usize::from(place)].generation }
    }

    fn free_place(&mut self, now: Tick) -> Result<u16, DropReason> {
        if self.used < self.entries.len() {
            self.used += 1;
            return Ok(self.used as u16 - 1);
        }
        for _ in 0..EVICTION_WALK.min(self.used) {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.used;
            let (hop, entry) = (&self.hops[place], &self.entries[place]);
            // Unresolved ones go first: made-up clients must not displace real next hops.
            let patience = if hop.is_resolved { IDLE } else { ASK_EVERY };
            if !entry.is_static && now.since(hop.used) >= patience {
                self.places.remove(&entry.key);
                return Ok(place as u16);
            }
        }
        Err(DropReason::NeighbourTableFull)
    }
}

#[cfg(test)]
#[path = "neighbour_tests.rs"]
mod tests;
