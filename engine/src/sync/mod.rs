//! Connection sync: the threads that tell backups what the workers tell, and tell the workers what
//! other directors tell.
//!
//! | file | holds |
//! |---|---|
//! | `master` | packs records into messages and sends them to the group |
//! | `backup`, `peers` | receives messages; what has come from whom, and what was lost |
//! | `beacon`, `table` | extensions that kernels ignore: lost messages are noticed, and a backup gets the whole table |
//! | `seal` | extension: messages with a keyed code |
//! | `socket`, `counts` | sockets; counters |

mod backup;
mod beacon;
mod counts;
mod master;
mod peers;
mod seal;
mod socket;
mod table;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use ctl::backend::DaemonRow;
use ctl::command::Role;
use ctl::sync::{BackupState, MasterState, SyncState};
use dataplane::counters::Counters;
use dataplane::hash::HashKey;
use dataplane::settings::Settings;
use dataplane::sync::{Record, Told};
use dataplane::template::Templates;
use rtrb::Consumer;

use self::backup::{Backup, Intake};
use self::counts::{BackupCounts, MasterCounts};
use self::master::{Flush, Master};
use self::peers::Peers;
use self::seal::Sealer;
use self::table::serve::Tables;
use crate::clock::Clock;
use crate::say::complain;
use crate::worker::Envelope;

pub use self::beacon::Activity;
pub use self::seal::Key;
pub use self::socket::GROUP;

/// Threads of a daemon, at most (`sync_ports`).
const MOST_THREADS: u16 = 64;

/// How sync works beyond what the kernel's settings say.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// Key of the group, if messages are sealed.
    pub key: Option<Key>,
    /// Whether whole tables are served and asked for.
    pub whole_tables: bool,
    /// How long a record may wait for others to fill its message.
    pub patience: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { key: None, whole_tables: true, patience: Duration::from_millis(20) }
    }
}

/// The sync daemons, and what they are made of.
pub struct Sync {
    config: SyncConfig,
    hash: HashKey,
    clock: Clock,
    templates: Arc<Templates>,
    counters: Vec<Arc<Counters>>,
    workers: Vec<Sender<Envelope>>,
    taken: Vec<Sender<(Record, Told)>>,
    settings: Arc<Mutex<Settings>>,
    activity: Arc<AtomicU8>,
    /// The workers' rings, while no master has them.
    rings: Vec<Consumer<Record>>,
    /// Threads of each daemon; fixed by the one that starts first.
    threads: Option<u16>,
    master: Option<RunningMaster>,
    backup: Option<RunningBackup>,
}

struct RunningMaster {
    row: DaemonRow,
    thread: JoinHandle<Vec<Consumer<Record>>>,
    stop: Arc<AtomicBool>,
    counts: Arc<MasterCounts>,
    flush: Arc<Flush>,
    tables: Arc<Tables>,
    /// Answers those who ask for the whole table.
    server: Option<JoinHandle<()>>,
}

struct RunningBackup {
    row: DaemonRow,
    threads: Vec<JoinHandle<()>>,
    backup: Arc<Backup>,
}

/// A way to see whether backups have everything.
#[derive(Clone)]
pub(crate) struct Steps {
    flush: Arc<Flush>,
    tables: Arc<Tables>,
}

impl Steps {
    /// Has everything sent that has been told, and asks all backups whether they have it.
    pub(crate) fn ask(&self, patience: Duration) -> bool {
        let is_sent = self.flush.wait(patience);
        self.tables.probe();
        is_sent
    }

    /// Backups in touch, and those that have said yes.
    pub(crate) fn answers(&self) -> (usize, usize) {
        self.tables.in_step()
    }
}

impl Sync {
    /// Daemons that may run, over workers' ways.
    #[must_use]
    pub fn new(
        config: SyncConfig,
        hash: HashKey,
        clock: Clock,
        templates: Arc<Templates>,
        counters: Vec<Arc<Counters>>,
        workers: Vec<Sender<Envelope>>,
        rings: Vec<Consumer<Record>>,
        taken: Vec<Sender<(Record, Told)>>,
    ) -> Self {
        Self {
            config,
            hash,
            clock,
            templates,
            counters,
            workers,
            taken,
            settings: Arc::default(),
            activity: Arc::default(),
            rings,
            threads: None,
            master: None,
            backup: None,
        }
    }

    /// Where it is noted whether this director forwards.
    #[must_use]
    pub fn activity(&self) -> Arc<AtomicU8> {
        Arc::clone(&self.activity)
    }

