//! `pollvsadm explain`: where a new connection of a client would go, and why. Nothing changes.

pub(crate) mod text;
pub(crate) mod words;

use dataplane::explain::{Outcome, Question, Step};
use dataplane::service::{Family, Protocol, ServiceKey};

use crate::backend::Backend;
use crate::json;
use crate::names::Names;
use crate::refusal::Operation;
use crate::session::{NO_LIST, Reply};
use words::Words;

/// What would become of a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What it comes to.
    pub outcome: Outcome,
    /// How it comes to that.
    pub steps: Vec<Step>,
    /// Name of the scheduler, if a service takes the packet.
    pub scheduler: Option<String>,
}

/// The question that words ask.
fn question(words: &[String], names: &dyn Names) -> Result<Question, Reply> {
    let words = Words::new("explain", words, &["--from"], names)?;
    let (Some(target), Some((address, Some(port)))) = (words.service, words.from) else {
        let usage =
            "explain: say which connection: -t|-u VIP:PORT or -f MARK, and --from CLIENT:PORT";
        return Err(Reply::error(usage));
    };
    if Family::of(address) != target.family() {
        return Err(Reply::error(
            "explain: the client and the service are of different IP versions",
        ));
    }
    let protocol = match target {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => Protocol::Tcp,
    };
    Ok(Question { protocol, client: (address, port), target })
}

/// Answers the words after `explain`.
pub(crate) fn answer(
    words: &[String],
    is_json: bool,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    let question = match question(words, names) {
        Ok(question) => question,
        Err(reply) => return reply,
    };
    match backend.explain(&question) {
        Ok(explanation) if is_json => json::explanation(&question, &explanation),
        Ok(explanation) => Reply::output(text::explanation(&explanation)),
        Err(refusal) => Reply::failure(NO_LIST, Operation::Service.message(refusal)),
    }
}
