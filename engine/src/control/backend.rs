//! The control grammar's back end: each operation runs on the control thread.

use std::net::SocketAddr;
use std::sync::Arc;

use ctl::backend::{
    Backend, ConnectionRow, DaemonRow, FrameCounts, ServerRow, ServiceRow, Table, Totals, Undone,
};
use ctl::command::{Change, Timeouts};
use ctl::drain;
use ctl::explain::Explanation;
use ctl::load::{PortRow, Workers};
use ctl::mark::{MarkChange, MarkError};
use ctl::sync::{Handover, HandoverStep, SyncState, VrrpRow};
use ctl::trace::{self, Taken, TraceError};
use dataplane::command::ConnectionInfo;
use dataplane::counters::Counters;
use dataplane::director::ServiceView;
use dataplane::explain::Question;
use dataplane::mark::MarkRule;
use dataplane::refusal::Refusal;
use dataplane::service::{Protocol, ServiceKey};
use dataplane::settings::Settings;
use dataplane::verdict::DropReason;

use super::saved::Saver;
use super::{Control, Handle};

const STOPPING: Refusal = Refusal::Unsupported("pollvsd is stopping");

/// A back end on another thread than control's.
pub struct Remote {
    control: Handle,
    saver: Option<Saver>,
    /// The table's generation after the last change made here, until it is committed.
    generation: Option<u64>,
}

impl Remote {
    /// A back end that asks the control thread. With a saver, changes are saved by
    /// [`Backend::commit`].
    #[must_use]
    pub fn new(control: Handle, saver: Option<Saver>) -> Self {
        Self { control, saver, generation: None }
    }

    /// Makes changes on the control thread.
    fn make<R: Send + 'static>(
        &mut self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let (made, changed) = self.ask(|control| {
            let before = control.generation;
            let made = job(control);
            (made, (control.generation != before).then_some(control.generation))
        })?;
        // What was refused need not be saved.
        self.generation = changed.or(self.generation);
        Ok(made)
    }

    fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        self.control.call(job).ok_or(STOPPING)
    }

    /// Puts what is configured in force: for the start, before the first packet.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub fn configure(&self, settings: Settings, marks: Arc<[MarkRule]>) -> Result<(), Refusal> {
        self.ask(move |control| control.configure(settings, marks))
    }
}

impl Backend for Remote {
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        let count = changes.len();
        let done = self.make(move |control| control.change_each(changes));
        done.unwrap_or_else(|refusal| vec![Err(refusal); count])
    }

    fn commit(&mut self) -> Result<(), String> {
        // Who has only looked is not told about the disk.
        match (&self.saver, self.generation.take()) {
            (Some(saver), Some(generation)) => saver.wait_for(generation),
            _ => Ok(()),
        }
    }

    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), Undone> {
        let done = self.make(move |control| control.change_all(changes));
        done.map_err(|refusal| Undone::wholly(0, refusal))?
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        self.ask(|control| control.table())
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
        let key = *key;
        self.ask(move |control| service(control, &key))?
    }

    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal> {
        let mut rows = Vec::new();
        let mut worker = 0;
        let mut from = None;
        // A question for each page: in between, control has time for others.
        while let Some(page) = self.ask(move |control| control.connections(worker, from))? {
            rows.extend(page.connections.iter().map(connection_row));
            from = page.from;
            worker += usize::from(from.is_none());
        }
        let templates = self.ask(|control| control.templates())?;
        rows.extend(templates.iter().map(connection_row));
        Ok(rows)
    }

    fn totals(&mut self) -> Result<Totals, Refusal> {
        self.ask(|control| control.totals())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        self.ask(|control| control.truth.timeouts())
    }

    fn settings(&mut self) -> Result<Settings, Refusal> {
        self.ask(|control| control.truth.settings)
    }

    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal> {
        self.ask(|control| control.truth.daemons().to_vec())
    }

    fn frames(&mut self) -> Result<FrameCounts, Refusal> {
        self.ask(|control| {
            let sum = |of: &dyn Fn(&Counters) -> u64| {
                control.counters.iter().map(|counters| of(counters)).sum::<u64>()
            };
            let drops = DropReason::ALL
                .iter()
                .map(|&reason| (reason, sum(&|counters| counters.dropped(reason))));
            FrameCounts {
                received: sum(&|counters| counters.received.get()),
                transmitted: sum(&|counters| counters.transmitted.get()),
                handed_over: sum(&|counters| counters.handed_over.get()),
                answered: sum(&|counters| counters.answered.get()),
                limited: sum(&|counters| counters.limited.get()),
                drops: drops.collect(),
                ports: control.gauges.losses(),
            }
        })
    }

    fn ports(&mut self) -> Result<Vec<PortRow>, Refusal> {
        self.ask(|control| control.gauges.ports())
    }

    fn workers(&mut self) -> Result<Workers, Refusal> {
        self.ask(|control| control.gauges.workers(&control.counters))
    }

    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal> {
        self.ask(|control| control.truth.marks.to_vec())
    }

    fn change_marks(&mut self, change: MarkChange) -> Result<(), MarkError> {
        let changed = self.make(|control| control.change_marks(change));
        changed.map_err(MarkError::Refused)?
    }

    fn explain(&mut self, question: &Question) -> Result<Explanation, Refusal> {
        let question = *question;
        self.ask(move |control| control.explain(question))?
    }

    fn trace(&mut self, order: trace::Order) -> Result<Taken, TraceError> {
        self.ask(move |control| control.trace(order)).map_err(TraceError::Refused)?
    }

    fn sync(&mut self) -> Result<SyncState, Refusal> {
        self.ask(|control| control.sync.state())
    }

    fn vrrp(&mut self) -> Result<Vec<VrrpRow>, Refusal> {
        self.ask(Control::vrrp_rows)?
    }

    fn handover(&mut self, step: HandoverStep) -> Result<Handover, Refusal> {
        self.ask(move |control| control.handover(step))?
    }

    fn drain(&mut self, step: &drain::Step) -> Result<drain::State, Refusal> {
        let step = *step;
        self.make(move |control| {
            step.take(
                control,
                |control, key| service(control, key),
                |control| Ok(control.truth.settings),
                |control, change| {
                    control.change_each(vec![change]).pop().expect("one result for each change")
                },
            )
        })?
    }
}

fn service(control: &Control, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
    let read = |id| Control::traffic(&control.counters, id);
    let row = control.truth.director.service(key, &read).map(|view| service_row(&view));
    row.ok_or(Refusal::NoSuchService)
}

pub(super) fn service_row(view: &ServiceView<'_>) -> ServiceRow {
    let servers = view.servers.iter().map(|server| ServerRow {
        spec: *server.spec,
        active: server.load.active(),
        inactive: server.load.inactive(),
        persistent: server.load.templates(),
        traffic: server.traffic,
        rates: server.rates,
    });
    ServiceRow {
        spec: view.spec.clone(),
        traffic: view.traffic,
        rates: view.rates,
        servers: servers.collect(),
    }
}

fn connection_row(connection: &ConnectionInfo) -> ConnectionRow {
    let end = |(address, port)| SocketAddr::new(address, port);
    ConnectionRow {
        protocol: Protocol::from_number(connection.protocol).map_or("IP", Protocol::name),
        client: end(connection.client),
        virtual_end: end(connection.virtual_end),
        real: end(connection.real),
        state: connection.state.name().into(),
        expires_s: u64::from(connection.expires_s),
        is_synced: connection.is_synced,
        engine: None,
    }
}