    /// Notes settings, which hold from now on but for the number of threads.
    pub fn put_settings(&self, settings: &Settings) {
        *self.settings() = *settings;
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the threads that run be those of `rows`.
    pub fn follow(&mut self, rows: &[DaemonRow]) {
        let row_of = |role| rows.iter().find(|row| row.role == role);
        if self.master.as_ref().map(|running| &running.row) != row_of(Role::Master) {
            self.stop_master();
        }
        if self.backup.as_ref().map(|running| &running.row) != row_of(Role::Backup) {
            self.stop_backup();
        }
        if rows.is_empty() {
            self.threads = None;
        }
        if let Some(row) = row_of(Role::Master).filter(|_| self.master.is_none()) {
            self.start_master(row);
        }
        if let Some(row) = row_of(Role::Backup).filter(|_| self.backup.is_none()) {
            self.start_backup(row);
        }
    }

    /// A way to see whether backups are in step; `None` without a master daemon.
    pub(crate) fn steps(&self) -> Option<Steps> {
        self.master.as_ref().map(|running| Steps {
            flush: Arc::clone(&running.flush),
            tables: Arc::clone(&running.tables),
        })
    }

    /// Whether the tables of all active directors have been fetched; `None` when none of ours is
    /// heard.
    pub(crate) fn is_settled(&self) -> Option<bool> {
        self.backup.as_ref()?.backup.peers.is_settled(Instant::now())
    }

    /// How sync stands.
    #[must_use]
    pub fn state(&self) -> SyncState {
        let sum = |of: &dyn Fn(&Counters) -> u64| {
            self.counters.iter().map(|counters| of(counters)).sum::<u64>()
        };
        let master = self.master.as_ref().map(|running| MasterState {
            followers: running.tables.rows(),
            ..running.counts.state()
        });
        let backup = self.backup.as_ref().map(|running| BackupState {
            waiting: running.backup.intake.waiting(),
            made: sum(&|counters| counters.sync.made.get()),
            unbound: sum(&|counters| counters.sync.unbound.get()),
            updated: sum(&|counters| counters.sync.updated.get()),
            late: sum(&|counters| counters.sync.late.get()),
            no_room: sum(&|counters| counters.sync.no_room.get()),
            unfit: sum(&|counters| counters.sync.unfit.get()),
            senders: running.backup.peers.rows(Instant::now()),
            ..running.backup.counts.state()
        });
        SyncState { master, backup }
    }

    fn threads(&mut self) -> u16 {
        let wanted = u16::try_from(self.settings().sync_ports).unwrap_or(MOST_THREADS);
        *self.threads.get_or_insert(wanted.clamp(1, MOST_THREADS))
    }

    fn start_master(&mut self, row: &DaemonRow) {
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            // With the epoch of another time, old messages could pass for new ones.
            return complain("pollvsd: sync master: not started: the system has no random numbers");
        }
        let epoch = u64::from_ne_bytes(random);
        let sealer = self.config.key.clone().map(|key| Arc::new(Sealer::new(key, epoch)));
        let counts = MasterCounts { workers: self.counters.clone(), ..MasterCounts::default() };
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(counts));
        let flush = Arc::new(Flush::default());
        for ring in &mut self.rings {
            // What was told while nobody listened is too old.
            while ring.pop().is_ok() {}
        }
        let tables = Arc::new(Tables {
            workers: self.workers.clone(),
            templates: Arc::clone(&self.templates),
            clock: self.clock,
            sync_id: row.sync_id,
            key: self.config.key.clone(),
            sealer: sealer.clone(),
            epoch,
            counts: Arc::clone(&counts),
            stop: Arc::clone(&stop),
            followers: Mutex::default(),
            greetings: AtomicUsize::new(0),
        });
        let table_port = Arc::new(AtomicU16::new(0));
        let server = self.config.whole_tables.then(|| serve(row, &tables, &table_port)).flatten();
        let master = Master {
            row: row.clone(),
            threads: self.threads(),
            rings: std::mem::take(&mut self.rings),
            settings: Arc::clone(&self.settings),
            counts: Arc::clone(&counts),
            sealer,
            epoch,
            table_port,
            activity: Arc::clone(&self.activity),
            patience: self.config.patience,
            key: self.hash,
            flush: Arc::clone(&flush),
            stop: Arc::clone(&stop),
        };
        let row = row.clone();
        if let Some(thread) = spawn("sync-master", move || master.run()) {
            let running = RunningMaster { row, thread, stop, counts, flush, tables, server };
            self.master = Some(running);
        }
    }

    fn start_backup(&mut self, row: &DaemonRow) {
        let buffer = self.settings().sync_sock_size;
        let backup = Arc::new(Backup {
            row: row.clone(),
            key: self.config.key.clone(),
            intake: Intake { workers: self.taken.clone(), hash: self.hash },
            counts: Arc::new(BackupCounts::default()),
            peers: Peers::default(),
            fetches: self.config.whole_tables,
            stop: Arc::new(AtomicBool::new(false)),
        });
        let start = |n| {
            let backup = Arc::clone(&backup);
            spawn("sync-backup", move || backup.run(n, buffer))
        };
        let threads = (0..self.threads()).filter_map(start).collect();
        self.backup = Some(RunningBackup { row: row.clone(), threads, backup });
    }

    fn stop_master(&mut self) {
        if let Some(running) = self.master.take() {
            running.stop.store(true, Ordering::Relaxed);
            self.rings = running.thread.join().expect("the master daemon does not panic");
            // Its port has to be free for the next one.
            if let Some(server) = running.server {
                server.join().expect("the master daemon does not panic");
            }
        }
    }

    fn stop_backup(&mut self) {
        if let Some(running) = self.backup.take() {
            running.backup.stop.store(true, Ordering::Relaxed);
            for thread in running.threads {
                thread.join().expect("the backup daemon does not panic");
            }
        }
    }
}

/// Answers backups that ask for the whole table, on a thread of its own.
fn serve(row: &DaemonRow, tables: &Arc<Tables>, port: &Arc<AtomicU16>) -> Option<JoinHandle<()>> {
    let (row, tables, port) = (row.clone(), Arc::clone(tables), Arc::clone(port));
    let serve = move || tables.serve(&row, &port);
    spawn("sync-serve", serve)
}

/// Starts a thread, or complains that the system has none left.
fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<JoinHandle<T>> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| complain(format_args!("pollvsd: {name}: {error}"))).ok()
}
