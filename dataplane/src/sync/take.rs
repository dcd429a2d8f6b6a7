//! What a director makes of the connections and templates that another one has told it of (sync
//! protocol reference §6).

use alloc::sync::Arc;
use core::net::IpAddr;

use super::record::{Record, RecordFlags};
use super::wire::check;
use crate::common::Common;
use crate::connection::state::{LONGEST_S, State};
use crate::connection::{Connection, Flags, RecordId};
use crate::forward::nat;
use crate::frame::Frame;
use crate::lane::{Lane, ServiceEnd};
use crate::neighbour::NeighbourId;
use crate::packet::Network;
use crate::packet::checksum::Delta;
use crate::roster::{Load, ServerId};
use crate::service::Method;
use crate::shard::Shard;
use crate::template::{TemplateId, TemplateKey};
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::verdict::DropReason;

/// How long a template lasts whose sender did not say.
const TEMPLATE_S: u32 = 180;

/// How a record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// When something happened, as it happens.
    Live,
    /// With all others, on request. It may be older than what is known here, so it never moves
    /// what packets have passed through here since.
    Whole,
}

/// Why a record is left alone.
enum Left {
    /// It is about a connection that has been replaced, or that is served here by now.
    Late,
    /// Its addresses, or its state, cannot be.
    Unfit,
    NoRoom,
}

impl From<DropReason> for Left {
    fn from(_: DropReason) -> Self {
        Self::NoRoom
    }
}

/// Where connections to a virtual end are sent here.
#[derive(Clone, Copy)]
struct Bound {
    server: ServerId,
    method: Method,
}

impl<F: Frame> Shard<F> {
    /// Takes what another director has told. A connection's record belongs to the shard that owns
    /// its client's connections, a template's to any. What became of it is counted.
    pub fn take(&mut self, now: Tick, record: &Record, told: Told) {
        let common = &mut self.common;
        let done = match record.client.0 {
            IpAddr::V4(_) => self.v4.take(common, now, record, told),
            IpAddr::V6(_) => self.v6.take(common, now, record, told),
        };
        let counters = &common.counters.sync;
        match done {
            Ok(()) => {}
            Err(Left::Late) => counters.late.add(1),
            Err(Left::Unfit) => counters.unfit.add(1),
            Err(Left::NoRoom) => counters.no_room.add(1),
        }
    }
}

impl<A: Network> Lane<A> {
    fn take(
        &mut self,
        common: &mut Common,
        now: Tick,
        record: &Record,
        told: Told,
    ) -> Result<(), Left> {
        // As of messages, whichever way it has come.
        check(record.flags.0, record.protocol, record.state).map_err(|_| Left::Unfit)?;
        if record.flags.has(RecordFlags::TEMPLATE) {
            self.take_template(common, now, record, told)
        } else {
            self.take_connection(common, now, record, told)
        }
    }

