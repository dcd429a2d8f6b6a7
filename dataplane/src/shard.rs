//! What one worker owns, and everything but the packet path that it does: control's commands,
//! next hops, expiry.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use arrayvec::ArrayVec;

use crate::address_set::Role;
use crate::command::{Command, Reply};
use crate::common::{Common, Identification, SWEEP_TEMPLATES};
use crate::connection::{Table, TableSize};
use crate::counters::Counters;
use crate::float::Floats;
use crate::frame::{Frame, Host};
use crate::hash::HashKey;
use crate::interface::{InterfaceId, Topology};
use crate::lane::{BURST, Lane, Staged};
use crate::limit::Limits;
use crate::neighbour::{Hop, HopPlace, Learned, NeighbourId, Neighbours};
use crate::packet::ethernet::Mac;
use crate::packet::outer::OuterTemplate;
use crate::packet::{Network, protocol};
use crate::roster::{Member, Roster};
use crate::schedule::Plan;
use crate::server::ServerSlot;
use crate::service::{Family, Method, ServiceKey};
use crate::settings::Settings;
use crate::sync::{Policy, Record, Teller};
use crate::template::Templates;
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::trace::Trace;
use crate::verdict::{DropReason, ShardId};

/// Frames that may wait for their next hop's link-layer address, per shard.
const WAITING: usize = 512;
/// Of these, frames for one next hop.
const WAITING_PER_HOP: usize = 32;
/// Addresses heard of that the other shards have not been told yet.
const LEARNED: usize = 64;
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

/// One worker's share of the dataplane. `F` is the host's frame.
pub struct Shard<F> {
    pub(crate) common: Common,
    pub(crate) v4: Lane<Ipv4Addr>,
    pub(crate) v6: Lane<Ipv6Addr>,
    /// The packets of a burst between its passes; empty in between.
    pub(crate) staged4: ArrayVec<Staged<Ipv4Addr>, BURST>,
    pub(crate) staged6: ArrayVec<Staged<Ipv6Addr>, BURST>,
    /// Places in the burst of packets that are judged after those.
    pub(crate) others: ArrayVec<u8, BURST>,
    waiting: VecDeque<(NeighbourId, F)>,
    pub(crate) learned: VecDeque<Learned>,
    /// When the sweep was last given its share.
    swept_at: Option<Tick>,
    /// The stripe of templates to sweep next.
    sweep_stripe: usize,
    /// When waiting frames were last looked after, and when known next hops were.
    retried_at: Option<Tick>,
    confirmed_at: Option<Tick>,
    pub(crate) floats: Floats,
    /// Whether the backup sync daemon runs.
    is_backup: bool,
    /// Packets that somebody watches.
    pub(crate) trace: Option<Box<Trace>>,
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
        let floats = Floats::new(&topology.floating);
        Self {
            common: Common {
                id: config.id,
                shards: config.shards,
                topology,
                counters,
                settings: Settings::default(),
                servers: (0..config.servers)
                    .map(|_| ServerSlot::default())
                    .chain([ServerSlot::nobody()])
                    .collect(),
                neighbours: Neighbours::new(config.neighbours),
                identification: Identification::new(config.id, config.shards),
                marks: Arc::default(),
                templates,
                limits: Limits::new(),
                teller: Teller::new(&Settings::default()),
            },
            v4,
            v6,
            staged4: ArrayVec::new(),
            staged6: ArrayVec::new(),
            others: ArrayVec::new(),
            waiting: VecDeque::with_capacity(WAITING),
            learned: VecDeque::with_capacity(LEARNED),
            swept_at: None,
            sweep_stripe: usize::from(config.id.0),
            retried_at: None,
            confirmed_at: None,
            floats,
            is_backup: false,
            trace: None,
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

    /// Where the memory of the shard's large tables is, as addresses, for a host that knows how to
    /// make such memory faster.
    pub fn memory(&self) -> impl Iterator<Item = Range<usize>> {
        self.v4.connections.memory().into_iter().chain(self.v6.connections.memory())
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
            Command::Deferred => Reply::Done(None),
            Command::PutSettings(settings) => {
                self.common.teller.put(now, Policy::new(&settings));
                self.common.settings = settings;
                self.keep_requests();
                Reply::Done(None)
            }
            Command::PutMarks(marks) => {
                Reply::Marks(core::mem::replace(&mut self.common.marks, marks))
            }
            Command::Explain(question, mut steps) => {
                let outcome = self.explain(now, &question, &mut steps);
                Reply::Explained(outcome, steps)
            }
            Command::PutSync(roles) => {
                self.common.teller.is_on = roles.is_master;
                self.is_backup = roles.is_backup;
                self.keep_requests();
                Reply::Done(None)
            }
            Command::Hold(addresses, is_held) => {
                self.hold_addresses(&addresses, is_held);
                Reply::Held(addresses)
            }
            Command::Announce(addresses) => {
                self.announce_addresses(&addresses);
                Reply::Held(addresses)
            }
            Command::Records(mut page) => {
                page.from = self.fill_page(now, page.from, &mut page.records);
                Reply::Records(page)
            }
            Command::Watch(watch) => Reply::Watched(self.watch(watch)),
            Command::Connections(mut page) => {
                page.from = self.fill_page(now, page.from, &mut page.connections);
                Reply::Connections(page)
            }
        }
    }

