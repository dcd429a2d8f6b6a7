//! Packets watched on their way: what the director meant to do with each, and what it did.
//!
//! While nobody watches this costs a burst one branch. Records lie in memory that control gives,
//! and are dropped, counted, when that is used up.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::common::Common;
use crate::connection::state::State;
use crate::explain::{Step, Steps};
use crate::frame::{Frame, Host};
use crate::lane::Lane;
use crate::packet::ethernet::{self, Mac};
use crate::packet::{self, Header, Network, Packet};
use crate::shard::Shard;
use crate::time::Tick;
use crate::verdict::{DropReason, PortId, ShardId, Verdict};

/// Which packets to watch: those from and to a client, on their way to or from a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The client's address; any if absent.
    pub client: Option<IpAddr>,
    /// The client's port.
    pub client_port: Option<u16>,
    /// Transport protocol, virtual address and port.
    pub service: Option<(u8, IpAddr, u16)>,
}

/// A packet as it looks on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The port that it came in by, or goes out by.
    pub port: PortId,
    /// The station that sends it.
    pub from: Mac,
    /// The station that it is for.
    pub to: Mac,
    /// The ends of the tunnel that it is in.
    pub outer: Option<(IpAddr, IpAddr)>,
    /// Transport protocol number.
    pub protocol: u8,
    /// Where it comes from; port 0 for a protocol without ports.
    pub source: (IpAddr, u16),
    /// Where it goes.
    pub destination: (IpAddr, u16),
    /// TCP flags byte.
    pub tcp_flags: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Length of the IP packet in bytes, without the tunnel's header.
    pub length: u16,
}

/// What has become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was sent like this.
    Sent(Sight),
    /// It will be sent like this when its next hop's link-layer address is known.
    Held(Sight),
    /// It was not forwarded, for this reason, but answered like this.
    Answered(DropReason, Sight),
    /// The worker that owns its connection has got it.
    HandedTo(ShardId),
    /// It was for the director itself.
    Consumed,
    /// It was dropped.
    Dropped(DropReason),
}

/// A packet that was watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub at: Tick,
    /// Its place among all that workers have noted: a packet handed over comes after it was.
    pub place: u64,
    /// By whom.
    pub worker: ShardId,
    /// The packet as it came.
    pub came: Sight,
    /// What was to become of it, and why.
    pub steps: Steps,
    /// State of its connection afterwards, and seconds until that would end.
    pub after: Option<(State, u32)>,
    /// What became of it.
    pub end: End,
}

/// A watch: what to look for, and what was seen.
#[derive(Debug)]
pub struct Trace {
    /// Which packets.
    pub filter: Filter,
    /// Packets seen; no more than the memory that it was made with.
    pub records: Vec<Record>,
    /// Packets that there was no room for.
    pub lost: u64,
    /// The next place, the same for all workers.
    places: Arc<AtomicU64>,
}

impl Trace {
    /// A watch with room for so many packets; those of all workers share their places.
    #[must_use]
    pub fn new(filter: Filter, room: usize, places: Arc<AtomicU64>) -> Self {
        Self { filter, records: Vec::with_capacity(room), lost: 0, places }
    }
}

/// A watch over the same packets with as much room, which has seen nothing: every worker gets one.
impl Clone for Trace {
    fn clone(&self) -> Self {
        Self::new(self.filter, self.records.capacity(), Arc::clone(&self.places))
    }
}

impl<F: Frame> Shard<F> {
    /// Starts a watch, or ends it; the one before comes back with what it saw.
    pub fn watch(&mut self, trace: Option<Box<Trace>>) -> Option<Box<Trace>> {
        core::mem::replace(&mut self.trace, trace)
    }

