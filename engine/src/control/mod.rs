//! Control: one thread owns the truth about services, servers and settings and tells the workers.

mod backend;
mod deadline;
mod socket;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use ctl::backend::PortLosses;
use dataplane::command::{Command, ConnectionInfo, ConnectionPage, Reply};
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::mark::MarkRule;
use dataplane::roster::ServerId;
use dataplane::service::Traffic;
use dataplane::settings::Settings;
use dataplane::template::Templates;

use crate::clock::Clock;
use crate::worker::Envelope;

pub use backend::Remote;
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
    director: Director,
    settings: Settings,
    marks: Arc<[MarkRule]>,
    workers: Vec<Sender<Envelope>>,
    counters: Vec<Arc<Counters>>,
    templates: Arc<Templates>,
    table: TableSize,
    clock: Clock,
    losses: ReadLosses,
}

/// Reads what each port itself has lost.
pub type ReadLosses = Box<dyn Fn() -> Vec<PortLosses> + Send>;

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
        losses: ReadLosses,
    ) -> Self {
        let settings = Settings::default();
        let marks = Arc::default();
        Self { director, settings, marks, workers, counters, templates, table, clock, losses }
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
        loop {
            // By the clock and not by silence, or a client that never pauses would hold it up.
            if Instant::now() >= due {
                let now = self.clock.now();
                for command in self.director.forget_deleted(now) {
                    self.broadcast(&command);
                }
                self.director.tick_schedulers(now, &self.settings);
                due = Instant::now() + HOUSEKEEPING;
            }
            match queue.recv_deadline(due) {
                Ok(job) => job(self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Puts settings in force at every worker.
    fn put_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.broadcast(&Command::PutSettings(settings));
    }

    /// Puts the rules for firewall marks in force at every worker.
    fn put_marks(&mut self, marks: Arc<[MarkRule]>) {
        self.marks = Arc::clone(&marks);
        self.broadcast(&Command::PutMarks(marks));
    }

    /// Has every worker apply a command, and returns when all have.
    fn broadcast(&self, command: &Command) {
        let (reply, replies) = bounded(self.workers.len());
        for worker in &self.workers {
            let envelope = Envelope { command: command.clone(), reply: reply.clone() };
            // A worker is gone only when the daemon stops.
            let _ = worker.send(envelope);
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

    /// Every connection of every worker.
    fn connections(&self) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        for worker in &self.workers {
            let mut from = None;
            loop {
                let page = ConnectionPage { from, connections: Vec::with_capacity(PAGE) };
                let (reply, answer) = bounded(1);
                let command = Command::Connections(page);
                if worker.send(Envelope { command, reply }).is_err() {
                    break;
                }
                let Ok(Reply::Connections(page)) = answer.recv() else { break };
                all.extend(page.connections);
                from = page.from;
                if from.is_none() {
                    break;
                }
            }
        }
        self.templates.list(self.clock.now(), |template| all.push(template));
        all
    }
}
