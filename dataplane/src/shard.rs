//! What one worker owns, and everything but the packet path that it does: control's commands,
//! next hops, expiry.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address_set::Role;
use crate::command::{Command, ConnectionInfo, ConnectionPage, Place, Reply};
use crate::connection::{Connection, RecordId, Table, TableSize};
use crate::counters::Counters;
use crate::frame::{Frame, Host};
use crate::hash::{ClientHash, HashKey};
use crate::interface::{InterfaceId, NextHop, Topology};
use crate::lane::{BURST, Lane, Staged};
use crate::limit::Limits;
use crate::mark::MarkRule;
use crate::neighbour::{Hop, Learned, NeighbourId, Neighbours};
use crate::packet::ethernet::Mac;
use crate::packet::outer::OuterTemplate;
use crate::packet::{Network, arp, ethernet, ndp, protocol};
use crate::roster::{Load, Member, Roster, ServerId};
use crate::schedule::Plan;
use crate::service::{Family, Method, ServiceKey};
use crate::settings::Settings;
use crate::template::{TemplateId, Templates};
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
/// Persistence templates looked at in one call.
const SWEEP_TEMPLATES: usize = 64;
/// Seconds for which a path's MTU is remembered.
const PATH_MTU_S: u32 = 600;
/// Path MTUs below this are not believed, as in Linux.
const LEAST_PATH_MTU: u16 = 552;

/// How large a shard's tables are, and its place among its peers.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// This shard.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// Secret of the connection hash, the same for all shards.
    pub key: HashKey,
    /// Size of the table of IPv4 connections.
    pub table: TableSize,
    /// Size of the table of IPv6 connections.
    pub table6: TableSize,
    /// Virtual services, at most.
    pub services: usize,
    /// Real servers, at most; deleted ones count until their connections have ended.
    pub servers: usize,
    /// Next hops, at most.
    pub neighbours: u16,
}

/// A real server as a shard needs it for packets.
pub(crate) struct ServerSlot {
    /// The server's address and load; a deleted one's stay while connections refer to it.
    server: Option<(IpAddr, Arc<Load>)>,
    /// The roster that is to hear when the load changes, and the server's place in it.
    ranked: Option<(Arc<Roster>, u32)>,
    /// Whether it is in its service's roster.
    pub(crate) is_available: bool,
    /// Whether connections by NAT may exist, so that packets from it may be replies.
    has_been_nat: bool,
    /// Protocol of its service; TCP behind a firewall mark, as in the kernel.
    protocol: u8,
    /// How new connections reach it.
    pub(crate) method: Method,
    /// Its port; 0 keeps the packet's.
    pub(crate) port: u16,
    pub(crate) weight: u32,
    pub(crate) hop: NeighbourId,
    pub(crate) outer: OuterTemplate,
    /// Largest packet, outer header included, that routers on the way to a tunnel server take,
    /// and until when that is believed.
    path_mtu: u16,
    path_mtu_until: Tick,
}

impl Default for ServerSlot {
    fn default() -> Self {
        Self {
            server: None,
            ranked: None,
            is_available: false,
            has_been_nat: false,
            protocol: 0,
            method: Method::Nat,
            port: 0,
            weight: 0,
            hop: NeighbourId::NONE,
            outer: OuterTemplate::default(),
            path_mtu: u16::MAX,
            path_mtu_until: Tick(0),
        }
    }
}

