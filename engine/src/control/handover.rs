//! Listing of virtual routers, and their planned handover to another director.

use std::time::{Duration, Instant};

use ctl::command::Role;
use ctl::sync::{Handover, HandoverStep, VrrpRow};
use dataplane::refusal::Refusal;

use super::Control;
use crate::say::complain;
use crate::vrrp::Standing;

/// How long what has to be told to backups may take on its way out. The client asks again.
const FLUSH: Duration = Duration::from_millis(40);
/// How long an answer to that question counts.
const FRESH: Duration = Duration::from_secs(5);
/// By then every director has said something of itself.
const HEARING: Duration = Duration::from_secs(3);
/// No table takes longer, or something is wrong; who serves alone now serves best.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The thread that speaks VRRP did not answer.
const SILENT: Refusal = Refusal::Unsupported("the VRRP thread does not answer");

impl Control {
    /// Keeps the virtual routers from taking addresses of a director that serves, if this one is to
    /// learn of its connections first. Called before the routers start.
    pub(crate) fn hold_back(&mut self) {
        let learns = self.truth.daemons().iter().any(|row| row.role == Role::Backup);
        if let Some(pilot) = self.vrrp.as_ref().filter(|_| learns) {
            pilot.hold_back();
            self.held_back = Some(Instant::now());
        }
    }

    /// Lets them take part as configured once the tables are here, or none is to be had.
    pub(super) fn let_go(&mut self) {
        let (Some(since), Some(pilot)) = (self.held_back, &self.vrrp) else { return };
        let waited = since.elapsed();
        let has_all = self.sync.is_settled().unwrap_or(true);
        if has_all && waited >= HEARING || waited >= LONGEST_WAIT {
            self.held_back = None;
            if pilot.reclaim().is_none() {
                complain("pollvsd: vrrp: the thread does not answer; pollvsadm handover --back");
            }
        }
    }

    /// Every virtual router.
    pub(super) fn vrrp_rows(&mut self) -> Result<Vec<VrrpRow>, Refusal> {
        let Some(pilot) = &self.vrrp else { return Ok(Vec::new()) };
        pilot.rows().ok_or(SILENT)
    }

    /// Does a step of a handover.
    pub(super) fn handover(&mut self, step: HandoverStep) -> Result<Handover, Refusal> {
        let Some(pilot) = &self.vrrp else { return Ok(Handover::NoRouter) };
        if step != HandoverStep::Look && self.held_back.take().is_some() {
            // It is released for another reason, which the operator's wish outdoes.
            pilot.reclaim().ok_or(SILENT)?;
        }
        let standing = pilot.standing().ok_or(SILENT)?;
        let given = |standing: Standing| Handover::Given { pending: standing.pending };
        Ok(match step {
            HandoverStep::Back => {
                pilot.reclaim().ok_or(SILENT)?;
                Handover::Back
            }
            _ if standing.released => given(standing),
            HandoverStep::Look => Handover::Back,
            HandoverStep::Give { .. } if standing.masters == 0 => Handover::NotMaster,
            HandoverStep::Give { force } => {
                let release = pilot.clone();
                match self.missing() {
                    Some(missing) if !force => Handover::NotInStep(missing),
                    _ => given(release.release().ok_or(SILENT)?),
                }
            }
        })
    }

    /// What keeps backups from being in step, in words; `None` when one is. Whether backups have
    /// everything is what they answered to the question before, so it takes two calls.
    fn missing(&mut self) -> Option<String> {
        let Some(steps) = self.sync.steps() else {
            let text = "no sync master daemon runs here (pollvsadm --start-daemon master)";
            return Some(text.to_owned());
        };
        let was_asked = self.asked_at.take().is_some_and(|at| at.elapsed() < FRESH);
        let (in_touch, in_step) = steps.answers();
        // Also when it is known that they are, so that what came since then goes out.
        let is_sent = steps.ask(FLUSH);
        if was_asked && is_sent && in_step > 0 && in_step == in_touch {
            return None;
        }
        self.asked_at = Some(Instant::now());
        Some(match (in_touch, is_sent) {
            (0, _) => "no backup is in touch".to_owned(),
            (_, false) => "messages to backups are still being sent".to_owned(),
            (_, true) if !was_asked => format!("{in_touch} backup(s) are being asked"),
            (_, true) => format!("{in_step} of {in_touch} backup(s) have everything"),
        })
    }
}
