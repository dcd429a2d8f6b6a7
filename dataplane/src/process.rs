//! The packet path, top to bottom: parse, find, schedule, forward, verdict.
//!
//! A burst goes through three passes, each asking for the memory of the next: parse and hash every
//! frame, compare tags in the buckets, act on the records. The misses of a burst overlap. What is
//! neither request nor reply comes after them.

use core::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::address_set::Role;
use crate::common::{Common, Rest};
use crate::connection::state::{Direction, State};
use crate::connection::{Connection, RecordId};
use crate::forward::{self, nat};
use crate::frame::{Frame, Host};
use crate::lane::{BURST, Lane, Staged, Way};
use crate::mark::mark_of;
use crate::neighbour::Hop;
use crate::packet::checksum::Delta;
use crate::packet::ethernet;
use crate::packet::{self, Header, Network, Packet, ipv4, ipv6};
use crate::server::ServerSlot;
use crate::service::{Family, Method};
use crate::settings::Settings;
use crate::shard::Shard;
use crate::template::{TemplateId, Templates};
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
        self.staged4.clear();
        self.staged6.clear();
        self.others.clear();
        for (place, (frame, verdict)) in frames.iter_mut().zip(verdicts.iter_mut()).enumerate() {
            if !self.stage_usual(host, frame, place as u8, verdict) {
                self.stage_any(host, frame, place as u8, verdict);
            }
        }
        let common = &mut self.common;
        self.v4.judge_staged(common, now, host, frames, &mut self.staged4, verdicts);
        self.v6.judge_staged(common, now, host, frames, &mut self.staged6, verdicts);
        for n in 0..self.others.len() {
            let place = usize::from(self.others[n]);
            let verdict = self.judge_other(now, &mut frames[place]);
            verdicts[place] = verdict.unwrap_or_else(Verdict::Drop);
            self.common.counters.count_verdict(verdicts[place]);
        }
        self.common.counters.received.add(frames.len() as u64);
    }

    /// First pass for frames of the usual form; false for others, and for what no connection takes.
    #[inline(always)]
    fn stage_usual<H: Host<Frame = F>>(
        &mut self,
        host: &H,
        frame: &F,
        place: u8,
        verdict: &mut Verdict,
    ) -> bool {
        if !frame.is_contiguous() {
            return false;
        }
        let bytes = frame.bytes();
        let Some(start) = bytes.first_chunk() else { return false };
        let (common, checksum) = (&self.common, frame.header_checksum());
        match common.topology.usual(frame.port(), start) {
            Some(Family::V4) => {
                let Some(packet) = Ipv4Addr::parse_usual(bytes, checksum) else { return false };
                self.v4.stage(common, host, packet, place, &mut self.staged4, verdict)
            }
            Some(Family::V6) => {
                let Some(packet) = Ipv6Addr::parse_usual(bytes, checksum) else { return false };
                self.v6.stage(common, host, packet, place, &mut self.staged6, verdict)
            }
            None => false,
        }
    }

    /// First pass for any frame.
    #[inline(never)]
    fn stage_any<H: Host<Frame = F>>(
        &mut self,
        host: &H,
        frame: &mut F,
        place: u8,
        verdict: &mut Verdict,
    ) {
        if let Err(settled) = self.parse(host, frame, place, verdict) {
            self.common.counters.count_verdict(settled);
            *verdict = settled;
        }
    }

    fn parse<H: Host<Frame = F>>(
        &mut self,
        host: &H,
        frame: &mut F,
        place: u8,
        verdict: &mut Verdict,
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
        let (common, checksum) = (&self.common, frame.header_checksum());
        let l3 = &frame.bytes()[link.length..];
        let is_staged = match link.ether_type {
            Ipv4Addr::ETHER_TYPE => {
                let packet = packet::parse(l3, link.length, checksum)?;
                packet.is_some_and(|packet| {
                    self.v4.stage(common, host, packet, place, &mut self.staged4, verdict)
                })
            }
            Ipv6Addr::ETHER_TYPE => {
                let packet = packet::parse(l3, link.length, checksum)?;
                packet.is_some_and(|packet| {
                    self.v6.stage(common, host, packet, place, &mut self.staged6, verdict)
                })
            }
            _ => return Err(DropReason::EtherType.into()),
        };
        if !is_staged {
            self.others.push(place);
        }
        Ok(())
    }
}

