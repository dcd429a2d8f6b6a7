//! The packet path, top to bottom: parse, find, schedule, forward, verdict.
//!
//! A burst goes through three passes, each asking for the memory of the next: parse and hash every
//! frame, compare tags in the buckets, act on the records. The misses of a burst overlap. What is
//! neither request nor reply comes after them.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::address_set::Role;
use crate::common::Common;
use crate::connection::state::{Direction, State};
use crate::connection::{Connection, RecordId};
use crate::forward::{self, nat};
use crate::frame::{Frame, Host};
use crate::lane::{BURST, Lane, Staged, Way};
use crate::mark::mark_of;
use crate::neighbour::Hop;
use crate::packet::checksum::Delta;
use crate::packet::ethernet::{self, Link};
use crate::packet::{self, Header, Network, Packet, ipv4, ipv6, protocol};
use crate::server::ServerSlot;
use crate::service::Method;
use crate::shard::Shard;
use crate::template::TemplateId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

/// Why a packet is not forwarded, and the MTU that it exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: DropReason,
    /// Of the way out, when the packet is too big for it.
    pub(crate) mtu: u16,
}

impl From<DropReason> for Refused {
    #[inline]
    fn from(reason: DropReason) -> Self {
        Self { reason, mtu: 0 }
    }
}

impl<F: Frame> Shard<F> {
    /// Judges a burst of at most [`BURST`] frames: `verdicts` gets one for each. Frames that are
    /// transmitted or held have been rewritten in place, the others are as they came.
    ///
    /// # Panics
    /// When there are more frames than [`BURST`] or fewer verdicts than frames.
    pub fn process<H: Host<Frame = F>>(
        &mut self,
        now: Tick,
        host: &H,
        frames: &mut [F],
        verdicts: &mut [Verdict],
    ) {
        assert!(frames.len() <= BURST);
        let verdicts = &mut verdicts[..frames.len()];
        match self.trace {
            None => self.process_burst(now, host, frames, verdicts),
            Some(_) => self.process_watched(now, host, frames, verdicts),
        }
    }

    #[inline]
    pub(crate) fn process_burst<H: Host<Frame = F>>(
        &mut self,
        now: Tick,
        host: &H,
        frames: &mut [F],
        verdicts: &mut [Verdict],
    ) {
        for frame in frames.iter() {
            if let Some(first) = frame.bytes().first() {
                host.prefetch(first);
            }
        }
        self.staged4.clear();
        self.staged6.clear();
        self.others.clear();
        for (place, (frame, verdict)) in frames.iter_mut().zip(verdicts.iter_mut()).enumerate() {
            if let Err(settled) = self.parse(host, frame, place as u8) {
                *verdict = settled;
            }
        }
        let common = &mut self.common;
        self.v4.judge_staged(common, now, host, frames, &mut self.staged4, verdicts);
        self.v6.judge_staged(common, now, host, frames, &mut self.staged6, verdicts);
        for n in 0..self.others.len() {
            let place = usize::from(self.others[n]);
            let verdict = self.judge_other(now, &mut frames[place]);
            verdicts[place] = verdict.unwrap_or_else(Verdict::Drop);
        }
        let counters = &self.common.counters;
        counters.received.add(frames.len() as u64);
        for verdict in verdicts.iter() {
            if let Verdict::Drop(reason) = *verdict {
                counters.count_drop(reason, 1);
            }
        }
    }

    /// First pass: stages the frame for the passes to come, or settles its verdict.
    #[inline(always)]
    fn parse<H: Host<Frame = F>>(
        &mut self,
        host: &H,
        frame: &mut F,
        place: u8,
    ) -> Result<(), Verdict> {
        if !frame.is_contiguous() {
            return Err(DropReason::FrameSegmented.into());
        }
        let link = ethernet::parse(frame.bytes())?;
        let arrival = self.common.topology.arrival(frame.port(), link.vlan);
        let (interface, mac) = arrival.ok_or(DropReason::UnknownVlan)?;
        if link.ether_type == ethernet::ARP {
            return Err(self.arp(frame, &link, interface, mac)?);
        }
        if link.destination != mac {
            // Neighbour solicitations go to groups.
            if link.ether_type == Ipv6Addr::ETHER_TYPE && link.destination.is_group() {
                self.others.push(place);
                return Ok(());
            }
            return Err(DropReason::NotOurMac.into());
        }
        let (common, staged4, staged6) = (&self.common, &mut self.staged4, &mut self.staged6);
        let is_staged = match link.ether_type {
            Ipv4Addr::ETHER_TYPE => self.v4.stage(common, host, frame, &link, place, staged4)?,
            Ipv6Addr::ETHER_TYPE => self.v6.stage(common, host, frame, &link, place, staged6)?,
            _ => return Err(DropReason::EtherType.into()),
        };
        if !is_staged {
            self.others.push(place);
        }
        Ok(())
    }
}

