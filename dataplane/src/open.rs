//! Requests that do more than continue a connection: those that open one, or find theirs at an
//! end. A server is chosen here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address_set::Role;
use crate::carry::request;
use crate::common::Common;
use crate::connection::state::{Direction, State};
use crate::connection::{Connection, Flags, RecordId};
use crate::forward::nat;
use crate::frame::Frame;
use crate::hash::ClientHash;
use crate::lane::{FTP, FTP_DATA, Lane, Staged};
use crate::neighbour::NeighbourId;
use crate::packet::{Header, Network, Packet, protocol};
use crate::process::Refused;
use crate::roster::{Load, Persistence, Roster, ServerId};
use crate::schedule::Query;
use crate::service::{ClientMask, Method, ServiceKey};
use crate::template::{TemplateId, TemplateKey};
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::verdict::{DropReason, Verdict};

/// Bit of `conn_reuse_mode`: connections half closed as far as one side shows count as closed.
const REUSE_HALF_CLOSED: i32 = 2;
/// How long a connection lasts that no packet has moved on yet.
const UNSTARTED: u32 = 3 * TICKS_PER_SECOND;

/// The server chosen for a connection.
struct Choice<A> {
    server: ServerId,
    /// `None` when its address is of the other family: only a tunnel would lead there.
    real: Option<A>,
    real_port: u16,
    method: Method,
    template: TemplateId,
}

