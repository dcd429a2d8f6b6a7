//! What a shard has once for each address family: connections, services and known addresses.

use alloc::sync::Arc;
use hashbrown::{HashMap, HashTable};

use crate::address_set::{AddressSet, Role};
use crate::common::Common;
use crate::connection::RecordId;
use crate::connection::{Connection, Table};
use crate::hash::{self, ClientHash};
use crate::packet::{Network, Packet, protocol};
use crate::roster::Roster;
use crate::service::ServiceKey;
use crate::time::{TICKS_PER_SECOND, Tick};

/// Frames in a burst, at most.
pub const BURST: usize = 32;

/// Which way a packet goes through its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    Request,
    /// From a real server behind NAT.
    Reply,
}

/// A packet between the passes over a burst.
#[derive(Clone, Copy)]
pub(crate) struct Staged<A> {
    pub(crate) packet: Packet<A>,
    pub(crate) hash: ClientHash,
    pub(crate) guess: RecordId,
    pub(crate) way: Way,
    /// Its place in the burst.
    pub(crate) place: u8,
}

/// Protocol, address and port of a virtual service.
pub(crate) type ServiceEnd<A> = (u8, A, u16);

/// A virtual service in the table of those that have an end.
type Service<A> = (ServiceEnd<A>, Arc<Roster>);

/// Port of FTP's control connections.
pub(crate) const FTP: u16 = 21;
/// Port from which FTP servers open data connections.
pub(crate) const FTP_DATA: u16 = 20;
/// Ports from here on need no privilege: FTP servers listen there for data connections.
const UNPRIVILEGED: u16 = 1024;

/// One address family's part of a shard.
pub(crate) struct Lane<A> {
    pub(crate) connections: Table<A>,
    pub(crate) addresses: AddressSet<A>,
    services: HashTable<Service<A>>,
    marked: HashMap<u32, Arc<Roster>>,
    /// Of the services, those of TCP port 21, and those of port 0.
    ftp_services: usize,
    wildcards: usize,
    /// Whether there is any service. Without one the family's connections rest, and all packets
    /// are ordinary traffic.
    pub(crate) is_active: bool,
    /// Whether another director takes requests.
    is_passive: bool,
    /// Whether requests are taken here: there are services, and nobody else does.
    pub(crate) takes_requests: bool,
    sweep_next: u32,
    sweep_due: u32,
}

impl<A: Network> Lane<A> {
    pub(crate) fn new(connections: Table<A>, addresses: usize, services: usize) -> Self {
        Self {
            connections,
            addresses: AddressSet::new(addresses),
            services: HashTable::with_capacity(services),
            marked: HashMap::with_capacity(services),
            ftp_services: 0,
            wildcards: 0,
            is_active: false,
            is_passive: false,
            takes_requests: false,
            sweep_next: 0,
            sweep_due: 0,
        }
    }

    /// Adds a service or replaces its roster, which comes back.
    pub(crate) fn put_service(&mut self, roster: &Arc<Roster>) -> Option<Arc<Roster>> {
        self.set_active(true);
        let end = match end_of(&roster.key) {
            Ok(end) => end,
            Err(mark) => return self.marked.insert(mark, Arc::clone(roster)),
        };
        let is_it = |service: &Service<A>| service.0 == end;
        if let Some((_, old)) = self.services.find_mut(hash_of(end), is_it) {
            return Some(core::mem::replace(old, Arc::clone(roster)));
        }
        let hasher = |service: &Service<A>| hash_of(service.0);
        self.services.insert_unique(hash_of(end), (end, Arc::clone(roster)), hasher);
        self.addresses.add(end.1, Role::VIRTUAL);
        self.ftp_services += usize::from(is_ftp(end));
        self.wildcards += usize::from(end.2 == 0);
        None
    }

    /// Leaves requests to another director, or takes them.
    pub(crate) fn set_passive(&mut self, is_passive: bool) {
        self.is_passive = is_passive;
        self.takes_requests = self.is_active && !is_passive;
    }

    fn set_active(&mut self, is_active: bool) {
        self.is_active = is_active;
        self.takes_requests = is_active && !self.is_passive;
    }

    /// Removes a service, whose roster comes back.
    pub(crate) fn remove_service(&mut self, key: &ServiceKey) -> Option<Arc<Roster>> {
        let removed = match end_of(key) {
            Ok(end) => {
                let is_it = |service: &Service<A>| service.0 == end;
                let found = self.services.find_entry(hash_of(end), is_it).ok()?;
                let ((_, removed), _) = found.remove();
                self.addresses.remove(end.1, Role::VIRTUAL);
                self.ftp_services -= usize::from(is_ftp(end));
                self.wildcards -= usize::from(end.2 == 0);
                removed
            }
            Err(mark) => self.marked.remove(&mark)?,
        };
        self.set_active(!(self.services.is_empty() && self.marked.is_empty()));
        Some(removed)
    }

