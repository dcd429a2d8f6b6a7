//! Eight 16-bit tags compared at once.

/// Tags in a bucket.
pub(super) const SLOTS: usize = 8;

/// The tags of a bucket's slots: four to a word, the first in the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tags([u64; 2]);

impl Tags {
    pub(super) const NONE: Self = Self([0; 2]);

    pub(super) fn set(&mut self, slot: usize, tag: u16) {
        let shift = slot % 4 * 16;
        let word = &mut self.0[slot / 4];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The slots with this tag.
    #[inline(always)]
    pub(super) fn matching(self, tag: u16) -> Matches {
        // A lane becomes zero where the tag fits; a zero lane is one that neither has a high bit
        // nor carries into it when all lower ones are added.
        const LOW: u64 = 0x7fff_7fff_7fff_7fff;
        let pattern = u64::from(tag) * 0x0001_0001_0001_0001;
        let zero_lanes = |word: u64| {
            let word = word ^ pattern;
            !(((word & LOW) + LOW) | word | LOW)
        };
        // The high bit of each lane; the second word's are one place lower.
        Matches(zero_lanes(self.0[0]) | zero_lanes(self.0[1]) >> 1)
    }
}

/// Slots of a bucket, in an order of its own: bits 15, 31, 47, 63 are slots 0 to 3, and the bits
/// below each of them slots 4 to 7.
#[derive(Clone, Copy)]
pub(super) struct Matches(u64);

impl Matches {
    /// How many there are.
    pub(super) fn count_slots(self) -> u32 {
        self.0.count_ones()
    }
}

impl Iterator for Matches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some((bit >> 4 | (!bit & 1) << 2) & (SLOTS - 1)) // the mask spares a bounds check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Comparing finds the slots whose tag was set to it, and no others.
        #[test]
        fn they_agree_with_a_search(tags: [u16; SLOTS], place in 0..SLOTS, other: u16) {
            let mut packed = Tags::NONE;
            for (slot, &tag) in tags.iter().enumerate() {
                packed.set(slot, tag);
            }
            for tag in [tags[place], other] {
                let mut found: Vec<_> = packed.matching(tag).collect();
                prop_assert_eq!(found.len() as u32, packed.matching(tag).count_slots());
                found.sort_unstable();
                let expected: Vec<_> = (0..SLOTS).filter(|&slot| tags[slot] == tag).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
