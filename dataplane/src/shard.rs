//! What one worker owns, and everything but the packet path that it does: control's commands,
//! next hops, expiry.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::address::Address;
use crate::address_set::Role;
use crate::command::{Command, ConnectionInfo, ConnectionPage, Reply};
use crate::connection::{RecordId, Table, TableSize};
use crate::counters::Counters;
use crate::frame::{Frame, Host};
use crate::hash::HashKey;
use crate::interface::{NextHop, Topology};
use crate::lane::{BURST, Lane, ServiceEnd, Staged};
use crate::mark::MarkRule;
use crate::neighbour::{Hop, Learned, NeighbourId, Neighbours};
use crate::packet::ethernet::Mac;
use crate::packet::ipv4::OuterTemplate;
use crate::packet::{Network, arp, ethernet};
use crate::roster::{Load, Member, Roster};
use crate::service::{Method, ServiceKey};
use crate::settings::Settings;
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::verdict::{DropReason, ShardId};

/// Frames that may wait for their next hop's link-layer address, per shard.
const WAITING: usize = 512;
/// Of these, frames for one next hop.
const WAITING_PER_HOP: usize = 32;
/// Addresses heard of that the other shards have not been told yet.
const LEARNED: usize = 64;
/// Records looked at for one page of a listing, so that no reading holds up packets.
const PAGE_RECORDS: u32 = 4096;
/// Records looked at for expiry in one call, so that no sweep holds up packets.
const SWEEP: u32 = 256;

/// How large a shard's tables are, and its place among its peers.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// This shard.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// Secret of the connection hash, the same for all shards.
    pub key: HashKey,
    /// Size of the connection table.
    pub table: TableSize,
    /// Virtual services, at most.
    pub services: usize,
    /// Real servers, at most; deleted ones count until their connections have ended.
    pub servers: usize,
    /// Next hops, at most.
    pub neighbours: u16,
}

/// A real server as a shard needs it for packets.
#[derive(Default)]
pub(crate) struct ServerSlot {
    /// The server's address and load; a deleted one's stay while connections refer to it.
    server: Option<(IpAddr, Arc<Load>)>,
    /// Whether it is in its service's roster.
    pub(crate) is_available: bool,
    /// Whether connections by NAT may exist, so that packets from it may be replies.
    has_been_nat: bool,
    pub(crate) hop: NeighbourId,
    pub(crate) outer: OuterTemplate,
}

impl ServerSlot {
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.server.as_ref().map(|(address, _)| *address)
    }

    /// Moves a connection of this server to the other class.
    #[cold]
    pub(crate) fn reclassify(&self, active: bool) {
        if let Some((_, load)) = &self.server {
            load.reclassify(active);
        }
    }
}

/// What the packet path needs beside a family's tables.
pub(crate) struct Common {
    pub(crate) id: ShardId,
    pub(crate) shards: u16,
    pub(crate) topology: Arc<Topology>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) settings: Settings,
    /// What gives packets firewall marks.
    pub(crate) marks: Arc<[MarkRule]>,
    pub(crate) servers: Box<[ServerSlot]>,
    pub(crate) neighbours: Neighbours,
    /// Numbers outer headers that may be fragmented, in steps that no other shard takes.
    pub(crate) identification: u16,
}

/// One worker's share of the dataplane. `F` is the host's frame.
pub struct Shard<F> {
    pub(crate) common: Common,
    pub(crate) v4: Lane<Ipv4Addr>,
    /// The packets of a burst between its passes; empty in between.
    pub(crate) staged4: Vec<Staged<Ipv4Addr>>,
    waiting: VecDeque<(NeighbourId, F)>,
    pub(crate) learned: VecDeque<Learned>,
    /// When the sweep was last given its share.
    swept_at: Option<Tick>,
    sweep_next: u32,
    sweep_due: u32,
    /// When waiting frames were last looked after, and when known next hops were.
    retried_at: Option<Tick>,
    confirmed_at: Option<Tick>,
}

