//! One request, from its words to status and text.

use std::ffi::OsStr;
use std::path::Path;

use crate::args::{self, Failure, parse};
use crate::backend::Backend;
use crate::command::{Command, ListOptions, Listing};
use crate::drain;
use crate::explain;
use crate::handover;
use crate::help;
use crate::json;
use crate::mark;
use crate::names::{Names, NumericNames};
use crate::print;
use crate::refusal::{Operation, Refusal};
use crate::restore;
use crate::settings;
use crate::trace;

/// Most text of a reply in bytes, both streams together.
pub const MOST_TEXT: usize = 64 << 20;

/// Exit status when the back end refuses a change.
pub(crate) const REFUSED: u8 = 255;
/// Exit status when a list cannot be had.
pub(crate) const NO_LIST: u8 = 1;

/// The answer to a request: what a process would exit with and have written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Exit status.
    pub status: u8,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Reply {
    /// A message of our own on standard error, with status 2.
    #[must_use]
    pub fn error(message: &str) -> Self {
        Self { status: 2, stdout: Vec::new(), stderr: format!("{message}\n").into_bytes() }
    }

    pub(crate) fn output(text: String) -> Self {
        Self { status: 0, stdout: text.into_bytes(), stderr: Vec::new() }
    }

    pub(crate) fn failure(status: u8, line: &str) -> Self {
        Self { status, ..Self::error(line) }
    }

    /// The reply, or an error if it has more text than [`MOST_TEXT`].
    #[must_use]
    pub fn bounded(self) -> Self {
        if self.stdout.len() + self.stderr.len() <= MOST_TEXT {
            return self;
        }
        Self::error("the answer is longer than 64 MiB and is not shown")
    }
}

/// Does what a command line asks. `-R` finds empty input; see [`run_with_input`].
pub fn run(argv: &[String], backend: &mut dyn Backend, names: &dyn Names) -> Reply {
    run_with_input(argv, &[], backend, names)
}

/// Whether a program is called by the name of the real tool, and is nothing but that then.
pub(crate) fn is_ipvsadm(program: &str) -> bool {
    Path::new(program).file_name() == Some(OsStr::new("ipvsadm"))
}

/// The word in front of `-R` that makes it all or nothing.
pub(crate) const ATOMIC: &str = "--atomic";

/// Whether a command line is `--atomic -R`, which the real tool does not know.
pub(crate) fn is_atomic_restore(argv: &[String]) -> bool {
    match argv {
        [program, first, rest @ ..] if first == ATOMIC && !is_ipvsadm(program) => {
            let argv = [std::slice::from_ref(program), rest].concat();
            matches!(parse(&argv, &NumericNames), Ok(Command::Restore))
        }
        _ => false,
    }
}

/// Whether a command line takes restore input, be its other words right or wrong.
pub(crate) fn takes_input(argv: &[String]) -> bool {
    args::is_restore(argv) || is_atomic_restore(argv)
}