impl<A: Network> Lane<A> {
    /// Stages a packet that is a request or a reply of ours; false when it is neither.
    #[inline(always)]
    fn stage<H: Host>(
        &self,
        common: &Common,
        host: &H,
        frame: &H::Frame,
        link: &Link,
        place: u8,
        burst: &mut Vec<Staged<A>>,
    ) -> Result<bool, Verdict> {
        let l3 = &frame.bytes()[link.length..];
        let ip = A::parse(l3, frame.header_checksum())?;
        if ip.protocol != protocol::TCP && ip.protocol != protocol::UDP {
            return Ok(false);
        }
        let packet = packet::parse_transport(l3, link.length, ip)?;
        let Some(way) = self.way_of(common, &packet) else { return Ok(false) };
        let hash = self.hash_of(&packet, way);
        let owner = hash.owner(common.shards);
        if owner != common.id {
            return Err(Verdict::ToOwner(owner));
        }
        host.prefetch(self.connections.bucket_line(hash));
        burst.push(Staged { packet, hash, guess: RecordId::NONE, way, place });
        Ok(true)
    }

    /// Which way a packet goes, if it is for a service or from a server.
    #[inline(always)]
    pub(crate) fn way_of(&self, common: &Common, packet: &Packet<A>) -> Option<Way> {
        if !self.is_active {
            return None;
        }
        if self.addresses.role(packet.ip.destination).has(Role::OURS) {
            return Some(Way::Request);
        }
        if self.addresses.role(packet.ip.source).has(Role::SERVER) {
            return Some(Way::Reply);
        }
        let is_marked = !common.marks.is_empty() && self.takes_mark(common.mark_of(packet));
        is_marked.then_some(Way::Request)
    }

    /// Second pass: compares tags and asks for the records. Third pass: acts on them.
    #[inline(always)]
    fn judge_staged<H: Host>(
        &mut self,
        common: &mut Common,
        now: Tick,
        host: &H,
        frames: &mut [H::Frame],
        burst: &mut [Staged<A>],
        verdicts: &mut [Verdict],
    ) {
        for staged in burst.iter_mut() {
            staged.guess = self.connections.guess(staged.hash);
            if let Some(record) = self.connections.guessed(staged.guess) {
                host.prefetch(record);
            }
        }
        for staged in burst.iter() {
            let place = usize::from(staged.place);
            let frame = &mut frames[place];
            verdicts[place] = match self.judge(common, now, frame, staged) {
                Ok(verdict) => verdict,
                Err(refused) => self.refuse(common, now, frame, staged, refused),
            };
        }
    }

    #[inline(always)]
    fn judge<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Verdict, Refused> {
        let found = self.find(staged);
        match (staged.way, found) {
            (Way::Request, Some(id)) if self.goes_on(common, now, staged, id) => {
                request(common, now, frame, &staged.packet, self.connections.get_mut(id))
            }
            (Way::Request, found) => self.open(common, now, frame, staged, found),
            (Way::Reply, Some(id)) if !now.reached(self.connections.get(id).expires) => {
                reply(common, now, frame, &staged.packet, self.connections.get_mut(id))
            }
            (Way::Reply, found) => {
                if let Some(id) = found {
                    common.end(&mut self.connections, id);
                }
                Err(DropReason::NoConnection.into())
            }
        }
    }

    /// Whether a request simply continues its connection: nothing about it is to be decided.
    #[inline(always)]
    fn goes_on(&self, common: &Common, now: Tick, staged: &Staged<A>, id: RecordId) -> bool {
        let connection = self.connections.get(id);
        !now.reached(connection.expires)
            && common.servers[connection.server.index()].is_available
            && !staged.packet.opens()
    }
}

impl Common {
    /// The firewall mark of a packet, 0 for none.
    #[cold]
    pub(crate) fn mark_of<A: Network>(&self, packet: &Packet<A>) -> u32 {
        let source = (packet.ip.source.into(), packet.source_port);
        let destination = (packet.ip.destination.into(), packet.destination_port);
        mark_of(&self.marks, packet.ip.protocol, source, destination)
    }
}

