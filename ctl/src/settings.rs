//! `--sysctl`: settings read and written by their kernel names, with the manners of `sysctl`.

use std::fmt::Write;

use dataplane::settings::{ALL, PREFIX, Setting, SettingError, Settings};

use crate::backend::Backend;
use crate::command::{Change, SettingChange};
use crate::refusal::{Operation, Refusal};
use crate::session::Reply;

/// Exit status when anything goes wrong, as `sysctl` has it.
const FAILED: u8 = 1;

/// What the words ask for.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Lines as `sysctl` prints them; a value that was set reads as it is in force.
    pub(crate) lines: String,
    /// Settings that were changed and have no effect.
    pub(crate) notes: String,
}

/// Why nothing was done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// What is wrong with the words: complete lines.
    Words(String),
    /// The back end's reason.
    Refused(Refusal),
}

impl Problem {
    /// What the user gets.
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Words(lines) => {
                Reply { status: FAILED, stdout: Vec::new(), stderr: lines.into_bytes() }
            }
            Self::Refused(refusal) => Reply::failure(FAILED, Operation::Service.message(refusal)),
        }
    }
}

/// The settings that the words name, all of them without a word, and where their values are.
pub(crate) fn read(
    words: &[String],
    backend: &mut dyn Backend,
) -> Result<(Vec<&'static Setting>, Settings), Problem> {
    let settings = backend.settings().map_err(Problem::Refused)?;
    let (mut all, mut wrong) = (Vec::new(), String::new());
    if words.is_empty() {
        all.extend(ALL);
    }
    for word in words {
        match named(word) {
            found if found.is_empty() => unknown(&mut wrong, word),
            found => all.extend(found),
        }
    }
    if wrong.is_empty() { Ok((all, settings)) } else { Err(Problem::Words(wrong)) }
}

/// Does what the words after `--sysctl` ask, in order: `NAME` reads, `NAME=VALUE` writes, and no
/// words at all read everything. If one word is wrong, nothing is changed.
pub(crate) fn answer(words: &[String], backend: &mut dyn Backend) -> Result<Answer, Problem> {
    let mut settings = backend.settings().map_err(Problem::Refused)?;
    let (mut answer, mut wrong) = (Answer::default(), String::new());
    let mut changes: Vec<SettingChange> = Vec::new();
    if words.is_empty() {
        ALL.iter().for_each(|setting| line(&mut answer.lines, setting, &settings));
    }
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            match named(word) {
                found if found.is_empty() => unknown(&mut wrong, word),
                found => found.iter().for_each(|it| line(&mut answer.lines, it, &settings)),
            }
            continue;
        };
        match (Setting::find(name), settings.set(name, value)) {
            (Some(setting), Ok(())) => {
                changes.push(SettingChange { name: setting.name, value: value.to_owned() });
                line(&mut answer.lines, setting, &settings);
                if !setting.acts {
                    let _ = writeln!(
                        answer.notes,
                        "note: {} is kept and reads back, but has no effect here",
                        setting.name
                    );
                }
            }
            (Some(setting), Err(SettingError::Invalid(_))) => {
                let _ = writeln!(
                    wrong,
                    "sysctl: setting key \"{}\": Invalid argument {value:?}: expected {}",
                    setting.name,
                    setting.expected()
                );
            }
            _ => unknown(&mut wrong, name),
        }
    }
    if !wrong.is_empty() {
        if words.iter().any(|word| word.contains('=')) {
            wrong.push_str("Nothing was changed.\n");
        }
        return Err(Problem::Words(wrong));
    }
    if !changes.is_empty() {
        backend.change(Change::Settings(changes)).map_err(Problem::Refused)?;
    }
    Ok(answer)
}

/// The setting of this name, or all whose names begin with it up to a dot, as `net.ipv4.vs`.
fn named(word: &str) -> Vec<&'static Setting> {
    if let Some(setting) = Setting::find(word) {
        return vec![setting];
    }
    let folder = word.replace('/', ".");
    let is_in = |name: &str| name.strip_prefix(&folder).is_some_and(|rest| rest.starts_with('.'));
    ALL.iter().filter(|setting| is_in(setting.name)).collect()
}

fn line(out: &mut String, setting: &Setting, settings: &Settings) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{} = {}", setting.name, setting.read(settings));
}

fn unknown(out: &mut String, name: &str) {
    let prefix = if name.contains(['.', '/']) { "" } else { PREFIX };
    let _ = writeln!(
        out,
        "sysctl: cannot stat {prefix}{name}: no such setting; --sysctl without a name lists all"
    );
}
