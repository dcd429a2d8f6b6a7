//! `pollvsadm mark`: rules that give packets firewall marks, in the words of iptables.

mod line;
mod text;
mod words;

use std::fmt;

use dataplane::address::Prefix;
use dataplane::mark::MarkRule;

use crate::backend::Backend;
use crate::names::Names;
use crate::refusal::{Operation, Refusal};
use crate::session::{NO_LIST, REFUSED, Reply};

pub use text::command;
pub(crate) use text::protocol_name;

/// Most rules. A packet is held against each of them, so this bounds what they cost.
pub const MOST_RULES: usize = 1024;

/// A change of the rules, done wholly or refused wholly. A back end makes it where it keeps them, so that of two
/// clients at once neither undoes the other's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkChange {
    /// `-A`: a rule after all others.
    Append(MarkRule),
    /// `-I`: a rule that gets this number, from 1.
    Insert(usize, MarkRule),
    /// `-D`: the first rule that is equal to this one.
    Delete(MarkRule),
    /// `-D`: the rule of this number, from 1.
    DeleteNumber(usize),
    /// `-F`: all rules.
    Flush,
}

impl MarkChange {
    /// The rules after the change.
    ///
    /// # Errors
    /// When there is no such rule, or there are too many.
    pub fn apply(self, rules: &[MarkRule]) -> Result<Vec<MarkRule>, MarkError> {
        let mut rules = rules.to_vec();
        match self {
            Self::Append(rule) => rules.push(rule),
            Self::Insert(number, rule) => {
                let past_end = MarkError::NoPlace { number, last: rules.len() + 1 };
                let place = number.checked_sub(1).filter(|&place| place <= rules.len());
                rules.insert(place.ok_or(past_end)?, rule);
            }
            Self::Delete(rule) => {
                let rule = canonical(rule);
                let place = rules.iter().position(|&other| canonical(other) == rule);
                rules.remove(place.ok_or(MarkError::NoSuchRule)?);
            }
            Self::DeleteNumber(number) => {
                let absent = MarkError::NoSuchNumber { number, last: rules.len() };
                let place = number.checked_sub(1).filter(|&place| place < rules.len());
                rules.remove(place.ok_or(absent)?);
            }
            Self::Flush => rules.clear(),
        }
        if rules.len() > MOST_RULES { Err(MarkError::TooMany) } else { Ok(rules) }
    }
}

/// Why the rules were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkError {
    /// No rule is equal to the one to delete.
    NoSuchRule,
    /// No rule has the number.
    NoSuchNumber {
        /// As given.
        number: usize,
        /// The last rule's; 0 without rules.
        last: usize,
    },
    /// A rule cannot get the number.
    NoPlace {
        /// As given.
        number: usize,
        /// The last number that it could get.
        last: usize,
    },
    /// There would be more than [`MOST_RULES`].
    TooMany,
    /// For a reason that is not about rules.
    Refused(Refusal),
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchRule => f.write_str("no rule has these words; 'mark -L' lists all"),
            Self::NoSuchNumber { number, last: 0 } => write!(f, "no rule {number}: there are none"),
            Self::NoSuchNumber { number, last } => {
                write!(f, "no rule {number}: the last one is {last}")
            }
            Self::NoPlace { number, last } => {
                write!(f, "a rule cannot become number {number}: the next one free is {last}")
            }
            Self::TooMany => write!(f, "there are {MOST_RULES} rules, and that is the limit"),
            Self::Refused(refusal) => f.write_str(Operation::Service.message(refusal)),
        }
    }
}

/// What the words after `mark` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `-L`, or no words.
    List {
        /// `--line-numbers`.
        numbers: bool,
    },
    /// Anything else.
    Change(MarkChange),
}

/// Takes the words after `mark` apart.
pub(crate) fn parse(words: &[String], names: &dyn Names) -> Result<Request, Reply> {
    line::parse(words, names).map_err(|what| Reply::error(&format!("mark: {what}")))
}

/// Does what the words after `mark` ask.
pub(crate) fn answer(words: &[String], backend: &mut dyn Backend, names: &dyn Names) -> Reply {
    match parse(words, names) {
        Ok(Request::List { numbers }) => match backend.marks() {
            Ok(rules) => Reply::output(text::list(&rules, numbers)),
            Err(refusal) => Reply::failure(NO_LIST, Operation::Service.message(refusal)),
        },
        Ok(Request::Change(change)) => match backend.change_marks(change) {
            Ok(()) => Reply::default(),
            Err(MarkError::Refused(refusal)) => {
                Reply::failure(REFUSED, Operation::Service.message(refusal))
            }
            Err(error) => Reply::failure(REFUSED, &format!("mark: {error}")),
        },
        Err(reply) => reply,
    }
}

/// The rule with the host bits of its networks zero: equal for all rules that fit the same packets by the same words.
#[must_use]
pub fn canonical(rule: MarkRule) -> MarkRule {
    let [source, destination] = [rule.source, rule.destination].map(|it| it.map(network));
    MarkRule { source, destination, ..rule }
}

fn network(prefix: Prefix) -> Prefix {
    use std::net::IpAddr;
    let length = u32::from(prefix.length());
    let address = match prefix.address() {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V4((address.to_bits() & !host).into())
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            IpAddr::V6((address.to_bits() & !host).into())
        }
    };
    Prefix::new(address, prefix.length()).unwrap_or(prefix)
}

#[cfg(test)]
#[path = "mark_tests.rs"]
mod tests;
