//! Traffic per second, as the kernel estimates it (semantics reference §9): every two seconds, a
//! moving average that takes a quarter of what is new.

use crate::service::Traffic;

/// Seconds between two samples.
pub const PERIOD_S: u32 = 2;

/// Fraction bits of the averages of connections and packets.
const COUNT_BITS: u32 = 10;
/// Of the averages of bytes.
const BYTE_BITS: u32 = 5;

/// Traffic per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// New connections.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from servers.
    pub out_packets: u64,
    /// IP bytes from clients.
    pub in_bytes: u64,
    /// IP bytes from servers.
    pub out_bytes: u64,
}

/// The rates of one server, of one service, or of everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimator {
    last: Traffic,
    averages: [u64; 5],
}

impl Estimator {
    /// Rates of 0 at counters that stand at `now`.
    #[must_use]
    pub fn new(now: Traffic) -> Self {
        Self { last: now, averages: [0; 5] }
    }

    /// Takes a sample: the counters [`PERIOD_S`] after the last one.
    pub fn sample(&mut self, now: Traffic) {
        let new = now - self.last;
        self.last = now;
        let new = [new.connections, new.in_packets, new.out_packets, new.in_bytes, new.out_bytes];
        for (place, (average, new)) in self.averages.iter_mut().zip(new).enumerate() {
            let rate = new << (bits(place) - PERIOD_S.ilog2());
            // An arithmetic shift: rates fall to 0 and stay there.
            let step = (rate.wrapping_sub(*average) as i64) >> 2;
            *average = average.wrapping_add_signed(step);
        }
    }

    /// The rates as listings show them, rounded up.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let shown =
            |place: usize| (self.averages[place] + (1 << (bits(place) - 1)) - 1) >> bits(place);
        Rates {
            connections: shown(0),
            in_packets: shown(1),
            out_packets: shown(2),
            in_bytes: shown(3),
            out_bytes: shown(4),
        }
    }
}

/// Fraction bits of the average in this place.
fn bits(place: usize) -> u32 {
    if place < 3 { COUNT_BITS } else { BYTE_BITS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The reference's test vector: 200 new connections in 2 s for 24 s, then silence.
    #[test]
    fn connections_per_second_rise_and_fall_as_the_kernels() {
        let (mut estimator, mut traffic) = (Estimator::default(), Traffic::default());
        let mut shown = Vec::new();
        for tick in 0..18 {
            traffic.connections += if tick < 12 { 200 } else { 0 };
            estimator.sample(traffic);
            shown.push(estimator.rates().connections);
        }
        let expected = [25, 44, 58, 68, 76, 82, 87, 90, 92, 94, 96, 97, 73, 54, 41, 31, 23, 17];
        assert_eq!(shown, expected);
        (0..100).for_each(|_| estimator.sample(traffic));
        assert_eq!(estimator.rates(), Rates::default(), "they reach 0");
    }

    /// Recorded of Linux 6.1 (state.txt): 978 bytes.
    #[test]
    fn bytes_per_second_have_fewer_fraction_bits() {
        let mut estimator = Estimator::default();
        let traffic = Traffic { in_bytes: 978, ..Traffic::default() };
        estimator.sample(traffic);
        assert_eq!(estimator.rates().in_bytes, 122);
        estimator.sample(traffic);
        assert_eq!(estimator.rates().in_bytes, 92);
        assert_eq!(Estimator::new(traffic).rates(), Rates::default());
    }
}