impl<A: Network> Lane<A> {
    /// A request whose connection is missing, has ended, has lost its server, or may be replaced.
    #[inline(always)]
    pub(crate) fn open<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
        found: Option<RecordId>,
    ) -> Result<Verdict, Refused> {
        let packet = &staged.packet;
        // Forwarding is spelt out once, at the end, to be inlined there.
        let id = 'id: {
            let mut replaced = None;
            if let Some(id) = found {
                let connection = self.connections.get(id);
                if now.reached(connection.expires) {
                    common.end(&mut self.connections, id);
                } else if packet.opens() && common.may_replace(connection) {
                    replaced = Some(id);
                } else if common.servers[connection.server.index()].is_available {
                    break 'id id;
                } else if connection.server == common.nobody() {
                    self.lead_nobodys(common, id);
                    break 'id id;
                } else if common.settings.expire_nodest_conn != 0 {
                    replaced = Some(id);
                } else {
                    return Err(DropReason::ServerDeleted.into());
                }
            }
            if replaced.is_some() && self.connections.len() == self.connections.capacity() {
                // Its record is needed for its successor.
                common.end(&mut self.connections, replaced.take().expect("there is one"));
            }
            let made = self.make(common, now, frame, staged);
            // The old connection is counted at its server while the new one is scheduled.
            if let Some(id) = replaced {
                common.end(&mut self.connections, id);
            }
            match made? {
                Made::Connection(id) => id,
                Made::OnePacket(verdict) => return Ok(verdict),
            }
        };
        request(common, now, frame, packet, self.connections.get_mut(id))
    }

    /// Makes a connection for a packet that may open one.
    #[inline(always)]
    fn make<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Made, Refused> {
        let packet = &staged.packet;
        if packet.ip.protocol == protocol::TCP {
            let may_open = packet.opens() || common.settings.sloppy_tcp != 0;
            if packet.resets() || !may_open {
                return Err(DropReason::NoConnection.into());
            }
        }
        let (mut connection, is_one_packet) = self.schedule(common, now, packet)?;
        if is_one_packet {
            return forward_alone(common, now, frame, packet, connection).map(Made::OnePacket);
        }
        // A packet makes a connection active at once, so it is counted where it will be.
        let direction =
            if connection.flags.no_output() { Direction::InputOnly } else { Direction::Input };
        let defence = common.settings.defence();
        let state = connection.state.next(direction, packet.tcp_flags, defence);
        connection.flags.set_active(state.is_active());
        self.insert(common, staged.hash, connection).map(Made::Connection)
    }

    /// Puts a scheduled connection into the table and binds it to its server.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        common: &Common,
        hash: ClientHash,
        connection: Connection<A>,
    ) -> Result<RecordId, Refused> {
        match self.connections.insert(hash, connection) {
            Ok(id) => {
                common.bind(&connection);
                Ok(id)
            }
            Err(reason) => {
                if connection.template != TemplateId::NONE {
                    common.templates.release(connection.template);
                }
                Err(reason.into())
            }
        }
    }

    /// Chooses a server for a packet: the connection, which is in no table and at no server's
    /// count yet, and whether it is to last for this packet only.
    #[inline(always)]
    pub(crate) fn schedule(
        &self,
        common: &mut Common,
        now: Tick,
        packet: &Packet<A>,
    ) -> Result<(Connection<A>, bool), Refused> {
        let Packet { ip, source_port, destination_port, .. } = *packet;
        self.check_source(&ip)?;
        let mark = if common.marks.is_empty() { 0 } else { common.mark_of(packet) };
        let Some(roster) = self.service(mark, packet) else {
            let is_virtual = self.addresses.role(ip.destination).has(Role::VIRTUAL);
            let reason = if is_virtual { DropReason::NoService } else { DropReason::LocalPort };
            return Err(reason.into());
        };
        if source_port == FTP_DATA {
            // A server's data connection: never balanced.
            return Err(DropReason::NoService.into());
        }
        let chosen = match roster.persistence {
            Some(persistence) => self.keep(common, now, roster, persistence, packet)?,
            None => {
                let is_exact = matches!(roster.key, ServiceKey::Mark { .. })
                    || service_port(roster) == destination_port;
                let member = is_exact.then(|| roster.pick(&query(common, now, packet))).flatten();
                member.map(|member| Choice {
                    server: member.id,
                    real: A::from_ip(member.address),
                    real_port: member.port,
                    method: member.method,
                    template: TemplateId::NONE,
                })
            }
        };
        if let Some(choice) = &chosen
            && choice.template != TemplateId::NONE
            && common.teller.is_on
        {
            common.teller.template(&common.counters, &common.templates, choice.template);
        }
        let Some(choice) = chosen else {
            // Other ports of an FTP server's address are none of the service's business.
            let is_other = service_port(roster) == FTP && destination_port != FTP;
            let reason = if is_other { DropReason::NoService } else { DropReason::NoDestination };
            return Err(reason.into());
        };
        let Some(real) = choice.real else {
            if choice.template != TemplateId::NONE {
                common.templates.release(choice.template);
            }
            return Err(DropReason::TunnelKind.into());
        };
        let real_port = if choice.real_port == 0 { destination_port } else { choice.real_port };
        let virtual_end = (ip.destination, destination_port);
        let (header_delta, transport_delta) =
            nat::deltas(choice.method, virtual_end, (real, real_port));
        let is_one_packet = roster.one_packet && ip.protocol == protocol::UDP;
        let mut flags = Flags::new(choice.method);
        flags.set(Flags::ONE_PACKET, is_one_packet);
        flags.set_vouches(choice.template != TemplateId::NONE);
        let connection = Connection {
            client: ip.source,
            virtual_address: ip.destination,
            real,
            client_port: source_port,
            virtual_port: destination_port,
            real_port,
            protocol: ip.protocol,
            state: State::first(ip.protocol),
            expires: now.after(UNSTARTED),
            server: choice.server,
            header_delta,
            transport_delta,
            flags,
            client_hop: NeighbourId::NONE,
            in_packets: 0,
            template: choice.template,
            due: common.teller.policy.due_after(0),
            told_until: Tick(0),
            retries: 0,
        };
        Ok((connection, is_one_packet))
    }

    /// The server that the client stays with, or else a new one that it will stay with.
    #[inline(never)]
    fn keep(
        &self,
        common: &Common,
        now: Tick,
        roster: &Roster,
        persistence: Persistence,
        packet: &Packet<A>,
    ) -> Result<Option<Choice<A>>, Refused> {
        let port = packet.destination_port;
        let is_service_port = port == service_port(roster);
        let key = template_key(roster, persistence, &packet.ip, port);
        let templates = &common.templates;
        let mut stripe = templates.lock(&key);
        let found = stripe.find(&key, now, &mut |server| common.unbind_template(server));
        let found = found.filter(|&slot| {
            let server = &common.servers[stripe.server(slot).index()];
            let is_quiet = common.settings.expire_quiescent_template != 0 && server.weight == 0;
            let is_valid = server.is_available && !is_quiet;
            if !is_valid {
                stripe.retire(slot);
            }
            is_valid
        });
        let slot = match found {
            Some(slot) => slot,
            None => {
                let Some(member) = roster.pick(&query(common, now, packet)) else {
                    return Ok(None);
                };
                // Behind a mark, and for ports that are not the service's, all ports go along.
                let real_port = if key.virtual_end.1 == 0 { 0 } else { member.port };
                let real = (member.address, real_port);
                let slot = stripe.insert(
                    key,
                    member.id,
                    member.method,
                    real,
                    now,
                    persistence.timeout_s,
                )?;
                common.servers[member.id.index()].count(Load::bind_template);
                slot
            }
        };
        let id = stripe.server(slot);
        let server = &common.servers[id.index()];
        let address = server.address().expect("a server that is available has an address");
        let real_port = if is_service_port { server.port } else { 0 };
        let template = stripe.hold(slot, now);
        let real = A::from_ip(address);
        Ok(Some(Choice { server: id, real, real_port, method: server.method, template }))
    }
}

