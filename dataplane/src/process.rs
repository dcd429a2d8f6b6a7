//! The packet path, top to bottom: parse, find, schedule, forward, verdict.
//!
//! A burst goes through three passes, each asking for the memory of the next: parse and hash every
//! frame, compare tags in the buckets, act on the records. The misses of a burst overlap.

use core::net::Ipv4Addr;

use crate::address_set::Role;
use crate::connection::state::{Direction, State, tcp_flag};
use crate::connection::{Connection, Flags, RecordId};
use crate::forward::{self, nat};
use crate::frame::{Frame, Host};
use crate::hash::ClientHash;
use crate::interface::InterfaceId;
use crate::lane::{BURST, Lane, Staged, Way};
use crate::neighbour::{Learned, NeighbourId};
use crate::packet::arp::{self, Arp};
use crate::packet::checksum::Delta;
use crate::packet::ethernet::{self, Link, Mac};
use crate::packet::icmp::{self, Icmp, Quote};
use crate::packet::{self, Header, Network, Packet, ipv4, protocol};
use crate::schedule::Query;
use crate::service::Method;
use crate::settings::Settings;
use crate::shard::{Common, ServerSlot, Shard};
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

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
        for frame in frames.iter() {
            if let Some(first) = frame.bytes().first() {
                host.prefetch(first);
            }
        }
        self.staged4.clear();
        for (place, (frame, verdict)) in frames.iter_mut().zip(verdicts.iter_mut()).enumerate() {
            if let Err(settled) = self.parse(host, frame, place as u8) {
                *verdict = settled;
            }
        }
        self.judge_staged(now, host, frames, verdicts);
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
        let bytes = frame.bytes();
        let link = ethernet::parse(bytes)?;
        let arrival = self.common.topology.arrival(frame.port(), link.vlan);
        let (interface, mac) = arrival.ok_or(DropReason::UnknownVlan)?;
        if link.ether_type == ethernet::ARP {
            return Err(self.arp(frame, &link, interface, mac)?);
        }
        if link.destination != mac {
            return Err(DropReason::NotOurMac.into());
        }
        if link.ether_type != Ipv4Addr::ETHER_TYPE {
            return Err(DropReason::EtherType.into());
        }
        let l3 = &bytes[link.length..];
        let ip = Ipv4Addr::parse(l3, frame.header_checksum())?;
        if ip.protocol == protocol::ICMP {
            return Err(self.icmp(frame, &link, &ip)?);
        }
        let packet = packet::parse_transport(l3, link.length, ip)?;
        let (way, hash) = self.v4.direct(&packet)?;
        let owner = hash.owner(self.common.shards);
        if owner != self.common.id {
            return Err(Verdict::ToOwner(owner));
        }
        host.prefetch(self.v4.connections.bucket_line(hash));
        self.staged4.push(Staged { packet, hash, guess: RecordId::NONE, way, place });
        Ok(())
    }

    /// Second pass: compares tags and asks for the records. Third pass: acts on them.
    #[inline(always)]
    fn judge_staged<H: Host<Frame = F>>(
        &mut self,
        now: Tick,
        host: &H,
        frames: &mut [F],
        verdicts: &mut [Verdict],
    ) {
        for staged in &mut self.staged4 {
            staged.guess = self.v4.connections.guess(staged.hash);
            if let Some(record) = self.v4.connections.guessed(staged.guess) {
                host.prefetch(record);
            }
        }
        for staged in &self.staged4 {
            let place = usize::from(staged.place);
            let verdict = self.v4.judge(&mut self.common, now, &mut frames[place], staged);
            verdicts[place] = verdict.unwrap_or_else(Verdict::Drop);
        }
    }

    /// Answers requests for our addresses and notes who is where.
    #[cold]
    fn arp(
        &mut self,
        frame: &mut F,
        link: &Link,
        interface: InterfaceId,
        mac: Mac,
    ) -> Result<Verdict, DropReason> {
        let arp = Arp::parse(&frame.bytes()[link.length..])?;
        if link.destination != mac && !link.destination.is_group() {
            return Err(DropReason::NotOurMac);
        }
        let ours = Role::OWN.or(Role::VIRTUAL);
        if self.v4.addresses.role(arp.sender).has(ours) || arp.sender_mac == mac {
            return Err(DropReason::SourceIsOurs);
        }
        if !arp.sender.is_unspecified() {
            let learned = Learned { interface, address: arp.sender.into(), mac: arp.sender_mac };
            self.note(learned);
        }
        if !arp.is_request {
            return Ok(Verdict::Consumed);
        }
        if !self.v4.addresses.role(arp.target).has(ours) {
            return Err(DropReason::ArpNotForUs);
        }
        let bytes = frame.bytes_mut();
        bytes[..6].copy_from_slice(&arp.sender_mac.0);
        bytes[6..12].copy_from_slice(&mac.0);
        let packet = &mut bytes[link.length..];
        arp::write(packet, false, (mac, arp.target), (arp.sender_mac, arp.sender));
        Ok(Verdict::Transmit(frame.port()))
    }

    /// Answers echo requests to our addresses, and takes errors to their connection's owner.
    #[cold]
    fn icmp(
        &mut self,
        frame: &mut F,
        link: &Link,
        ip: &Header<Ipv4Addr>,
    ) -> Result<Verdict, DropReason> {
        let l3 = &frame.bytes()[link.length..];
        match icmp::parse(l3, ip)? {
            Icmp::Echo => {
                let ours = Role::OWN.or(Role::VIRTUAL);
                if !self.v4.addresses.role(ip.destination).has(ours) {
                    return Err(DropReason::NotForUs);
                }
                if ip.source.is_martian() {
                    return Err(DropReason::Ipv4Source);
                }
                if self.v4.addresses.role(ip.source).has(ours) {
                    return Err(DropReason::SourceIsOurs);
                }
                let bytes = frame.bytes_mut();
                let (destination, rest) = bytes.split_at_mut(6);
                destination.swap_with_slice(&mut rest[..6]);
                icmp::answer_echo(&mut bytes[link.length..], ip);
                Ok(Verdict::Transmit(frame.port()))
            }
            Icmp::Error(quote) => {
                let (client, port) = self.client_of(&quote);
                let owner = self.v4.connections.hash(client, port).owner(self.common.shards);
                if owner != self.common.id {
                    return Ok(Verdict::ToOwner(owner));
                }
                Err(DropReason::IcmpUnhandled)
            }
            Icmp::Other => Err(DropReason::IcmpUnhandled),
        }
    }

    /// The client of the connection that a quoted packet belongs to: where a packet of a virtual
    /// address went, or else where a packet to a real server came from.
    fn client_of(&self, quote: &Quote) -> (Ipv4Addr, u16) {
        let from_virtual = self.v4.addresses.role(quote.source.0).has(Role::VIRTUAL);
        if from_virtual { quote.destination } else { quote.source }
    }
}

