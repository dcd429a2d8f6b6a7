//! The Internet checksum (RFC 1071), computed whole or patched (RFC 1624).

/// Sum of `bytes` as big-endian 16-bit words, not yet folded. An odd last byte counts as if
/// followed by zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let mut total = 0_u64;
    for chunk in &mut chunks {
        total += u64::from(u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]));
    }
    let mut last = [0_u8; 4];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_be_bytes(last))
}

/// Folds a sum to 16 bits by adding carries back in.
#[inline]
#[must_use]
pub fn fold(sum: u64) -> u16 {
    // Added to itself with its halves exchanged, a word has the sum of both halves in the upper
    // one, and the carry of the lower one in it already.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The same for a sum of more than 64 bits, whose upper part is small.
#[inline(always)]
fn fold_wide(low: u64, high: u64) -> u16 {
    let halves = (low >> 32) + (low & 0xffff_ffff) + high;
    fold(halves)
}

/// The one's complement sum of two words.
#[inline]
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// The checksum of `bytes`, or 0 when they hold a correct one.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// Whether an IPv4 header without options holds a correct checksum.
#[inline]
#[must_use]
pub fn is_correct(header: &[u8; 20]) -> bool {
    // Words in the machine's own order: the sum's bytes change places, but all ones stay all ones
    // (RFC 1071 section 2).
    let ([a, b], rest) = header.as_chunks::<8>() else { unreachable!("20 bytes hold 8 twice") };
    let [c, d, e, f] = *rest else { unreachable!("and 4 more") };
    let sum = u128::from(u64::from_ne_bytes(*a))
        + u128::from(u64::from_ne_bytes(*b))
        + u128::from(u32::from_ne_bytes([c, d, e, f]));
    // The carry is worth one (2^64 is 1 modulo 0xffff).
    fold_wide(sum as u64, (sum >> 64) as u64) == 0xffff
}

/// The difference that a rewrite makes to a one's complement sum: add it to patch a checksum.
///
/// It is held as it would stand in a packet: sums do not depend on the order of bytes, as long as
/// all words have the same (RFC 1071 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Delta(u16);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// Replacing words that sum to `old` by words that sum to `new`.
    #[inline]
    #[must_use]
    pub fn replacing(old: u64, new: u64) -> Self {
        Self(add(!fold(old), fold(new)).to_be())
    }

    /// The opposite change, of a reply against its request.
    #[inline]
    #[must_use]
    pub fn reversed(self) -> Self {
        Self(!self.0)
    }

    /// Both changes.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(add(self.0, other.0))
    }

    /// Patches a checksum as it stands in a packet (RFC 1624 section 3, equation 3).
    #[inline(always)]
    #[must_use]
    pub fn patch(self, checksum: [u8; 2]) -> [u8; 2] {
        (!add(!u16::from_ne_bytes(checksum), self.0)).to_ne_bytes()
    }
}

/// Lowering the time to live by one: its word falls by 0x0100.
pub const TTL_DECREMENT: Delta = Delta(0xfeff_u16.to_be());

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_sums() {
        // RFC 1071 section 3's example, and an odd length.
        assert_eq!(of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(of(&[0x12, 0x34, 0x56]), !0x6834);
        assert_eq!(of(&[]), 0xffff);
    }

    proptest! {
        #[test]
        fn a_header_is_correct_when_its_checksum_is(mut header: [u8; 20], flip in 0_usize..160) {
            header[10..12].fill(0);
            header[0] |= 1;
            let sum = of(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            prop_assert!(is_correct(&header));
            header[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(!is_correct(&header));
        }

        /// Patching equals computing anew, for any replaced words of any header.
        #[test]
        fn patched_is_full(mut header: [u8; 20], new: [u8; 4], at in 0_usize..4) {
            header[10..12].fill(0);
            header[0] |= 1; // a header of zeros only has two checksums
            let before = of(&header);
            let at = [0, 4, 12, 16][at];
            let old = sum(&header[at..at + 4]);
            header[at..at + 4].copy_from_slice(&new);
            prop_assume!(header.iter().any(|&byte| byte != 0));
            prop_assert_eq!(Delta::replacing(old, sum(&new)).patch(before.to_be_bytes()), of(&header).to_be_bytes());
        }

        /// A change and its reverse leave the checksum as it was.
        #[test]
        fn reversed_undoes(checksum in 0_u16..0xffff, old: u64, new: u64) {
            let delta = Delta::replacing(old >> 16, new >> 16);
            let checksum = checksum.to_be_bytes();
            prop_assert_eq!(delta.reversed().patch(delta.patch(checksum)), checksum);
        }

        #[test]
        fn ttl_patch_is_full(mut header: [u8; 20]) {
            header[8] = header[8].max(1);
            header[10..12].fill(0);
            let before = of(&header);
            header[8] -= 1;
            prop_assume!(header.iter().any(|&byte| byte != 0));
            prop_assert_eq!(TTL_DECREMENT.patch(before.to_be_bytes()), of(&header).to_be_bytes());
        }
    }
}
