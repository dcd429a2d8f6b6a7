//! A packet of a known connection: counted, its state moved on, and sent by the connection's method
//! to its server, or back to its client.

use crate::common::{Common, Rest};
use crate::connection::Connection;
use crate::connection::state::{Direction, State};
use crate::forward::{self, nat};
use crate::frame::Frame;
use crate::neighbour::Hop;
use crate::packet::checksum::Delta;
use crate::packet::{Header, Network, Packet, ipv4, ipv6};
use crate::process::Refused;
use crate::server::ServerSlot;
use crate::service::Method;
use crate::sync::Cause;
use crate::template::TemplateId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

/// A packet from the client on its connection.
#[inline(always)]
pub(crate) fn request<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    connection: &mut Connection<A>,
) -> Result<Verdict, Refused> {
    let traffic = common.counters.server(connection.server);
    traffic.in_packets.add(1);
    traffic.in_bytes.add(u64::from(packet.ip.total_length));
    connection.in_packets = connection.in_packets.wrapping_add(1);
    let direction = match connection.flags.no_output() {
        true => Direction::InputOnly,
        false => Direction::Input,
    };
    advance(common, now, connection, direction, packet);
    if connection.in_packets == connection.due {
        common.tell(now, connection, Cause::Due);
    }
    let (slot, rest) = common.towards(connection.server);
    let connection = &*connection;
    let nat = ToServer { packet, connection };
    send_to_server(slot, rest, now, frame, packet.l3, &packet.ip, connection, nat)
}

/// What NAT makes of a packet, one hop included. A closure would not be inlined.
pub(crate) trait Translate {
    fn translate(self, l3: &mut [u8]);
}

struct ToServer<'a, A> {
    packet: &'a Packet<A>,
    connection: &'a Connection<A>,
}

impl<A: Network> Translate for ToServer<'_, A> {
    #[inline(always)]
    fn translate(self, l3: &mut [u8]) {
        nat::request(l3, self.packet, self.connection);
    }
}

/// Sends a packet to its connection's server by the connection's method; `nat` is for NAT.
#[inline(always)]
pub(crate) fn send_to_server<F: Frame, A: Network>(
    slot: &mut ServerSlot,
    rest: Rest<'_>,
    now: Tick,
    frame: &mut F,
    l3: u16,
    ip: &Header<A>,
    connection: &Connection<A>,
    nat: impl Translate,
) -> Result<Verdict, Refused> {
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    let Rest { topology, neighbours, identification, .. } = rest;
    let identification = match connection.flags.method() {
        Method::Tunnel => identification.next(),
        Method::Direct | Method::Nat => 0,
    };
    let hop = match neighbours.usable(now, slot.hop) {
        Some(hop) => hop,
        None => {
            let to = slot.address().ok_or(DropReason::NoRoute)?;
            slot.hop = neighbours.towards(now, topology, to)?;
            neighbours.hop(now, slot.hop)
        }
    };
    match connection.flags.method() {
        Method::Direct => A::hop(forward::open(frame, l3, ip, 0, hop)?, Delta::NONE),
        Method::Nat => nat.translate(forward::open(frame, l3, ip, 0, hop)?),
        // Two constant lengths compile to better code than a variable one.
        Method::Tunnel => match slot.outer.length() {
            ipv4::HEADER_LENGTH => {
                const OUTER: usize = ipv4::HEADER_LENGTH;
                wrap::<OUTER, F, A>(frame, l3, ip, slot, now, hop, identification)?;
            }
            ipv6::HEADER_LENGTH => {
                const OUTER: usize = ipv6::HEADER_LENGTH;
                wrap::<OUTER, F, A>(frame, l3, ip, slot, now, hop, identification)?;
            }
            _ => return Err(DropReason::TunnelKind.into()),
        },
    }
    Ok(forward::send(hop, slot.hop))
}

/// Puts an outer header of `OUTER` bytes in front of a packet.
#[inline(always)]
fn wrap<const OUTER: usize, F: Frame, A: Network>(
    frame: &mut F,
    l3: u16,
    ip: &Header<A>,
    slot: &mut ServerSlot,
    now: Tick,
    hop: &Hop,
    identification: u16,
) -> Result<(), Refused> {
    let tunnel_mtu = slot.tunnel_mtu(now, hop.mtu);
    if ip.total_length > tunnel_mtu {
        return Err(Refused { reason: DropReason::TooBig, mtu: tunnel_mtu });
    }
    let l3 = forward::open(frame, l3, ip, OUTER, hop)?;
    A::hop(&mut l3[OUTER..], Delta::NONE);
    let inner = A::inner(&l3[OUTER..]);
    slot.outer.write(l3, inner, ip.total_length, A::IN_IP, identification);
    Ok(())
}

/// A packet from a real server behind NAT. A deleted server's replies still pass, uncounted. One
/// that cannot pass leaves no trace: routers look at that before they look for connections.
#[inline(always)]
pub(crate) fn reply<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    connection: &mut Connection<A>,
) -> Result<Verdict, Refused> {
    if packet.ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    let (slot, rest) = common.towards(connection.server);
    let hop = match rest.neighbours.usable(now, connection.client_hop) {
        Some(hop) => hop,
        None => {
            let to = connection.client.into();
            connection.client_hop = rest.neighbours.towards(now, rest.topology, to)?;
            rest.neighbours.hop(now, connection.client_hop)
        }
    };
    let l3 = forward::open(frame, packet.l3, &packet.ip, 0, hop)?;
    nat::reply(l3, packet, connection);
    let verdict = forward::send(hop, connection.client_hop);
    if slot.is_available {
        let traffic = rest.counters.server(connection.server);
        traffic.out_packets.add(1);
        traffic.out_bytes.add(u64::from(packet.ip.total_length));
    }
    connection.flags.see_output();
    advance(common, now, connection, Direction::Output, packet);
    if connection.flags.vouches() && connection.state == State::Udp {
        assure(common, now, connection);
    }
    Ok(verdict)
}

/// Moves a connection on in its protocol and restarts its timer.
#[inline(always)]
fn advance<A: Network>(
    common: &mut Common,
    now: Tick,
    connection: &mut Connection<A>,
    direction: Direction,
    packet: &Packet<A>,
) {
    let settings = &common.settings;
    let state = connection.state.next(direction, packet.tcp_flags, settings.defence());
    connection.expires = now.after(settings.timeouts.ticks(state));
    if state != connection.state {
        change_state(common, now, connection, state);
    }
}

/// Notes that a connection has come to another state. Of one that has opened, backups hear by its
/// count of packets.
#[inline(never)]
fn change_state<A: Network>(
    common: &mut Common,
    now: Tick,
    connection: &mut Connection<A>,
    state: State,
) {
    connection.state = state;
    if state.is_active() != connection.flags.is_active() {
        connection.flags.set_active(state.is_active());
        common.servers[connection.server.index()].reclassify(state.is_active());
    }
    if state == State::Established && connection.flags.vouches() {
        assure(common, now, connection);
    }
    if common.teller.is_on && state != State::Established && state.is_told() {
        common.tell(now, connection, Cause::State);
    }
}

/// Tells the template that this connection is real.
#[cold]
fn assure<A: Network>(common: &mut Common, now: Tick, connection: &mut Connection<A>) {
    connection.flags.set_vouches(false);
    debug_assert_ne!(connection.template, TemplateId::NONE);
    common.templates.assure(connection.template);
    if common.teller.is_on {
        common.tell(now, connection, Cause::Template);
    }
}
