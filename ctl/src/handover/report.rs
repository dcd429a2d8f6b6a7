//! How a handover stands: as JSON, and in words.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::session::Reply;
use crate::sync::Handover;

/// Exit status when the addresses are not, or not known to be, with other directors.
const NOT_DONE: u8 = 1;

/// What has become of a handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Every virtual router has another master.
    HandedOver,
    /// Given away, but some have not got another master yet.
    Pending,
    /// No backup is in step.
    NotInStep,
    /// Not the master of any.
    NotMaster,
    /// None is configured.
    NoRouter,
    /// Takes part as configured.
    Back,
    /// Somebody took the addresses back meanwhile.
    Undone,
    /// A signal ended the waiting.
    Interrupted,
}

/// The document. `JSON.md` is its reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    schema: String,
    pub(super) outcome: Outcome,
    pub(super) pending: Option<u32>,
    missing: Option<String>,
    waited_ms: u64,
}

impl Report {
    pub(super) fn new(state: &Handover) -> Self {
        let (outcome, pending, missing) = match state {
            Handover::NoRouter => (Outcome::NoRouter, None, None),
            Handover::NotMaster => (Outcome::NotMaster, None, None),
            Handover::NotInStep(missing) => (Outcome::NotInStep, None, Some(missing.clone())),
            Handover::Given { pending: 0 } => (Outcome::HandedOver, Some(0), None),
            Handover::Given { pending } => (Outcome::Pending, Some(*pending), None),
            Handover::Back => (Outcome::Back, None, None),
        };
        Self { schema: "pollvs/handover/1".to_owned(), outcome, pending, missing, waited_ms: 0 }
    }

    /// The report after this time, with another outcome.
    pub(super) fn end(self, outcome: Outcome, waited: Duration) -> Self {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        Self { outcome, waited_ms, ..self }
    }

    /// The exit status.
    pub(super) fn status(&self) -> u8 {
        match self.outcome {
            Outcome::HandedOver | Outcome::Back => 0,
            _ => NOT_DONE,
        }
    }

    /// The document and its end of line.
    pub(super) fn json(&self) -> String {
        // Text and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// A reply that is complete by itself, without waiting.
    pub(super) fn reply(&self, is_json: bool) -> Reply {
        let text = if is_json { self.json() } else { self.finish() + "\n" };
        Reply { status: self.status(), ..Reply::output(text) }
    }

    /// What is waited for.
    pub(super) fn progress(&self) -> String {
        match (&self.missing, self.pending) {
            (Some(missing), _) => format!("not in step: {missing}"),
            (None, Some(1)) => "given away; 1 virtual router without a new master".to_owned(),
            (None, pending) => {
                let pending = pending.unwrap_or_default();
                format!("given away; {pending} virtual routers without a new master")
            }
        }
    }

    /// What has become of it, and what may be done.
    pub(super) fn finish(&self) -> String {
        let back = "To take part again: pollvsadm handover --back";
        let waited = match self.waited_ms / 1000 {
            0 => String::new(),
            waited => format!(" after {waited} s"),
        };
        let progress = self.progress();
        match self.outcome {
            Outcome::HandedOver => {
                format!("handed over; every virtual router has a new master. {back}")
            }
            Outcome::Pending => format!("not taken over{waited}: {progress}\n{back}"),
            Outcome::NotInStep => format!(
                "not handed over{waited}; {progress}\nTry again when pollvsadm sync shows a backup \
                 in step, or with --force: connections that no backup knows break then."
            ),
            Outcome::NotMaster => {
                "not handed over: this director is not the master of any virtual \
                                   router\nThe master, which pollvsadm vrrp shows, is the one that \
                                   hands over."
                    .to_owned()
            }
            Outcome::NoRouter => {
                "no virtual router is configured\nThey are set up in pollvs.toml(5); \
                                  where another program has the virtual addresses, that one moves \
                                  them."
                    .to_owned()
            }
            Outcome::Back => "takes part as configured".to_owned(),
            Outcome::Undone => format!("not handed over: taken back by somebody{waited}"),
            Outcome::Interrupted if self.pending.is_some() => {
                format!("interrupted{waited}; {progress}\n{back}")
            }
            Outcome::Interrupted => format!("not handed over: interrupted{waited}; {progress}"),
        }
    }
}