impl ServerSlot {
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.server.as_ref().map(|(address, _)| *address)
    }

    /// Changes the server's load, and tells its roster.
    pub(crate) fn count(&self, change: impl FnOnce(&Load)) {
        if let Some((_, load)) = &self.server {
            change(load);
        }
        if let Some((roster, place)) = &self.ranked {
            roster.load_changed(*place);
        }
    }

    /// Moves a connection of this server to the other class.
    #[cold]
    pub(crate) fn reclassify(&self, active: bool) {
        self.count(|load| load.reclassify(active));
    }

    /// Largest inner packet of a tunnel on a link with this MTU.
    #[inline]
    pub(crate) fn tunnel_mtu(&mut self, now: Tick, link_mtu: u16) -> u16 {
        if self.path_mtu != u16::MAX && now.reached(self.path_mtu_until) {
            self.path_mtu = u16::MAX;
        }
        link_mtu.min(self.path_mtu).saturating_sub(self.outer.length() as u16)
    }

    /// Takes a router's word on what fits through the tunnel, if that is less than is known; says
    /// what to tell the client. As in the kernel, what is new is told from the second time on.
    pub(crate) fn learn_mtu(&mut self, now: Tick, link_mtu: u16, told: u16) -> u16 {
        let is_known = self.path_mtu != u16::MAX;
        let before = self.tunnel_mtu(now, link_mtu);
        let told = told.max(LEAST_PATH_MTU);
        if told < self.path_mtu.min(link_mtu) {
            self.path_mtu = told;
            self.path_mtu_until = now.after_seconds(PATH_MTU_S);
        }
        if is_known { self.tunnel_mtu(now, link_mtu) } else { before }
    }
}

/// What the packet path needs beside a family's tables.
pub(crate) struct Common {
    pub(crate) id: ShardId,
    pub(crate) shards: u16,
    pub(crate) topology: Arc<Topology>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) settings: Settings,
    pub(crate) servers: Box<[ServerSlot]>,
    pub(crate) neighbours: Neighbours,
    /// Numbers outer headers that may be fragmented, in steps that no other shard takes.
    pub(crate) identification: u16,
    pub(crate) marks: Arc<[MarkRule]>,
    pub(crate) templates: Arc<Templates>,
    limits: Limits,
}

/// One worker's share of the dataplane. `F` is the host's frame.
pub struct Shard<F> {
    pub(crate) common: Common,
    pub(crate) v4: Lane<Ipv4Addr>,
    pub(crate) v6: Lane<Ipv6Addr>,
    /// The packets of a burst between its passes; empty in between.
    pub(crate) staged4: Vec<Staged<Ipv4Addr>>,
    pub(crate) staged6: Vec<Staged<Ipv6Addr>>,
    /// Places in the burst of packets that are judged after those.
    pub(crate) others: Vec<u8>,
    waiting: VecDeque<(NeighbourId, F)>,
    pub(crate) learned: VecDeque<Learned>,
    /// When the sweep was last given its share.
    swept_at: Option<Tick>,
    /// The stripe of templates to sweep next.
    sweep_stripe: usize,
    /// When waiting frames were last looked after, and when known next hops were.
    retried_at: Option<Tick>,
    confirmed_at: Option<Tick>,
}

