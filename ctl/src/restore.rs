//! `-R`: many commands from one input, line by line or, with `--atomic`, all or none.

use crate::args::{self, Failure};
use crate::backend::Backend;
use crate::command::{Change, Command};
use crate::names::{Names, NumericNames};
use crate::session::{
    MOST_TEXT, REFUSED, Reply, Then, beyond_ipvsadm, of_failure, outcome, perform,
};

/// Changes that are put to the back end together.
const TOGETHER: usize = 256;

/// Does every line of the input until one ends the restore. The status is the last line's.
pub(crate) fn restore(
    program: &str,
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    restore_lines(program, input, backend, names, Then::End)
}

/// Does every line of a saved table, whatever becomes of those before it; `#` begins a comment.
pub fn replay(input: &[u8], backend: &mut dyn Backend) -> Reply {
    restore_lines("pollvsadm", input, backend, &NumericNames, Then::GoOn)
}

/// Does the lines of the input; those that would end a restore end it if `last` says so.
fn restore_lines(
    program: &str,
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
    last: Then,
) -> Reply {
    let mut restore = Restore { backend, names, waiting: Vec::new(), all: Reply::default() };
    for line in input.split(|&byte| byte == b'\n') {
        let then = match argv_of(program, line) {
            Ok(argv) if argv.len() == 1 => Then::GoOn,
            Ok(argv) if last == Then::GoOn && argv[1].starts_with('#') => Then::GoOn,
            Ok(argv) => restore.line(program, &argv),
            Err(message) => {
                let message = format!("restore input is {message}; its rest was not read");
                restore.make_changes();
                restore.answer((Reply::error(&message), Then::End))
            }
        };
        if restore.all.stdout.len() + restore.all.stderr.len() > MOST_TEXT {
            return Reply::error(
                "the answers are longer than 64 MiB and are not shown; the rest of the restore \
                 input was not carried out",
            );
        }
        if then == Then::End && last == Then::End {
            break;
        }
    }
    restore.make_changes();
    restore.all
}

/// A restore under way.
struct Restore<'a> {
    backend: &'a mut dyn Backend,
    names: &'a dyn Names,
    /// Changes read, but not made yet.
    waiting: Vec<Change>,
    /// The replies so far.
    all: Reply,
}

impl Restore<'_> {
    fn line(&mut self, program: &str, argv: &[String]) -> Then {
        self.names.begin();
        let parsed = match args::parse(argv, self.names) {
            Ok(Command::Change(change)) => {
                self.waiting.push(change);
                if self.waiting.len() == TOGETHER {
                    self.make_changes();
                }
                return Then::GoOn;
            }
            parsed => parsed,
        };
        self.make_changes();
        if let Some(reply) = beyond_ipvsadm(argv, self.backend, self.names) {
            return self.answer((reply, Then::GoOn));
        }
        let answer = match parsed {
            // A restore cannot hold another one.
            Ok(Command::Restore) => (of_failure(Failure::try_help(program)), Then::End),
            Ok(command) => perform(program, command, self.backend, self.names),
            Err(failure) => {
                let then = if failure.ends_restore { Then::End } else { Then::GoOn };
                (of_failure(failure), then)
            }
        };
        self.answer(answer)
    }

    fn make_changes(&mut self) {
        let changes = std::mem::take(&mut self.waiting);
        if changes.is_empty() {
            return;
        }
        let operations: Vec<_> = changes.iter().map(Change::operation).collect();
        for (done, operation) in self.backend.change_each(changes).into_iter().zip(operations) {
            self.answer((outcome(done, operation), Then::GoOn));
        }
    }

    /// Adds the reply to a line.
    fn answer(&mut self, (reply, then): (Reply, Then)) -> Then {
        assert!(self.waiting.is_empty(), "lines are answered in their order");
        self.all.status = reply.status;
        self.all.stdout.extend(reply.stdout);
        self.all.stderr.extend(reply.stderr);
        then
    }
}

/// The argument vector of a line. Complete command lines are fine: the program's name is dropped
/// wherever it stands.
fn argv_of(program: &str, line: &[u8]) -> Result<Vec<String>, &'static str> {
    let line = match std::str::from_utf8(line) {
        Ok(line) if !line.contains('\0') => line,
        _ => return Err("not text"),
    };
    let words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty() && *word != "ipvsadm");
    Ok(std::iter::once(program).chain(words).map(str::to_owned).collect())
}

/// Does all lines of the input or, if one is wrong or refused, none. Empty lines and lines that
/// begin with `#` are skipped.
pub(crate) fn restore_atomically(
    program: &str,
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    let none = |number: usize, status: u8, message: &str| Reply {
        status,
        ..Reply::error(&format!("line {number}: {}\nNothing was changed.", message.trim_end()))
    };
    let (mut changes, mut numbers) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(input.split(|&byte| byte == b'\n')) {
        let argv = match argv_of(program, line) {
            Ok(argv) => argv,
            Err(message) => return none(number, 2, message),
        };
        if argv.get(1).is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        match change_of(&argv, names) {
            Ok(change) => changes.push(change),
            Err(Failure { status, stderr, .. }) => return none(number, status, &stderr),
        }
        numbers.push(number);
    }
    let operations: Vec<_> = changes.iter().map(Change::operation).collect();
    match backend.change_all(changes) {
        Ok(()) => Reply::default(),
        Err((place, refusal)) => match (numbers.get(place), operations.get(place)) {
            (Some(&number), Some(operation)) => none(number, REFUSED, operation.message(refusal)),
            _ => Reply { status: REFUSED, ..Reply::error("the daemon refused the restore") },
        },
    }
}

fn change_of(argv: &[String], names: &dyn Names) -> Result<Change, Failure> {
    names.begin();
    match args::parse(argv, names)? {
        Command::Change(change) => Ok(change),
        _ => Err(Failure::check("only commands that change the table go with --atomic")),
    }
}
