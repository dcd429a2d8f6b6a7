//! The workers, told what to do without waiting for them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use dataplane::command::{Command, Reply};

use crate::worker::Envelope;

/// How long a worker may take to give addresses up before others are told to take them.
const PATIENCE: Duration = Duration::from_millis(3);

/// The ways to the workers.
pub(super) struct Crew(Vec<Lane>);

struct Lane {
    worker: Sender<Envelope>,
    /// What did not fit in yet, in order.
    waiting: VecDeque<Envelope>,
}

impl Crew {
    pub(super) fn new(workers: Vec<Sender<Envelope>>) -> Self {
        let lane = |worker| Lane { worker, waiting: VecDeque::new() };
        Self(workers.into_iter().map(lane).collect())
    }

    /// Tells all workers.
    pub(super) fn tell(&mut self, command: &Command) {
        for lane in &mut self.0 {
            lane.tell(command.clone(), unheard());
        }
    }

    /// Tells one of them, which sends.
    pub(super) fn tell_first(&mut self, command: Command) {
        if let Some(lane) = self.0.first_mut() {
            lane.tell(command, unheard());
        }
    }

    /// Tells all, and waits until they have done so, for a moment at most.
    pub(super) fn tell_and_wait(&mut self, command: &Command) {
        let (reply, replies) = bounded(self.0.len());
        for lane in &mut self.0 {
            lane.tell(command.clone(), reply.clone());
        }
        drop(reply);
        let end = Instant::now() + PATIENCE;
        while replies.recv_deadline(end).is_ok() {}
    }

    /// Hands on what waits; says whether anything still does.
    pub(super) fn flush(&mut self) -> bool {
        let mut waits = false;
        for lane in &mut self.0 {
            waits |= lane.flush();
        }
        waits
    }
}

impl Lane {
    fn tell(&mut self, command: Command, reply: Sender<Reply>) {
        self.waiting.push_back(Envelope { command, reply });
        self.flush();
    }

    fn flush(&mut self) -> bool {
        while let Some(envelope) = self.waiting.pop_front() {
            match self.worker.try_send(envelope) {
                Err(TrySendError::Full(envelope)) => {
                    self.waiting.push_front(envelope);
                    return true;
                }
                // A worker is gone only when the daemon stops.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            }
        }
        false
    }
}

/// A way for replies that nobody waits for.
fn unheard() -> Sender<Reply> {
    bounded(1).0
}