impl<F: Frame> Shard<F> {
    /// A shard with empty tables; all memory is taken here.
    #[must_use]
    pub fn new(config: &ShardConfig, topology: Arc<Topology>, counters: Arc<Counters>) -> Self {
        let own = topology.interfaces().iter().flat_map(|interface| &interface.addresses);
        let addresses = config.services + config.servers + own.clone().count();
        let table = Table::new(config.table, config.key);
        let mut v4 = Lane::new(table, addresses, config.services);
        for address in own.filter_map(|prefix| Ipv4Addr::from_ip(prefix.address())) {
            v4.addresses.add(address, Role::OWN);
        }
        Self {
            common: Common {
                id: config.id,
                shards: config.shards,
                topology,
                counters,
                settings: Settings::default(),
                marks: Arc::default(),
                servers: (0..config.servers).map(|_| ServerSlot::default()).collect(),
                neighbours: Neighbours::new(config.neighbours),
                identification: config.id.0,
            },
            v4,
            staged4: Vec::with_capacity(BURST),
            waiting: VecDeque::with_capacity(WAITING),
            learned: VecDeque::with_capacity(LEARNED),
            swept_at: None,
            sweep_next: 0,
            sweep_due: 0,
            retried_at: None,
            confirmed_at: None,
        }
    }

    /// Fixes a next hop's link-layer address, as configured.
    ///
    /// # Errors
    /// When the address is not on-link or the table is full.
    pub fn fix_neighbour(&mut self, address: IpAddr, mac: Mac) -> Result<(), DropReason> {
        let hop = self.common.topology.next_hop(address).filter(|hop| hop.address == address);
        let key = hop.ok_or(DropReason::NoRoute)?;
        self.common.neighbours.fix(Tick(0), &self.common.topology, key, mac)
    }

