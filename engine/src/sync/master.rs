//! The master daemon: packs what the workers tell into messages and sends them to the group.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ctl::backend::DaemonRow;
use dataplane::hash::HashKey;
use dataplane::settings::Settings;
use dataplane::sync::wire::{Version, Writer};
use dataplane::sync::{Record, Unsent};
use rtrb::Consumer;
use socket2::Socket;

use super::beacon::{Activity, Beacon};
use super::counts::{MasterCounts, Rate};
use super::seal::{Sealer, TRAILER};
use super::socket;
use crate::say::complain;

/// Between two looks at the workers' rings.
const PAUSE: Duration = Duration::from_millis(1);
/// Between two beacons.
const BEACON: Duration = Duration::from_secs(1);
/// Records taken of one worker in a row.
const TAKEN: usize = 4096;

/// What a master daemon needs.
pub(super) struct Master {
    pub(super) row: DaemonRow,
    pub(super) threads: u16,
    /// What workers have to tell.
    pub(super) rings: Vec<Consumer<Record>>,
    pub(super) settings: Arc<Mutex<Settings>>,
    pub(super) counts: Arc<MasterCounts>,
    pub(super) sealer: Option<Arc<Sealer>>,
    pub(super) epoch: u64,
    /// TCP port of the whole table; while it is 0 there are no beacons.
    pub(super) table_port: Arc<AtomicU16>,
    pub(super) activity: Arc<AtomicU8>,
    /// How long a record may wait for others to fill its message.
    pub(super) patience: Duration,
    /// Connections go to threads by this.
    pub(super) key: HashKey,
    pub(super) flush: Arc<Flush>,
    pub(super) stop: Arc<AtomicBool>,
}

/// The wish to have everything sent that has been told so far.
#[derive(Debug, Default)]
pub(super) struct Flush {
    wanted: AtomicU64,
    done: AtomicU64,
}

impl Flush {
    /// Has everything sent; false when that takes too long.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let wanted = self.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        let end = Instant::now() + patience;
        while self.done.load(Ordering::Acquire) < wanted {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}

/// What goes to one port of the group.
struct Lane {
    thread: u16,
    socket: Option<Socket>,
    writer: Writer,
    /// When the first record was put into the open message.
    opened: Instant,
    queue: VecDeque<Vec<u8>>,
}

impl Master {
    /// Runs until told to stop; gives the workers' rings back.
    pub(super) fn run(mut self) -> Vec<Consumer<Record>> {
        let mut version = self.version();
        let mut lanes: Vec<Lane> = (0..self.threads).map(|n| self.lane(n, version)).collect();
        let start = Instant::now();
        let (mut rate, mut beacon_due) = (Rate::start(start), start);
        while !self.stop.load(Ordering::Relaxed) {
            let flush = self.flush.wanted.load(Ordering::Acquire);
            let now = Instant::now();
            self.follow_version(&mut lanes, &mut version, now);
            let (is_busy, is_all) = self.take(&mut lanes, now);
            let is_flush = flush != self.flush.done.load(Ordering::Relaxed);
            for lane in &mut lanes {
                let is_old = now.saturating_duration_since(lane.opened) >= self.patience;
                if is_old || is_flush {
                    self.close(lane, now);
                }
                self.send(lane);
            }
            let waiting: usize = lanes.iter().map(|lane| lane.queue.len()).sum();
            self.counts.waiting.set(waiting as u64);
            // Rings that were empty once held nothing older than the wish; new records may come
            // without end.
            if is_flush && is_all && waiting == 0 {
                self.flush.done.store(flush, Ordering::Release);
            }
            if now >= beacon_due && self.send_beacon(&lanes[0]) {
                beacon_due = now + BEACON;
            }
            if rate.look(now, &self.counts.records, &self.counts.records_per_second) {
                lanes.iter_mut().filter(|lane| lane.socket.is_none()).for_each(|lane| {
                    lane.socket = self.open(lane.thread).ok();
                });
                self.counts.lag_us.set(0);
            }
            if !is_busy {
                thread::sleep(PAUSE);
            }
        }
        self.rings
    }