    /// Judges frames one by one, and notes what becomes of those that are watched.
    #[cold]
    #[inline(never)]
    pub(crate) fn process_watched<H: Host<Frame = F>>(
        &mut self,
        now: Tick,
        host: &H,
        frames: &mut [F],
        verdicts: &mut [Verdict],
    ) {
        for (frame, verdict) in frames.chunks_mut(1).zip(verdicts.chunks_mut(1)) {
            let begun = self.look_before(now, &frame[0]);
            let before = begun.is_some().then(|| self.drop_counts());
            self.process_burst(now, host, frame, verdict);
            if let (Some((sight, steps)), Some(before)) = (begun, before) {
                self.look_after(now, &frame[0], verdict[0], sight, steps, &before);
            }
        }
    }

    /// A frame as it comes in and what is to become of it, if it is watched.
    fn look_before(&mut self, now: Tick, frame: &F) -> Option<(Sight, Steps)> {
        let sight = Sight::of(frame, frame.port())?;
        let trace = self.trace.as_ref()?;
        let mut steps = Steps::new();
        let virtual_end = match sight.source.0 {
            IpAddr::V4(_) => self.v4.explain_frame(&self.common, now, frame, &mut steps),
            IpAddr::V6(_) => self.v6.explain_frame(&self.common, now, frame, &mut steps),
        };
        trace.filter.fits(&sight, virtual_end).then_some((sight, steps))
    }

    fn look_after(
        &mut self,
        now: Tick,
        frame: &F,
        verdict: Verdict,
        came: Sight,
        steps: Steps,
        before: &[u64; DropReason::COUNT],
    ) {
        let changed = self.drop_counts().iter().zip(before).position(|(now, before)| now != before);
        let counted = changed.map(|place| DropReason::ALL[place]);
        let sent = |port| Sight::of(frame, port);
        let end = match (verdict, counted) {
            (Verdict::Drop(reason), _) => End::Dropped(reason),
            (Verdict::Consumed, _) => End::Consumed,
            (Verdict::ToOwner(owner), _) => End::HandedTo(owner),
            (Verdict::Transmit(port), Some(reason)) => {
                sent(port).map_or(End::Dropped(reason), |sight| End::Answered(reason, sight))
            }
            (Verdict::Transmit(port), None) => sent(port).map_or(End::Consumed, End::Sent),
            (Verdict::Hold(place), _) => {
                let id = self.common.neighbours.at(place);
                let port = self.common.neighbours.current(id).map_or(came.port, |hop| hop.port);
                sent(port).map_or(End::Consumed, End::Held)
            }
        };
        let after = match came.source.0 {
            IpAddr::V4(_) => self.v4.state_of(&self.common, now, &came),
            IpAddr::V6(_) => self.v6.state_of(&self.common, now, &came),
        };
        let worker = self.common.id;
        let Some(trace) = &mut self.trace else { return };
        if trace.records.len() == trace.records.capacity() {
            trace.lost += 1;
            return;
        }
        let place = trace.places.fetch_add(1, Relaxed);
        trace.records.push(Record { at: now, place, worker, came, steps, after, end });
    }

    fn drop_counts(&self) -> [u64; DropReason::COUNT] {
        core::array::from_fn(|place| self.common.counters.dropped(DropReason::ALL[place]))
    }
}

impl<A: Network> Lane<A> {
    /// Explains a frame; says the virtual end of the connection that it answers on.
    fn explain_frame<F: Frame>(
        &self,
        common: &Common,
        now: Tick,
        frame: &F,
        steps: &mut Steps,
    ) -> Option<(IpAddr, u16)> {
        let bytes = frame.bytes();
        let link = ethernet::parse(bytes).ok()?;
        let l3 = bytes.get(link.length..)?;
        let parsed = A::parse(l3, frame.header_checksum());
        let parsed = parsed.and_then(|ip| packet::parse_transport(l3, link.length, ip));
        match parsed {
            Ok(packet) => {
                self.explain(common, now, &packet, steps);
            }
            Err(DropReason::Protocol) => steps.push(Step::Ordinary),
            Err(reason) => steps.push(Step::Dropped(reason)),
        }
        steps.iter().find_map(|step| match *step {
            Step::Connection { is_reply: true, virtual_end, .. } => Some(virtual_end),
            _ => None,
        })
    }

