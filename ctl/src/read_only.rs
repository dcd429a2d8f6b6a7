//! A back end for those who may look, but not touch.

use dataplane::explain::Question;
use dataplane::mark::MarkRule;
use dataplane::service::ServiceKey;
use dataplane::settings::Settings;

use crate::backend::{
    Backend, ConnectionRow, DaemonRow, FrameCounts, ServiceRow, Table, Totals, Undone,
};
use crate::command::{Change, Timeouts};
use crate::explain::Explanation;
use crate::load::{PortRow, Workers};
use crate::mark::{MarkChange, MarkError};
use crate::refusal::Refusal;
use crate::sync::{Handover, HandoverStep, SyncState, VrrpRow};
use crate::trace::{self, Taken, TraceError};

/// Answers questions as the back end in it does, and refuses every change.
#[derive(Debug)]
pub struct ReadOnly<B>(pub B);

const REFUSED: Refusal = Refusal::PermissionDenied;

impl<B: Backend> Backend for ReadOnly<B> {
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        vec![Err(REFUSED); changes.len()]
    }

    fn change_all(&mut self, _: Vec<Change>) -> Result<(), Undone> {
        Err(Undone::wholly(0, REFUSED))
    }

    fn change_marks(&mut self, _: MarkChange) -> Result<(), MarkError> {
        Err(MarkError::Refused(REFUSED))
    }

    fn explain(&mut self, question: &Question) -> Result<Explanation, Refusal> {
        self.0.explain(question)
    }

    /// Watching costs the workers, and shows what passes.
    fn trace(&mut self, _: trace::Order) -> Result<Taken, TraceError> {
        Err(TraceError::Refused(REFUSED))
    }

    fn commit(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        self.0.table()
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
        self.0.service(key)
    }

    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal> {
        self.0.connections()
    }

    fn totals(&mut self) -> Result<Totals, Refusal> {
        self.0.totals()
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        self.0.timeouts()
    }

    fn settings(&mut self) -> Result<Settings, Refusal> {
        self.0.settings()
    }

    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal> {
        self.0.daemons()
    }

    fn frames(&mut self) -> Result<FrameCounts, Refusal> {
        self.0.frames()
    }

    fn ports(&mut self) -> Result<Vec<PortRow>, Refusal> {
        self.0.ports()
    }

    fn workers(&mut self) -> Result<Workers, Refusal> {
        self.0.workers()
    }

    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal> {
        self.0.marks()
    }

    fn sync(&mut self) -> Result<SyncState, Refusal> {
        self.0.sync()
    }

    fn vrrp(&mut self) -> Result<Vec<VrrpRow>, Refusal> {
        self.0.vrrp()
    }

    fn handover(&mut self, _: HandoverStep) -> Result<Handover, Refusal> {
        Err(REFUSED)
    }
}
