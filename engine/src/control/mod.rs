//! Control: one thread owns the truth about services, servers and settings and tells the workers.

mod backend;
mod clients;
mod daemons;
mod deadline;
mod files;
mod gauges;
mod handover;
mod journal;
mod saved;
mod socket;
mod truth;
mod watch;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ctl::backend::{Table, Totals, Undone};
use ctl::command::Change;
use ctl::mark::{MarkChange, MarkError};
use ctl::print;
use dataplane::command::{Command, ConnectionInfo, ConnectionPage, Place, Reply};
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::estimator::PERIOD_S;
use dataplane::mark::MarkRule;
use dataplane::refusal::Refusal;
use dataplane::roster::ServerId;
use dataplane::service::Traffic;
use dataplane::settings::Settings;
use dataplane::template::Templates;

use crate::clock::Clock;
use crate::sync::Sync;
use crate::vrrp::Pilot;
use crate::worker::Envelope;
use backend::service_row;
use journal::{Journal, Unsaved};
use truth::Truth;
use watch::Watch;

pub use backend::Remote;
pub use deadline::Deadline;
pub use files::Files;
pub use gauges::Gauges;
pub use saved::{SavedTable, Saver};
pub use socket::{ControlSocket, SocketError};

/// Requests that may wait for the control thread.
const WAITING: usize = 64;
/// How often deleted servers are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Connections that a worker copies at a time.
const PAGE: usize = 1024;

/// Something for the control thread to do.
type Job = Box<dyn FnOnce(&mut Control) + Send>;

/// What the control thread owns.
pub struct Control {
    truth: Truth,
    /// Counts the changes of the truth.
    generation: u64,
    /// Changes that are not on disk yet, if they are to be.
    journal: Option<Journal>,
    /// Settings and marks as they were configured.
    configured: (Settings, Arc<[MarkRule]>),
    workers: Vec<Sender<Envelope>>,
    counters: Vec<Arc<Counters>>,
    templates: Arc<Templates>,
    table: TableSize,
    clock: Clock,
    gauges: Gauges,
    sync: Sync,
    /// A way to who speaks VRRP, if anybody does.
    vrrp: Option<Pilot>,
    /// Since when the virtual routers are held back until other directors' tables are here.
    held_back: Option<Instant>,
    /// When backups were last asked whether they are in step.
    asked_at: Option<Instant>,
    /// The trace that runs.
    watch: Option<Watch>,
    /// Traces so far.
    traces: u64,
}

/// A way to the control thread.
#[derive(Clone)]
pub struct Handle(Sender<Job>);

impl Handle {
    /// Runs something on the control thread and returns what it returns; `None` when the daemon
    /// is stopping.
    pub fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Option<R> {
        let (reply, answer) = bounded(1);
        let job: Job = Box::new(move |control| {
            // Nobody waits when the client's thread has ended.
            let _ = reply.send(job(control));
        });
        self.0.send(job).ok()?;
        answer.recv().ok()
    }
}

impl Control {
    /// Control over workers that are not running yet.
    #[must_use]
    pub fn new(
        director: Director,
        workers: Vec<Sender<Envelope>>,
        counters: Vec<Arc<Counters>>,
        templates: Arc<Templates>,
        table: TableSize,
        clock: Clock,
        gauges: Gauges,
        sync: Sync,
        vrrp: Option<Pilot>,
    ) -> Self {
        let truth = Truth::new(director);
        let configured = (Settings::default(), Arc::default());
        Self {
            truth,
            generation: 0,
            journal: None,
            configured,
            workers,
            counters,
            templates,
            table,
            clock,
            gauges,
            sync,
            vrrp,
            held_back: None,
            asked_at: None,
            watch: None,
            traces: 0,
        }
    }

