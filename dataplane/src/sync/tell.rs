//! What the packet path has to tell backups, until the worker fetches it.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::policy::Policy;
use super::record::{Record, RecordFlags};
use crate::address::Address;
use crate::common::Common;
use crate::connection::{Connection, Flags};
use crate::counters::Counters;
use crate::lane::BURST;
use crate::settings::Settings;
use crate::template::{TemplateId, Templates};
use crate::time::{TICKS_PER_SECOND, Tick};

/// Records that may wait to be fetched: each packet of a burst tells of its connection and its
/// template, and may have told of the template twice before, as it put a connection under it that
/// it opened at once.
const WAITING: usize = 4 * BURST;

/// Why backups are told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It still is, by its count of packets.
    Due,
    /// It has come to another state.
    State,
    /// It is real, which says the same of its template.
    Template,
}

/// Records on their way to backups.
pub(crate) struct Teller {
    /// Whether anybody is to be told.
    pub(crate) is_on: bool,
    pub(crate) policy: Policy,
    /// Until when the sweep finds out anew when connections are due, as settings have changed.
    pub(crate) recounts_until: Option<Tick>,
    waiting: Vec<Record>,
    /// The client's end and the count of packets at the latest news.
    news: (IpAddr, u16, u32),
}

impl Teller {
    pub(crate) fn new(settings: &Settings) -> Self {
        let waiting = Vec::with_capacity(WAITING);
        let news = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, 0);
        let policy = Policy::new(settings);
        Self { is_on: false, policy, recounts_until: None, waiting, news }
    }

    /// Puts a policy in force; the sweep gets to all connections within two seconds.
    pub(crate) fn put(&mut self, now: Tick, policy: Policy) {
        if self.policy != policy {
            self.policy = policy;
            self.recounts_until = Some(now.after_seconds(2));
        }
    }

    /// Gives away what waits.
    pub(crate) fn fetch(&mut self) -> impl Iterator<Item = Record> {
        self.waiting.drain(..)
    }

    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn push(&mut self, counters: &Counters, record: Record) {
        if self.waiting.len() < WAITING {
            self.waiting.push(record);
        } else {
            counters.sync.untold.add(1);
        }
    }

    /// Tells of a template that a connection was put under, or that has proved to be real.
    #[cold]
    #[inline(never)]
    pub(crate) fn template(&mut self, counters: &Counters, templates: &Templates, id: TemplateId) {
        if let Some(record) = templates.record(id) {
            self.push(counters, record);
        }
    }
}

impl Common {
    /// Tells backups of a connection and its template, if they are to be told.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell<A: Address>(
        &mut self,
        now: Tick,
        connection: &mut Connection<A>,
        cause: Cause,
    ) {
        let teller = &mut self.teller;
        if cause == Cause::Due {
            connection.due = match connection.state.is_told() {
                true => teller.policy.due_after(connection.in_packets),
                // Still being opened, as after a SYN that came twice: the next packet may open it.
                // Kernels have such a connection wait a whole period, and break at a takeover.
                false => connection.in_packets.saturating_add(1),
            };
            if !teller.is_on {
                return;
            }
        }
        let packet = (connection.client.into(), connection.client_port, connection.in_packets);
        match cause {
            // The packet by which it is due has brought the news.
            Cause::Due if teller.news == packet => return,
            Cause::State => teller.news = packet,
            _ => {}
        }
        let is_under_template = connection.template != TemplateId::NONE;
        let is_told = cause != Cause::Template
            && connection.state.is_told()
            && !connection.flags.has(Flags::ONE_PACKET)
            && !(is_under_template && teller.policy.only_templates);
        if is_told {
            let timeout = self.settings.timeouts.ticks(connection.state);
            let is_news = cause == Cause::State;
            if teller.policy.is_stale(now, connection, timeout, is_news) {
                let mark = self.servers[connection.server.index()].mark;
                teller
                    .push(&self.counters, record_of(connection, mark, timeout / TICKS_PER_SECOND));
            }
        }
        if is_under_template {
            teller.template(&self.counters, &self.templates, connection.template);
        }
    }
}

/// A connection as backups are told of it.
pub(crate) fn record_of<A: Address>(
    connection: &Connection<A>,
    mark: u32,
    timeout_s: u32,
) -> Record {
    let flags = RecordFlags::of_method(connection.flags.method())
        .with(RecordFlags::NO_OUTPUT, connection.flags.no_output())
        .with(RecordFlags::INACTIVE, !connection.flags.is_active());
    Record {
        protocol: connection.protocol,
        flags,
        state: connection.state.number(),
        timeout_s,
        mark,
        client: (connection.client.into(), connection.client_port),
        virtual_end: (connection.virtual_address.into(), connection.virtual_port),
        real: (connection.real.into(), connection.real_port),
        sequence: None,
    }
}

#[cfg(test)]
#[path = "tell_tests.rs"]
mod tests;
