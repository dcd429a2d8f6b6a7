//! Words of a command line to a [`Command`], or to the message and status that ipvsadm 1.31 would give.

mod build;
mod line;
mod table;
mod values;
mod words;

use crate::command::{Command, ListOptions};
use crate::names::Names;

pub(crate) use values::endpoint;

use line::Line;
use table::{Means, Switch, Verb};
use words::{Item, Scanner};

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit status.
    pub status: u8,
    /// What goes to standard error, complete with its end of line.
    pub stderr: String,
    /// Whether a restore ends at such a line, or goes on with the next one.
    pub ends_restore: bool,
}

impl Failure {
    /// A message of the tool's own checks.
    pub(crate) fn check(message: impl std::fmt::Display) -> Self {
        Self { status: 2, stderr: format!("{message}\n"), ends_restore: true }
    }

    /// A message of the option parser.
    fn option(word: &str, what: &str) -> Self {
        Self { status: 255, stderr: format!("{word}: {what}\n"), ends_restore: false }
    }

    /// The line that points to the help.
    pub(crate) fn try_help(program: &str) -> Self {
        let stderr = format!("Try `{program} -h' or '{program} --help' for more information.\n");
        Self { status: 255, stderr, ends_restore: true }
    }
}

/// Parses a command line; `argv[0]` is the program's name as typed, which some messages show.
///
/// # Errors
///
/// The message and status that ipvsadm would end with.
pub fn parse(argv: &[String], names: &dyn Names) -> Result<Command, Failure> {
    let (program, words) = match argv.split_first() {
        Some((program, words)) => (program.as_str(), words),
        None => ("ipvsadm", argv),
    };
    if words.is_empty() {
        return Ok(Command::List(ListOptions::default()));
    }
    let mut scanner = Scanner::new(words);
    let Some((verb, state)) = first_command(&mut scanner) else {
        return Err(Failure::try_help(program));
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        _ => {}
    }
    let mut line = Line::new(verb, state)?;
    loop {
        match scanner.next_item() {
            None => break,
            Some(Item::Switch { switch: Switch { means: Means::Command(_), .. }, .. }) => {
                return Err(Failure::check(format_args!("invalid option `{}'", scanner.word())));
            }
            Some(Item::Switch { switch, value }) => line.take(switch.means, value, names)?,
            Some(Item::Unknown) => return Err(Failure::option(scanner.word(), "unknown option")),
            Some(Item::NoValue) => {
                return Err(Failure::option(scanner.word(), "missing argument"));
            }
            Some(Item::UnwantedValue) => {
                let what = "option does not take an argument";
                return Err(Failure::option(scanner.word(), what));
            }
        }
    }
    build::command(line, &scanner.into_loose())
}

/// Whether a line's command is `-R`, so that restore input belongs to it, be the rest of the line right or wrong.
#[must_use]
pub fn is_restore(argv: &[String]) -> bool {
    let words = argv.get(1..).unwrap_or_default();
    matches!(first_command(&mut Scanner::new(words)), Some((Verb::Restore, _)))
}

/// The command that starts the line, with its value.
fn first_command<'a>(scanner: &mut Scanner<'a>) -> Option<(Verb, Option<&'a str>)> {
    match scanner.next_item() {
        Some(Item::Switch { switch: Switch { means: Means::Command(verb), .. }, value }) => {
            Some((*verb, value))
        }
        _ => None,
    }
}