    fn take_connection(
        &mut self,
        common: &mut Common,
        now: Tick,
        record: &Record,
        told: Told,
    ) -> Result<(), Left> {
        let ends = (A::from_ip(record.client.0), A::from_ip(record.virtual_end.0));
        let (Some(client), Some(virtual_address), Some(real)) =
            (ends.0, ends.1, A::from_ip(record.real.0))
        else {
            return Err(Left::Unfit);
        };
        let state = State::from_number(record.protocol, record.state).ok_or(Left::Unfit)?;
        let (virtual_port, real_port) = (record.virtual_end.1, record.real.1);
        let timeout = match record.timeout_s {
            0 => common.settings.timeouts.of(state),
            seconds => seconds.min(LONGEST_S) * TICKS_PER_SECOND,
        };
        let expires = now.after(timeout);
        let is_active = !record.flags.has(RecordFlags::INACTIVE);
        let hash = self.connections.hash(client, record.client.1);
        debug_assert_eq!(hash.owner(common.shards), common.id, "records go to their owner");
        let found = self.connections.find(hash, |known| {
            (known.client, known.client_port) == (client, record.client.1)
                && (known.virtual_address, known.virtual_port) == (virtual_address, virtual_port)
                && known.protocol == record.protocol
        });
        if let Some(id) = found {
            let known = self.connections.get(id);
            let is_same = (known.real, known.real_port) == (real, real_port);
            let is_untouched = known.flags.has(Flags::SYNCED)
                && known.in_packets == common.teller.policy.threshold
                && known.client_hop == NeighbourId::NONE;
            if now.reached(known.expires) {
                common.end(&mut self.connections, id);
            } else if told == Told::Whole && !(is_same && is_untouched) {
                return Err(Left::Late);
            } else if is_same {
                self.update(common, id, record, state, expires);
                common.counters.sync.updated.add(1);
                return Ok(());
            } else if is_active {
                common.end(&mut self.connections, id);
            } else {
                return Err(Left::Late);
            }
        }
        let bound = self.server_for(common, record);
        let mut flags = Flags::default();
        flags.set_active(is_active);
        flags.set(Flags::SYNCED, true);
        let mut connection = Connection {
            client,
            virtual_address,
            real,
            client_port: record.client.1,
            virtual_port,
            real_port,
            protocol: record.protocol,
            state,
            expires,
            server: bound.map_or(common.nobody(), |bound| bound.server),
            header_delta: Delta::NONE,
            transport_delta: Delta::NONE,
            flags,
            client_hop: NeighbourId::NONE,
            in_packets: common.teller.policy.threshold,
            template: TemplateId::NONE,
            due: common.teller.policy.due_after(common.teller.policy.threshold),
            told_until: Tick(0),
            retries: 0,
        };
        match bound {
            Some(bound) => connection.set_method(bound.method),
            None => {
                connection.set_method(record.flags.method());
                let is_blind = record.flags.has(RecordFlags::NO_OUTPUT);
                connection.flags.set(Flags::NO_OUTPUT, is_blind);
            }
        }
        self.connections.insert(hash, connection)?;
        common.servers[connection.server.index()].count(|load| load.bind(is_active));
        common.counters.sync.made.add(1);
        common.counters.sync.unbound.add(u64::from(bound.is_none()));
        Ok(())
    }

    fn update(
        &mut self,
        common: &mut Common,
        id: RecordId,
        record: &Record,
        state: State,
        expires: Tick,
    ) {
        let bound = match self.connections.get(id).server == common.nobody() {
            true => self.server_for(common, record),
            false => None,
        };
        let known = self.connections.get_mut(id);
        let is_active = !record.flags.has(RecordFlags::INACTIVE);
        if is_active != known.flags.is_active() {
            common.servers[known.server.index()].reclassify(is_active);
            known.flags.set_active(is_active);
        }
        known.state = state;
        known.expires = expires;
        // What shows that packets have passed here, of either direction.
        known.in_packets = common.teller.policy.threshold;
        known.due = common.teller.policy.due_after(known.in_packets);
        known.client_hop = NeighbourId::NONE;
        if let Some(bound) = bound {
            common.bind_nobodys(known, bound);
        }
    }

    fn take_template(
        &mut self,
        common: &mut Common,
        now: Tick,
        record: &Record,
        told: Told,
    ) -> Result<(), Left> {
        let is_ours = |address| A::from_ip(address).is_some();
        if !is_ours(record.virtual_end.0) || !is_ours(record.real.0) {
            return Err(Left::Unfit);
        }
        let timeout_s = match record.timeout_s {
            0 => TEMPLATE_S,
            seconds => seconds.min(LONGEST_S),
        };
        let timeout = timeout_s * TICKS_PER_SECOND;
        let is_assured = record.state == State::Assured.number();
        let bound = self.server_for(common, record);
        let server = bound.map_or(common.nobody(), |bound| bound.server);
        let method = bound.map_or(record.flags.method(), |bound| bound.method);
        let nobody = common.nobody();
        let is_counted = server != nobody;
        let key = TemplateKey {
            protocol: record.protocol,
            client: record.client.0,
            virtual_end: record.virtual_end,
        };
        let templates = Arc::clone(&common.templates);
        let mut stripe = templates.lock(&key);
        let found = stripe.find(&key, now, &mut |server| common.unbind_template(server));
        if let Some(slot) = found {
            let (real, is_in_use) = stripe.leads_to(slot);
            if told == Told::Whole && is_in_use {
                return Err(Left::Late);
            }
            if real == record.real {
                let old = stripe.server(slot);
                if old != server && old != nobody {
                    common.unbind_template(old);
                }
                if old != server && is_counted {
                    common.servers[server.index()].count(Load::bind_template);
                }
                stripe.update(slot, (server, method), is_counted, now, timeout, is_assured);
                common.counters.sync.updated.add(1);
                return Ok(());
            }
            stripe.retire(slot);
        }
        let slot = stripe.insert(key, server, method, record.real, now, timeout_s)?;
        stripe.update(slot, (server, method), is_counted, now, timeout, is_assured);
        stripe.mark_synced(slot);
        if is_counted {
            common.servers[server.index()].count(Load::bind_template);
        }
        common.counters.sync.made.add(1);
        common.counters.sync.unbound.add(u64::from(bound.is_none()));
        Ok(())
    }

