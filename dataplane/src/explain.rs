//! What the director would do with a packet, and why: the decisions of the packet path, taken once
//! more without their effects. The simulation holds one to the other, packet by packet.

use arrayvec::ArrayVec;
use core::net::IpAddr;

use crate::address_set::Role;
use crate::common::Common;
use crate::connection::Connection;
use crate::connection::state::{State, tcp_flag};
use crate::lane::{FTP, FTP_DATA, Lane, Way, is_of};
use crate::open::{query, service_port, template_key};
use crate::packet::ethernet::Mac;
use crate::packet::{Header, Network, Packet, protocol};
use crate::roster::{Member, Persistence, Roster, ServerId};
use crate::service::{Family, Method, Protocol, ServiceKey};
use crate::shard::Shard;
use crate::template::TemplateKey;
use crate::time::Tick;
use crate::verdict::{DropReason, PortId, ShardId};

/// Steps of an explanation, at most.
pub const MOST_STEPS: usize = 10;

/// The steps of an explanation, in order.
pub type Steps = ArrayVec<Step, MOST_STEPS>;

/// A step towards what becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Neither to nor from a virtual service: routed, or the director's own affair.
    Ordinary,
    /// The worker that owns the client's connections, of so many.
    Owner {
        /// That worker.
        owner: ShardId,
        /// How many workers there are.
        workers: u16,
    },
    /// Rules give it this firewall mark, which is not 0.
    Mark(u32),
    /// It belongs to a connection.
    Connection {
        /// Whether it comes from the server.
        is_reply: bool,
        /// The connection's state before the packet.
        state: State,
        /// Seconds until the connection would end.
        expires_s: u32,
        /// Its virtual end.
        virtual_end: (IpAddr, u16),
        /// Its real end.
        real: (IpAddr, u16),
    },
    /// The connection makes way for a new one.
    Replaced(Why),
    /// The virtual service that takes it.
    Service(ServiceKey),
    /// The client stays with the server that it had.
    Kept {
        /// The client, or the network of clients, that stays.
        client: IpAddr,
        /// Seconds until it is free again.
        expires_s: u32,
    },
    /// The client has a server to stay with, but that takes no connections any more.
    NotKept(Why),
    /// The client will stay with the server chosen now.
    WillKeep {
        /// The client, or the network of clients, that will stay.
        client: IpAddr,
        /// For so many seconds after its last connection was made.
        timeout_s: u32,
    },
    /// The scheduler chooses among the servers that take connections.
    Scheduled {
        /// Servers of the service.
        servers: u32,
        /// Those of weight 0.
        quiet: u32,
        /// Others that are at their upper threshold.
        overloaded: u32,
    },
    /// The server that gets it.
    Server {
        /// Its real end.
        real: (IpAddr, u16),
        /// How packets reach it.
        method: Method,
        /// Its weight.
        weight: u32,
        /// Its active connections.
        active: u32,
        /// Its inactive connections.
        inactive: u32,
    },
    /// Where it goes next.
    NextHop {
        /// The server, or the gateway to it.
        address: IpAddr,
        /// The port that it leaves by.
        port: PortId,
        /// The link-layer address, if that is known.
        mac: Option<Mac>,
    },
    /// It is dropped, perhaps with an answer to its sender.
    Dropped(DropReason),
}

/// Why something known does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server has been deleted (`expire_nodest_conn`, for connections).
    ServerDeleted,
    /// The server has weight 0 (`expire_quiescent_template`, `expire_nodest_conn`).
    ServerQuiet,
    /// The client opens a connection from a port whose old connection is closed
    /// (`conn_reuse_mode`).
    PortReused,
}

/// What the steps come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not for the tables: see [`Step::Ordinary`].
    Ordinary,
    /// Another worker decides.
    Elsewhere(ShardId),
    /// It goes to this server, unless something on the way stops it.
    Server(ServerId),
    /// It goes to the client of a connection with this server.
    Client(ServerId),
    /// It is dropped.
    Dropped(DropReason),
}

/// The packet that is asked about: the first one of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Where it comes from.
    pub client: (IpAddr, u16),
    /// What it is for.
    pub target: ServiceKey,
}

impl<F> Shard<F> {
    /// What would become of a packet that opens a connection. For a firewall mark its destination
    /// is unknown, and none of the client's connections is looked for.
    pub fn explain(&self, now: Tick, question: &Question, steps: &mut Steps) -> Outcome {
        let mark = match question.target {
            ServiceKey::Address { .. } => None,
            ServiceKey::Mark { mark, .. } => Some(mark),
        };
        match question.target.family() {
            Family::V4 => self.v4.explain_first(&self.common, now, question, mark, steps),
            Family::V6 => self.v6.explain_first(&self.common, now, question, mark, steps),
        }
    }
}

