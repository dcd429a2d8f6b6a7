//! `pollvsadm trace`: what becomes of the next packets of a client, and why.
//!
//! The daemon watches, and gives away what it has seen when asked: `answer`. The asking, again and again, is the
//! client's: `follow`.

mod follow;
pub(crate) mod text;

use std::fmt;

use dataplane::service::{Family, ServiceKey};
use dataplane::trace::{Filter, Record};

use crate::backend::Backend;
use crate::explain::words::Words;
use crate::json;
use crate::names::Names;
use crate::refusal::{Operation, Refusal};
use crate::session::{NO_LIST, Reply};

pub(crate) use follow::follow;

/// The word of the command.
const COMMAND: &str = "trace";
/// The word for a request for what has been seen, with the number of the trace and of packets wanted.
const TAKE: &str = "--take";
/// The word for the end of a trace.
const END: &str = "--end";
/// Options of the command beside a service.
const OPTIONS: [&str; 3] = ["--from", "--count", "--wait"];

/// What a back end is to do about a trace. One runs at a time, and ends by itself when nobody asks for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Begin one.
    Start(Filter),
    /// Give what it has seen since it was last asked.
    Take {
        /// Number of the trace.
        id: u64,
        /// Packets to give at most; what is over is forgotten.
        most: usize,
    },
    /// End it.
    End(u64),
}

/// What a trace has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Number of the trace.
    pub id: u64,
    /// Packets since it was last asked, in the order of time.
    pub packets: Vec<Packet>,
    /// Packets that were not noted because there were too many at once, since it was last asked.
    pub lost: u64,
}

/// A packet that was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number in the trace, from 1.
    pub number: u64,
    /// When, in milliseconds since the trace began.
    pub at_ms: u64,
    /// What was seen.
    pub record: Record,
    /// Name of the scheduler, if a service takes the packet.
    pub scheduler: Option<String>,
}

/// Why there is no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceError {
    /// Another one runs.
    Busy,
    /// It has ended.
    Over,
    /// For a reason that is not about traces.
    Refused(Refusal),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Busy => f.write_str("another trace is running; there is one at a time"),
            Self::Over => f.write_str("the trace has ended"),
            Self::Refused(refusal) => f.write_str(Operation::Service.message(refusal)),
        }
    }
}

/// The packets that words ask for.
fn filter(words: &Words) -> Result<Filter, Reply> {
    let service = match words.service {
        None => None,
        Some(ServiceKey::Address { protocol, address, port }) => {
            Some((protocol as u8, address, port))
        }
        Some(ServiceKey::Mark { .. }) => {
            return Err(Reply::error("trace: packets are told apart by -t or -u, not by a mark"));
        }
    };
    if words.from.is_none() && service.is_none() {
        let usage = "trace: say whose packets: --from CLIENT[:PORT], -t|-u VIP:PORT, or both";
        return Err(Reply::error(usage));
    }
    let family = service.map(|(_, address, _)| Family::of(address));
    if words.from.zip(family).is_some_and(|((client, _), family)| Family::of(client) != family) {
        return Err(Reply::error("trace: the client and the service are of different IP versions"));
    }
    let (client, client_port) = words.from.unzip();
    Ok(Filter { client, client_port: client_port.flatten(), service })
}

/// Answers the words after `trace`: begins one and says its number, or gives what it has seen, with the number of
/// packets and of those lost on a first line.
pub(crate) fn answer(
    words: &[String],
    is_json: bool,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    let order = match order(words, names) {
        Ok(order) => order,
        Err(reply) => return reply,
    };
    match backend.trace(order) {
        Ok(taken) if matches!(order, Order::Start(_)) => Reply::output(format!("{}\n", taken.id)),
        Ok(_) if matches!(order, Order::End(_)) => Reply::default(),
        Ok(taken) => {
            let mut text = format!("{} {}\n", taken.packets.len(), taken.lost);
            for packet in &taken.packets {
                text += &if is_json { json::traced(packet) } else { text::packet(packet) };
            }
            Reply::output(text)
        }
        Err(error) => Reply::failure(NO_LIST, &format!("{COMMAND}: {error}")),
    }
}

fn order(words: &[String], names: &dyn Names) -> Result<Order, Reply> {
    let number = |text: &String| -> Result<u64, Reply> {
        text.parse().map_err(|_| Reply::error("trace: which one?"))
    };
    match words {
        [word, id, most] if word == TAKE => {
            let most = usize::try_from(number(most)?).unwrap_or(usize::MAX);
            Ok(Order::Take { id: number(id)?, most })
        }
        [word, id] if word == END => Ok(Order::End(number(id)?)),
        _ => Ok(Order::Start(filter(&Words::new(COMMAND, words, &OPTIONS, names)?)?)),
    }
}
