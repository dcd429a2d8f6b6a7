//! What ports and workers have done, and what they are doing: rows of `ports` and `workers`.

use dataplane::address::Prefix;
use dataplane::packet::ethernet::Mac;

/// A port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// DPDK's number of it.
    pub number: u16,
    /// As configured.
    pub name: String,
    /// How it was opened, such as `AF_XDP`.
    pub kind: String,
    /// DPDK's driver.
    pub driver: String,
    /// Link-layer address.
    pub mac: Mac,
    /// The director's addresses there, each with the VLAN that it is in.
    pub addresses: Vec<(Option<u16>, Prefix)>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Receive queues in use.
    pub receive_queues: u16,
    /// Transmit queues in use.
    pub transmit_queues: u16,
    /// The link now.
    pub link: Link,
    /// Since the start.
    pub total: PortCounts,
    /// In the last full second; 0 before there was one.
    pub per_second: PortCounts,
}

/// A port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether it is up.
    pub is_up: bool,
    /// In Mbit/s, if the device says so.
    pub speed_mbps: Option<u32>,
    /// Whether it is full duplex, if the device says so.
    pub full_duplex: Option<bool>,
}

/// What a port counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Frames that workers were given.
    pub frames_in: u64,
    /// Their bytes, as the driver counts.
    pub bytes_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Their bytes, as the driver counts.
    pub bytes_out: u64,
    /// Arrived while the receive queue was full.
    pub missed: u64,
    /// Arrived broken.
    pub receive_errors: u64,
    /// Arrived while there was no buffer.
    pub no_buffer: u64,
    /// Could not be sent.
    pub transmit_errors: u64,
    /// Dropped by workers, because the transmit queue stayed full.
    pub queue_full: u64,
}

/// Every worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// Cycles per second of the processor's time stamp counter, if there is one.
    pub tsc_hz: Option<u64>,
    /// One row for each, by number.
    pub rows: Vec<WorkerRow>,
}

/// A worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its number.
    pub number: u16,
    /// Linux's number of its core.
    pub core: usize,
    /// Connections that it owns.
    pub connections: u64,
    /// Since the start.
    pub total: WorkerCounts,
    /// In the last full second; 0 before there was one.
    pub per_second: WorkerCounts,
    /// The most frames that waited in the rings from other workers, at a look within a second.
    pub ring_depth: u64,
    /// The same in its receive queues, of ports whose driver says it; `None` when none does.
    pub queue_depth: Option<u64>,
}

/// What a worker counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Turns over all ports and rings.
    pub polls: u64,
    /// Those that found a frame.
    pub busy_polls: u64,
    /// Bursts of frames, each from one port or ring.
    pub bursts: u64,
    /// Frames in them.
    pub frames: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames given to other workers.
    pub handed_over: u64,
    /// Time with frames, in nanoseconds.
    pub busy_ns: u64,
    /// All time, in nanoseconds.
    pub run_ns: u64,
}

impl PortCounts {
    /// Each count with its name and meaning.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, u64, &'static str); 9] {
        [
            ("frames_in", self.frames_in, "Taken by workers."),
            ("bytes_in", self.bytes_in, "Of these."),
            ("frames_out", self.frames_out, "Sent."),
            ("bytes_out", self.bytes_out, "Of these."),
            ("missed", self.missed, "Came while the receive queue was full."),
            ("receive_errors", self.receive_errors, "Came broken."),
            ("no_buffer", self.no_buffer, "Came while there was no buffer."),
            ("transmit_errors", self.transmit_errors, "Could not be sent."),
            ("queue_full", self.queue_full, "Dropped, the transmit queue stayed full."),
        ]
    }

    /// What was added since `before`, for each second of `elapsed_ns`.
    #[must_use]
    pub fn per_second(&self, before: &Self, elapsed_ns: u64) -> Self {
        let rate = |now, before| per_second(now, before, elapsed_ns);
        Self {
            frames_in: rate(self.frames_in, before.frames_in),
            bytes_in: rate(self.bytes_in, before.bytes_in),
            frames_out: rate(self.frames_out, before.frames_out),
            bytes_out: rate(self.bytes_out, before.bytes_out),
            missed: rate(self.missed, before.missed),
            receive_errors: rate(self.receive_errors, before.receive_errors),
            no_buffer: rate(self.no_buffer, before.no_buffer),
            transmit_errors: rate(self.transmit_errors, before.transmit_errors),
            queue_full: rate(self.queue_full, before.queue_full),
        }
    }
}

