//! Questions to the workers about packets: `explain`, and the one trace that may run.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use ctl::explain::Explanation;
use ctl::trace::{Order, Packet, Taken, TraceError};
use dataplane::command::{Command, Reply};
use dataplane::explain::{Outcome, Question, Step};
use dataplane::refusal::Refusal;
use dataplane::time::{TICKS_PER_SECOND, Tick};
use dataplane::trace::{Filter, Trace};

use super::Control;
use crate::worker::Envelope;

/// Packets that a worker notes between two requests.
const ROOM: usize = 256;
/// How long a trace lasts that nobody asks about.
const LEASE: Duration = Duration::from_secs(5);

/// The trace that runs.
pub(super) struct Watch {
    id: u64,
    filter: Filter,
    places: Arc<AtomicU64>,
    begun: Tick,
    /// Packets given away so far.
    seen: u64,
    /// When it ends unless somebody asks about it.
    ends: Instant,
}

impl Watch {
    /// For one worker.
    fn trace(&self) -> Trace {
        Trace::new(self.filter, ROOM, Arc::clone(&self.places))
    }
}

impl Control {
    /// What would become of a packet.
    pub(super) fn explain(&self, question: Question) -> Result<Explanation, Refusal> {
        let (mut outcome, mut steps) = self.explain_at(0, question)?;
        if let Outcome::Elsewhere(owner) = outcome {
            (outcome, steps) = self.explain_at(usize::from(owner.0), question)?;
        }
        let scheduler = self.scheduler_in(&steps);
        Ok(Explanation { outcome, steps, scheduler })
    }

    fn explain_at(
        &self,
        worker: usize,
        question: Question,
    ) -> Result<(Outcome, Vec<Step>), Refusal> {
        let (reply, answer) = bounded(1);
        let envelope = Envelope { command: Command::Explain(question, Box::default()), reply };
        // A worker is gone only when the daemon stops.
        let stopping = Refusal::Unsupported("pollvsd is stopping");
        self.workers[worker].send(envelope).map_err(|_| stopping)?;
        match answer.recv() {
            Ok(Reply::Explained(outcome, steps)) => Ok((outcome, steps.to_vec())),
            _ => Err(stopping),
        }
    }

    /// Name of the scheduler of the service that takes a packet.
    fn scheduler_in(&self, steps: &[Step]) -> Option<String> {
        let key = steps.iter().find_map(|step| match step {
            Step::Service(key) => Some(key),
            _ => None,
        })?;
        Some(self.truth.director.service_spec(key)?.scheduler.clone())
    }

    /// Begins, reads or ends the trace.
    pub(super) fn trace(&mut self, order: Order) -> Result<Taken, TraceError> {
        match order {
            Order::Start(filter) => {
                if self.watch.as_ref().is_some_and(|watch| Instant::now() < watch.ends) {
                    return Err(TraceError::Busy);
                }
                self.traces += 1;
                let watch = Watch {
                    id: self.traces,
                    filter,
                    places: Arc::default(),
                    begun: self.clock.now(),
                    seen: 0,
                    ends: Instant::now() + LEASE,
                };
                self.swap_watches(Some(&watch.trace()));
                self.watch = Some(watch);
                Ok(Taken { id: self.traces, ..Taken::default() })
            }
            Order::Take { id, most } => self.take(id, most),
            Order::End(id) => {
                self.watch.take_if(|watch| watch.id == id).ok_or(TraceError::Over)?;
                self.swap_watches(None);
                Ok(Taken { id, ..Taken::default() })
            }
        }
    }

    fn take(&mut self, id: u64, most: usize) -> Result<Taken, TraceError> {
        let mut watch = self.watch.take_if(|watch| watch.id == id).ok_or(TraceError::Over)?;
        watch.ends = Instant::now() + LEASE;
        let traces = self.swap_watches(Some(&watch.trace()));
        let lost = traces.iter().map(|trace| trace.lost).sum();
        let mut records: Vec<_> = traces.into_iter().flat_map(|trace| trace.records).collect();
        records.sort_by_key(|record| record.place);
        records.truncate(most);
        let packets = records.into_iter().zip(watch.seen + 1..).map(|(record, number)| Packet {
            number,
            at_ms: u64::from(record.at.since(watch.begun)) * 1000 / u64::from(TICKS_PER_SECOND),
            scheduler: self.scheduler_in(&record.steps),
            record,
        });
        let packets: Vec<_> = packets.collect();
        watch.seen += packets.len() as u64;
        self.watch = Some(watch);
        Ok(Taken { id, packets, lost })
    }

    /// Ends a trace that nobody asks about any more.
    pub(super) fn end_watch_in_time(&mut self) {
        if self.watch.take_if(|watch| Instant::now() >= watch.ends).is_some() {
            self.swap_watches(None);
        }
    }

    /// Gives every worker a watch, or none; returns what they had, and have seen.
    fn swap_watches(&self, trace: Option<&Trace>) -> Vec<Trace> {
        let (reply, replies) = bounded(self.workers.len());
        for worker in &self.workers {
            let watch = trace.cloned().map(Box::new);
            let _ = worker.send(Envelope { command: Command::Watch(watch), reply: reply.clone() });
        }
        drop(reply);
        let seen = replies.iter().filter_map(|reply| match reply {
            Reply::Watched(trace) => trace,
            _ => None,
        });
        seen.map(|trace| *trace).collect()
    }
}
