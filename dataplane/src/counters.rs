//! Counters of one shard: written by its worker alone, read by control at any time.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::roster::ServerId;
use crate::service::Traffic;
use crate::verdict::{DropReason, Verdict};

/// A counter with a single writer, so adding needs no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the shard that owns the counter may.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The count now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Traffic of one real server through one shard, in a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServerCounters {
    pub(crate) connections: Counter,
    pub(crate) in_packets: Counter,
    pub(crate) out_packets: Counter,
    pub(crate) in_bytes: Counter,
    pub(crate) out_bytes: Counter,
}

/// All counters of one shard.
///
/// A service's traffic is the sum over its servers, so a packet counts once.
#[derive(Debug)]
pub struct Counters {
    drops: [Counter; DropReason::COUNT],
    servers: Box<[ServerCounters]>,
    /// Frames that came in.
    pub received: Counter,
    /// Frames that went out.
    pub transmitted: Counter,
    /// Frames given to the shard that owns their connection.
    pub handed_over: Counter,
    /// Frames that were not forwarded but answered, by a reset or an ICMP error; each is counted
    /// as dropped, too.
    pub answered: Counter,
    /// ICMP errors that were not sent, because there had been too many.
    pub limited: Counter,
    /// Connections that other directors know of, or that we know of by them.
    pub sync: SyncCounters,
}

/// What the shard has told backups, and what it has made of what it was told.
#[derive(Debug, Default)]
pub struct SyncCounters {
    /// Records given away.
    pub told: Counter,
    /// Records that found no room on their way out.
    pub untold: Counter,
    /// Connections and templates made.
    pub made: Counter,
    /// Of these, ones without a server here.
    pub unbound: Counter,
    /// Connections and templates that were known, and brought up to date.
    pub updated: Counter,
    /// Records left alone: of connections that have been replaced, or that packets have passed here
    /// since.
    pub late: Counter,
    /// Records for which there was no room in the tables.
    pub no_room: Counter,
    /// Records of what cannot be here.
    pub unfit: Counter,
}

impl Counters {
    /// Counters for as many servers as there are slots, and for connections without a server.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            drops: core::array::from_fn(|_| Counter::default()),
            servers: (0..=servers).map(|_| ServerCounters::default()).collect(),
            received: Counter::default(),
            transmitted: Counter::default(),
            handed_over: Counter::default(),
            answered: Counter::default(),
            limited: Counter::default(),
            sync: SyncCounters::default(),
        }
    }

    /// Counts dropped frames.
    #[inline]
    pub fn count_drop(&self, reason: DropReason, frames: u64) {
        self.drops[reason as usize].add(frames);
    }

    /// Counts a frame that is dropped by its verdict.
    #[inline]
    pub(crate) fn count_verdict(&self, verdict: Verdict) {
        if let Verdict::Drop(reason) = verdict {
            self.count_drop(reason, 1);
        }
    }

    /// Frames dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }

    /// A server's counters.
    #[inline]
    pub(crate) fn server(&self, id: ServerId) -> &ServerCounters {
        &self.servers[id.index()]
    }

    /// Traffic of all servers since the daemon started.
    #[must_use]
    pub fn total(&self) -> Traffic {
        let mut total = Traffic::default();
        (0..self.servers.len() as u32 - 1).for_each(|slot| total += self.traffic(ServerId(slot)));
        total
    }

    /// A server's traffic since the daemon started, whoever had the slot.
    #[must_use]
    pub fn traffic(&self, id: ServerId) -> Traffic {
        let server = self.server(id);
        Traffic {
            connections: server.connections.get(),
            in_packets: server.in_packets.get(),
            out_packets: server.out_packets.get(),
            in_bytes: server.in_bytes.get(),
            out_bytes: server.out_bytes.get(),
        }
    }
}
