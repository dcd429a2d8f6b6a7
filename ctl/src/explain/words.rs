//! The words after `explain` and `trace`.

use std::net::IpAddr;

use dataplane::service::{Protocol, ServiceKey};

use crate::args::{self, endpoint};
use crate::command::{Change, Command};
use crate::names::Names;
use crate::session::Reply;
use crate::words::{LONGEST_S, missing, multiple, split, whole};

/// What the words say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) service: Option<ServiceKey>,
    /// `--from`: a client, perhaps with its port.
    pub(crate) from: Option<(IpAddr, Option<u16>)>,
    /// `--count`.
    pub(crate) count: Option<u32>,
    /// `--wait`, in seconds.
    pub(crate) wait_s: Option<u32>,
}

impl Words {
    /// Takes the words of a command apart; `options` are those that it has beside a service.
    pub(crate) fn new(
        command: &str,
        words: &[String],
        options: &[&str],
        names: &dyn Names,
    ) -> Result<Self, Reply> {
        let mut said = Self::default();
        let (mut from, mut service) = (None, Vec::new());
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let (name, value) = split(word);
            if !options.contains(&name) {
                service.push(word.to_owned());
                continue;
            }
            let value = value.or_else(|| words.next()).ok_or_else(|| missing(name))?;
            let is_new = match name {
                "--from" => from.replace(value).is_none(),
                "--count" => said.count.replace(number(name, value, 1, u32::MAX)?).is_none(),
                _ => said.wait_s.replace(number(name, value, 0, LONGEST_S)?).is_none(),
            };
            if !is_new {
                return Err(multiple(name.trim_start_matches('-')));
            }
        }
        if !service.is_empty() {
            said.service = Some(service_of(command, &service, names)?);
        }
        if let Some(text) = from {
            let wrong = || {
                let text =
                    format!("illegal client `{text}' specified: it is ADDRESS or ADDRESS:PORT");
                Reply::error(&text)
            };
            let end = endpoint(text, said.protocol(), names).ok_or_else(wrong)?;
            said.from = Some((end.address, end.port));
        }
        Ok(said)
    }

    /// Transport protocol of the service, if it has one.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self.service? {
            ServiceKey::Address { protocol, .. } => Some(protocol),
            ServiceKey::Mark { .. } => None,
        }
    }
}

/// The service that words name as they do for `-D`.
fn service_of(command: &str, words: &[String], names: &dyn Names) -> Result<ServiceKey, Reply> {
    let argv: Vec<_> =
        [command, "-D"].into_iter().map(str::to_owned).chain(words.iter().cloned()).collect();
    match args::parse(&argv, names) {
        Ok(Command::Change(Change::DeleteService(key))) => Ok(key),
        Ok(_) => Err(Reply::error(&format!("{command}: which service?"))),
        Err(failure) => {
            let message = failure.stderr.replace("'delete-service'", &format!("'{command}'"));
            Err(Reply { status: failure.status, stdout: Vec::new(), stderr: message.into_bytes() })
        }
    }
}

fn number(name: &str, text: &str, least: u32, most: u32) -> Result<u32, Reply> {
    let wrong = || format!("{name}: `{text}' is no number from {least} to {most}");
    let number = whole(text, most).filter(|&number| number >= least);
    number.ok_or_else(|| Reply::error(&wrong()))
}
