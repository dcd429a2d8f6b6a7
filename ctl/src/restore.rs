//! `-R`: many commands from one input, line by line or, with `--atomic`, all or none.

use crate::args::{self, Failure};
use crate::backend::Backend;
use crate::command::{Change, Command};
use crate::names::Names;
use crate::session::{MOST_TEXT, REFUSED, Reply, Then, beyond_ipvsadm, of_failure, perform};

/// Does every line of the input until one ends the restore. The status is the last line's.
pub(crate) fn restore(
    program: &str,
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    backend.begin_batch();
    let reply = restore_lines(program, input, backend, names);
    backend.end_batch();
    reply
}

fn restore_lines(
    program: &str,
    input: &[u8],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> Reply {
    let mut all = Reply::default();
    for line in input.split(|&byte| byte == b'\n') {
        let (reply, then) = match argv_of(program, line) {
            Ok(argv) if argv.len() == 1 => continue,
            Ok(argv) => restore_line(program, &argv, backend, names),
            Err(message) => {
                let message = format!("restore input is {message}; its rest was not read");
                (Reply::error(&message), Then::End)
            }
        };
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

fn restore_line(
    program: &str,
    argv: &[String],
    backend: &mut dyn Backend,
    names: &dyn Names,
) -> (Reply, Then) {
    names.begin();
    if let Some(reply) = beyond_ipvsadm(argv, backend) {
        return (reply, Then::GoOn);
    }
    match args::parse(argv, names) {
        // A restore cannot hold another one.
        Ok(Command::Restore) => (of_failure(Failure::try_help(program)), Then::End),
        Ok(command) => perform(program, command, backend, names),
        Err(failure) => {
            let then = if failure.ends_restore { Then::End } else { Then::GoOn };
            (of_failure(failure), then)
        }
    }
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
