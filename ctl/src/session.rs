//! One request, from its words to status and text.

use std::ffi::OsStr;
use std::path::Path;

use crate::args::{Failure, parse};
use crate::backend::Backend;
use crate::command::{Command, ListOptions, Listing};
use crate::help;
use crate::json;
use crate::mark;
use crate::names::Names;
use crate::print;
use crate::refusal::{Operation, Refusal};
use crate::settings;

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

/// Does what a command line asks that the real tool does not know; `None` if it is none of these.
fn beyond_ipvsadm(argv: &[String], backend: &mut dyn Backend, names: &dyn Names) -> Option<Reply> {
    let (program, [command, words @ ..]) = argv.split_first()? else { return None };
    if is_ipvsadm(program) {
        return None;
    }
    if let Some(argv) = json::without_word(argv) {
        return Some(json::answer(&argv, backend, names));
    }
    match command.as_str() {
        "mark" => Some(mark::answer(words, backend, names)),
        "drops" => Some(match (words, backend.frames()) {
            ([], Ok(counts)) => Reply::output(print::frames(&counts)),
            ([], Err(refusal)) => Reply::failure(NO_LIST, Operation::Service.message(refusal)),
            ([word, ..], _) => Reply::error(&format!("unexpected argument {word}")),
        }),
        "--sysctl" => Some(match settings::answer(words, backend) {
            Ok(answer) => {
                Reply { stderr: answer.notes.into_bytes(), ..Reply::output(answer.lines) }
            }
            Err(problem) => problem.reply(),
        }),
        _ => None,
    }
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
    if let Some(reply) = beyond_ipvsadm(argv, backend, names) {
        return reply;
    }
    match parse(argv, names) {
        Ok(Command::Restore) => restore(program, input, backend, names),
        Ok(command) => perform(program, command, backend, names).0,
        Err(Failure { status, stderr, .. }) => {
            Reply { status, stdout: Vec::new(), stderr: stderr.into_bytes() }
        }
    }
    .bounded()
}

/// Whether a restore goes on after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

/// Does every line of the input until one ends the restore. The status is the last line's.
fn restore(program: &str, input: &[u8], backend: &mut dyn Backend, names: &dyn Names) -> Reply {
    let mut all = Reply::default();
    for line in input.split(|&byte| byte == b'\n') {
        let (reply, then) = restore_line(program, line, backend, names);
        let Some(reply) = reply else { continue };
        all.status = reply.status;
        all.stdout.extend(reply.stdout);
        all.stderr.extend(reply.stderr);
        if all.stdout.len() + all.stderr.len() > MOST_TEXT {
            return Reply::error(
                "the answers are longer than 64 MiB and are not shown; the rest of the restore \
                 input was not carried out",
            );
        }
        if then == Then::End {
            break;
        }
    }
    all
}

/// One line of a restore; `None` if it has no words.
fn restore_line(
    program: &str,
    line: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> (Option<Reply>, Then) {
    let line = match std::str::from_utf8(line) {
        Ok(line) if !line.contains('\0') => line,
        _ => {
            let reply = Reply::error("restore input is not text; its rest was not read");
            return (Some(reply), Then::End);
        }
    };
    // Complete command lines are fine: the program's name is dropped wherever it stands.
    let words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty() && *word != "ipvsadm");
    names.begin();
    let argv: Vec<String> = std::iter::once(program).chain(words).map(str::to_owned).collect();
    if argv.len() == 1 {
        return (None, Then::GoOn);
    }
    if let Some(reply) = beyond_ipvsadm(&argv, backend, names) {
        return (Some(reply), Then::GoOn);
    }
    let (reply, then) = match parse(&argv, names) {
        // A restore cannot hold another one.
        Ok(Command::Restore) => return (Some(of_failure(Failure::try_help(program))), Then::End),
        Ok(command) => perform(program, command, backend, names),
        Err(failure) => {
            let then = if failure.ends_restore { Then::End } else { Then::GoOn };
            (of_failure(failure), then)
        }
    };
    (Some(reply), then)
}

fn of_failure(failure: Failure) -> Reply {
    Reply { status: failure.status, stdout: Vec::new(), stderr: failure.stderr.into_bytes() }
}

fn perform(
    program: &str,
    command: Command,
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> (Reply, Then) {
    use Operation::{Daemon, Server, Service};
    let (done, operation) = match command {
        Command::Help => return (Reply::output(help::text(program)), Then::End),
        Command::Version => return (Reply::output(help::version_line()), Then::End),
        Command::List(options) => return reading(list(&options, backend, names)),
        Command::Save { numeric } => {
            let text = backend.table().map(|table| print::save(&table, numeric, names));
            return reading(text.map_err(Some));
        }
        // Handled before: a restore needs its input.
        Command::Restore => return (of_failure(Failure::try_help(program)), Then::End),
        Command::AddService(spec) => (backend.add_service(spec), Service),
        Command::EditService(spec) => (backend.edit_service(spec), Service),
        Command::DeleteService(key) => (backend.delete_service(&key), Service),
        Command::Flush => (backend.flush(), Service),
        Command::AddServer { service, server } => (backend.add_server(&service, server), Server),
        Command::EditServer { service, server } => (backend.edit_server(&service, server), Server),
        Command::DeleteServer { service, address, port } => {
            (backend.delete_server(&service, address, port), Server)
        }
        Command::Zero(service) => (backend.zero(service.as_ref()), Service),
        Command::SetTimeouts(timeouts) => (backend.set_timeouts(timeouts), Service),
        Command::StartDaemon(spec) => (backend.start_daemon(spec), Daemon),
        Command::StopDaemon { role, sync_id } => (backend.stop_daemon(role, sync_id), Daemon),
    };
    let reply = match done {
        Ok(()) => Reply::default(),
        Err(refusal) => Reply::failure(REFUSED, operation.message(refusal)),
    };
    (reply, Then::GoOn)
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
