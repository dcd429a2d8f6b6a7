//! The packet path, top to bottom: parse, find, schedule, forward, verdict.
//!
//! A burst goes through three passes, each asking for the memory of the next: parse and hash every
//! frame, compare tags in the buckets, act on the records. The misses of a burst overlap. What is
//! neither request nor reply comes after them.
//!
//! Nearly all packets have headers of one form, and do nothing but continue a connection. They have
//! a way of their own here, short and without calls; it takes only what it is sure of, and leaves
//! the rest to the ways that look with care.

use core::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::address_set::Role;
use crate::carry::{reply, request};
use crate::common::Common;
use crate::connection::RecordId;
use crate::frame::{Frame, Host};
use crate::lane::{BURST, Lane, Staged, Way};
use crate::mark::mark_of;
use crate::packet::ethernet;
use crate::packet::{self, Network, Packet};
use crate::service::Family;
use crate::shard::Shard;
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
            // Neighbour solicitations and VRRP go to groups.
            let is_wanted = link.ether_type == Ipv6Addr::ETHER_TYPE
                || link.ether_type == Ipv4Addr::ETHER_TYPE && self.common.topology.hears_routers();
            if is_wanted && link.destination.is_group() {
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
        if !self.takes_requests {
            return self.way_of_reply(packet);
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

    /// The same where requests are not taken: for want of a service, or because another director
    /// takes them.
    #[cold]
    fn way_of_reply(&self, packet: &Packet<A>) -> Option<Way> {
        let is_reply = self.is_active && self.addresses.role(packet.ip.source).has(Role::SERVER);
        is_reply.then_some(Way::Reply)
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
                Way::Request
                    if connection.is_request(packet)
                        && !packet.opens()
                        && common.servers[connection.server.index()].is_available =>
                {
                    return request(common, now, frame, packet, connection);
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