    /// The service of a packet, in the kernel's order: firewall mark, exact end, FTP's data
    /// connections, any port.
    #[inline(always)]
    pub(crate) fn service(&self, mark: u32, packet: &Packet<A>) -> Option<&Arc<Roster>> {
        self.service_of(mark, (packet.ip.protocol, packet.ip.destination, packet.destination_port))
    }

    /// The same, of a virtual end.
    #[inline(always)]
    pub(crate) fn service_of(&self, mark: u32, end: ServiceEnd<A>) -> Option<&Arc<Roster>> {
        let (transport, address, port) = end;
        let marked = if mark == 0 { None } else { self.marked.get(&mark) };
        marked
            .or_else(|| self.service_at(end))
            .or_else(|| {
                let may_be_data = transport == protocol::TCP
                    && self.ftp_services > 0
                    && (port == FTP_DATA || port >= UNPRIVILEGED);
                if may_be_data { self.service_at((transport, address, FTP)) } else { None }
            })
            .or_else(|| {
                let any_port = (transport, address, 0);
                if self.wildcards > 0 { self.service_at(any_port) } else { None }
            })
    }

    #[inline]
    fn service_at(&self, end: ServiceEnd<A>) -> Option<&Arc<Roster>> {
        let found = self.services.find(hash_of(end), |service| service.0 == end);
        found.map(|(_, roster)| roster)
    }

    /// Whether a service takes packets with this firewall mark.
    pub(crate) fn takes_mark(&self, mark: u32) -> bool {
        mark != 0 && self.marked.contains_key(&mark)
    }

    /// The hash by which a packet's connection is found.
    #[inline(always)]
    pub(crate) fn hash_of(&self, packet: &Packet<A>, way: Way) -> ClientHash {
        match way {
            Way::Request => self.connections.hash(packet.ip.source, packet.source_port),
            Way::Reply => self.connections.hash(packet.ip.destination, packet.destination_port),
        }
    }

    /// The record of a packet's connection, by the hash of its client.
    #[inline(always)]
    pub(crate) fn find(&self, hash: ClientHash, packet: &Packet<A>, way: Way) -> Option<RecordId> {
        self.connections.find(hash, |connection| is_of(connection, packet, way))
    }

    /// Does the sweep's share of `elapsed` ticks, but no more than `most` records at once: the
    /// whole table is seen about once a second.
    pub(crate) fn sweep_share(&mut self, common: &Common, now: Tick, elapsed: u32, most: u32) {
        if elapsed > 0 {
            let touched = u64::from(self.connections.touched());
            let share = touched * u64::from(elapsed) / u64::from(TICKS_PER_SECOND) + 1;
            self.sweep_due = (u64::from(self.sweep_due) + share).min(touched) as u32;
        }
        let part = self.sweep_due.min(most);
        self.sweep_due -= part;
        self.sweep(common, now, part);
    }

    /// Ends every connection that has run out by now.
    pub(crate) fn sweep_all(&mut self, common: &Common, now: Tick) {
        self.sweep_next = 0;
        self.sweep(common, now, self.connections.touched());
    }

    fn sweep(&mut self, common: &Common, now: Tick, records: u32) {
        let recounts = common.teller.recounts_until.is_some_and(|end| !now.reached(end));
        for _ in 0..records {
            let touched = self.connections.touched();
            if self.sweep_next >= touched {
                self.sweep_next = 0;
                if touched == 0 {
                    return;
                }
            }
            if recounts && let Some(connection) = self.connections.at_mut(self.sweep_next) {
                connection.due = common.teller.policy.due_after(connection.in_packets);
            }
            let found = self.connections.at(self.sweep_next);
            let ended = found.filter(|(_, connection)| {
                now.reached(connection.expires) || common.abandons(connection)
            });
            if let Some((id, _)) = ended {
                common.end(&mut self.connections, id);
            }
            self.sweep_next += 1;
        }
    }
}

/// Whether a packet that goes some way belongs to a connection.
#[inline(always)]
pub(crate) fn is_of<A: Network>(connection: &Connection<A>, packet: &Packet<A>, way: Way) -> bool {
    match way {
        Way::Request => connection.is_request(packet),
        Way::Reply => connection.is_reply(packet),
    }
}

/// The end of a service in this family, or its firewall mark.
fn end_of<A: Network>(key: &ServiceKey) -> Result<ServiceEnd<A>, u32> {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let address = A::from_ip(address).expect("a service is put into its family's lane");
            Ok((protocol as u8, address, port))
        }
        ServiceKey::Mark { mark, .. } => Err(mark),
    }
}

/// Whoever configures services chooses their ends, so this hash needs no key.
#[inline]
fn hash_of<A: Network>((transport, address, port): ServiceEnd<A>) -> u64 {
    hash::stretch(address.fold() ^ u64::from(port) << 32 ^ u64::from(transport) << 48, 0)
}

fn is_ftp<A>((transport, _, port): ServiceEnd<A>) -> bool {
    (transport, port) == (protocol::TCP, FTP)
}