/// Forwards a request on a connection that lasts for it only.
#[inline(never)]
fn forward_alone<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    mut connection: Connection<A>,
) -> Result<Verdict, Refused> {
    common.bind(&connection);
    let verdict = request(common, now, frame, packet, &mut connection);
    common.unbind(&connection);
    verdict
}

/// What became of a packet that opens.
enum Made {
    /// A connection in the table; the packet is still to be sent.
    Connection(RecordId),
    /// A connection for this packet alone, which has been sent.
    OnePacket(Verdict),
}

impl Common {
    /// Whether a packet that opens a connection ends the one it meets, to be scheduled anew.
    pub(crate) fn may_replace<A>(&self, connection: &Connection<A>) -> bool {
        let settings = &self.settings;
        let server = &self.servers[connection.server.index()];
        if settings.expire_nodest_conn != 0 && server.weight == 0 {
            return true;
        }
        if settings.conn_reuse_mode == 0 || connection.template != TemplateId::NONE {
            return false;
        }
        match connection.state {
            State::TimeWait | State::Close => true,
            State::FinWait => {
                settings.conn_reuse_mode & REUSE_HALF_CLOSED != 0 && connection.flags.no_output()
            }
            _ => false,
        }
    }

    /// Counts a new connection in.
    #[inline]
    fn bind<A>(&self, connection: &Connection<A>) {
        let is_active = connection.flags.is_active();
        self.servers[connection.server.index()].count(|load| load.bind(is_active));
        self.counters.server(connection.server).connections.add(1);
    }
}

pub(crate) fn query<A: Network>(common: &Common, now: Tick, packet: &Packet<A>) -> Query {
    Query {
        client: packet.ip.source.into(),
        client_port: packet.source_port,
        destination: packet.ip.destination.into(),
        now,
        lblc_expiration_s: common.settings.lblc_expiration as u32,
        lblcr_expiration_s: common.settings.lblcr_expiration as u32,
    }
}

/// The port of a service; 0 for any port and behind a mark.
pub(crate) fn service_port(roster: &Roster) -> u16 {
    match roster.key {
        ServiceKey::Address { port, .. } => port,
        ServiceKey::Mark { .. } => 0,
    }
}

/// What a persistent client is remembered by.
pub(crate) fn template_key<A: Network>(
    roster: &Roster,
    persistence: Persistence,
    ip: &Header<A>,
    port: u16,
) -> TemplateKey {
    let client = masked(ip.source.into(), persistence.mask);
    match roster.key {
        ServiceKey::Mark { mark, family } => {
            TemplateKey { protocol: 0, client, virtual_end: (family.address_of(mark), 0) }
        }
        ServiceKey::Address { port: service, .. } => {
            // One template for control and data connections of FTP, and for all ports of a
            // service of any port.
            let port = if port == service && service != FTP { port } else { 0 };
            TemplateKey {
                protocol: ip.protocol,
                client,
                virtual_end: (ip.destination.into(), port),
            }
        }
    }
}

fn masked(address: IpAddr, mask: ClientMask) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), ClientMask::V4(mask)) => (address & Ipv4Addr::from(mask)).into(),
        (IpAddr::V6(address), ClientMask::V6(length)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            (address & Ipv6Addr::from(mask)).into()
        }
        (address, _) => address,
    }
}
