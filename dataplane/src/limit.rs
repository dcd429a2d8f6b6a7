//! How often the director may complain: the token buckets of a router's ICMP errors.

use alloc::boxed::Box;
use alloc::vec;

use crate::hash::ClientHash;
use crate::settings::Settings;
use crate::time::{TICKS_PER_SECOND, Tick};

/// Errors that may go to one target at once; one more each interval.
const TARGET_BURST: u32 = 6;
/// Targets told apart; more share a bucket.
const TARGETS: u32 = 1024;

/// Tokens in thousandths of one.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: u32,
    at: Tick,
}

impl Bucket {
    /// Takes a token out of a bucket that gets `rate` thousandths a tick and holds `most` tokens.
    fn take(&mut self, now: Tick, rate: u32, most: u32) -> bool {
        let gained = now.since(self.at).saturating_mul(rate);
        self.tokens = self.tokens.saturating_add(gained).min(most.saturating_mul(1000));
        self.at = now;
        let has_one = self.tokens >= 1000;
        if has_one {
            self.tokens -= 1000;
        }
        has_one
    }
}

/// The buckets of one shard: one for all errors, and one for each target.
pub(crate) struct Limits {
    all: Bucket,
    targets: Box<[Bucket]>,
}

impl Limits {
    pub(crate) fn new() -> Self {
        // Full to begin with, whatever the settings say is full.
        let full = Bucket { tokens: u32::MAX, at: Tick(0) };
        Self { all: full, targets: vec![full; TARGETS as usize].into_boxed_slice() }
    }

    /// Whether an error may be sent now to the target with this hash, out of this shard's share
    /// of what all `shards` may send.
    pub(crate) fn allow(
        &mut self,
        now: Tick,
        settings: &Settings,
        target: ClientHash,
        shards: u16,
    ) -> bool {
        let interval_ms = settings.icmp_ratelimit_ms;
        if interval_ms > 0 {
            let rate = 1_000_000 / (interval_ms.saturating_mul(TICKS_PER_SECOND)).max(1);
            let bucket = &mut self.targets[target.bucket(TARGETS) as usize];
            if !bucket.take(now, rate.max(1), TARGET_BURST) {
                return false;
            }
        }
        let shards = u32::from(shards);
        let rate = settings.icmp_msgs_per_sec.saturating_mul(1000 / TICKS_PER_SECOND) / shards;
        let most = (settings.icmp_msgs_burst / shards).max(1);
        self.all.take(now, rate.max(1), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKey;
    use core::net::Ipv4Addr;

    fn targets() -> (ClientHash, ClientHash) {
        let key = HashKey::new([1, 2, 3]);
        (key.client(Ipv4Addr::new(10, 9, 0, 1), 0), key.client(Ipv4Addr::new(10, 9, 0, 2), 0))
    }

    #[test]
    fn one_target_gets_a_burst_and_then_one_a_second() {
        let (mut limits, settings) = (Limits::new(), Settings::default());
        let (one, other) = targets();
        let mut sent = |ticks, to| limits.allow(Tick(ticks), &settings, to, 1);
        assert!((0..6).all(|_| sent(1000, one)));
        assert!(!sent(1000, one) && !sent(1099, one) && sent(1100, one) && !sent(1101, one));
        assert!(sent(1101, other), "others are not held up");
    }

    #[test]
    fn all_targets_share_a_rate() {
        let (mut limits, settings) = (Limits::new(), Settings::default());
        let key = HashKey::new([1, 2, 3]);
        let mut sent = |ticks, from: u32| {
            let to = |n| key.client(Ipv4Addr::from(n), 0);
            (from..from + 200).filter(|&n| limits.allow(Tick(ticks), &settings, to(n), 1)).count()
        };
        assert_eq!(sent(1000, 0), 50);
        assert_eq!(sent(1001, 1000), 10, "1000 a second");
    }

    #[test]
    fn no_interval_is_no_limit_for_a_target() {
        let mut limits = Limits::new();
        let settings =
            Settings { icmp_ratelimit_ms: 0, icmp_msgs_burst: 1000, ..Settings::default() };
        let (one, _) = targets();
        assert!((0..1000).all(|_| limits.allow(Tick(5), &settings, one, 1)));
    }
}
