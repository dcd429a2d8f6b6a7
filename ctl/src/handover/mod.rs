//! `pollvsadm handover`: this director's virtual addresses are given to a backup that is in step, and the command waits
//! until other directors have them.
//!
//! As with `drain`, the daemon does single steps, each at once, and the waiting is the client's.

mod report;
mod wait;
mod words;

use crate::backend::Backend;
use crate::refusal::Operation;
use crate::session::{REFUSED, Reply};

use report::Report;
pub(crate) use wait::wait;
pub(crate) use words::Order;
use words::Words;

/// Does the step that the words after `handover` ask for, and tells how it stands.
pub(crate) fn answer(words: &[String], is_json: bool, backend: &mut dyn Backend) -> Reply {
    let step = match Words::new(words).and_then(|words| words.step()) {
        Ok(step) => step,
        Err(reply) => return reply,
    };
    match backend.handover(step) {
        Ok(state) => Report::new(&state).reply(is_json),
        Err(refusal) => Reply::failure(REFUSED, Operation::Service.message(refusal)),
    }
}
