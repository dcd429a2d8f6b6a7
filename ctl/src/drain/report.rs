//! How far a server is drained: as JSON, and in words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataplane::service::{Family, ServerSpec, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{State, Step};
use crate::command::Change;
use crate::print;
use crate::session::Reply;

/// Exit status when connections are left, or it is not as it should be.
const NOT_DRAINED: u8 = 1;

/// What has become of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// No connection is left.
    Drained,
    /// Likewise, and the server is deleted.
    Removed,
    /// The time is over, and connections are left.
    ConnectionsLeft,
    /// Somebody gave the server weight again.
    WeightGiven,
    /// Somebody deleted the server.
    Deleted,
    /// A signal ended the waiting.
    Interrupted,
}

/// The document. `JSON.md` is its reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    schema: String,
    pub(super) outcome: Outcome,
    family: String,
    protocol: Option<String>,
    virtual_address: Option<IpAddr>,
    virtual_port: Option<u16>,
    fwmark: Option<u32>,
    server_address: IpAddr,
    server_port: u16,
    pub(super) server_words: String,
    weight: i64,
    pub(super) weight_before: i64,
    give_back: Option<String>,
    active_connections: u32,
    inactive_connections: u32,
    pub(super) persistent_connections: u32,
    pub(super) persistent_expire: bool,
    remaining: u64,
    waited_ms: u64,
}

impl Report {
    pub(super) fn new(step: &Step, state: &State) -> Self {
        let spec = state.server.spec;
        let Step { service, address, port, .. } = *step;
        let (protocol, virtual_address, virtual_port, fwmark) = match service {
            ServiceKey::Address { protocol, address, port } => {
                (Some(protocol.name().to_lowercase()), Some(address), Some(port), None)
            }
            ServiceKey::Mark { mark, .. } => (None, None, None, Some(mark)),
        };
        let line = |change| print::change(&change).unwrap_or_default();
        let delete = line(Change::DeleteServer { service, address, port });
        let can_give = spec.weight == 0 && state.weight_before != 0 && !state.is_removed;
        let server = ServerSpec { weight: state.weight_before, ..spec };
        Self {
            schema: "pollvs/drain/1".to_owned(),
            outcome: match (spec.weight, state.remaining()) {
                (0, 0) if state.is_removed => Outcome::Removed,
                (0, 0) => Outcome::Drained,
                (0, _) => Outcome::ConnectionsLeft,
                _ => Outcome::WeightGiven,
            },
            family: match service.family() {
                Family::V4 => "ipv4".to_owned(),
                Family::V6 => "ipv6".to_owned(),
            },
            protocol,
            virtual_address,
            virtual_port,
            fwmark,
            server_address: address,
            server_port: port,
            server_words: delete.trim_start_matches("-d ").to_owned(),
            weight: spec.weight,
            weight_before: state.weight_before,
            give_back: can_give.then(|| line(Change::EditServer { service, server })),
            active_connections: state.server.active,
            inactive_connections: state.server.inactive,
            persistent_connections: state.server.persistent,
            persistent_expire: state.templates_expire,
            remaining: state.remaining(),
            waited_ms: 0,
        }
    }

    /// The report after this time, with another outcome.
    pub(super) fn end(self, outcome: Outcome, waited: Duration) -> Self {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        // A server that is deleted, or has weight, has none to be given back.
        let keeps =
            matches!(outcome, Outcome::ConnectionsLeft | Outcome::Interrupted | Outcome::Drained);
        let give_back = self.give_back.filter(|_| keeps);
        Self { outcome, waited_ms, give_back, ..self }
    }

    /// The exit status.
    pub(super) fn status(&self) -> u8 {
        match self.outcome {
            Outcome::Drained | Outcome::Removed => 0,
            _ => NOT_DRAINED,
        }
    }

    /// The document and its end of line.
    pub(super) fn json(&self) -> String {
        // Text and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// A reply that is complete by itself, without waiting.
    pub(super) fn reply(&self, is_json: bool) -> Reply {
        let text = if is_json {
            self.json()
        } else if self.status() == 0 {
            format!("{}\n{}\n", self.start(), self.finish())
        } else {
            format!("{}\n{}\n", self.start(), self.counts())
        };
        Reply { status: self.status(), ..Reply::output(text) }
    }

    /// The server, in messages.
    pub(super) fn server(&self) -> SocketAddr {
        SocketAddr::new(self.server_address, self.server_port)
    }

    /// What the first step has done.
    pub(super) fn start(&self) -> String {
        format!("{}: weight {} (was {})", self.server(), self.weight, self.weight_before)
    }

    /// What is waited for.
    pub(super) fn counts(&self) -> String {
        let Self { remaining, active_connections, inactive_connections, .. } = self;
        let counts = format!(
            "{remaining} remaining: {active_connections} active, {inactive_connections} inactive"
        );
        match self.persistent_connections {
            0 => counts,
            some if self.persistent_expire => {
                counts + &format!(" ({some} persistent, not waited for)")
            }
            some => counts + &format!(", {some} persistent"),
        }
    }

    /// What is to be known of persistence before the waiting, if anything.
    pub(super) fn note(&self) -> Option<String> {
        let has = self.persistent_connections != 0 && !self.persistent_expire;
        has.then(|| {
            let server = self.server();
            format!(
                "note: persistence goes on to send {} of its clients to {server}; with --sysctl \
                 expire_quiescent_template=1 their next connections go elsewhere, and are not waited for",
                self.persistent_connections
            )
        })
    }

    /// What has become of it.
    pub(super) fn finish(&self) -> String {
        let (server, counts) = (self.server(), self.counts());
        let waited = Duration::from_millis(self.waited_ms).as_secs();
        let message = match self.outcome {
            Outcome::Drained => return format!("{server}: no connection left"),
            Outcome::Removed => return format!("{server}: no connection left, deleted"),
            Outcome::ConnectionsLeft => format!("{server}: not drained after {waited} s; {counts}"),
            Outcome::WeightGiven => {
                let weight = self.weight;
                return format!(
                    "{server}: not drained, it was given weight {weight} meanwhile; {counts}"
                );
            }
            Outcome::Deleted => {
                return format!("{server}: not drained, it was deleted meanwhile; it had {counts}");
            }
            Outcome::Interrupted => format!("{server}: interrupted after {waited} s; {counts}"),
        };
        match &self.give_back {
            Some(words) => {
                format!("{message}\nIts weight stays 0. To give it back: pollvsadm {words}")
            }
            None => format!("{message}\nIts weight stays 0, as it was before."),
        }
    }
}