    /// Connections in the shard's tables.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.v4.connections.len()
    }

    /// Applies a command.
    pub fn apply(&mut self, now: Tick, command: Command) -> Reply {
        match command {
            Command::PutService(roster) => Reply::Done(self.put_service(&roster)),
            Command::RemoveService(key) => Reply::Done(self.remove_service(&key)),
            Command::ReleaseServer(id) => {
                let slot = core::mem::take(&mut self.common.servers[id.index()]);
                assert!(!slot.is_available, "only deleted servers are released");
                let nat = slot.address().filter(|_| slot.has_been_nat);
                if let Some(address) = nat.and_then(Ipv4Addr::from_ip) {
                    self.v4.addresses.remove(address, Role::SERVER);
                }
                Reply::Done(None)
            }
            Command::PutSettings(settings) => {
                self.common.settings = settings;
                Reply::Done(None)
            }
            Command::PutMarks(rules) => {
                Reply::Marks(core::mem::replace(&mut self.common.marks, rules))
            }
            Command::Connections(page) => {
                Reply::Connections(fill_page(&self.v4.connections, now, page))
            }
        }
    }

    /// Regular work between bursts: ends connections that have run out, asks for next hops. Each
    /// call does a little, and the whole table is seen about once a second.
    pub fn tick<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H) {
        let elapsed = now.since(*self.swept_at.get_or_insert(now));
        if elapsed > 0 {
            self.swept_at = Some(now);
            let touched = self.v4.connections.touched();
            let share = u64::from(touched) * u64::from(elapsed) / u64::from(TICKS_PER_SECOND) + 1;
            self.sweep_due = (u64::from(self.sweep_due) + share).min(u64::from(touched)) as u32;
        }
        let part = self.sweep_due.min(SWEEP);
        self.sweep_due -= part;
        self.sweep(now, part);
        if now.since(*self.retried_at.get_or_insert(now)) >= TICKS_PER_SECOND / 10 {
            self.retried_at = Some(now);
            self.retry_neighbours(now, host);
        }
    }

    /// Ends every connection that has run out by now.
    pub fn sweep_all(&mut self, now: Tick) {
        self.sweep(now, self.v4.connections.touched());
    }

    /// Keeps a frame until its next hop's link-layer address is known, and asks for that.
    ///
    /// # Errors
    /// The frame comes back, with a reason already counted, when it cannot be kept.
    pub fn hold<H: Host<Frame = F>>(
        &mut self,
        now: Tick,
        host: &mut H,
        id: NeighbourId,
        frame: F,
    ) -> Result<(), (F, DropReason)> {
        if self.common.neighbours.is_current(id) {
            let hop = *self.common.neighbours.hop(now, id);
            if hop.is_resolved {
                // Another frame of the same burst has found it out.
                Self::finish(host, &hop, frame);
                return Ok(());
            }
        }
        // Asked for first: whoever finds no room to wait may find the answer next time.
        let asked = self.common.ask(now, host, id).and_then(|()| {
            let in_line = self.waiting.iter().filter(|(other, _)| *other == id).count();
            let has_room = self.waiting.len() < WAITING && in_line < WAITING_PER_HOP;
            if has_room { Ok(()) } else { Err(DropReason::HoldQueueFull) }
        });
        match asked {
            Ok(()) => {
                self.waiting.push_back((id, frame));
                Ok(())
            }
            Err(reason) => {
                self.common.counters.count_drop(reason, 1);
                Err((frame, reason))
            }
        }
    }

    /// Takes note of a link-layer address that another shard has heard of, and sends what waited
    /// for it.
    pub fn learn<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H, learned: &Learned) {
        if let Some(id) = self.common.neighbours.learn(now, learned) {
            self.send_waiting(now, host, id);
        }
    }

    /// The next address that this shard has heard of, for all the others.
    pub fn take_learned(&mut self) -> Option<Learned> {
        self.learned.pop_front()
    }

    /// Queues an address heard of, for this shard's own use and the others'. When too many are
    /// queued it is forgotten, and whoever needs it asks again.
    pub(crate) fn note(&mut self, learned: Learned) {
        if self.learned.len() < LEARNED {
            self.learned.push_back(learned);
        }
    }

    fn send_waiting<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H, id: NeighbourId) {
        let hop = *self.common.neighbours.hop(now, id);
        for _ in 0..self.waiting.len() {
            let Some((other, frame)) = self.waiting.pop_front() else { return };
            if other == id {
                Self::finish(host, &hop, frame);
            } else {
                self.waiting.push_back((other, frame));
            }
        }
    }

    /// Sends a frame that lacks only its next hop's link-layer address.
    fn finish<H: Host<Frame = F>>(host: &mut H, hop: &Hop, mut frame: F) {
        hop.header.write(frame.bytes_mut());
        host.send(hop.port, frame);
    }

    fn retry_neighbours<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H) {
        for _ in 0..self.waiting.len() {
            let Some((id, frame)) = self.waiting.pop_front() else { return };
            match self.common.ask(now, host, id) {
                Ok(()) => self.waiting.push_back((id, frame)),
                Err(reason) => {
                    self.common.counters.count_drop(reason, 1);
                    host.release(frame);
                }
            }
        }
        if now.since(*self.confirmed_at.get_or_insert(now)) < TICKS_PER_SECOND {
            return;
        }
        self.confirmed_at = Some(now);
        let mut place = 0;
        while let Some((next, hop)) = self.common.neighbours.next_due(now, place) {
            self.common.send_request(host, hop);
            place = next;
        }
    }

    fn sweep(&mut self, now: Tick, records: u32) {
        for _ in 0..records {
            let touched = self.v4.connections.touched();
            if self.sweep_next >= touched {
                self.sweep_next = 0;
                if touched == 0 {
                    return;
                }
            }
            let found = self.v4.connections.at(self.sweep_next);
            let expired = found.filter(|(_, connection)| now.reached(connection.expires));
            if let Some((id, _)) = expired {
                self.common.end(&mut self.v4.connections, id);
            }
            self.sweep_next += 1;
        }
    }

    fn put_service(&mut self, roster: &Arc<Roster>) -> Option<Arc<Roster>> {
        let end = end_of(&roster.key);
        let old = self.v4.services.insert(end, Arc::clone(roster));
        if old.is_none() {
            self.v4.addresses.add(end.1, Role::VIRTUAL);
        }
        let before = old.as_ref().map_or(&[][..], |old| &old.members);
        self.retire(before, &roster.members);
        for member in &roster.members {
            self.place(member);
        }
        old
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Option<Arc<Roster>> {
        let end = end_of(key);
        let old = self.v4.services.remove(&end)?;
        self.v4.addresses.remove(end.1, Role::VIRTUAL);
        self.retire(&old.members, &[]);
        Some(old)
    }

    /// Marks as deleted the servers of `before` that are not in `after`; both are newest first.
    fn retire(&mut self, before: &[Member], after: &[Member]) {
        let mut after = after.iter().peekable();
        for member in before {
            while after.next_if(|other| other.order > member.order).is_some() {}
            if after.peek().is_none_or(|other| other.id != member.id) {
                self.common.servers[member.id.index()].is_available = false;
            }
        }
    }

    /// Puts a server of a new roster into its slot. When the slot has it already this is an edit,
    /// and address, load and connections stay what they are.
    fn place(&mut self, member: &Member) {
        let slot = &mut self.common.servers[member.id.index()];
        slot.is_available = true;
        if slot.server.is_none() {
            slot.server = Some((member.address, Arc::clone(&member.load)));
            slot.outer = self.common.topology.outer_template(member.address).unwrap_or_default();
        }
        if member.method == Method::Nat && !slot.has_been_nat {
            slot.has_been_nat = true;
            if let Some(address) = Ipv4Addr::from_ip(member.address) {
                self.v4.addresses.add(address, Role::SERVER);
            }
        }
    }
}

