//! Time as the dataplane sees it: a stamp handed in by the caller, never read from a clock.

/// A moment in hundredths of a second since an arbitrary start, wrapping after 497 days.
///
/// Half of that range exceeds the longest timeout IPVS allows (31 days), so comparisons that wrap
/// are safe as long as every stamp is met at least once within it; the sweep sees to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tick(pub u32);

/// Ticks in a second.
pub const TICKS_PER_SECOND: u32 = 100;

impl Tick {
    /// The moment `ticks` later.
    #[inline]
    #[must_use]
    pub fn after(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// The moment `seconds` later.
    #[inline]
    #[must_use]
    pub fn after_seconds(self, seconds: u32) -> Self {
        self.after(seconds.wrapping_mul(TICKS_PER_SECOND))
    }

    /// Whether `deadline` has come.
    #[inline]
    #[must_use]
    pub fn reached(self, deadline: Self) -> bool {
        (self.0.wrapping_sub(deadline.0) as i32) >= 0
    }

    /// Ticks from `earlier` until now; 0 when `earlier` lies ahead.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Self) -> u32 {
        (self.0.wrapping_sub(earlier.0) as i32).max(0) as u32
    }

    /// Whole seconds from now until `deadline`, rounded down; 0 when it has passed.
    #[must_use]
    pub fn seconds_until(self, deadline: Self) -> u32 {
        deadline.since(self) / TICKS_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_survive_the_wrap() {
        let now = Tick(u32::MAX - 5);
        let later = now.after(10);
        assert!(!now.reached(later) && later.reached(now) && now.reached(now));
        assert_eq!((later.since(now), now.since(later)), (10, 0));
        assert_eq!(Tick(0).seconds_until(Tick(299)), 2);
    }
}
