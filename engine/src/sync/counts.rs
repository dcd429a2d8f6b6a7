//! Counters of the sync daemons: written by their threads, read by control.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ctl::sync::{BackupState, MasterState};
use dataplane::counters::Counters;
use dataplane::sync::{Reject, Unsent};

use super::seal::SealReject;

/// A counter with several writers.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What the master daemon counts.
#[derive(Debug, Default)]
pub(super) struct MasterCounts {
    /// The workers', who count what finds no room on its way to the daemon.
    pub(super) workers: Vec<Arc<Counters>>,
    pub(super) records: Count,
    pub(super) records_per_second: Count,
    pub(super) messages: Count,
    pub(super) bytes: Count,
    pub(super) queue_full: Count,
    pub(super) send_errors: Count,
    pub(super) unsent: [Count; Unsent::COUNT],
    pub(super) waiting: Count,
    pub(super) lag_us: Count,
}

impl MasterCounts {
    /// What a backup should have by now: messages sent, and whatever was lost before it could be
    /// one. Who has less lacks something, wherever it was lost.
    pub(super) fn owed(&self) -> u64 {
        self.messages.get() + self.queue_full.get() + self.send_errors.get() + self.overruns()
    }

    fn overruns(&self) -> u64 {
        self.workers.iter().map(|counters| counters.sync.untold.get()).sum()
    }

    /// As listings show them; followers are added elsewhere.
    pub(super) fn state(&self) -> MasterState {
        MasterState {
            records: self.records.get(),
            records_per_second: self.records_per_second.get(),
            messages: self.messages.get(),
            bytes: self.bytes.get(),
            overruns: self.overruns(),
            queue_full: self.queue_full.get(),
            send_errors: self.send_errors.get(),
            unsent: Unsent::ALL
                .iter()
                .map(|&reason| (reason, self.unsent[reason as usize].get()))
                .collect(),
            waiting: self.waiting.get(),
            lag_us: self.lag_us.get(),
            followers: Vec::new(),
        }
    }
}

/// What the backup daemon counts.
#[derive(Debug)]
pub(super) struct BackupCounts {
    pub(super) records: Count,
    pub(super) records_per_second: Count,
    pub(super) messages: Count,
    pub(super) bytes: Count,
    pub(super) rejects: [Count; Reject::COUNT],
    pub(super) seal_rejects: [Count; SealReject::COUNT],
    pub(super) overruns: Count,
    pub(super) crowd: Count,
}

impl Default for BackupCounts {
    fn default() -> Self {
        Self {
            records: Count::default(),
            records_per_second: Count::default(),
            messages: Count::default(),
            bytes: Count::default(),
            rejects: std::array::from_fn(|_| Count::default()),
            seal_rejects: std::array::from_fn(|_| Count::default()),
            overruns: Count::default(),
            crowd: Count::default(),
        }
    }
}

impl BackupCounts {
    pub(super) fn reject(&self, reason: Reject) {
        self.rejects[reason as usize].add(1);
    }

    /// As listings show them; what workers and senders add is added elsewhere.
    pub(super) fn state(&self) -> BackupState {
        let seal = SealReject::ALL.iter();
        BackupState {
            records: self.records.get(),
            records_per_second: self.records_per_second.get(),
            messages: self.messages.get(),
            bytes: self.bytes.get(),
            rejects: Reject::ALL
                .iter()
                .map(|&reason| (reason, self.rejects[reason as usize].get()))
                .collect(),
            seal_rejects: seal
                .map(|&reason| {
                    (reason.name(), reason.text(), self.seal_rejects[reason as usize].get())
                })
                .collect(),
            overruns: self.overruns.get(),
            crowd: self.crowd.get(),
            ..BackupState::default()
        }
    }
}

/// How much a counter grows in a second.
pub(super) struct Rate {
    since: Instant,
    before: u64,
}

impl Rate {
    pub(super) fn start(now: Instant) -> Self {
        Self { since: now, before: 0 }
    }

    /// Notes the growth of `count` once a second; says whether it did.
    pub(super) fn look(&mut self, now: Instant, count: &Count, rate: &Count) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < Duration::from_secs(1) {
            return false;
        }
        let count = count.get();
        let grown = (count - self.before) as f64 / elapsed.as_secs_f64();
        rate.set(grown.round() as u64);
        (self.since, self.before) = (now, count);
        true
    }
}