impl WorkerCounts {
    /// What was added since `before`, for each second of `elapsed_ns`.
    #[must_use]
    pub fn per_second(&self, before: &Self, elapsed_ns: u64) -> Self {
        let rate = |now, before| per_second(now, before, elapsed_ns);
        Self {
            polls: rate(self.polls, before.polls),
            busy_polls: rate(self.busy_polls, before.busy_polls),
            bursts: rate(self.bursts, before.bursts),
            frames: rate(self.frames, before.frames),
            transmitted: rate(self.transmitted, before.transmitted),
            handed_over: rate(self.handed_over, before.handed_over),
            busy_ns: rate(self.busy_ns, before.busy_ns),
            run_ns: rate(self.run_ns, before.run_ns),
        }
    }

    /// Share of the polls that found a frame, 0 to 1; `None` before the first.
    #[must_use]
    pub fn busy_poll_share(&self) -> Option<f64> {
        ratio(self.busy_polls, self.polls)
    }

    /// Share of the time with frames, 0 to 1.
    #[must_use]
    pub fn busy_share(&self) -> Option<f64> {
        ratio(self.busy_ns, self.run_ns)
    }

    /// Frames of a burst, on average.
    #[must_use]
    pub fn frames_per_burst(&self) -> Option<f64> {
        ratio(self.frames, self.bursts)
    }

    /// Time that a frame takes, on average.
    #[must_use]
    pub fn ns_per_frame(&self) -> Option<f64> {
        ratio(self.busy_ns, self.frames)
    }

    /// Cycles that a frame takes, on average, of a counter that makes so many in a second.
    #[must_use]
    pub fn cycles_per_frame(&self, tsc_hz: Option<u64>) -> Option<f64> {
        Some(self.ns_per_frame()? * tsc_hz? as f64 / 1e9)
    }
}

/// Rounded to the nearest. A device may begin its counts anew.
fn per_second(now: u64, before: u64, elapsed_ns: u64) -> u64 {
    let (added, elapsed) = (u128::from(now.saturating_sub(before)), u128::from(elapsed_ns));
    if elapsed == 0 {
        return 0;
    }
    let rate = (added * 1_000_000_000 + elapsed / 2) / elapsed;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_the_time_that_has_passed() {
        let before = PortCounts { frames_in: 10, bytes_in: 100, ..PortCounts::default() };
        let now = PortCounts { frames_in: 13, bytes_in: 5, queue_full: u64::MAX, ..before };
        let rates = now.per_second(&before, 2_000_000_000);
        assert_eq!((rates.frames_in, rates.bytes_in), (2, 0), "1.5; begun anew");
        assert_eq!(rates.queue_full, u64::MAX / 2 + 1);
        assert_eq!(now.per_second(&before, 0), PortCounts::default());
    }

    #[test]
    fn what_follows_from_counts() {
        let none = WorkerCounts::default();
        assert_eq!((none.busy_share(), none.cycles_per_frame(Some(1))), (None, None));
        let counts = WorkerCounts {
            polls: 8,
            busy_polls: 2,
            bursts: 3,
            frames: 12,
            busy_ns: 600,
            run_ns: 2400,
            ..none
        };
        assert_eq!((counts.busy_poll_share(), counts.busy_share()), (Some(0.25), Some(0.25)));
        assert_eq!((counts.frames_per_burst(), counts.ns_per_frame()), (Some(4.0), Some(50.0)));
        assert_eq!(counts.cycles_per_frame(Some(2_000_000_000)), Some(100.0));
        assert_eq!(counts.cycles_per_frame(None), None);
    }
}
