//! Which packets of a connection make the director tell its backups of it (sync protocol reference
//! §7.1).

use crate::connection::{Connection, Flags};
use crate::settings::Settings;
use crate::time::{TICKS_PER_SECOND, Tick};

/// A connection that lasts longer than this is told again no sooner than by halves of this.
const LEAST_REFRESH: u32 = 10 * TICKS_PER_SECOND;

/// The count of packets at which a connection is never due: it is not reached.
const NEVER: u32 = u32::MAX;

/// When connections are told, as the settings say: at packet T and then every P packets
/// (`sync_threshold`). A connection holds the count at which it is due next, so that a packet that
/// is not costs one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// T; a connection counts as having had so many packets when a backup hears of it.
    pub(crate) threshold: u32,
    /// P, or 0.
    period: u32,
    /// `sync_refresh_period` in ticks, 0 for none.
    refresh: u32,
    /// `sync_retries`.
    retries: u8,
    /// Of persistent services only templates are told.
    pub(crate) only_templates: bool,
}

impl Policy {
    pub(crate) fn new(settings: &Settings) -> Self {
        let [threshold, period] = settings.sync_threshold.map(|value| value.max(0) as u32);
        let refresh = (settings.sync_refresh_period.max(0) as u32).saturating_mul(TICKS_PER_SECOND);
        Self {
            threshold,
            period,
            refresh,
            retries: settings.sync_retries.clamp(0, 3) as u8,
            only_templates: settings.sync_persist_mode != 0,
        }
    }

    /// The next count of packets at which a connection that has had `packets` is due.
    pub(crate) fn due_after(&self, packets: u32) -> u32 {
        let next = packets.saturating_add(1);
        match self.period {
            0 if self.refresh > 0 => next,
            0 if packets < self.threshold => self.threshold,
            0 => NEVER,
            period => {
                let past = next % period;
                let wait = (self.threshold % period + period - past) % period;
                next.saturating_add(wait)
            }
        }
    }

    /// Whether a connection that is due has changed enough since it was last told, or has come to
    /// a state that is news whatever was told before. That it is told is noted; `timeout` is how
    /// long it lasts without a packet.
    pub(crate) fn is_stale<A>(
        &self,
        now: Tick,
        connection: &mut Connection<A>,
        timeout: u32,
        is_news: bool,
    ) -> bool {
        let end = now.after(timeout);
        let mut retries = 0;
        if !is_news && self.refresh > 0 && connection.flags.has(Flags::TOLD) {
            let told = connection.told_until;
            let moved = end.since(told).max(told.since(end));
            if moved < self.refresh.min((timeout / 2).max(LEAST_REFRESH)) {
                let told_at = told.after(timeout.wrapping_neg());
                if connection.retries >= self.retries || now.since(told_at) < self.refresh / 8 {
                    return false;
                }
                retries = connection.retries + 1;
            }
        }
        connection.told_until = end;
        connection.retries = retries;
        connection.flags.set(Flags::TOLD, true);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn due(threshold: i32, period: i32, refresh: i32) -> impl Fn(u32) -> bool {
        let policy = Policy::new(&Settings {
            sync_threshold: [threshold, period],
            sync_refresh_period: refresh,
            ..Settings::default()
        });
        move |packets| policy.due_after(packets - 1) == packets
    }

    #[test]
    fn due_at_the_threshold_of_every_period() {
        for (threshold, period) in [(3, 50), (0, 1), (1, 5), (2, 64), (40, 48), (1, 1_000_000)] {
            let is_due = due(threshold, period, 0);
            for packets in (1..3000).chain([1_000_001, 4_000_000_003]) {
                let expected = packets % period as u32 == threshold as u32;
                assert_eq!(is_due(packets), expected, "{packets} of {threshold} {period}");
            }
        }
    }

    #[test]
    fn without_a_period_once_or_as_refreshing_says() {
        let once = due(3, 0, 0);
        assert_eq!((1..10_000).filter(|&packets| once(packets)).collect::<Vec<_>>(), [3]);
        let never = due(0, 0, 0);
        assert!((1..10_000).all(|packets| !never(packets)));
        let always = due(3, 0, 5);
        assert!((1..10_000).all(always));
    }
}