impl<A: Network> Lane<A> {
    /// Which way a packet goes, and the hash of the client whose connection it belongs to.
    #[inline(always)]
    fn direct(&self, packet: &Packet<A>) -> Result<(Way, ClientHash), DropReason> {
        let to = self.addresses.role(packet.ip.destination);
        let (way, client, port) = if to.has(Role::VIRTUAL) {
            (Way::Request, packet.ip.source, packet.source_port)
        } else if to.has(Role::OWN) {
            return Err(DropReason::LocalPort);
        } else if self.addresses.role(packet.ip.source).has(Role::SERVER) {
            (Way::Reply, packet.ip.destination, packet.destination_port)
        } else {
            return Err(DropReason::NotForUs);
        };
        Ok((way, self.connections.hash(client, port)))
    }

    #[inline(always)]
    fn judge<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
    ) -> Result<Verdict, DropReason> {
        let mut found = self.find(staged);
        if let Some(id) = found
            && now.reached(self.connections.get(id).expires)
        {
            common.end(&mut self.connections, id);
            found = None;
        }
        match (staged.way, found) {
            (Way::Request, Some(id)) => self.request(common, now, frame, &staged.packet, id),
            (Way::Request, None) => {
                let id = self.schedule(common, now, staged)?;
                self.request(common, now, frame, &staged.packet, id)
            }
            (Way::Reply, Some(id)) => self.reply(common, now, frame, &staged.packet, id),
            (Way::Reply, None) => Err(DropReason::NoConnection),
        }
    }

    /// A packet from the client on its connection.
    #[inline(always)]
    fn request<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        packet: &Packet<A>,
        id: RecordId,
    ) -> Result<Verdict, DropReason> {
        let connection = self.connections.get_mut(id);
        let slot = &mut common.servers[connection.server.index()];
        if !slot.is_available {
            return Err(DropReason::ServerDeleted);
        }
        let traffic = common.counters.server(connection.server);
        traffic.in_packets.add(1);
        traffic.in_bytes.add(u64::from(packet.ip.total_length));
        connection.in_packets = connection.in_packets.wrapping_add(1);
        let direction = match connection.flags.no_output() {
            true => Direction::InputOnly,
            false => Direction::Input,
        };
        advance(&common.settings, slot, now, connection, direction, packet);
        if packet.ip.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if !common.neighbours.is_current(slot.hop) {
            let to = slot.address().ok_or(DropReason::NoRoute)?;
            slot.hop = common.neighbours.towards(now, &common.topology, to)?;
        }
        let hop = common.neighbours.hop(now, slot.hop);
        let Packet { l3, ip, .. } = packet;
        match connection.flags.method() {
            Method::Direct => A::hop(forward::open(frame, *l3, ip, 0, hop)?, Delta::NONE),
            Method::Nat => nat::request(forward::open(frame, *l3, ip, 0, hop)?, packet, connection),
            Method::Tunnel => {
                let l3 = forward::open(frame, *l3, ip, ipv4::HEADER_LENGTH, hop)?;
                A::hop(&mut l3[ipv4::HEADER_LENGTH..], Delta::NONE);
                common.identification = common.identification.wrapping_add(common.shards);
                slot.outer.write(l3, ip.total_length, common.identification.max(1));
            }
        }
        Ok(forward::send(hop, slot.hop))
    }

    /// A packet from a real server behind NAT. A deleted server's replies still pass, uncounted.
    #[inline]
    fn reply<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        packet: &Packet<A>,
        id: RecordId,
    ) -> Result<Verdict, DropReason> {
        let connection = self.connections.get_mut(id);
        let slot = &common.servers[connection.server.index()];
        if slot.is_available {
            let traffic = common.counters.server(connection.server);
            traffic.out_packets.add(1);
            traffic.out_bytes.add(u64::from(packet.ip.total_length));
        }
        connection.flags.see_output();
        advance(&common.settings, slot, now, connection, Direction::Output, packet);
        if packet.ip.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        if !common.neighbours.is_current(connection.client_hop) {
            let to = connection.client.into();
            connection.client_hop = common.neighbours.towards(now, &common.topology, to)?;
        }
        let hop = common.neighbours.hop(now, connection.client_hop);
        nat::reply(forward::open(frame, packet.l3, &packet.ip, 0, hop)?, packet, connection);
        Ok(forward::send(hop, connection.client_hop))
    }

    /// Makes a connection for a packet that may open one.
    #[inline(never)]
    fn schedule(
        &mut self,
        common: &mut Common,
        now: Tick,
        staged: &Staged<A>,
    ) -> Result<RecordId, DropReason> {
        let Packet { ip, source_port, destination_port, tcp_flags, .. } = staged.packet;
        let is_tcp = ip.protocol == protocol::TCP;
        if is_tcp && (tcp_flags & tcp_flag::RST != 0 || tcp_flags & tcp_flag::SYN == 0) {
            return Err(DropReason::NoConnection);
        }
        if ip.source.is_martian() {
            return Err(DropReason::Ipv4Source);
        }
        if self.addresses.role(ip.source).has(Role::OWN.or(Role::VIRTUAL)) {
            return Err(DropReason::SourceIsOurs);
        }
        let end = (ip.protocol, ip.destination, destination_port);
        let roster = self.services.get(&end).ok_or(DropReason::NoService)?;
        let query = Query {
            client: ip.source.into(),
            client_port: source_port,
            destination: ip.destination.into(),
            now,
            lblc_expiration_s: common.settings.lblc_expiration as u32,
            lblcr_expiration_s: common.settings.lblcr_expiration as u32,
        };
        let member = roster.pick(&query).ok_or(DropReason::NoDestination)?;
        let real = A::from_ip(member.address).ok_or(DropReason::NoDestination)?;
        let real_port = if member.port == 0 { destination_port } else { member.port };
        let (header_delta, transport_delta) =
            nat::deltas((ip.destination, destination_port), (real, real_port));
        let mut flags = Flags::new(member.method);
        // A SYN makes a TCP connection active at once, so it is counted where it will be.
        flags.set_active(is_tcp);
        let connection = Connection {
            client: ip.source,
            virtual_address: ip.destination,
            real,
            client_port: source_port,
            virtual_port: destination_port,
            real_port,
            protocol: ip.protocol,
            state: State::None,
            expires: now,
            server: member.id,
            header_delta,
            transport_delta,
            flags,
            client_hop: NeighbourId::NONE,
            in_packets: 0,
        };
        let id = self.connections.insert(staged.hash, connection)?;
        member.load.bind(flags.is_active());
        common.counters.server(member.id).connections.add(1);
        Ok(id)
    }
}

/// Moves a connection on in its protocol and restarts its timer.
#[inline(always)]
fn advance<A: Network>(
    settings: &Settings,
    slot: &ServerSlot,
    now: Tick,
    connection: &mut Connection<A>,
    direction: Direction,
    packet: &Packet<A>,
) {
    let (protocol, defence) = (connection.protocol, settings.defence());
    let state = connection.state.next(protocol, direction, packet.tcp_flags, defence);
    connection.expires = now.after(settings.timeouts.ticks(state));
    if state != connection.state {
        connection.state = state;
        if state.is_active() != connection.flags.is_active() {
            connection.flags.set_active(state.is_active());
            slot.reclassify(state.is_active());
        }
    }
}