impl<A: Network> Lane<A> {
    /// Stages a packet that is a request or a reply of ours, or names its owner; false, and nothing
    /// done, when it is neither.
    #[inline(always)]
    fn stage<H: Host>(
        &self,
        common: &Common,
        host: &H,
        packet: Packet<A>,
        place: u8,
        burst: &mut ArrayVec<Staged<A>, BURST>,
        verdict: &mut Verdict,
    ) -> bool {
        let Some(way) = self.way_of(common, &packet) else { return false };
        let hash = self.hash_of(&packet, way);
        let owner = hash.owner(common.shards);
        if owner != common.id {
            *verdict = Verdict::ToOwner(owner);
            return true;
        }
        host.prefetch(self.connections.bucket_line(hash));
        burst.push(Staged { packet, hash, guess: RecordId::NONE, way, place });
        true
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
        if common.marks.is_empty() {
            return None;
        }
        self.takes_mark(common.mark_of(packet)).then_some(Way::Request)
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
            let (frame, verdict) = (&mut frames[place], &mut verdicts[place]);
            match self.judge(common, now, frame, staged) {
                Ok(judged) => *verdict = judged,
                Err(refused) => self.refuse(common, now, frame, staged, refused, verdict),
            }
        }
    }

    /// What nearly every packet takes is spelt out here: its connection is where the tag said, and
    /// nothing about it is to be decided.
    #[inline(always)]
    fn judge<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Verdict, Refused> {
        let packet = &staged.packet;
        if let Some(connection) = self.connections.guessed_mut(staged.guess)
            && !now.reached(connection.expires)
        {
            match staged.way {
                Way::Request if connection.is_request(packet) && !packet.opens() => {
                    let (slot, rest) = common.towards(connection.server);
                    if slot.is_available {
                        return request(slot, rest, now, frame, packet, connection);
                    }
                }
                Way::Reply if connection.is_reply(packet) => {
                    return reply(common, now, frame, packet, connection);
                }
                _ => {}
            }
        }
        self.judge_with_care(common, now, frame, staged)
    }

    #[inline(never)]
    fn judge_with_care<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Verdict, Refused> {
        match staged.way {
            Way::Request => {
                let found = self.find(staged.hash, &staged.packet, Way::Request);
                self.open(common, now, frame, staged, found)
            }
            Way::Reply => self.reply_with_care(common, now, frame, staged),
        }
    }

    /// A function of its own, so that what opens connections has its registers.
    #[inline(never)]
    fn reply_with_care<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Verdict, Refused> {
        loop {
            let found = self.find(staged.hash, &staged.packet, Way::Reply);
            let id = found.ok_or(DropReason::NoConnection)?;
            let connection = self.connections.get_mut(id);
            if !now.reached(connection.expires) {
                return reply(common, now, frame, &staged.packet, connection);
            }
            // Another one of the client's may lead to the same real end.
            common.end(&mut self.connections, id);
        }
    }
}

impl Common {
    /// The firewall mark of a packet, 0 for none.
    #[inline(always)]
    pub(crate) fn mark_of<A: Network>(&self, packet: &Packet<A>) -> u32 {
        let (source, destination) = (packet.ip.source, packet.ip.destination);
        let ports = (packet.source_port, packet.destination_port);
        self.find_mark(packet.ip.protocol, source, destination, ports)
    }

    /// Takes values, not the packet: that need not be in memory then where no marks are in use.
    #[cold]
    fn find_mark<A: Network>(
        &self,
        protocol: u8,
        source: A,
        destination: A,
        ports: (u16, u16),
    ) -> u32 {
        let (source, destination) = ((source.into(), ports.0), (destination.into(), ports.1));
        mark_of(&self.marks, protocol, source, destination)
    }
}

/// A packet from the client on its connection, whose server has `slot`.
#[inline(always)]
pub(crate) fn request<F: Frame, A: Network>(
    slot: &mut ServerSlot,
    rest: Rest<'_>,
    now: Tick,
    frame: &mut F,
    packet: &Packet<A>,
    connection: &mut Connection<A>,
) -> Result<Verdict, Refused> {
    let traffic = rest.counters.server(connection.server);
    traffic.in_packets.add(1);
    traffic.in_bytes.add(u64::from(packet.ip.total_length));
    connection.in_packets = connection.in_packets.wrapping_add(1);
    let direction = match connection.flags.no_output() {
        true => Direction::InputOnly,
        false => Direction::Input,
    };
    advance(rest.settings, rest.templates, slot, now, connection, direction, packet);
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
    mut rest: Rest<'_>,
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
    let identification = match connection.flags.method() {
        Method::Tunnel => rest.identify(),
        Method::Direct | Method::Nat => 0,
    };
    let hop = match rest.neighbours.usable(now, slot.hop) {
        Some(hop) => hop,
        None => {
            let to = slot.address().ok_or(DropReason::NoRoute)?;
            slot.hop = rest.neighbours.towards(now, rest.topology, to)?;
            rest.neighbours.hop(now, slot.hop)
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
    advance(rest.settings, rest.templates, slot, now, connection, Direction::Output, packet);
    if connection.flags.vouches() && connection.state == State::Udp {
        assure(rest.templates, connection);
    }
    Ok(verdict)
}

/// Moves a connection on in its protocol and restarts its timer.
#[inline(always)]
fn advance<A: Network>(
    settings: &Settings,
    templates: &Templates,
    slot: &ServerSlot,
    now: Tick,
    connection: &mut Connection<A>,
    direction: Direction,
    packet: &Packet<A>,
) {
    let state = connection.state.next(direction, packet.tcp_flags, settings.defence());
    connection.expires = now.after(settings.timeouts.ticks(state));
    if state != connection.state {
        change_state(templates, slot, connection, state);
    }
}

/// Notes that a connection has come to another state.
#[inline(never)]
fn change_state<A: Network>(
    templates: &Templates,
    slot: &ServerSlot,
    connection: &mut Connection<A>,
    state: State,
) {
    connection.state = state;
    if state.is_active() != connection.flags.is_active() {
        connection.flags.set_active(state.is_active());
        slot.reclassify(state.is_active());
    }
    if state == State::Established && connection.flags.vouches() {
        assure(templates, connection);
    }
}

/// Tells the template that this connection is real.
#[cold]
fn assure<A: Network>(templates: &Templates, connection: &mut Connection<A>) {
    connection.flags.set_vouches(false);
    debug_assert_ne!(connection.template, TemplateId::NONE);
    templates.assure(connection.template);
}