impl<F: Frame> Shard<F> {
    /// A shard with empty tables; all memory is taken here. Templates are common to all shards.
    #[must_use]
    pub fn new(
        config: &ShardConfig,
        topology: Arc<Topology>,
        counters: Arc<Counters>,
        templates: Arc<Templates>,
    ) -> Self {
        let v4 = lane(config, config.table, &topology);
        let v6 = lane(config, config.table6, &topology);
        Self {
            common: Common {
                id: config.id,
                shards: config.shards,
                topology,
                counters,
                settings: Settings::default(),
                servers: (0..config.servers).map(|_| ServerSlot::default()).collect(),
                neighbours: Neighbours::new(config.neighbours),
                identification: config.id.0,
                marks: Arc::default(),
                templates,
                limits: Limits::new(),
            },
            v4,
            v6,
            staged4: Vec::with_capacity(BURST),
            staged6: Vec::with_capacity(BURST),
            others: Vec::with_capacity(BURST),
            waiting: VecDeque::with_capacity(WAITING),
            learned: VecDeque::with_capacity(LEARNED),
            swept_at: None,
            sweep_stripe: usize::from(config.id.0),
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
        self.v4.connections.len() + self.v6.connections.len()
    }

    /// Applies a command.
    pub fn apply(&mut self, now: Tick, command: Command) -> Reply {
        match command {
            Command::PutService(roster) => Reply::Done(self.put_service(&roster)),
            Command::RemoveService(key) => Reply::Done(self.remove_service(&key)),
            Command::ReleaseServer(id) => {
                let slot = core::mem::take(&mut self.common.servers[id.index()]);
                assert!(!slot.is_available, "only deleted servers are released");
                match slot.address().filter(|_| slot.has_been_nat) {
                    Some(IpAddr::V4(address)) => self.v4.addresses.remove(address, Role::SERVER),
                    Some(IpAddr::V6(address)) => self.v6.addresses.remove(address, Role::SERVER),
                    None => {}
                }
                Reply::Done(None)
            }
            Command::PutSettings(settings) => {
                self.common.settings = settings;
                Reply::Done(None)
            }
            Command::PutMarks(marks) => {
                Reply::Marks(core::mem::replace(&mut self.common.marks, marks))
            }
            Command::Connections(mut page) => {
                page.connections.clear();
                let from = page.from.unwrap_or(Place { family: Family::V4, record: 0 });
                page.from = match from.family {
                    Family::V4 => fill_page(&self.v4.connections, now, from.record, &mut page)
                        .map(|record| Place { family: Family::V4, record })
                        .or(Some(Place { family: Family::V6, record: 0 })),
                    Family::V6 => fill_page(&self.v6.connections, now, from.record, &mut page)
                        .map(|record| Place { family: Family::V6, record }),
                };
                Reply::Connections(page)
            }
        }
    }

    /// Regular work between bursts: ends connections that have run out, asks for next hops. Each
    /// call does a little, and the whole table is seen about once a second.
    pub fn tick<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H) {
        let elapsed = now.since(*self.swept_at.get_or_insert(now));
        self.swept_at = Some(now);
        self.v4.sweep_share(&self.common, now, elapsed, SWEEP);
        self.v6.sweep_share(&self.common, now, elapsed, SWEEP);
        if elapsed > 0 {
            self.common.sweep_templates(self.sweep_stripe, SWEEP_TEMPLATES, now);
            self.sweep_stripe += usize::from(self.common.shards);
            if self.sweep_stripe >= self.common.templates.stripes() {
                self.sweep_stripe = usize::from(self.common.id.0);
            }
        }
        if now.since(*self.retried_at.get_or_insert(now)) >= TICKS_PER_SECOND / 10 {
            self.retried_at = Some(now);
            self.retry_neighbours(now, host);
        }
    }

    /// Ends every connection that has run out by now.
    pub fn sweep_all(&mut self, now: Tick) {
        self.v4.sweep_all(&self.common, now);
        self.v6.sweep_all(&self.common, now);
    }

