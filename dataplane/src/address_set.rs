//! Which addresses mean something to the director: asked for every packet, so it stays small.

use alloc::boxed::Box;
use alloc::vec;

use crate::address::Address;

/// What an address is to the director; an address may be several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Role(u8);

impl Role {
    /// One of the director's own.
    pub(crate) const OWN: Self = Self(1);
    /// Address of a virtual service.
    pub(crate) const VIRTUAL: Self = Self(2);
    /// Address of a real server behind NAT, whose packets may be replies.
    pub(crate) const SERVER: Self = Self(4);

    /// One that moves between directors, and is not here now.
    pub(crate) const AWAY: Self = Self(8);

    /// Any of the two that packets may be sent to.
    pub(crate) const OURS: Self = Self::OWN.or(Self::VIRTUAL);

    /// Whether this includes any of `other`.
    #[inline]
    #[must_use]
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both roles.
    #[must_use]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the director answers for it.
    #[inline]
    #[must_use]
    pub(crate) fn is_here(self) -> bool {
        self.has(Self::OURS) && !self.has(Self::AWAY)
    }

    fn place(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}

#[derive(Clone, Copy)]
#[repr(align(8))]
struct Entry<A> {
    address: A,
    /// None when the entry is free.
    role: Role,
}

/// Addresses and their roles: open addressing, linear probing, at most half full.
pub(crate) struct AddressSet<A> {
    entries: Box<[Entry<A>]>,
    /// How many users each role of an entry has; apart, because packets do not ask for it.
    users: Box<[[u32; 4]]>,
    shift: u32,
    used: usize,
}

impl<A: Address> AddressSet<A> {
    const FREE: Entry<A> = Entry { address: A::UNSPECIFIED, role: Role(0) };

    /// A set for up to `limit` addresses.
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        let size = (limit * 2).next_power_of_two().max(2);
        Self {
            entries: vec![Self::FREE; size].into_boxed_slice(),
            users: vec![[0; 4]; size].into_boxed_slice(),
            shift: 64 - size.trailing_zeros(),
            used: 0,
        }
    }

    /// What `address` is, nothing for an unknown one.
    #[inline]
    #[must_use]
    pub(crate) fn role(&self, address: A) -> Role {
        let mut at = self.home(address);
        loop {
            let entry = &self.entries[at];
            if entry.address == address || entry.role == Role(0) {
                return entry.role;
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
    }

    /// Gives `address` a role once more.
    ///
    /// # Panics
    /// When the set holds its limit of addresses, which the caller has to prevent.
    pub(crate) fn add(&mut self, address: A, role: Role) {
        let at = self.place_of(address);
        let is_new = self.entries[at].role == Role(0);
        if is_new {
            assert!(self.used * 2 < self.entries.len(), "the director limits what it adds");
            self.used += 1;
        }
        let entry = &mut self.entries[at];
        entry.address = address;
        entry.role = entry.role.or(role);
        self.users[at][role.place()] += 1;
    }

    /// Takes a role back that [`AddressSet::add`] has given.
    ///
    /// # Panics
    /// When the address does not have the role.
    pub(crate) fn remove(&mut self, address: A, role: Role) {
        let at = self.place_of(address);
        let entry = &mut self.entries[at];
        let users = &mut self.users[at][role.place()];
        assert!(*users > 0, "a role is given before it is taken back");
        *users -= 1;
        if *users == 0 {
            entry.role = Role(entry.role.0 & !role.0);
        }
        if entry.role == Role(0) {
            self.used -= 1;
            self.close_gap(at);
        }
    }

    /// Gives `address` one role for another, for one of its users.
    pub(crate) fn change(&mut self, address: A, from: Role, to: Role) {
        self.add(address, to);
        self.remove(address, from);
    }

    #[inline]
    fn home(&self, address: A) -> usize {
        // Fibonacci hashing: the upper bits of a product with 2^64 / golden ratio.
        (address.fold().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    fn place_of(&self, address: A) -> usize {
        let mut at = self.home(address);
        while self.entries[at].role != Role(0) && self.entries[at].address != address {
            at = (at + 1) & (self.entries.len() - 1);
        }
        at
    }

    /// Moves later entries of the run back, so that no search stops at the freed place.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.entries.len() - 1;
        self.entries[gap] = Self::FREE;
        let mut at = (gap + 1) & mask;
        while self.entries[at].role != Role(0) {
            let home = self.home(self.entries[at].address);
            let distance_from_home = at.wrapping_sub(home) & mask;
            let distance_from_gap = at.wrapping_sub(gap) & mask;
            if distance_from_home >= distance_from_gap {
                self.entries[gap] = self.entries[at];
                self.entries[at] = Self::FREE;
                self.users.swap(gap, at);
                gap = at;
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    proptest! {
        /// Random additions and removals agree with a map of counts.
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((0_u32..24, 0_u8..3, any::<bool>()), 0..300)) {
            let mut set = AddressSet::new(24);
            let mut model: BTreeMap<(u32, u8), u32> = BTreeMap::new();
            for (n, role, add) in steps {
                // Low bits lie at the top, so that many share a home.
                let address = Ipv4Addr::from(n << 27 | n);
                let users = model.entry((n, role)).or_default();
                if add {
                    set.add(address, Role(1 << role));
                    *users += 1;
                } else if *users > 0 {
                    set.remove(address, Role(1 << role));
                    *users -= 1;
                }
                for n in 0..24 {
                    let expected = (0..3)
                        .filter(|&role| model.get(&(n, role)).is_some_and(|&users| users > 0))
                        .fold(0, |bits, role| bits | 1 << role);
                    prop_assert_eq!(set.role(Ipv4Addr::from(n << 27 | n)), Role(expected));
                }
            }
        }
    }
}
