//! The words after `handover`.

use std::time::Duration;

use crate::json;
use crate::session::{self, REFUSED, Reply};
use crate::sync::HandoverStep;
use crate::words::{LONGEST_S, missing, multiple, split, whole};

/// The word of the command.
const COMMAND: &str = "handover";
/// The word for a step that only looks: for the client that waits.
const LOOK: &str = "--look";
/// How long to wait unless something else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The words, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// `--force`.
    force: bool,
    /// `--back`.
    back: bool,
    /// `--look`.
    look: bool,
    /// `--timeout`, in seconds.
    timeout_s: Option<u32>,
}

impl Words {
    /// Sorts the words.
    pub(super) fn new(words: &[String]) -> Result<Self, Reply> {
        let mut sorted = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (name, value) = split(word);
            let flag = match name {
                "--force" => &mut sorted.force,
                "--back" => &mut sorted.back,
                LOOK => &mut sorted.look,
                "--timeout" => {
                    let value = value.or_else(|| words.next()).ok_or_else(|| missing(name))?;
                    if sorted.timeout_s.replace(seconds(value)?).is_some() {
                        return Err(multiple("timeout"));
                    }
                    continue;
                }
                _ if word.starts_with('-') => {
                    return Err(Reply::failure(REFUSED, &format!("{word}: unknown option")));
                }
                _ => return Err(Reply::error(&format!("unexpected argument {word}"))),
            };
            if value.is_some() {
                let message = format!("{word}: option does not take an argument");
                return Err(Reply::failure(REFUSED, &message));
            }
            if std::mem::replace(flag, true) {
                return Err(multiple(name.trim_start_matches('-')));
            }
        }
        let others = [
            ("force", sorted.force),
            ("timeout", sorted.timeout_s.is_some()),
            ("look", sorted.look),
        ];
        if let Some((other, _)) = others.into_iter().find(|&(_, is_there)| sorted.back && is_there)
        {
            return Err(Reply::error(&format!("{COMMAND}: --back does not go with --{other}")));
        }
        Ok(sorted)
    }

    /// The step that the daemon is to do. It does not wait.
    pub(super) fn step(&self) -> Result<HandoverStep, Reply> {
        if self.timeout_s.is_some_and(|seconds| seconds != 0) {
            let message =
                "the daemon answers at once, so only --timeout 0: it is pollvsadm that waits";
            return Err(Reply::error(&format!("{COMMAND}: {message}")));
        }
        Ok(match self {
            Self { back: true, .. } => HandoverStep::Back,
            Self { look: true, .. } => HandoverStep::Look,
            Self { force, .. } => HandoverStep::Give { force: *force },
        })
    }
}

fn seconds(value: &str) -> Result<u32, Reply> {
    let wrong = || Reply::error(&format!("invalid timeout value `{value}' specified"));
    whole(value, LONGEST_S).ok_or_else(wrong)
}

/// What a process was called for: to hand over, or to take part again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The program's name as typed.
    program: String,
    /// Give the addresses away in any case.
    force: bool,
    /// Take part again.
    pub(super) back: bool,
    /// How long to wait for a backup in step, and then for new masters.
    pub(super) timeout: Duration,
    /// The end as JSON.
    pub(super) is_json: bool,
}

impl Order {
    /// Takes a command line apart; `None` if it is not about a handover.
    pub(crate) fn new(argv: &[String]) -> Option<Result<Self, Reply>> {
        let plain = json::without_word(argv);
        let is_json = plain.is_some();
        let [program, command, words @ ..] = plain.as_deref().unwrap_or(argv) else { return None };
        if command != COMMAND || session::is_ipvsadm(program) {
            return None;
        }
        let timeout = |seconds| Duration::from_secs(u64::from(seconds));
        let order = |words: Words| Self {
            program: program.clone(),
            force: words.force,
            back: words.back,
            timeout: words.timeout_s.map_or(TIMEOUT, timeout),
            is_json,
        };
        // Who looks himself does not want to wait.
        let words = Words::new(words).map(|words| (!words.look).then_some(words));
        words.map(|words| words.map(order)).transpose()
    }

    /// The request for the step that changes something.
    pub(super) fn first(&self) -> Vec<String> {
        self.request(match self {
            Self { back: true, .. } => Some("--back"),
            Self { force: true, .. } => Some("--force"),
            _ => None,
        })
    }

    /// The request to look.
    pub(super) fn look(&self) -> Vec<String> {
        self.request(Some(LOOK))
    }

    fn request(&self, word: Option<&str>) -> Vec<String> {
        let words = [&self.program, json::WORD, COMMAND].into_iter().chain(word);
        words.map(str::to_owned).collect()
    }
}