    /// State of a packet's connection, and seconds until that ends.
    fn state_of(&self, common: &Common, now: Tick, sight: &Sight) -> Option<(State, u32)> {
        let packet = Packet {
            ip: Header {
                source: A::from_ip(sight.source.0)?,
                destination: A::from_ip(sight.destination.0)?,
                protocol: sight.protocol,
                ttl: sight.ttl,
                header_length: 0,
                total_length: sight.length,
            },
            source_port: sight.source.1,
            destination_port: sight.destination.1,
            tcp_flags: sight.tcp_flags,
            l3: 0,
        };
        let way = self.way_of(common, &packet)?;
        let connection = self.connection_of(now, &packet, way)?;
        Some((connection.state, now.seconds_until(connection.expires)))
    }
}

impl Filter {
    /// Whether a packet is to be watched; one from a server comes with its connection's virtual
    /// end.
    fn fits(&self, sight: &Sight, virtual_end: Option<(IpAddr, u16)>) -> bool {
        let is_client = |(address, port): (IpAddr, u16)| {
            self.client.is_none_or(|wanted| wanted == address)
                && self.client_port.is_none_or(|wanted| wanted == port)
        };
        let is_service = |end: Option<(IpAddr, u16)>| {
            self.service.is_none_or(|(protocol, address, port)| {
                protocol == sight.protocol && end == Some((address, port))
            })
        };
        is_client(sight.source) && is_service(Some(sight.destination))
            || is_client(sight.destination) && is_service(virtual_end.or(Some(sight.source)))
    }
}

impl Sight {
    /// A frame at a port; `None` if it holds no IP packet.
    fn of<F: Frame>(frame: &F, port: PortId) -> Option<Self> {
        let bytes = frame.bytes();
        let link = ethernet::parse(bytes).ok()?;
        let ends = (link.source, link.destination);
        let l3 = bytes.get(link.length..)?;
        match link.ether_type {
            Ipv4Addr::ETHER_TYPE => Self::of_packet::<Ipv4Addr>(l3, port, ends, None),
            Ipv6Addr::ETHER_TYPE => Self::of_packet::<Ipv6Addr>(l3, port, ends, None),
            _ => None,
        }
    }

    fn of_packet<A: Network>(
        l3: &[u8],
        port: PortId,
        (from, to): (Mac, Mac),
        outer: Option<(IpAddr, IpAddr)>,
    ) -> Option<Self> {
        // Frames on their way out have their checksums left to the port, perhaps.
        let ip = A::parse(l3, crate::frame::Checksum::Good).ok()?;
        let ends = (ip.source.into(), ip.destination.into());
        let inner = l3.get(usize::from(ip.header_length)..)?;
        if outer.is_none() {
            if ip.protocol == <Ipv4Addr as Network>::IN_IP {
                return Self::of_packet::<Ipv4Addr>(inner, port, (from, to), Some(ends));
            }
            if ip.protocol == <Ipv6Addr as Network>::IN_IP {
                return Self::of_packet::<Ipv6Addr>(inner, port, (from, to), Some(ends));
            }
        }
        let ports = packet::parse_transport(l3, 0, ip).ok();
        let port_of = |read: fn(&Packet<A>) -> u16| ports.as_ref().map_or(0, read);
        Some(Self {
            port,
            from,
            to,
            outer,
            protocol: ip.protocol,
            source: (ends.0, port_of(|packet| packet.source_port)),
            destination: (ends.1, port_of(|packet| packet.destination_port)),
            tcp_flags: ports.as_ref().map_or(0, |packet| packet.tcp_flags),
            ttl: ip.ttl,
            length: ip.total_length,
        })
    }
}