impl<A: Network> Lane<A> {
    fn explain_first(
        &self,
        common: &Common,
        now: Tick,
        question: &Question,
        mark: Option<u32>,
        steps: &mut Steps,
    ) -> Outcome {
        if question.protocol == Protocol::Sctp {
            return dropped(DropReason::Protocol, steps);
        }
        let (destination, destination_port) = match question.target {
            ServiceKey::Address { address, port, .. } => (A::from_ip(address), port),
            ServiceKey::Mark { .. } => (Some(A::UNSPECIFIED), 0),
        };
        let (Some(source), Some(destination)) = (A::from_ip(question.client.0), destination) else {
            steps.push(Step::Ordinary);
            return Outcome::Ordinary;
        };
        let packet = Packet {
            ip: Header {
                source,
                destination,
                protocol: question.protocol as u8,
                ttl: 64,
                header_length: A::HEADER_LENGTH as u16,
                total_length: A::HEADER_LENGTH as u16,
            },
            source_port: question.client.1,
            destination_port,
            tcp_flags: if question.protocol == Protocol::Tcp { tcp_flag::SYN } else { 0 },
            l3: 0,
        };
        let Some(mark) = mark else { return self.explain(common, now, &packet, steps) };
        let owner = self.explain_owner(common, &packet, Way::Request, steps);
        if owner != common.id {
            return Outcome::Elsewhere(owner);
        }
        self.explain_opening(common, now, mark, &packet, steps)
    }

    /// Notes whose a packet is, and returns it.
    fn explain_owner(
        &self,
        common: &Common,
        packet: &Packet<A>,
        way: Way,
        steps: &mut Steps,
    ) -> ShardId {
        let owner = self.hash_of(packet, way).owner(common.shards);
        steps.push(Step::Owner { owner, workers: common.shards });
        owner
    }

    /// What becomes of a TCP or UDP packet.
    pub(crate) fn explain(
        &self,
        common: &Common,
        now: Tick,
        packet: &Packet<A>,
        steps: &mut Steps,
    ) -> Outcome {
        let Some(way) = self.way_of(common, packet) else {
            steps.push(Step::Ordinary);
            return Outcome::Ordinary;
        };
        let owner = self.explain_owner(common, packet, way, steps);
        if owner != common.id {
            return Outcome::Elsewhere(owner);
        }
        let found = self.connection_of(now, packet, way);
        if let Some(connection) = found {
            steps.push(Step::Connection {
                is_reply: way == Way::Reply,
                state: connection.state,
                expires_s: now.seconds_until(connection.expires),
                virtual_end: (connection.virtual_address.into(), connection.virtual_port),
                real: (connection.real.into(), connection.real_port),
            });
        }
        match (way, found) {
            (Way::Reply, Some(connection)) => {
                self.explain_hop(common, connection.client.into(), steps);
                Outcome::Client(connection.server)
            }
            (Way::Reply, None) => dropped(DropReason::NoConnection, steps),
            (Way::Request, Some(connection)) => {
                match replaced(common, packet, connection) {
                    Some(Ok(why)) => steps.push(Step::Replaced(why)),
                    Some(Err(reason)) => return dropped(reason, steps),
                    None => {
                        let real = (connection.real.into(), connection.real_port);
                        let (server, method) = (connection.server, connection.flags.method());
                        return self.explain_server(common, server, method, real, steps);
                    }
                }
                self.explain_new(common, now, packet, steps)
            }
            (Way::Request, None) => self.explain_new(common, now, packet, steps),
        }
    }

    /// The record of a packet's connection, unless it has run out.
    pub(crate) fn connection_of(
        &self,
        now: Tick,
        packet: &Packet<A>,
        way: Way,
    ) -> Option<&Connection<A>> {
        let is_it = |connection: &Connection<A>| {
            is_of(connection, packet, way) && !now.reached(connection.expires)
        };
        let found = self.connections.find(self.hash_of(packet, way), is_it);
        found.map(|id| self.connections.get(id))
    }

    /// What becomes of a request without a connection.
    fn explain_new(
        &self,
        common: &Common,
        now: Tick,
        packet: &Packet<A>,
        steps: &mut Steps,
    ) -> Outcome {
        if packet.ip.protocol == protocol::TCP {
            let may_open = packet.opens() || common.settings.sloppy_tcp != 0;
            if packet.resets() || !may_open {
                return dropped(DropReason::NoConnection, steps);
            }
        }
        let mark = if common.marks.is_empty() { 0 } else { common.mark_of(packet) };
        if mark != 0 {
            steps.push(Step::Mark(mark));
        }
        self.explain_opening(common, now, mark, packet, steps)
    }