impl Common {
    /// Takes a connection out of the table and out of its server's count.
    pub(crate) fn end<A: Network>(&self, connections: &mut Table<A>, id: RecordId) {
        let ended = connections.remove(id);
        if let Some((_, load)) = &self.servers[ended.server.index()].server {
            load.unbind(ended.flags.is_active());
        }
    }

    /// Asks for an unresolved next hop if it is time to.
    fn ask<H: Host>(&mut self, now: Tick, host: &mut H, id: NeighbourId) -> Result<(), DropReason> {
        if let Some(hop) = self.neighbours.ask(now, id)? {
            self.send_request(host, hop);
        }
        Ok(())
    }

    /// Broadcasts an ARP request.
    fn send_request<H: Host>(&self, host: &mut H, hop: NextHop) {
        let interface = self.topology.interface(hop.interface);
        let source = self.topology.source_for(hop).and_then(Ipv4Addr::from_ip);
        let (Some(source), Some(target)) = (source, Ipv4Addr::from_ip(hop.address)) else { return };
        let (mac, vlan) = (interface.mac, interface.vlan);
        let header = ethernet::LinkHeader::new(Mac::BROADCAST, mac, vlan, ethernet::ARP);
        let Some(mut frame) = host.allocate(header.length() + arp::LENGTH) else {
            self.counters.count_drop(DropReason::BufferEmpty, 1);
            return;
        };
        let bytes = frame.bytes_mut();
        header.write(bytes);
        let packet = &mut bytes[header.length()..];
        arp::write(packet, true, (mac, source), (Mac::default(), target));
        host.send(interface.port, frame);
    }
}

impl Topology {
    /// The outer header towards a tunnel server; `None` when no route leads there.
    fn outer_template(&self, server: IpAddr) -> Option<OuterTemplate> {
        let hop = self.next_hop(server)?;
        let source = self.source_for(hop).and_then(Ipv4Addr::from_ip)?;
        Some(OuterTemplate::new(source, Ipv4Addr::from_ip(server)?))
    }
}

fn end_of(key: &ServiceKey) -> ServiceEnd<Ipv4Addr> {
    match *key {
        ServiceKey::Address { protocol, address: IpAddr::V4(address), port } => {
            (protocol as u8, address, port)
        }
        _ => unreachable!("the director refuses other services for now"),
    }
}

fn fill_page<A: Network>(
    connections: &Table<A>,
    now: Tick,
    mut page: ConnectionPage,
) -> ConnectionPage {
    let mut index = page.from.unwrap_or(0);
    page.connections.clear();
    let end = connections.touched().min(index.saturating_add(PAGE_RECORDS));
    while index < end && page.connections.len() < page.connections.capacity() {
        if let Some((_, connection)) = connections.at(index)
            && !now.reached(connection.expires)
        {
            page.connections.push(ConnectionInfo {
                protocol: connection.protocol,
                state: connection.state,
                expires_s: now.seconds_until(connection.expires),
                client: (connection.client.into(), connection.client_port),
                virtual_end: (connection.virtual_address.into(), connection.virtual_port),
                real: (connection.real.into(), connection.real_port),
            });
        }
        index += 1;
    }
    page.from = (index < connections.touched()).then_some(index);
    page
}
