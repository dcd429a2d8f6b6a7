//! `--json`: listings as one JSON document. `JSON.md` is its reference.
//!
//! The types here are the documents, field by field, and no others: what is inside may change, they may not.

mod connections;
mod lists;
mod load;
mod packets;
mod services;
mod sync;
mod vrrp;

use std::io;

use dataplane::explain::Question;
use serde::Serialize;

use crate::args::{self, Failure};
use crate::backend::Backend;
use crate::command::{Command, ListOptions, Listing};
use crate::drain;
use crate::explain::{self, Explanation};
use crate::handover;
use crate::help;
use crate::mark;
use crate::names::Names;
use crate::refusal::{Operation, Refusal};
use crate::session::{MOST_TEXT, NO_LIST, Reply, no_words};
use crate::settings::{self, Problem};
use crate::trace;

/// The word, anywhere in a command line.
pub(crate) const WORD: &str = "--json";

/// The argument vector without the word; `None` if it does not have it.
pub(crate) fn without_word(argv: &[String]) -> Option<Vec<String>> {
    let words = argv.get(1..).unwrap_or_default();
    let has = words.iter().any(|word| word == WORD);
    has.then(|| argv.iter().filter(|word| *word != WORD).cloned().collect())
}

/// Does what a command line without the word asks. What fails, fails as it does without JSON.
pub(crate) fn answer(argv: &[String], backend: &mut dyn Backend, names: &dyn Names) -> Reply {
    listing(argv, backend, names).unwrap_or_else(|reply| reply)
}

fn listing(argv: &[String], backend: &mut dyn Backend, names: &dyn Names) -> Result<Reply, Reply> {
    let words = argv.get(2..).unwrap_or_default();
    match argv.get(1).map(String::as_str) {
        Some(list @ ("drops" | "ports" | "workers" | "sync" | "vrrp")) => {
            no_words(words)?;
            Ok(match list {
                "ports" => document(&load::Ports::new(&backend.ports().map_err(no_list)?)),
                "workers" => document(&load::Workers::new(&backend.workers().map_err(no_list)?)),
                "sync" => document(&sync::Sync::new(&backend.sync().map_err(no_list)?)),
                "vrrp" => document(&vrrp::Routers::new(&backend.vrrp().map_err(no_list)?)),
                _ => document(&lists::Drops::new(&backend.frames().map_err(no_list)?)),
            })
        }
        Some("explain") => Ok(explain::answer(words, true, backend, names)),
        Some("trace") => Ok(trace::answer(words, true, backend, names)),
        Some("drain") => Ok(drain::answer(words, true, backend, names)),
        Some("handover") => Ok(handover::answer(words, true, backend)),
        Some("mark") => match mark::parse(words, names)? {
            mark::Request::List { .. } => {
                Ok(document(&lists::Marks::new(&backend.marks().map_err(no_list)?)))
            }
            mark::Request::Change(_) => Err(no_listing("mark -L")),
        },
        Some("--sysctl") if words.iter().any(|word| word.contains('=')) => {
            Err(no_listing("--sysctl without values"))
        }
        Some("--sysctl") => {
            let settings = settings::read(words, backend).map_err(Problem::reply)?;
            Ok(document(&lists::Sysctl::new(&settings)))
        }
        _ => match args::parse(argv, names) {
            Ok(Command::List(options)) => list(&options, backend),
            // These two are for people, however they are called.
            Ok(Command::Help) => {
                Ok(Reply::output(help::text(argv.first().map_or("pollvsadm", String::as_str))))
            }
            Ok(Command::Version) => Ok(Reply::output(help::version_line())),
            Ok(_) => Err(no_listing("-L")),
            Err(Failure { status, stderr, .. }) => {
                Err(Reply { status, stdout: Vec::new(), stderr: stderr.into_bytes() })
            }
        },
    }
}

/// The document of `explain`.
pub(crate) fn explanation(question: &Question, explanation: &Explanation) -> Reply {
    document(&packets::Explained::new(question, explanation))
}

/// The document of a traced packet, with its end of line.
pub(crate) fn traced(packet: &trace::Packet) -> String {
    let text = serde_json::to_string(&packets::Traced::new(packet));
    text.expect("numbers and text are JSON") + "\n"
}

fn list(options: &ListOptions, backend: &mut dyn Backend) -> Result<Reply, Reply> {
    match (options.listing, &options.service) {
        (Listing::Services, None) => {
            let table = backend.table().map_err(no_list)?;
            Ok(document(&services::Services::new(&table, options.sorted)))
        }
        (Listing::Services, Some(key)) => {
            let row = backend.service(key).map_err(no_list)?;
            Ok(document(&services::OneService::new(&row, options.sorted)))
        }
        (Listing::Connections, _) => {
            let rows = backend.connections().map_err(no_list)?;
            Ok(document(&connections::Connections::new(&rows)))
        }
        // Silent without JSON, too.
        (Listing::Timeouts, _) => {
            let timeouts = backend.timeouts().map_err(|_| silent())?;
            Ok(document(&lists::TimeoutList::new(&timeouts)))
        }
        (Listing::Daemons, _) => {
            let rows = backend.daemons().map_err(|_| silent())?;
            let state = backend.sync().map_err(|_| silent())?;
            Ok(document(&lists::Daemons::new(&rows, &state)))
        }
    }
}

fn no_list(refusal: Refusal) -> Reply {
    Reply::failure(NO_LIST, Operation::Service.message(refusal))
}

fn silent() -> Reply {
    Reply { status: NO_LIST, ..Reply::default() }
}

fn no_listing(instead: &str) -> Reply {
    Reply::error(&format!("{WORD} goes with listings only, such as {instead}; nothing was done"))
}

/// A document and its end of line.
fn document(document: &impl Serialize) -> Reply {
    written(document, Bounded(Vec::new()))
}

fn written(document: &impl Serialize, mut out: Bounded) -> Reply {
    match serde_json::to_writer(&mut out, document) {
        Ok(()) => {
            out.0.push(b'\n');
            Reply { status: 0, stdout: out.0, stderr: Vec::new() }
        }
        Err(_) => Reply::error("the answer is longer than 64 MiB and is not shown"),
    }
}

/// Bytes, but fewer than a reply may have: a long list ends early, before it has taken all memory.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() >= MOST_TEXT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_as_long_as_a_reply_may_be_and_no_longer() {
        // In quotes, and with its end of line.
        let longest = written(&"ab", Bounded(vec![b' '; MOST_TEXT - 5]));
        assert_eq!((longest.status, longest.stdout.len()), (0, MOST_TEXT));
        assert_eq!(longest.clone().bounded(), longest);
        let longer = written(&"abc", Bounded(vec![b' '; MOST_TEXT - 5]));
        assert_eq!((longer.status, longer.stdout.len()), (2, 0));
        assert!(longer.stderr.starts_with(b"the answer is longer than 64 MiB"));
    }
}