/// A packet from the client on its connection.
#[inline(always)]
pub(crate) fn request<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    connection: &mut Connection<A>,
) -> Result<Verdict, Refused> {
    let slot = &common.servers[connection.server.index()];
    let traffic = common.counters.server(connection.server);
    traffic.in_packets.add(1);
    traffic.in_bytes.add(u64::from(packet.ip.total_length));
    connection.in_packets = connection.in_packets.wrapping_add(1);
    let direction = match connection.flags.no_output() {
        true => Direction::InputOnly,
        false => Direction::Input,
    };
    advance(common, slot, now, connection, direction, packet);
    let connection = &*connection;
    send_to_server(common, now, frame, packet.l3, &packet.ip, connection, |l3| {
        nat::request(l3, packet, connection);
    })
}

/// Sends a packet to its connection's server by the connection's method; `translate` rewrites it
/// for NAT, one hop included.
#[inline(always)]
pub(crate) fn send_to_server<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    l3: u16,
    ip: &Header<A>,
    connection: &Connection<A>,
    translate: impl FnOnce(&mut [u8]),
) -> Result<Verdict, Refused> {
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    let slot = &mut common.servers[connection.server.index()];
    if !common.neighbours.is_current(slot.hop) {
        let to = slot.address().ok_or(DropReason::NoRoute)?;
        slot.hop = common.neighbours.towards(now, &common.topology, to)?;
    }
    let hop = common.neighbours.hop(now, slot.hop);
    match connection.flags.method() {
        Method::Direct => A::hop(forward::open(frame, l3, ip, 0, hop)?, Delta::NONE),
        Method::Nat => translate(forward::open(frame, l3, ip, 0, hop)?),
        Method::Tunnel => {
            common.identification = common.identification.wrapping_add(common.shards);
            let identification = common.identification.max(1);
            // Two constant lengths compile to better code than a variable one.
            if slot.outer.length() == ipv4::HEADER_LENGTH {
                wrap::<{ ipv4::HEADER_LENGTH }, F, A>(
                    frame,
                    l3,
                    ip,
                    slot,
                    now,
                    hop,
                    identification,
                )?;
            } else if slot.outer.length() == 0 {
                return Err(DropReason::TunnelKind.into());
            } else {
                wrap::<{ ipv6::HEADER_LENGTH }, F, A>(
                    frame,
                    l3,
                    ip,
                    slot,
                    now,
                    hop,
                    identification,
                )?;
            }
        }
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
#[inline]
fn reply<F: Frame, A: Network>(
    common: &mut Common,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    connection: &mut Connection<A>,
) -> Result<Verdict, Refused> {
    if packet.ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    if !common.neighbours.is_current(connection.client_hop) {
        let to = connection.client.into();
        connection.client_hop = common.neighbours.towards(now, &common.topology, to)?;
    }
    let hop = common.neighbours.hop(now, connection.client_hop);
    let l3 = forward::open(frame, packet.l3, &packet.ip, 0, hop)?;
    nat::reply(l3, packet, connection);
    let verdict = forward::send(hop, connection.client_hop);
    let slot = &common.servers[connection.server.index()];
    if slot.is_available {
        let traffic = common.counters.server(connection.server);
        traffic.out_packets.add(1);
        traffic.out_bytes.add(u64::from(packet.ip.total_length));
    }
    connection.flags.see_output();
    advance(common, slot, now, connection, Direction::Output, packet);
    if connection.flags.vouches() && connection.state == State::Udp {
        assure(common, connection);
    }
    Ok(verdict)
}

/// Moves a connection on in its protocol and restarts its timer.
#[inline(always)]
fn advance<A: Network>(
    common: &Common,
    slot: &ServerSlot,
    now: Tick,
    connection: &mut Connection<A>,
    direction: Direction,
    packet: &Packet<A>,
) {
    let (protocol, settings) = (connection.protocol, &common.settings);
    let defence = settings.defence();
    let state = connection.state.next(protocol, direction, packet.tcp_flags, defence);
    connection.expires = now.after(settings.timeouts.ticks(state));
    if state != connection.state {
        connection.state = state;
        if state.is_active() != connection.flags.is_active() {
            connection.flags.set_active(state.is_active());
            slot.reclassify(state.is_active());
        }
        if state == State::Established && connection.flags.vouches() {
            assure(common, connection);
        }
    }
}

/// Tells the template that this connection is real.
#[cold]
fn assure<A: Network>(common: &Common, connection: &mut Connection<A>) {
    connection.flags.set_vouches(false);
    debug_assert_ne!(connection.template, TemplateId::NONE);
    common.templates.assure(connection.template);
}
