//! Connection sync: what the daemons have sent and received.

use std::net::IpAddr;

use serde::Serialize;

use crate::sync::{BackupState, Follower, MasterState, SenderRow, SyncState};

/// `sync`.
#[derive(Serialize)]
pub(super) struct Sync {
    schema: &'static str,
    master: Option<Master>,
    backup: Option<Backup>,
}

impl Sync {
    pub(super) fn new(state: &SyncState) -> Self {
        let (master, backup) = (&state.master, &state.backup);
        Self {
            schema: "pollvs/sync/1",
            master: master.as_ref().map(Into::into),
            backup: backup.as_ref().map(Into::into),
        }
    }
}

/// The master daemon.
#[derive(Serialize)]
pub(super) struct Master {
    records: u64,
    records_per_s: u64,
    messages: u64,
    bytes: u64,
    overruns: u64,
    queue_full: u64,
    send_errors: u64,
    unsent: Vec<Count>,
    waiting: u64,
    lag_us: u64,
    followers: Vec<OneFollower>,
}

/// How often something was, for a reason.
#[derive(Serialize)]
pub(super) struct Count {
    name: &'static str,
    count: u64,
    meaning: &'static str,
}

impl Count {
    pub(super) fn new(&(name, meaning, count): &(&'static str, &'static str, u64)) -> Self {
        Self { name, count, meaning }
    }
}

#[derive(Serialize)]
struct OneFollower {
    address: IpAddr,
    records: u64,
    in_step: bool,
}

impl From<&MasterState> for Master {
    fn from(state: &MasterState) -> Self {
        let unsent = state.unsent.iter().map(|&(why, count)| (why.name(), why.text(), count));
        let follower = |row: &Follower| OneFollower {
            address: row.address,
            records: row.records,
            in_step: row.is_in_step,
        };
        Self {
            records: state.records,
            records_per_s: state.records_per_second,
            messages: state.messages,
            bytes: state.bytes,
            overruns: state.overruns,
            queue_full: state.queue_full,
            send_errors: state.send_errors,
            unsent: unsent.map(|reason| Count::new(&reason)).collect(),
            waiting: state.waiting,
            lag_us: state.lag_us,
            followers: state.followers.iter().map(follower).collect(),
        }
    }
}

/// The backup daemon.
#[derive(Serialize)]
pub(super) struct Backup {
    records: u64,
    records_per_s: u64,
    messages: u64,
    bytes: u64,
    rejects: Vec<Count>,
    seal_rejects: Vec<Count>,
    overruns: u64,
    waiting: u64,
    made: u64,
    unbound: u64,
    updated: u64,
    late: u64,
    no_room: u64,
    unfit: u64,
    senders: Vec<Sender>,
    crowd: u64,
}

#[derive(Serialize)]
struct Sender {
    address: IpAddr,
    pollvs: bool,
    messages: u64,
    lost: Option<u64>,
    heard_ms: u64,
    fetched: Option<u64>,
    fetched_records: Option<u64>,
    failed: Option<u64>,
    in_step: Option<bool>,
}

impl Sender {
    /// What was lost of a director that is no pollvs, and what it has, is not known.
    fn new(row: &SenderRow) -> Self {
        let known = |count| row.is_pollvs.then_some(count);
        Self {
            address: row.address,
            pollvs: row.is_pollvs,
            messages: row.messages,
            lost: known(row.lost),
            heard_ms: row.heard_ms,
            fetched: known(row.fetched),
            fetched_records: known(row.fetched_records),
            failed: known(row.failed),
            in_step: row.is_pollvs.then_some(row.is_in_step),
        }
    }
}

impl From<&BackupState> for Backup {
    fn from(state: &BackupState) -> Self {
        let rejects = state.rejects.iter().map(|&(why, count)| (why.name(), why.text(), count));
        Self {
            records: state.records,
            records_per_s: state.records_per_second,
            messages: state.messages,
            bytes: state.bytes,
            rejects: rejects.map(|reason| Count::new(&reason)).collect(),
            seal_rejects: state.seal_rejects.iter().map(Count::new).collect(),
            overruns: state.overruns,
            waiting: state.waiting,
            made: state.made,
            unbound: state.unbound,
            updated: state.updated,
            late: state.late,
            no_room: state.no_room,
            unfit: state.unfit,
            senders: state.senders.iter().map(Sender::new).collect(),
            crowd: state.crowd,
        }
    }
}
