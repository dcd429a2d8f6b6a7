//! The words after `drain`.

use std::time::Duration;

use super::Step;
use crate::args;
use crate::command::{Change, Command};
use crate::json;
use crate::names::Names;
use crate::session::{self, Reply};
use crate::words::{LONGEST_S, missing, multiple, split, whole};

/// The word of the command.
const COMMAND: &str = "drain";
/// The word for a step after the first, with the weight before that: for the client that waits.
pub(super) const LOOK: &str = "--look";

/// The words, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Those that name the server, as for `-d`.
    server: Vec<String>,
    /// `--wait`, in seconds.
    wait_s: Option<u32>,
    /// `--remove`.
    remove: bool,
    /// `--look`: the weight before.
    look: Option<i64>,
}

impl Words {
    /// Sorts the words. Those that name the server are not judged.
    pub(super) fn new(words: &[String]) -> Result<Self, Reply> {
        let mut sorted = Self::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (name, value) = split(word);
            match (name, value) {
                ("--remove", None) if sorted.remove => return Err(multiple("remove")),
                ("--remove", None) => sorted.remove = true,
                ("--remove", Some(_)) => {
                    let message = format!("{word}: option does not take an argument");
                    return Err(Reply::failure(session::REFUSED, &message));
                }
                ("--wait", _) if sorted.wait_s.is_some() => return Err(multiple("wait")),
                ("--wait" | LOOK, value) => {
                    let value = value.or_else(|| words.next());
                    let value = value.ok_or_else(|| missing(name))?;
                    if name == LOOK {
                        let weight = value.parse().ok().filter(|&weight| weight >= 0);
                        let illegal = || Reply::error("illegal weight specified");
                        sorted.look = Some(weight.ok_or_else(illegal)?);
                    } else {
                        sorted.wait_s = Some(seconds(value)?);
                    }
                }
                _ => sorted.server.push(word.to_owned()),
            }
        }
        Ok(sorted)
    }

    /// The step that the daemon is to do. It does not wait.
    pub(super) fn step(&self, names: &dyn Names) -> Result<Step, Reply> {
        if self.wait_s.is_some_and(|seconds| seconds != 0) {
            let message =
                "the daemon answers at once, so only --wait 0: it is pollvsadm that waits";
            return Err(Reply::error(&format!("{COMMAND}: {message}")));
        }
        let argv: Vec<String> =
            [COMMAND, "-d"].into_iter().map(str::to_owned).chain(self.server.clone()).collect();
        match args::parse(&argv, names) {
            Ok(Command::Change(Change::DeleteServer { service, address, port })) => {
                let (weight_before, remove) = (self.look, self.remove);
                Ok(Step { service, address, port, weight_before, remove })
            }
            Ok(_) => Err(Reply::error(&format!("{COMMAND}: which server?"))),
            Err(failure) => {
                let message = failure.stderr.replace("'delete-server'", &format!("'{COMMAND}'"));
                Err(Reply { stderr: message.into_bytes(), ..Reply::failure(failure.status, "") })
            }
        }
    }
}

fn seconds(value: &str) -> Result<u32, Reply> {
    let wrong = || Reply::error(&format!("invalid timeout value `{value}' specified"));
    whole(value, LONGEST_S).ok_or_else(wrong)
}

/// What a process was called for: to drain a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The program's name as typed.
    program: String,
    /// The words that name the server, as typed.
    server: Vec<String>,
    /// How long to wait; `None` without end.
    pub(super) wait: Option<Duration>,
    /// Delete the server in the end.
    remove: bool,
    /// The end as JSON.
    pub(super) is_json: bool,
}

impl Order {
    /// Takes a command line apart; `None` if it is not about draining.
    pub(crate) fn new(argv: &[String]) -> Option<Result<Self, Reply>> {
        let plain = json::without_word(argv);
        let is_json = plain.is_some();
        let [program, command, words @ ..] = plain.as_deref().unwrap_or(argv) else { return None };
        if command != COMMAND || session::is_ipvsadm(program) {
            return None;
        }
        let order = |words: Words| Self {
            program: program.clone(),
            server: words.server,
            wait: words.wait_s.map(u64::from).map(Duration::from_secs),
            remove: words.remove,
            is_json,
        };
        // Who looks himself does not want to wait.
        let words = Words::new(words).map(|words| words.look.is_none().then_some(words));
        words.map(|words| words.map(order)).transpose()
    }

    /// The request for the first step.
    pub(super) fn first(&self) -> Vec<String> {
        self.request(&[], &self.server)
    }

    /// The request for another step; the daemon has said how the server is named.
    pub(super) fn next(&self, server: &str, weight_before: i64) -> Vec<String> {
        let server: Vec<_> = server.split(' ').map(str::to_owned).collect();
        self.request(&[LOOK.to_owned(), weight_before.to_string()], &server)
    }

    fn request(&self, words: &[String], server: &[String]) -> Vec<String> {
        let mut argv = vec![self.program.clone(), json::WORD.to_owned(), COMMAND.to_owned()];
        argv.extend(words.iter().chain(server).cloned());
        if self.remove {
            argv.push("--remove".to_owned());
        }
        argv
    }
}
