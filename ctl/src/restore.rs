//! `-R`: many commands from one input, line by line or, with `--atomic`, all or none.

use crate::args::{self, Failure};
use crate::backend::{Backend, Undone};
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
    let mut all = Reply::default();
    let mut add = |_, reply: Reply| {
        all.status = reply.status;
        all.stdout.extend(reply.stdout);
        all.stderr.extend(reply.stderr);
        all.stdout.len() + all.stderr.len() <= MOST_TEXT
    };
    let mut restore = Restore::new(backend, names, &mut add);
    for (number, line) in numbered(input) {
        let then = match argv_of(program, line) {
            Ok(argv) if argv.len() == 1 => Then::GoOn,
            Ok(argv) => restore.line(program, number, &argv),
            Err(message) => {
                let message = format!("restore input is {message}; its rest was not read");
                restore.make_changes();
                restore.answer(number, (Reply::error(&message), Then::End))
            }
        };
        if restore.is_full {
            return Reply::error(
                "the answers are longer than 64 MiB and are not shown; the rest of the restore \
                 input was not carried out",
            );
        }
        if then == Then::End {
            break;
        }
    }
    restore.make_changes();
    all
}

/// A line of a saved table that could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1 on.
    pub number: usize,
    /// Why not.
    pub reason: String,
}

/// Does every line of a saved table, whatever becomes of those before it, and returns those that
/// failed. `#` begins a comment.
pub fn replay(input: &[u8], backend: &mut dyn Backend) -> Vec<BadLine> {
    let program = "pollvsadm";
    let mut bad = Vec::new();
    // What lines say that were carried out is of no interest.
    let mut add = |number, reply: Reply| {
        if reply.status != 0 {
            let text = String::from_utf8_lossy(&reply.stderr);
            let reason = text.lines().next().unwrap_or("refused").to_owned();
            bad.push(BadLine { number, reason });
        }
        true
    };
    let mut restore = Restore::new(backend, &NumericNames, &mut add);
    for (number, line) in numbered(input) {
        match argv_of(program, line) {
            Ok(argv) if argv.get(1).is_none_or(|word| word.starts_with('#')) => {}
            Ok(argv) => drop(restore.line(program, number, &argv)),
            Err(message) => {
                restore.make_changes();
                restore.answer(number, (Reply::error(message), Then::GoOn));
            }
        }
    }
    restore.make_changes();
    bad
}

fn numbered(input: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(input.split(|&byte| byte == b'\n'))
}

/// A restore under way.
struct Restore<'a> {
    backend: &'a mut dyn Backend,
    names: &'a dyn Names,
    /// Changes read, but not made yet, with the numbers of their lines.
    waiting: Vec<(usize, Change)>,
    /// Takes the reply to a line; false when it has no room for more.
    add: &'a mut dyn FnMut(usize, Reply) -> bool,
    is_full: bool,
}

impl<'a> Restore<'a> {
    fn new(
        backend: &'a mut dyn Backend,
        names: &'a dyn Names,
        add: &'a mut dyn FnMut(usize, Reply) -> bool,
    ) -> Self {
        Self { backend, names, waiting: Vec::new(), add, is_full: false }
    }

    fn line(&mut self, program: &str, number: usize, argv: &[String]) -> Then {
        self.names.begin();
        let parsed = match args::parse(argv, self.names) {
            Ok(Command::Change(change)) => {
                self.waiting.push((number, change));
                if self.waiting.len() == TOGETHER {
                    self.make_changes();
                }
                return Then::GoOn;
            }
            parsed => parsed,
        };
        self.make_changes();
        if let Some(reply) = beyond_ipvsadm(argv, self.backend, self.names) {
            return self.answer(number, (reply, Then::GoOn));
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
        self.answer(number, answer)
    }

    fn make_changes(&mut self) {
        let (numbers, changes): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().unzip();
        if changes.is_empty() {
            return;
        }
        let operations: Vec<_> = changes.iter().map(Change::operation).collect();
        let done = self.backend.change_each(changes).into_iter().zip(operations);
        for (number, (done, operation)) in numbers.into_iter().zip(done) {
            self.answer(number, (outcome(done, operation), Then::GoOn));
        }
    }

    /// Passes the reply to a line on.
    fn answer(&mut self, number: usize, (reply, then): (Reply, Then)) -> Then {
        assert!(self.waiting.is_empty(), "lines are answered in their order");
        self.is_full |= !(self.add)(number, reply);
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
    for (number, line) in numbered(input) {
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
        Err(Undone { place, refusal, is_partial }) => {
            let message = match operations.get(place) {
                Some(operation) => operation.message(refusal),
                None => "the daemon refused the restore",
            };
            let number = numbers.get(place).copied().unwrap_or(0);
            if is_partial {
                let text = format!("line {number}: {message}\nOther lines are in force: see -L.");
                return Reply { status: REFUSED, ..Reply::error(&text) };
            }
            none(number, REFUSED, message)
        }
    }
}

fn change_of(argv: &[String], names: &dyn Names) -> Result<Change, Failure> {
    names.begin();
    match args::parse(argv, names)? {
        Command::Change(change) => Ok(change),
        _ => Err(Failure::check("only commands that change the table go with --atomic")),
    }
}