    /// Regular work between bursts: ends connections that have run out, asks for next hops. Each
    /// call does a little, and the whole table is seen about once a second.
    pub fn tick<H: Host<Frame = F>>(&mut self, now: Tick, host: &mut H) {
        let elapsed = now.since(*self.swept_at.get_or_insert(now));
        self.swept_at = Some(now);
        self.send_announcements(host);
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
        place: HopPlace,
        frame: F,
    ) -> Result<(), (F, DropReason)> {
        let id = self.common.neighbours.at(place);
        let hop = *self.common.neighbours.hop(now, id);
        if hop.is_resolved {
            // Another frame of the same burst has found it out.
            Self::finish(host, &hop, frame);
            return Ok(());
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

    /// What backups are to be told, in order, since the last call.
    pub fn fetch_told(&mut self) -> impl Iterator<Item = Record> {
        self.common.counters.sync.told.add(self.common.teller.waiting() as u64);
        self.common.teller.fetch()
    }

    /// Whether there is something that backups are to be told.
    #[inline]
    #[must_use]
    pub fn has_told(&self) -> bool {
        self.common.teller.waiting() > 0
    }

    /// Takes requests for services, unless another director does (`backup_only`).
    fn keep_requests(&mut self) {
        let is_passive = self.is_backup && self.common.settings.backup_only != 0;
        self.v4.set_passive(is_passive);
        self.v6.set_passive(is_passive);
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
        for (member, place) in roster.members.iter().zip(0..) {
            self.place(member, &roster.key);
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
    fn place(&mut self, member: &Member, service: &ServiceKey) {
        let (protocol, mark) = match *service {
            ServiceKey::Address { protocol, .. } => (protocol as u8, 0),
            ServiceKey::Mark { mark, .. } => (protocol::TCP, mark),
        };
        let slot = &mut self.common.servers[member.id.index()];
        slot.is_available = true;
        slot.protocol = protocol;
        slot.method = member.method;
        slot.port = member.port;
        slot.weight = member.weight;
        slot.mark = mark;
        if slot.server.is_none() {
            slot.server = Some((member.address, Arc::clone(&member.load)));
        }
        slot.outer = match member.is_plain_tunnel {
            true => self.common.topology.outer_template(member.address).unwrap_or_default(),
            false => OuterTemplate::NONE,
        };
        if member.method == Method::Nat && !slot.has_been_nat {
            slot.has_been_nat = true;
            match member.address {
                IpAddr::V4(address) => self.v4.addresses.add(address, Role::SERVER),
                IpAddr::V6(address) => self.v6.addresses.add(address, Role::SERVER),
            }
        }
    }
}

/// An empty lane that knows the director's own addresses.
fn lane<A: Network>(config: &ShardConfig, size: TableSize, topology: &Topology) -> Lane<A> {
    let own = topology.interfaces().iter().flat_map(|interface| &interface.addresses);
    let own = own.filter_map(|prefix| A::from_ip(prefix.address()));
    let floating = topology.floating.iter().filter_map(|&(_, address)| A::from_ip(address));
    let addresses =
        config.services + config.servers + own.clone().count() + 2 * floating.clone().count();
    let mut lane = Lane::new(Table::new(size, config.key), addresses, config.services);
    own.for_each(|address| lane.addresses.add(address, Role::OWN));
    floating.for_each(|address| lane.addresses.add(address, Role::AWAY));
    lane
}