/// Does what a command line asks that the real tool does not know; `None` if it is none of these.
pub(crate) fn beyond_ipvsadm(
    argv: &[String],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Option<Reply> {
    let (program, [command, words @ ..]) = argv.split_first()? else { return None };
    if is_ipvsadm(program) {
        return None;
    }
    if let Some(argv) = json::without_word(argv) {
        return Some(json::answer(&argv, backend, names));
    }
    match command.as_str() {
        ATOMIC => Some(Reply::error("--atomic goes with -R, and nothing else")),
        "explain" => Some(explain::answer(words, false, backend, names)),
        "trace" => Some(trace::answer(words, false, backend, names)),
        "mark" => Some(mark::answer(words, backend, names)),
        "drain" => Some(drain::answer(words, false, backend, names)),
        "handover" => Some(handover::answer(words, false, backend)),
        "drops" => Some(plain(words, || Ok(print::frames(&backend.frames()?)))),
        "ports" => Some(plain(words, || Ok(print::ports(&backend.ports()?)))),
        "workers" => Some(plain(words, || Ok(print::workers(&backend.workers()?)))),
        "sync" => Some(plain(words, || Ok(print::sync(&backend.sync()?)))),
        "vrrp" => Some(plain(words, || Ok(print::vrrp(&backend.vrrp()?)))),
        "--sysctl" => Some(match settings::answer(words, backend) {
            Ok(answer) => {
                Reply { stderr: answer.notes.into_bytes(), ..Reply::output(answer.lines) }
            }
            Err(problem) => problem.reply(),
        }),
        _ => None,
    }
}

/// The reply to a listing that takes no words.
fn plain(words: &[String], list: impl FnOnce() -> Result<String, Refusal>) -> Reply {
    match no_words(words) {
        Ok(()) => reading(list().map_err(Some)).0,
        Err(reply) => reply,
    }
}

/// Refuses words behind a command that takes none.
pub(crate) fn no_words(words: &[String]) -> Result<(), Reply> {
    let unexpected = |word: &String| Reply::error(&format!("unexpected argument {word}"));
    words.first().map_or(Ok(()), |word| Err(unexpected(word)))
}

/// Does what a command line asks; `input` is what `-R` reads.
pub fn run_with_input(
    argv: &[String],
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    names.begin();
    let program = argv.first().map_or("ipvsadm", String::as_str);
    if is_atomic_restore(argv) {
        return restore::restore_atomically(program, input, backend, names);
    }
    if let Some(reply) = beyond_ipvsadm(argv, backend, names) {
        return reply;
    }
    match parse(argv, names) {
        Ok(Command::Restore) => restore::restore(program, input, backend, names),
        Ok(command) => perform(program, command, backend, names).0,
        Err(Failure { status, stderr, .. }) => {
            Reply { status, stdout: Vec::new(), stderr: stderr.into_bytes() }
        }
    }
    .bounded()
}

/// Whether a restore goes on after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    End,
}

pub(crate) fn of_failure(failure: Failure) -> Reply {
    Reply { status: failure.status, stdout: Vec::new(), stderr: failure.stderr.into_bytes() }
}

pub(crate) fn perform(
    program: &str,
    command: Command,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> (Reply, Then) {
    let change = match command {
        Command::Help => return (Reply::output(help::text(program)), Then::End),
        Command::Version => return (Reply::output(help::version_line()), Then::End),
        Command::List(options) => return reading(list(&options, backend, names)),
        Command::Save { numeric } => {
            let text = backend.table().map(|table| print::save(&table, numeric, names));
            return reading(text.map_err(Some));
        }
        // Handled before: a restore needs its input.
        Command::Restore => return (of_failure(Failure::try_help(program)), Then::End),
        Command::Change(change) => change,
    };
    let operation = change.operation();
    (outcome(backend.change(change), operation), Then::GoOn)
}

/// The reply to a change.
pub(crate) fn outcome(done: Result<(), Refusal>, operation: Operation) -> Reply {
    match done {
        Ok(()) => Reply::default(),
        Err(refusal) => Reply::failure(REFUSED, operation.message(refusal)),
    }
}

/// The reply to a command that reads; an error without a reason is silent.
fn reading(text: Result<String, Option<Refusal>>) -> (Reply, Then) {
    match text {
        Ok(text) => (Reply::output(text), Then::GoOn),
        Err(Some(refusal)) => {
            (Reply::failure(NO_LIST, Operation::Service.message(refusal)), Then::End)
        }
        Err(None) => (Reply { status: NO_LIST, ..Reply::default() }, Then::End),
    }
}

fn list(
    options: &ListOptions,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Result<String, Option<Refusal>> {
    match (options.listing, &options.service) {
        (Listing::Services, None) => Ok(print::table(&backend.table()?, options, names)),
        (Listing::Services, Some(key)) => {
            Ok(print::service(&backend.service(key)?, options, names))
        }
        (Listing::Connections, _) => {
            Ok(print::connections(&backend.connections()?, options, names))
        }
        // The real tool says nothing when these two fail.
        (Listing::Timeouts, _) => backend.timeouts().map(|t| print::timeouts(&t)).map_err(|_| None),
        (Listing::Daemons, _) => backend.daemons().map(|d| print::daemons(&d)).map_err(|_| None),
    }
}
