//! The keyed hash of a client, computed once per packet: it serves owner, bucket and tag.
//!
//! Clients choose their own addresses and ports, so the key is random for every start of the
//! daemon: tuples crafted to collide under one key are scattered under another.

use crate::address::Address;
use crate::verdict::ShardId;

/// Secret of the connection hash; the same on all shards of a daemon.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 3]);

/// Prints nothing of the secret.
impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey")
    }
}

impl HashKey {
    /// A key from random bits; the caller draws them.
    #[must_use]
    pub const fn new(random: [u64; 3]) -> Self {
        // Stretched, so that a poor source cannot make a degenerate key; odd, because an even
        // multiplier would lose bits.
        let [offset, first, second] = random;
        Self([stretch(offset, 1), stretch(first, 2) | 1, stretch(second, 3) | 1])
    }

    /// Hashes a client's address and port.
    #[inline]
    #[must_use]
    pub fn client<A: Address>(&self, address: A, port: u16) -> ClientHash {
        let [offset, first, second] = self.0;
        let [low, high] = address.words();
        let mut word = low << 16 | u64::from(port);
        if A::WIDTH > 48 {
            // 144 bits do not fit one word: the others go through a multiplication of their own.
            word ^= multiply_fold(high ^ second, first ^ low >> 48);
        }
        ClientHash(multiply_fold(multiply_fold(word ^ offset, first) ^ offset, second))
    }
}

/// The finisher of SplitMix64: a bijection that spreads every bit over the word.
pub(crate) const fn stretch(word: u64, salt: u64) -> u64 {
    let word = word.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Both halves of the 128-bit product, combined: every input bit reaches every output bit.
#[inline]
fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a client's address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ClientHash(u64);

impl ClientHash {
    /// The worker that owns all connections of this client tuple, out of `shards`.
    ///
    /// Uses the lowest 16 bits, bucket and tag the others, so a shard's tables see no pattern.
    #[inline]
    #[must_use]
    pub fn owner(self, shards: u16) -> ShardId {
        let scaled = (self.0 & 0xffff) * u64::from(shards);
        ShardId((scaled >> 16) as u16)
    }

    /// A bucket out of `buckets`, by scaling the upper 32 bits, so any count will do.
    #[inline]
    pub(crate) fn bucket(self, buckets: u32) -> u32 {
        (((self.0 >> 32) * u64::from(buckets)) >> 32) as u32
    }

    /// All of its bits, for tables that are not the connections'.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// 16 bits that tell keys within a bucket apart; never 0, which marks a free slot.
    #[inline]
    pub(crate) fn tag(self) -> u16 {
        ((self.0 >> 16) as u16).max(1)
    }
}

/// The shard that owns a client's connections. Request, reply and ICMP error all carry the
/// client's address and port, so all of them find the same owner.
#[inline]
#[must_use]
pub fn owner_of<A: Address>(key: &HashKey, client: A, port: u16, shards: u16) -> ShardId {
    key.client(client, port).owner(shards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const KEY: HashKey = HashKey::new([0x0123_4567_89ab_cdef, 0x1357_9bdf_0246_8ace, 0xfeed_face]);

    fn spread<A: Address>(clients: impl Iterator<Item = (A, u16)>) -> (u32, u32) {
        let mut counts = vec![0_u32; 1024];
        for (address, port) in clients {
            counts[KEY.client(address, port).bucket(1024) as usize] += 1;
        }
        (counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
    }

    #[test]
    fn consecutive_addresses_and_ports_spread_evenly() {
        // 64 to a bucket expected; 6 standard deviations are 48.
        let addresses = (0..65_536_u32).map(|n| (Ipv4Addr::from(0x0a00_0000 + n), 1024));
        let ports = (0..65_535).map(|port| (Ipv4Addr::new(10, 9, 0, 7), port));
        let wide = (0..65_536_u128).map(|n| (Ipv6Addr::from(0x2001_0db8 << 96 | n << 48), 1024));
        for (least, most) in [spread(addresses), spread(ports), spread(wide)] {
            assert!((16..=112).contains(&least) && (16..=112).contains(&most), "{least} {most}");
        }
    }

    #[test]
    fn every_part_of_a_client_counts() {
        let base = KEY.client(Ipv6Addr::from(0_u128), 0);
        for bit in 0..128 {
            assert_ne!(KEY.client(Ipv6Addr::from(1_u128 << bit), 0), base, "bit {bit}");
        }
        for bit in 0..16 {
            assert_ne!(KEY.client(Ipv6Addr::from(0_u128), 1 << bit), base, "port bit {bit}");
        }
    }

    #[test]
    fn owners_share_the_clients() {
        for shards in [1, 2, 3, 7, 64] {
            let mut counts = vec![0_u32; usize::from(shards)];
            for port in 0..10_000 {
                let owner = owner_of(&KEY, Ipv4Addr::new(10, 9, 0, 7), port, shards);
                counts[usize::from(owner.0)] += 1;
            }
            let fair = 10_000 / u32::from(shards);
            assert!(counts.iter().all(|&n| n > fair / 2 && n < fair * 2), "{shards}: {counts:?}");
        }
    }
}
