//! The backup daemon: takes what others tell, and gives each record to the worker that owns its
//! connection.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use ctl::backend::DaemonRow;
use dataplane::hash::HashKey;
use dataplane::sync::{Record, Reject, Told, wire};

use super::beacon::Beacon;
use super::counts::{BackupCounts, Rate};
use super::peers::Peers;
use super::seal::{self, Key, SealReject};
use super::{socket, spawn, table};
use crate::say::complain;

/// Between two tries to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at whether a worker has room.
const FULL: Duration = Duration::from_micros(200);

/// What a backup daemon needs.
pub(super) struct Backup {
    pub(super) row: DaemonRow,
    pub(super) key: Option<Key>,
    pub(super) intake: Intake,
    pub(super) counts: Arc<BackupCounts>,
    pub(super) peers: Peers,
    /// Whether masters of ours are asked for their whole tables.
    pub(super) fetches: bool,
    pub(super) stop: Arc<AtomicBool>,
}

/// What was taken of a message.
pub(super) struct Taken {
    pub(super) records: u64,
    /// Whether nothing of it was dropped that others might need.
    pub(super) is_whole: bool,
}

/// The ways to the workers.
pub(super) struct Intake {
    pub(super) workers: Vec<Sender<(Record, Told)>>,
    pub(super) hash: HashKey,
}

impl Intake {
    /// Gives a record to the worker it belongs to. One of a whole table waits for room: not to be
    /// woken, which would cost the worker a system call for every record.
    fn give(&self, record: Record, told: Told) -> bool {
        let owner = record.owner(&self.hash, self.workers.len() as u16);
        let worker = &self.workers[usize::from(owner.0)];
        let mut item = (record, told);
        loop {
            match worker.try_send(item) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if told == Told::Whole => item = back,
                Err(_) => return false,
            }
            thread::sleep(FULL);
        }
    }

    /// Records that workers have not taken yet.
    pub(super) fn waiting(&self) -> u64 {
        self.workers.iter().map(|worker| worker.len() as u64).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting() == 0
    }
}

impl Backup {
    /// Receives what is sent to one port of the group, until told to stop.
    pub(super) fn run(self: &Arc<Self>, thread: u16, buffer: i32) {
        let mut room = vec![0_u8; usize::from(self.row.max_length)];
        let mut rate = Rate::start(Instant::now());
        let mut socket: Option<UdpSocket> = None;
        let mut has_complained = false;
        while !self.stop.load(Ordering::Relaxed) {
            if thread == 0 {
                let counts = &self.counts;
                rate.look(Instant::now(), &counts.records, &counts.records_per_second);
            }
            let Some(open) = &socket else {
                match socket::receiver(&self.row, thread, buffer) {
                    Ok(open) => (socket, has_complained) = (Some(open), false),
                    Err(error) => {
                        if !std::mem::replace(&mut has_complained, true) {
                            complain(format_args!(
                                "pollvsd: sync backup: {}: {error}; trying on, once a second",
                                self.row.interface
                            ));
                        }
                        thread::sleep(RETRY);
                    }
                }
                continue;
            };
            match receive(open, &mut room) {
                Ok(None) => {}
                Ok(Some((length, from))) => self.take(&room[..length], from),
                Err(error) => {
                    complain(format_args!("pollvsd: sync backup: {error}"));
                    socket = None;
                }
            }
        }
    }

    /// Takes a datagram.
    fn take(self: &Arc<Self>, message: &[u8], from: SocketAddr) {
        self.counts.messages.add(1);
        self.counts.bytes.add(message.len() as u64);
        let sealed = self.key.as_ref().map(|key| seal::open(key, message)).transpose();
        let is_proved = match sealed {
            Ok(sealed) => {
                let now = Instant::now();
                if !self.peers.hear(from.ip(), now) {
                    self.counts.crowd.add(1);
                }
                self.peers.take(from.ip(), sealed, now)
            }
            Err(reason) => Err(reason),
        };
        match is_proved {
            Ok(()) => match self.beacon(message) {
                Some(beacon) => self.answer(self.peers.note(from, beacon)),
                None => {
                    // Only once the workers have it all, for whoever asks what has arrived. What
                    // they have no room for has to come again, as if it had been lost.
                    if self.read(message, Told::Live).is_whole {
                        self.peers.count(from.ip());
                    }
                }
            },
            Err(reason) => {
                self.counts.seal_rejects[reason as usize].add(1);
                // Whoever has the key, but has not proved yet that this is not an old message, is
                // given the opportunity.
                if reason == SealReject::Epoch
                    && let Some(beacon) = self.beacon(message)
                {
                    self.answer(self.peers.call(from, beacon));
                }
            }
        }
    }

    fn beacon(&self, message: &[u8]) -> Option<Beacon> {
        if wire::entry_count(message) != 0 {
            return None;
        }
        let entries = wire::read(message, self.row.sync_id).ok()?;
        Beacon::read(entries.trailer())
    }

    /// Gets in touch with a director that nobody is in touch with yet.
    fn answer(self: &Arc<Self>, to: Option<SocketAddr>) {
        let Some(to) = to else { return };
        if !self.fetches || !self.follow(to) {
            self.peers.let_go(to.ip());
        }
    }

    fn follow(self: &Arc<Self>, to: SocketAddr) -> bool {
        let backup = Arc::clone(self);
        let follow = move || table::fetch::follow(&backup, to);
        spawn("sync-follow", follow).is_some()
    }

    /// Reads a message and hands its records out. Records of a whole table wait for the workers,
    /// others do not.
    pub(super) fn read(&self, message: &[u8], told: Told) -> Taken {
        // A table is asked for, so it is of our group.
        let sync_id = if told == Told::Whole { 0 } else { self.row.sync_id };
        let entries = match wire::read(message, sync_id) {
            Ok(entries) => entries,
            Err(reason) => {
                self.counts.reject(reason);
                return Taken { records: 0, is_whole: false };
            }
        };
        let (mut records, mut overruns, mut is_cut) = (0, 0, false);
        for entry in entries {
            match entry {
                Ok(entry) if entry.engine.is_some() => self.counts.reject(Reject::EngineUnknown),
                Ok(entry) => {
                    records += 1;
                    overruns += u64::from(!self.intake.give(entry.record, told));
                }
                Err(reason) => {
                    is_cut |= reason.ends_message();
                    self.counts.reject(reason);
                }
            }
        }
        self.counts.records.add(records);
        self.counts.overruns.add(overruns);
        Taken { records, is_whole: overruns == 0 && !is_cut }
    }
}

/// A datagram, or none in time. One that is longer than the room for it is cut, and then fails the
/// test of its length.
fn receive(socket: &UdpSocket, room: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    match socket.recv_from(room) {
        Ok(received) => Ok(Some(received)),
        Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
