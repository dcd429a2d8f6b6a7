//! Which packets of a connection make the director tell its backups of it (sync protocol reference
//! §7.1).

use crate::connection::{Connection, Flags};
use crate::settings::Settings;
use crate::time::{TICKS_PER_SECOND, Tick};

/// A connection that lasts longer than this is told again no sooner than by halves of this.
const LEAST_REFRESH: u32 = 10 * TICKS_PER_SECOND;

/// When connections are told, as the settings say.
///
/// A connection is due at packet T and then every P packets (`sync_threshold`). Whether a count is
/// T modulo P is found without a division: for P = odd << shift, a count is a multiple of P if its
/// product with the inverse of the odd part, rotated by the shift, is small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    offset: u32,
    inverse: u32,
    shift: u32,
    limit: u32,
    /// `sync_refresh_period` in ticks, 0 for none.
    refresh: u32,
    /// `sync_retries`.
    retries: u8,
    /// Packets that a connection counts as having had when a backup hears of it.
    pub(crate) threshold: u32,
    /// Of persistent services only templates are told.
    pub(crate) only_templates: bool,
}

impl Policy {
    pub(crate) fn new(settings: &Settings) -> Self {
        let [threshold, period] = settings.sync_threshold.map(|value| value.max(0) as u32);
        let refresh = (settings.sync_refresh_period.max(0) as u32).saturating_mul(TICKS_PER_SECOND);
        let (offset, inverse, shift, limit) = match period {
            0 if refresh > 0 => (0, 1, 0, u32::MAX),
            0 => (threshold.wrapping_neg(), 1, 0, 1),
            _ => {
                let shift = period.trailing_zeros();
                let offset = period - threshold % period;
                let limit = (u32::MAX / period).saturating_add(1);
                (offset, inverse_of(period >> shift), shift, limit)
            }
        };
        Self {
            offset,
            inverse,
            shift,
            limit,
            refresh,
            retries: settings.sync_retries.clamp(0, 3) as u8,
            threshold,
            only_templates: settings.sync_persist_mode != 0,
        }
    }

    /// Whether a connection is due by its count of packets.
    #[inline(always)]
    pub(crate) fn is_due(&self, packets: u32) -> bool {
        let product = packets.wrapping_add(self.offset).wrapping_mul(self.inverse);
        product.rotate_right(self.shift) < self.limit
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

/// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the bits that
/// are right, of which there are three to begin with.
fn inverse_of(odd: u32) -> u32 {
    (0..4)
        .fold(odd, |inverse, _| inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse))))
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
        move |packets| policy.is_due(packets)
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