    /// What becomes of a packet that may open a connection.
    fn explain_opening(
        &self,
        common: &Common,
        now: Tick,
        mark: u32,
        packet: &Packet<A>,
        steps: &mut Steps,
    ) -> Outcome {
        if let Err(reason) = self.check_source(&packet.ip) {
            return dropped(reason, steps);
        }
        let Some(roster) = self.service(mark, packet) else {
            let is_virtual = self.addresses.role(packet.ip.destination).has(Role::VIRTUAL);
            let is_question = packet.ip.destination == A::UNSPECIFIED;
            let reason = if is_virtual || is_question {
                DropReason::NoService
            } else {
                DropReason::LocalPort
            };
            return dropped(reason, steps);
        };
        steps.push(Step::Service(roster.key));
        if packet.source_port == FTP_DATA {
            return dropped(DropReason::NoService, steps);
        }
        let port = packet.destination_port;
        let kept = roster.persistence.map(|persistence| {
            let key = template_key(roster, persistence, &packet.ip, port);
            (self.explain_template(common, now, persistence, &key, steps), key)
        });
        let is_exact =
            matches!(roster.key, ServiceKey::Mark { .. }) || service_port(roster) == port;
        let chosen = match kept {
            Some((Some(server), _)) => Some(server),
            None if !is_exact => None,
            _ => {
                steps.push(census(roster));
                roster.peek(&query(common, now, packet)).map(|member| member.id)
            }
        };
        let Some(server) = chosen else {
            let is_other = service_port(roster) == FTP && port != FTP;
            let reason = if is_other { DropReason::NoService } else { DropReason::NoDestination };
            return dropped(reason, steps);
        };
        let slot = &common.servers[server.index()];
        let address = slot.address().expect("a server that is available has an address");
        let goes_along = kept.is_some() && service_port(roster) != port;
        let real_port = if slot.port == 0 || goes_along { port } else { slot.port };
        if A::from_ip(address).is_none() {
            return dropped(DropReason::TunnelKind, steps);
        }
        self.explain_server(common, server, slot.method, (address, real_port), steps)
    }

    /// The server that a client stays with.
    fn explain_template(
        &self,
        common: &Common,
        now: Tick,
        persistence: Persistence,
        key: &TemplateKey,
        steps: &mut Steps,
    ) -> Option<ServerId> {
        let client = key.client;
        let why = match common.templates.lock(key).peek(key, now) {
            None => None,
            Some((server, expires_s)) => {
                let slot = &common.servers[server.index()];
                let quiet = common.settings.expire_quiescent_template != 0 && slot.weight == 0;
                match (slot.is_available, quiet) {
                    (true, false) => {
                        steps.push(Step::Kept { client, expires_s });
                        return Some(server);
                    }
                    (false, _) => Some(Why::ServerDeleted),
                    (true, true) => Some(Why::ServerQuiet),
                }
            }
        };
        steps.extend(why.map(Step::NotKept));
        steps.push(Step::WillKeep { client, timeout_s: persistence.timeout_s });
        None
    }

    fn explain_server(
        &self,
        common: &Common,
        server: ServerId,
        method: Method,
        real: (IpAddr, u16),
        steps: &mut Steps,
    ) -> Outcome {
        let slot = &common.servers[server.index()];
        let (active, inactive) = slot.server.as_ref().map_or((0, 0), |(_, load)| load.both());
        steps.push(Step::Server { real, method, weight: slot.weight, active, inactive });
        if method == Method::Tunnel && slot.outer.length() == 0 {
            steps.push(Step::Dropped(DropReason::TunnelKind));
        } else {
            self.explain_hop(common, slot.address().unwrap_or(real.0), steps);
        }
        Outcome::Server(server)
    }

    fn explain_hop(&self, common: &Common, to: IpAddr, steps: &mut Steps) {
        steps.push(match common.topology.next_hop(to) {
            None => Step::Dropped(DropReason::NoRoute),
            Some(key) => {
                let hop = common.neighbours.peek(key).filter(|hop| hop.is_resolved);
                let mac = hop.map(|hop| hop.header.destination());
                let port = common.topology.interface(key.interface).port;
                Step::NextHop { address: key.address, port, mac }
            }
        });
    }
}

/// Whether a request's connection does not simply go on: why it makes way for a new one, or why the
/// packet is dropped.
fn replaced<A: Network>(
    common: &Common,
    packet: &Packet<A>,
    connection: &Connection<A>,
) -> Option<Result<Why, DropReason>> {
    let server = &common.servers[connection.server.index()];
    let expires = common.settings.expire_nodest_conn != 0;
    if packet.opens() && common.may_replace(connection) {
        let is_quiet = expires && server.weight == 0;
        return Some(Ok(if is_quiet { Why::ServerQuiet } else { Why::PortReused }));
    }
    match (server.is_available || connection.server == common.nobody(), expires) {
        (true, _) => None,
        (false, true) => Some(Ok(Why::ServerDeleted)),
        (false, false) => Some(Err(DropReason::ServerDeleted)),
    }
}

/// How many servers a scheduler has to choose from.
fn census(roster: &Roster) -> Step {
    let count = |fits: fn(&Member) -> bool| {
        roster.members.iter().filter(|member| fits(member)).count() as u32
    };
    Step::Scheduled {
        servers: roster.members.len() as u32,
        quiet: count(|member| member.weight == 0),
        overloaded: count(|member| member.weight > 0 && member.load.is_overloaded()),
    }
}

fn dropped(reason: DropReason, steps: &mut Steps) -> Outcome {
    steps.push(Step::Dropped(reason));
    Outcome::Dropped(reason)
}
