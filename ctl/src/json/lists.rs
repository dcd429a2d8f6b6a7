//! The short lists: timeouts, sync daemons, settings, drops, rules for firewall marks.

use std::net::IpAddr;

use dataplane::address::Prefix;
use dataplane::mark::MarkRule;
use dataplane::settings::{Setting, Settings};
use serde::Serialize;

use super::sync;
use crate::backend::{DaemonRow, FrameCounts, PortLosses};
use crate::command::{Role, Timeouts};
use crate::mark;
use crate::sync::SyncState;

/// `-L --timeout`.
#[derive(Serialize)]
pub(super) struct TimeoutList {
    schema: &'static str,
    tcp_s: u32,
    tcp_fin_s: u32,
    udp_s: u32,
}

impl TimeoutList {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let Timeouts { tcp_s, tcp_fin_s, udp_s } = *timeouts;
        Self { schema: "pollvs/timeouts/1", tcp_s, tcp_fin_s, udp_s }
    }
}

/// `-L --daemon`.
#[derive(Serialize)]
pub(super) struct Daemons<'a> {
    schema: &'static str,
    daemons: Vec<Daemon<'a>>,
}

#[derive(Serialize)]
struct Daemon<'a> {
    role: &'static str,
    interface: &'a str,
    sync_id: u8,
    max_length: Option<u16>,
    group: Option<IpAddr>,
    port: Option<u16>,
    ttl: Option<u8>,
    master: Option<sync::Master>,
    backup: Option<sync::Backup>,
}

impl<'a> Daemons<'a> {
    pub(super) fn new(rows: &'a [DaemonRow], state: &SyncState) -> Self {
        let daemons = rows.iter().map(|row| Daemon {
            role: row.role.name(),
            interface: &row.interface,
            sync_id: row.sync_id,
            max_length: Some(row.max_length).filter(|&length| length != 0),
            group: row.group,
            port: Some(row.port).filter(|&port| port != 0),
            ttl: Some(row.ttl).filter(|&ttl| ttl != 0),
            master: state.master.as_ref().filter(|_| row.role == Role::Master).map(Into::into),
            backup: state.backup.as_ref().filter(|_| row.role == Role::Backup).map(Into::into),
        });
        Self { schema: "pollvs/daemons/1", daemons: daemons.collect() }
    }
}

/// `--sysctl`.
#[derive(Serialize)]
pub(super) struct Sysctl {
    schema: &'static str,
    settings: Vec<OneSetting>,
}

#[derive(Serialize)]
struct OneSetting {
    name: &'static str,
    value: String,
    acts: bool,
    meaning: &'static str,
}

impl Sysctl {
    pub(super) fn new((list, settings): &(Vec<&'static Setting>, Settings)) -> Self {
        let settings = list.iter().map(|setting| OneSetting {
            name: setting.name,
            value: setting.read(settings),
            acts: setting.acts,
            meaning: setting.text,
        });
        Self { schema: "pollvs/sysctl/1", settings: settings.collect() }
    }
}

/// `drops`.
#[derive(Serialize)]
pub(super) struct Drops<'a> {
    schema: &'static str,
    received: u64,
    transmitted: u64,
    handed_over: u64,
    answered: u64,
    limited: u64,
    dropped: u64,
    reasons: Vec<Reason>,
    ports: Vec<Port<'a>>,
}

#[derive(Serialize)]
struct Reason {
    name: &'static str,
    count: u64,
    meaning: &'static str,
}

#[derive(Serialize)]
struct Port<'a> {
    name: &'a str,
    missed: u64,
    receive_errors: u64,
    no_buffer: u64,
    transmit_errors: u64,
}

impl<'a> Drops<'a> {
    pub(super) fn new(counts: &'a FrameCounts) -> Self {
        let reason = |&(reason, count): &(dataplane::verdict::DropReason, u64)| Reason {
            name: reason.name(),
            count,
            meaning: reason.text(),
        };
        let port = |losses: &'a PortLosses| Port {
            name: &losses.name,
            missed: losses.missed,
            receive_errors: losses.receive_errors,
            no_buffer: losses.no_buffer,
            transmit_errors: losses.transmit_errors,
        };
        Self {
            schema: "pollvs/drops/1",
            received: counts.received,
            transmitted: counts.transmitted,
            handed_over: counts.handed_over,
            answered: counts.answered,
            limited: counts.limited,
            dropped: counts.drops.iter().map(|(_, count)| count).sum(),
            reasons: counts.drops.iter().map(reason).collect(),
            ports: counts.ports.iter().map(port).collect(),
        }
    }
}

/// `mark -L`.
#[derive(Serialize)]
pub(super) struct Marks {
    schema: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
struct Rule {
    number: usize,
    source: Option<String>,
    destination: Option<String>,
    protocol: Option<String>,
    source_ports: Option<Ports>,
    destination_ports: Option<Ports>,
    mark: u32,
}

#[derive(Serialize)]
struct Ports {
    first: u16,
    last: u16,
}

impl Marks {
    pub(super) fn new(rules: &[MarkRule]) -> Self {
        let text = |network: Option<Prefix>| network.map(|network| network.to_string());
        let ports = |range: Option<(u16, u16)>| range.map(|(first, last)| Ports { first, last });
        let rules =
            rules.iter().copied().map(mark::canonical).zip(1..).map(|(rule, number)| Rule {
                number,
                source: text(rule.source),
                destination: text(rule.destination),
                protocol: rule.protocol.map(mark::protocol_name),
                source_ports: ports(rule.source_ports),
                destination_ports: ports(rule.destination_ports),
                mark: rule.mark,
            });
        Self { schema: "pollvs/marks/1", rules: rules.collect() }
    }
}
