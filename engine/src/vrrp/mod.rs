//! VRRP in the daemon: the protocol itself is [`dataplane::vrrp`].
//!
//! | file | holds |
//! |---|---|
//! | [`section`], `plan` | the `[[vrrp]]` tables, and what they mean on this machine |
//! | `speaker`, `station` | the thread that speaks, and what it keeps of each virtual router |
//! | `crew` | what workers are told |
//! | `track` | links and programs that are watched |
//! | `hooks`, `program` | programs that are called |

mod crew;
mod hooks;
mod plan;
mod program;
pub mod section;
mod speaker;
mod station;
mod track;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use ctl::sync::VrrpRow;
use dataplane::float::{Outgoing, Punted};

use self::crew::Crew;
use self::hooks::Hooks;
use self::speaker::{Ends, Speaker};
use self::track::Watch;
use crate::clock::Clock;
use crate::port::ReadPorts;
use crate::worker::Envelope;

pub use self::plan::Plan;

/// How long control waits for an answer, which comes at once unless the machine stands still.
const PATIENCE: Duration = Duration::from_millis(200);

/// Something for the thread to do.
enum Order {
    /// List every router.
    Rows(Sender<Vec<VrrpRow>>),
    /// Say how they stand.
    Look(Sender<Standing>),
    /// Give everything away.
    Release(Sender<Standing>),
    /// Take part as configured.
    Reclaim(Sender<Standing>),
    /// What a router watches has changed.
    Health {
        /// Its place.
        router: usize,
        /// Whether it must not be master.
        has_fault: bool,
        /// Its priority.
        priority: u8,
    },
    /// End.
    Stop,
}

/// How all routers stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Routers that are master.
    pub(crate) masters: u32,
    /// Whether they have been given away.
    pub(crate) released: bool,
    /// Routers without a master elsewhere.
    pub(crate) pending: u32,
}

/// Control's way to the thread.
#[derive(Clone)]
pub struct Pilot(Sender<Order>);

impl Pilot {
    /// Every router; `None` when the thread does not answer.
    pub(crate) fn rows(&self) -> Option<Vec<VrrpRow>> {
        self.ask(Order::Rows)
    }

    /// How they stand.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.ask(Order::Look)
    }

    /// Has all routers rank lowest from their start on, until they are reclaimed.
    pub(crate) fn hold_back(&self) {
        let (reply, _) = bounded(1);
        // The thread has not started yet, or has ended.
        let _ = self.0.send(Order::Release(reply));
    }

    /// Gives everything away.
    pub(crate) fn release(&self) -> Option<Standing> {
        self.ask(Order::Release)
    }

    /// Takes part as configured.
    pub(crate) fn reclaim(&self) -> Option<Standing> {
        self.ask(Order::Reclaim)
    }

    fn ask<R>(&self, order: impl FnOnce(Sender<R>) -> Order) -> Option<R> {
        let (reply, answer) = bounded(1);
        self.0.send(order(reply)).ok()?;
        answer.recv_timeout(PATIENCE).ok()
    }
}

/// The threads, before they start.
pub struct Vrrp {
    plan: Plan,
    orders: Sender<Order>,
    queue: Receiver<Order>,
}

impl Vrrp {
    /// Prepares the routers of a plan; `None` when there is none.
    #[must_use]
    pub fn new(plan: Plan) -> Option<Self> {
        // Listings and health are rare, and nobody who gives orders may wait.
        let (orders, queue) = unbounded();
        (!plan.routers.is_empty()).then_some(Self { plan, orders, queue })
    }

    /// A way to the thread.
    #[must_use]
    pub fn pilot(&self) -> Pilot {
        Pilot(self.orders.clone())
    }

    /// Starts all threads. The routers are backups first.
    ///
    /// # Errors
    /// In words for the user, when the system has no thread left.
    pub fn start(
        self,
        (punted, outgoing): (Receiver<Punted>, Sender<Outgoing>),
        workers: Vec<Sender<Envelope>>,
        ports: Box<dyn ReadPorts>,
        clock: Clock,
        activity: Arc<AtomicU8>,
    ) -> Result<Running, String> {
        let text = |error: io::Error| format!("vrrp: {error}");
        self.plan.look_for_programs();
        let (hooks, hook_thread) = Hooks::start().map_err(text)?;
        let crew = Crew::new(workers);
        let orders = self.queue;
        let ends = Ends { orders, punted, outgoing, crew, clock, activity, hooks };
        let speaker = Speaker::new(&self.plan, ends)?;
        let watch = Watch::start(&self.plan, ports, &self.orders).map_err(text)?;
        let thread = thread::Builder::new().name("vrrp".into());
        let thread = thread.spawn(move || speaker.run()).map_err(text)?;
        Ok(Running { orders: self.orders, threads: vec![thread, hook_thread], watch })
    }
}

/// The threads while they run. Dropping this stops them: masters resign first.
pub struct Running {
    orders: Sender<Order>,
    threads: Vec<JoinHandle<()>>,
    watch: Watch,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
        self.watch.stop();
        for thread in self.threads.drain(..) {
            // The first aborts the process should it panic, and the other's panic has been told.
            let _ = thread.join();
        }
    }
}
