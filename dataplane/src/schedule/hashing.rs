//! `dh` and `sh`: the server by a hash of an address. The hashes are the kernel's, so a director
//! beside a Linux one chooses the same servers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{FALLBACK, Plan, Query, Schedule, WITH_PORT};
use crate::roster::{Member, Roster};

/// Bits of a table's index.
const BITS: u32 = 8;
const BUCKETS: usize = 1 << BITS;

/// An address as 32 bits: an IPv6 one folded.
pub(super) fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// The upper bits of a product with 2^32 / golden ratio^2.
pub(super) fn hash_32(word: u32, bits: u32) -> u32 {
    word.wrapping_mul(0x61c8_8647) >> (32 - bits)
}

/// The member in a bucket of a roster's table, if it may be chosen.
fn in_bucket(roster: &Roster, bucket: u32) -> Option<usize> {
    let Plan::Table(table) = &*roster.plan else { return None };
    let place = usize::from(*table.get(bucket as usize)?);
    roster.members.get(place)?.is_eligible().then_some(place)
}

/// `dh`: by the destination's address; all servers have equal shares.
#[derive(Debug)]
pub(super) struct DestinationHash;

impl Schedule for DestinationHash {
    fn pick(&self, roster: &Roster, query: &Query) -> Option<usize> {
        in_bucket(roster, hash_32(fold(query.destination), BITS))
    }

    fn plan(&self, members: &[Member]) -> Plan {
        table((0..members.len()).cycle())
    }
}

/// `sh`: by the client's address, and port if so flagged; shares go by weight.
#[derive(Debug)]
pub(super) struct SourceHash;

impl Schedule for SourceHash {
    fn pick(&self, roster: &Roster, query: &Query) -> Option<usize> {
        let port = if roster.flags & WITH_PORT != 0 { u32::from(query.client_port) } else { 0 };
        let key = port.wrapping_add(fold(query.client));
        let bucket = |offset: u32| (offset + hash_32(key, BITS)) & (BUCKETS as u32 - 1);
        let first = bucket(0);
        in_bucket(roster, first).or_else(|| {
            let may_try = roster.flags & FALLBACK != 0;
            let others = (0..BUCKETS as u32).map(|offset| bucket(offset + first));
            others.filter(|_| may_try).find_map(|bucket| in_bucket(roster, bucket))
        })
    }

    fn plan(&self, members: &[Member]) -> Plan {
        // A server of weight 0 has one bucket a round, and refuses who comes there.
        let shares = members.iter().enumerate().flat_map(|(place, member)| {
            core::iter::repeat_n(place, member.weight.clamp(1, BUCKETS as u32) as usize)
        });
        table(shares.cycle())
    }
}

/// A table with the first places of a sequence, which is endless or empty.
fn table(places: impl Iterator<Item = usize>) -> Plan {
    let table: Vec<u16> = places.take(BUCKETS).map(|place| place as u16).collect();
    Plan::Table(Box::from(table))
}