    /// Ends every template, of all shards, that has run out by now and holds no connection.
    pub fn sweep_all_templates(&mut self, now: Tick) {
        for stripe in 0..self.common.templates.stripes() {
            self.common.sweep_templates(stripe, usize::MAX, now);
        }
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

    /// Announces every address of the director's own, as after a takeover.
    pub fn announce<H: Host<Frame = F>>(&self, host: &mut H) {
        for (n, interface) in self.common.topology.interfaces().iter().enumerate() {
            for prefix in &interface.addresses {
                self.common.announce(host, InterfaceId(n as u16), prefix.address());
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

    fn put_service(&mut self, roster: &Arc<Roster>) -> Option<Arc<Roster>> {
        let old = match roster.key.family() {
            Family::V4 => self.v4.put_service(roster),
            Family::V6 => self.v6.put_service(roster),
        };
        let before = old.as_ref().map_or(&[][..], |old| &old.members);
        self.retire(before, &roster.members);
        let protocol = match roster.key {
            ServiceKey::Address { protocol, .. } => protocol as u8,
            ServiceKey::Mark { .. } => protocol::TCP,
        };
        for (member, place) in roster.members.iter().zip(0..) {
            self.place(member, protocol);
            let is_ranked = matches!(*roster.plan, Plan::Tournament(_));
            let slot = &mut self.common.servers[member.id.index()];
            slot.ranked = is_ranked.then(|| (Arc::clone(roster), place));
        }
        if let Plan::Tournament(tournament) = &*roster.plan {
            // Loads may have changed since control made it, without its hearing.
            tournament.play_all(&roster.members);
        }
        old
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Option<Arc<Roster>> {
        let old = match key.family() {
            Family::V4 => self.v4.remove_service(key),
            Family::V6 => self.v6.remove_service(key),
        }?;
        self.retire(&old.members, &[]);
        Some(old)
    }

    /// Marks as deleted the servers of `before` that are not in `after`; both are newest first.
    fn retire(&mut self, before: &[Member], after: &[Member]) {
        let mut after = after.iter().peekable();
        for member in before {
            while after.next_if(|other| other.order > member.order).is_some() {}
            if after.peek().is_none_or(|other| other.id != member.id) {
                let slot = &mut self.common.servers[member.id.index()];
                slot.is_available = false;
                slot.ranked = None;
            }
        }
    }

    /// Puts a server of a new roster into its slot. When the slot has it already this is an edit,
    /// and address, load and connections stay what they are.
    fn place(&mut self, member: &Member, protocol: u8) {
        let slot = &mut self.common.servers[member.id.index()];
        slot.is_available = true;
        slot.protocol = protocol;
        slot.method = member.method;
        slot.port = member.port;
        slot.weight = member.weight;
        if slot.server.is_none() {
            slot.server = Some((member.address, Arc::clone(&member.load)));
            slot.outer = self.common.topology.outer_template(member.address).unwrap_or_default();
        }
        if member.method == Method::Nat && !slot.has_been_nat {
            slot.has_been_nat = true;
            match member.address {
                IpAddr::V4(address) => self.v4.addresses.add(address, Role::SERVER),
                IpAddr::V6(address) => self.v6.addresses.add(address, Role::SERVER),
            }
        }
    }
}

impl Common {
    /// Takes a connection out of the table and out of its server's count.
    pub(crate) fn end<A: Network>(&self, connections: &mut Table<A>, id: RecordId) {
        self.unbind(&connections.remove(id));
    }

    /// Counts a connection that has ended out of its server and its template.
    pub(crate) fn unbind<A>(&self, ended: &Connection<A>) {
        let is_active = ended.flags.is_active();
        self.servers[ended.server.index()].count(|load| load.unbind(is_active));
        if ended.template != TemplateId::NONE {
            self.templates.release(ended.template);
        }
    }

    /// Counts a template that has ended out of its server.
    pub(crate) fn unbind_template(&self, server: ServerId) {
        self.servers[server.index()].count(Load::unbind_template);
    }

    /// Whether a connection is to end because its server is gone.
    pub(crate) fn abandons<A>(&self, connection: &Connection<A>) -> bool {
        self.settings.expire_nodest_conn != 0 && self.is_gone(connection.server)
    }

    fn is_gone(&self, server: ServerId) -> bool {
        !self.servers[server.index()].is_available
    }

    fn sweep_templates(&self, stripe: usize, slots: usize, now: Tick) {
        let abandons = self.settings.expire_nodest_conn != 0;
        let is_over = |server| abandons && self.is_gone(server);
        self.templates.sweep(stripe, slots, now, is_over, |server| self.unbind_template(server));
    }

    /// A number for a packet of our own that may be fragmented, never 0.
    pub(crate) fn identify(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(self.shards);
        self.identification.max(1)
    }

    /// Whether an ICMP error may be sent to a target now.
    pub(crate) fn may_complain(&mut self, now: Tick, target: ClientHash) -> bool {
        self.limits.allow(now, &self.settings, target, self.shards)
    }

    /// Whether a server of tunnels has this address.
    pub(crate) fn is_tunnel_server(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|slot| {
            slot.is_available && slot.method == Method::Tunnel && slot.address() == Some(address)
        })
    }

    /// Whether a server behind NAT has this end.
    pub(crate) fn is_nat_server(&self, protocol: u8, address: IpAddr, port: u16) -> bool {
        self.servers.iter().any(|slot| {
            slot.is_available
                && slot.method == Method::Nat
                && (slot.protocol, slot.port, slot.address()) == (protocol, port, Some(address))
        })
    }

    /// Asks for an unresolved next hop if it is time to.
    fn ask<H: Host>(&mut self, now: Tick, host: &mut H, id: NeighbourId) -> Result<(), DropReason> {
        if let Some(hop) = self.neighbours.ask(now, id)? {
            self.send_request(host, hop);
        }
        Ok(())
    }

    /// Asks a link who has an address: by broadcast, or of the group that its holder listens to.
    fn send_request<H: Host>(&self, host: &mut H, hop: NextHop) {
        match (self.topology.source_for(hop), hop.address) {
            (Some(IpAddr::V4(source)), IpAddr::V4(target)) => {
                let write = |packet: &mut [u8], mac| {
                    arp::write(packet, true, (mac, source), (Mac::default(), target));
                };
                self.send_own(
                    host,
                    hop.interface,
                    Mac::BROADCAST,
                    ethernet::ARP,
                    arp::LENGTH,
                    write,
                );
            }
            (Some(IpAddr::V6(source)), IpAddr::V6(target)) => {
                let to = ndp::multicast_mac(ndp::solicited_node(target));
                let write = |packet: &mut [u8], mac| {
                    ndp::write_solicitation(packet, source, mac, target);
                };
                let (ether_type, length) = (Ipv6Addr::ETHER_TYPE, ndp::SOLICITATION_LENGTH);
                self.send_own(host, hop.interface, to, ether_type, length, write);
            }
            _ => {}
        }
    }

    /// Tells a link, unasked, that an address is here.
    fn announce<H: Host>(&self, host: &mut H, interface: InterfaceId, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let write = |packet: &mut [u8], mac| {
                    arp::write(packet, true, (mac, address), (Mac::default(), address));
                };
                self.send_own(host, interface, Mac::BROADCAST, ethernet::ARP, arp::LENGTH, write);
            }
            IpAddr::V6(address) => {
                let to = ndp::multicast_mac(ndp::ALL_NODES);
                let write = |packet: &mut [u8], mac| {
                    ndp::write_advertisement(packet, address, mac, ndp::ALL_NODES, address, false);
                };
                let (ether_type, length) = (Ipv6Addr::ETHER_TYPE, ndp::ADVERTISEMENT_LENGTH);
                self.send_own(host, interface, to, ether_type, length, write);
            }
        }
    }

    /// Sends a packet of our own to a station of a link; `write` fills it in, given our address.
    fn send_own<H: Host>(
        &self,
        host: &mut H,
        interface: InterfaceId,
        to: Mac,
        ether_type: u16,
        length: usize,
        write: impl FnOnce(&mut [u8], Mac),
    ) {
        let interface = self.topology.interface(interface);
        let header = ethernet::LinkHeader::new(to, interface.mac, interface.vlan, ether_type);
        let Some(mut frame) = host.allocate(header.length() + length) else {
            self.counters.count_drop(DropReason::BufferEmpty, 1);
            return;
        };
        let bytes = frame.bytes_mut();
        header.write(bytes);
        write(&mut bytes[header.length()..], interface.mac);
        host.send(interface.port, frame);
    }
}

impl Topology {
    /// The outer header towards a tunnel server; `None` when no route leads there.
    fn outer_template(&self, server: IpAddr) -> Option<OuterTemplate> {
        OuterTemplate::new(self.source_for(self.next_hop(server)?)?, server)
    }
}

/// An empty lane that knows the director's own addresses.
fn lane<A: Network>(config: &ShardConfig, size: TableSize, topology: &Topology) -> Lane<A> {
    let own = topology.interfaces().iter().flat_map(|interface| &interface.addresses);
    let own = own.filter_map(|prefix| A::from_ip(prefix.address()));
    let addresses = config.services + config.servers + own.clone().count();
    let mut lane = Lane::new(Table::new(size, config.key), addresses, config.services);
    own.for_each(|address| lane.addresses.add(address, Role::OWN));
    lane
}

/// Fills a page with connections from a record on; says where the next begins, if there is more.
fn fill_page<A: Network>(
    connections: &Table<A>,
    now: Tick,
    mut index: u32,
    page: &mut ConnectionPage,
) -> Option<u32> {
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
    (index < connections.touched()).then_some(index)
}