    /// Starts the control thread. It ends when every handle is gone.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(mut self) -> std::io::Result<(Handle, thread::JoinHandle<()>)> {
        let (jobs, queue) = bounded::<Job>(WAITING);
        let thread =
            thread::Builder::new().name("control".into()).spawn(move || self.run(&queue))?;
        Ok((Handle(jobs), thread))
    }

    fn run(&mut self, queue: &Receiver<Job>) {
        let mut due = Instant::now() + HOUSEKEEPING;
        let mut round = 0_u32;
        loop {
            // By the clock and not by silence, or a client that never pauses would hold it up.
            if Instant::now() >= due {
                round = round.wrapping_add(1);
                self.keep_house(round);
                // Not from now on: rates need even periods.
                due = (due + HOUSEKEEPING).max(Instant::now());
            }
            match queue.recv_deadline(due) {
                Ok(job) => job(self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Work of every second.
    fn keep_house(&mut self, round: u32) {
        self.gauges.look(&self.counters);
        let now = self.clock.now();
        self.end_watch_in_time();
        self.let_go();
        let commands = self.truth.director.forget_deleted(now);
        self.broadcast(commands);
        self.truth.director.tick_schedulers(now, &self.truth.settings);
        if round.is_multiple_of(PERIOD_S) && self.truth.settings.run_estimation != 0 {
            let counters = &self.counters;
            self.truth.director.estimate(&|id| Self::traffic(counters, id));
        }
    }

    /// Makes changes one after another; the workers hear of all of them together.
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        if changes.len() > 1 {
            self.truth.director.begin_batch();
        }
        let mut commands = Vec::new();
        let counters = &self.counters;
        let read = |id| Self::traffic(counters, id);
        let (truth, journal) = (&mut self.truth, &mut self.journal);
        let change = |change: Change| {
            let line = journal.as_ref().and_then(|_| print::change(&change));
            let is_configured = matches!(change, Change::Settings(_) | Change::SetTimeouts(_));
            truth.change(change, &read, &mut commands)?;
            match (journal.as_mut(), line) {
                (Some(journal), _) if is_configured => journal.want_all(),
                (Some(journal), Some(line)) => journal.add(&line),
                _ => {}
            }
            Ok(())
        };
        let done: Vec<_> = changes.into_iter().map(change).collect();
        self.generation += u64::from(done.iter().any(Result::is_ok));
        self.sync.put_settings(&self.truth.settings);
        self.sync.follow(self.truth.daemons());
        commands.extend(self.truth.director.end_batch());
        self.broadcast(commands);
        done
    }

    /// Makes all changes or none: they are tried on a draft first.
    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), Undone> {
        let mut draft = self.truth.draft();
        for (place, change) in changes.iter().enumerate() {
            let tried = draft.change(change.clone(), &|_| Traffic::default(), &mut Vec::new());
            tried.map_err(|refusal| Undone::wholly(place, refusal))?;
        }
        let mut failed = self.change_each(changes).into_iter().enumerate();
        if let Some(journal) = &mut self.journal {
            journal.want_all();
        }
        // None, unless an interface has gone since the draft was made.
        failed.try_for_each(|(place, done)| {
            done.map_err(|refusal| Undone { place, refusal, is_partial: true })
        })
    }

    /// Puts what is configured in force.
    fn configure(&mut self, settings: Settings, marks: Arc<[MarkRule]>) {
        self.configured = (settings, Arc::clone(&marks));
        self.truth.settings = settings;
        self.truth.marks = Arc::clone(&marks);
        self.sync.put_settings(&settings);
        self.broadcast(vec![Command::PutSettings(settings), Command::PutMarks(marks)]);
    }

    /// Changes the rules for firewall marks.
    fn change_marks(&mut self, change: MarkChange) -> Result<(), MarkError> {
        self.truth.marks = change.apply(&self.truth.marks)?.into();
        self.generation += 1;
        if let Some(journal) = &mut self.journal {
            journal.want_all();
        }
        self.broadcast(vec![Command::PutMarks(Arc::clone(&self.truth.marks))]);
        Ok(())
    }

    fn table(&self) -> Table {
        let read = |id| Self::traffic(&self.counters, id);
        let services = self.truth.director.services(&read).map(|view| service_row(&view));
        Table { size_buckets: u64::from(self.table.buckets()), services: services.collect() }
    }

    /// What is to be written to the disk for it to have the present table, and which one that is.
    /// Of settings and marks there is what is not as configured, so that a configuration that is
    /// edited counts.
    fn take_unsaved(&mut self, wants_all: bool) -> (u64, Unsaved) {
        let journal = self.journal.get_or_insert_default().take();
        let unsaved = match journal.filter(|_| !wants_all) {
            Some(lines) => Unsaved::Lines(lines),
            None => {
                let (settings, marks) = &self.configured;
                Unsaved::All(self.truth.saved_text(settings, marks, &self.table()))
            }
        };
        (self.generation, unsaved)
    }

    fn totals(&self) -> Totals {
        let (traffic, rates) = self.truth.director.total(&|id| Self::traffic(&self.counters, id));
        let workers = self.counters.iter().map(|counters| counters.total()).collect();
        Totals { traffic, rates, workers }
    }

    /// Has every worker apply commands, in order, and returns when all have.
    fn broadcast(&self, commands: Vec<Command>) {
        let (reply, replies) = bounded(self.workers.len() * commands.len());
        for command in commands {
            for worker in &self.workers {
                let envelope = Envelope { command: command.clone(), reply: reply.clone() };
                // A worker is gone only when the daemon stops.
                let _ = worker.send(envelope);
            }
        }
        drop(reply);
        for answer in &replies {
            drop(answer); // what the worker had before is freed here, not there
        }
    }

    /// A server's traffic over all workers.
    fn traffic(counters: &[Arc<Counters>], id: ServerId) -> Traffic {
        let mut total = Traffic::default();
        for shard in counters {
            total += shard.traffic(id);
        }
        total
    }

    /// A page of a worker's connections; `None` when there is no such worker.
    fn connections(&self, worker: usize, from: Option<Place>) -> Option<ConnectionPage> {
        let page = ConnectionPage { from, connections: Vec::with_capacity(PAGE) };
        let (reply, answer) = bounded(1);
        let command = Command::Connections(page);
        // A worker is gone only when the daemon stops.
        self.workers.get(worker)?.send(Envelope { command, reply }).ok()?;
        match answer.recv() {
            Ok(Reply::Connections(page)) => Some(page),
            _ => None,
        }
    }

    /// Every persistence template.
    fn templates(&self) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        self.templates.list(self.clock.now(), |template| all.push(template));
        all
    }
}