    /// Begins messages of another version when that is set; what is packed goes as it is.
    fn follow_version(&self, lanes: &mut [Lane], version: &mut Version, now: Instant) {
        let wanted = self.version();
        if wanted != std::mem::replace(version, wanted) {
            for lane in lanes {
                self.close(lane, now);
                lane.writer = self.writer(wanted);
            }
        }
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> Version {
        if self.settings().sync_version == 0 { Version::V0 } else { Version::V1 }
    }

    fn lane(&self, thread: u16, version: Version) -> Lane {
        let socket = self.open(thread).map_err(|error| {
            complain(format_args!(
                "pollvsd: sync master: {}: {error}; trying on, once a second",
                self.row.interface
            ));
        });
        Lane {
            thread,
            socket: socket.ok(),
            writer: self.writer(version),
            opened: Instant::now(),
            queue: VecDeque::new(),
        }
    }

    fn writer(&self, version: Version) -> Writer {
        let trailer = if self.sealer.is_some() { TRAILER } else { 0 };
        let room = usize::from(self.row.max_length).saturating_sub(trailer);
        Writer::new(version, self.row.sync_id, room)
    }

    fn open(&self, thread: u16) -> io::Result<Socket> {
        let buffer = self.settings().sync_sock_size;
        socket::sender(&self.row, thread, buffer)
    }

    /// Packs what workers tell; says whether there was anything, and whether that was all.
    fn take(&mut self, lanes: &mut [Lane], now: Instant) -> (bool, bool) {
        let (mut is_busy, mut is_all) = (false, true);
        for n in 0..self.rings.len() {
            let mut taken = 0;
            while taken < TAKEN
                && let Ok(record) = self.rings[n].pop()
            {
                taken += 1;
                self.pack(lanes, &record, now);
            }
            is_busy |= taken > 0;
            is_all &= taken < TAKEN;
        }
        (is_busy, is_all)
    }

    fn pack(&self, lanes: &mut [Lane], record: &Record, now: Instant) {
        let lane = &mut lanes[usize::from(record.owner(&self.key, self.threads).0)];
        let mut pushed = lane.writer.push(record, None);
        if pushed == Err(Unsent::Full) {
            self.close(lane, now);
            pushed = lane.writer.push(record, None);
        }
        match pushed {
            Ok(()) => {
                self.counts.records.add(1);
                if lane.writer.len() == 1 {
                    lane.opened = now;
                }
            }
            Err(reason) => self.counts.unsent[reason as usize].add(1),
        }
    }

    /// Queues the open message, if there is anything in it.
    fn close(&self, lane: &mut Lane, now: Instant) {
        if lane.writer.is_empty() {
            return;
        }
        let lag = now.saturating_duration_since(lane.opened).as_micros() as u64;
        self.counts.lag_us.set(self.counts.lag_us.get().max(lag));
        let limit = usize::try_from(self.settings().sync_qlen_max).unwrap_or(usize::MAX);
        if lane.queue.len() >= limit {
            self.counts.queue_full.add(1);
        } else {
            let mut message = lane.writer.message().to_vec();
            if let Some(sealer) = &self.sealer {
                sealer.seal(&mut message);
            }
            lane.queue.push_back(message);
        }
        lane.writer.clear();
        // Not one message more than fits the socket's buffer waits here.
        self.send(lane);
    }

    /// Sends what the system takes. A message that it refuses is lost, as in the kernel.
    fn send(&self, lane: &mut Lane) {
        while let Some(message) = lane.queue.front() {
            match lane.socket.as_ref().map(|socket| socket.send(message)) {
                Some(Ok(_)) => {
                    self.counts.messages.add(1);
                    self.counts.bytes.add(message.len() as u64);
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Some(Err(_)) | None => self.counts.send_errors.add(1),
            }
            lane.queue.pop_front();
        }
    }

    /// False while there is nothing to say, or no socket to say it by.
    fn send_beacon(&self, lane: &Lane) -> bool {
        let port = self.table_port.load(Ordering::Relaxed);
        let Some(socket) = lane.socket.as_ref().filter(|_| port != 0) else { return false };
        let activity = Activity::from_number(self.activity.load(Ordering::Relaxed));
        let sent = self.counts.owed();
        let beacon = Beacon { activity, port, epoch: self.epoch, sent };
        let mut message = beacon.message(self.row.sync_id);
        if let Some(sealer) = &self.sealer {
            sealer.seal(&mut message);
        }
        if socket.send(&message).is_err() {
            self.counts.send_errors.add(1);
        }
        true
    }
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
