//! What connection sync and takeover have done, and how they stand: rows of `sync` and `vrrp`.

use std::net::IpAddr;

use dataplane::sync::{Reject, Unsent};

/// Connection sync: what is told to backups, and what others tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The master daemon, if it runs.
    pub master: Option<MasterState>,
    /// The backup daemon, if it runs.
    pub backup: Option<BackupState>,
}

/// The master daemon since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterState {
    /// Records of connections and templates sent.
    pub records: u64,
    /// The same, in the last full second.
    pub records_per_second: u64,
    /// Messages sent.
    pub messages: u64,
    /// Their bytes, UDP payload.
    pub bytes: u64,
    /// Records that workers had no room for on their way to the daemon.
    pub overruns: u64,
    /// Messages dropped because `sync_qlen_max` of them were waiting.
    pub queue_full: u64,
    /// Messages that the system did not send.
    pub send_errors: u64,
    /// Records that no message of the version in use can carry, by reason.
    pub unsent: Vec<(Unsent, u64)>,
    /// Messages waiting to be sent now.
    pub waiting: u64,
    /// The longest that a record waited before it was sent, in the last full second, in
    /// microseconds.
    pub lag_us: u64,
    /// Backups that have asked for the whole table and stay in touch.
    pub followers: Vec<Follower>,
}

/// A backup that is in touch with this master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// Its address.
    pub address: IpAddr,
    /// Records sent to it in whole tables.
    pub records: u64,
    /// Whether it had, when it last said so, all that had been sent.
    pub is_in_step: bool,
}

/// The backup daemon since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupState {
    /// Records taken from messages.
    pub records: u64,
    /// The same, in the last full second.
    pub records_per_second: u64,
    /// Messages received.
    pub messages: u64,
    /// Their bytes, UDP payload.
    pub bytes: u64,
    /// Messages, their rests and entries dropped, by reason.
    pub rejects: Vec<(Reject, u64)>,
    /// Messages dropped because they were not sealed with the key, by reason: its name and its
    /// meaning.
    pub seal_rejects: Vec<(&'static str, &'static str, u64)>,
    /// Records that workers had no room for.
    pub overruns: u64,
    /// Records waiting for the workers now.
    pub waiting: u64,
    /// Connections and templates made.
    pub made: u64,
    /// Of these, ones without a server here.
    pub unbound: u64,
    /// Connections and templates brought up to date.
    pub updated: u64,
    /// Records of connections that had been replaced, or were served here by then.
    pub late: u64,
    /// Records that found the tables full.
    pub no_room: u64,
    /// Records of what cannot be.
    pub unfit: u64,
    /// Directors heard of.
    pub senders: Vec<SenderRow>,
    /// Messages of directors that there was no room to note.
    pub crowd: u64,
}

/// A director that this backup hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRow {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is a pollvs director: one that can be asked for its whole table, and whose lost
    /// messages are noticed.
    pub is_pollvs: bool,
    /// Messages received of it.
    pub messages: u64,
    /// Messages that it sent and that did not arrive.
    pub lost: u64,
    /// Milliseconds since it was last heard.
    pub heard_ms: u64,
    /// Whole tables fetched from it.
    pub fetched: u64,
    /// Records in them.
    pub fetched_records: u64,
    /// Fetches that failed.
    pub failed: u64,
    /// Whether all that it has sent has arrived here, as far as is known.
    pub is_in_step: bool,
}

/// A virtual router (VRRP), as this director takes part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpRow {
    /// As configured.
    pub name: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Protocol version, 2 or 3.
    pub version: u8,
    /// Port and VLAN of its advertisements.
    pub interface: String,
    /// `INIT`, `BACKUP`, `MASTER` or `FAULT`.
    pub state: &'static str,
    /// Why it came to that state.
    pub reason: &'static str,
    /// Seconds since then.
    pub since_s: u64,
    /// Priority in force.
    pub priority: u8,
    /// Priority as configured.
    pub configured_priority: u8,
    /// Milliseconds between advertisements.
    pub interval_ms: u64,
    /// The master, if it is known.
    pub master: Option<IpAddr>,
    /// Whether mastership was handed over, and is left to others.
    pub is_released: bool,
    /// Group of virtual routers that move together.
    pub group: Option<String>,
    /// Virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Times that it became master.
    pub became_master: u64,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements received and taken.
    pub received: u64,
    /// Gratuitous ARP and neighbour advertisements sent.
    pub announced: u64,
    /// Packets rejected, by reason: its name, its meaning.
    pub rejects: Vec<(&'static str, &'static str, u64)>,
}

/// What `handover` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverStep {
    /// Look whether a backup is in step, and give the virtual addresses to it if one is.
    Give {
        /// Give them away though no backup is known to be in step.
        force: bool,
    },
    /// Take part again as configured.
    Back,
    /// Say how it stands. After a `Give` that gave, that is `Given` until there is a `Back`.
    Look,
}

/// How a handover stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// No virtual router is configured.
    NoRouter,
    /// This director is not the master of any.
    NotMaster,
    /// No backup is in step yet; in words, what is missing.
    NotInStep(String),
    /// Given away; this many virtual routers have not got another master yet.
    Given {
        /// Virtual routers without a new master so far.
        pending: u32,
    },
    /// Takes part as configured.
    Back,
}