    /// The server of this director that a record means.
    fn server_for(&self, common: &Common, record: &Record) -> Option<Bound> {
        let virtual_address = A::from_ip(record.virtual_end.0)?;
        let end = (record.protocol, virtual_address, record.virtual_end.1);
        self.server_at(common, record.mark, end, record.real, record.flags.method())
    }

    /// The server with a real end of the service that takes a virtual end. One that takes any port
    /// may have been meant, too: it is looked for first where ports are kept.
    fn server_at(
        &self,
        common: &Common,
        mark: u32,
        end: ServiceEnd<A>,
        (address, port): (IpAddr, u16),
        method: Method,
    ) -> Option<Bound> {
        let roster = self.service_of(mark, end)?;
        let keeps_port = mark != 0 || method != Method::Nat;
        let ports = if keeps_port { [0, port] } else { [port, 0] };
        let at = |port| {
            let mut members = roster.members.iter();
            members.find(|member| member.port == port && member.address == address)
        };
        let member = at(ports[0]).or_else(|| at(ports[1]))?;
        debug_assert!(common.servers[member.id.index()].is_available);
        Some(Bound { server: member.id, method: member.method })
    }

    /// Finds a connection without a server one, which may have been configured since, or else makes
    /// ready the way to where it was sent before.
    pub(crate) fn lead_nobodys(&mut self, common: &mut Common, id: RecordId) {
        let known = self.connections.get(id);
        let end = (known.protocol, known.virtual_address, known.virtual_port);
        let (real, method) = ((known.real.into(), known.real_port), known.flags.method());
        match self.server_at(common, 0, end, real, method) {
            Some(bound) => common.bind_nobodys(self.connections.get_mut(id), bound),
            None => common.lead_nobody(real.0),
        }
    }
}

impl<A: Network> Connection<A> {
    /// Sends it by another method from now on.
    fn set_method(&mut self, method: Method) {
        let (virtual_end, real) =
            ((self.virtual_address, self.virtual_port), (self.real, self.real_port));
        (self.header_delta, self.transport_delta) = nat::deltas(method, virtual_end, real);
        self.flags.set_method(method);
    }
}

impl Common {
    /// Gives a connection without a server to one.
    fn bind_nobodys<A: Network>(&self, connection: &mut Connection<A>, bound: Bound) {
        let is_active = connection.flags.is_active();
        self.servers[connection.server.index()].count(|load| load.unbind(is_active));
        connection.server = bound.server;
        connection.set_method(bound.method);
        self.servers[bound.server.index()].count(|load| load.bind(is_active));
    }

    /// Makes the slot of connections without a server lead to an address.
    fn lead_nobody(&mut self, to: IpAddr) {
        let outer = self.topology.outer_template(to).unwrap_or_default();
        let nobody = self.nobody().index();
        let slot = &mut self.servers[nobody];
        let load = slot.server.take().map(|(_, load)| load).unwrap_or_default();
        slot.server = Some((to, load));
        slot.hop = NeighbourId::NONE;
        slot.outer = outer;
    }
}

#[cfg(test)]
#[path = "take_tests.rs"]
mod tests;
