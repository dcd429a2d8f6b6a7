//! Eight 16-bit tags compared at once.

use wide::u16x8;

/// Tags in a bucket.
pub(super) const SLOTS: usize = 8;

/// The tags of a bucket's slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tags([u16; SLOTS]);

impl Tags {
    pub(super) const NONE: Self = Self([0; SLOTS]);

    pub(super) fn set(&mut self, slot: usize, tag: u16) {
        self.0[slot] = tag;
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The slots with this tag.
    #[inline(always)]
    pub(super) fn matching(self, tag: u16) -> Matches {
        Matches(u16x8::from(self.0).simd_eq(u16x8::splat(tag)).to_bitmask())
    }
}

/// Slots of a bucket, a bit for each.
#[derive(Clone, Copy)]
pub(super) struct Matches(u32);

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
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(slot & (SLOTS - 1)) // the mask spares a bounds check
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
