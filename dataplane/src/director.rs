//! The truth about services and servers, which control owns: what may be changed, and what the
//! shards are to be told.
//!
//! Pure: every operation is judged here, in the kernel's order of tests, and turned into commands
//! that cannot fail. Nothing has changed when an operation is refused.

mod draft;
mod judge;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use hashbrown::HashMap;

use crate::command::Command;
use crate::estimator::{Estimator, Rates};
use crate::refusal::Refusal;
use crate::roster::{Load, Member, Persistence, Roster, ServerId};
use crate::schedule::{Plan, Scheduler};
use crate::service::{Family, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelKind};
use crate::settings::Settings;
use crate::time::Tick;
use judge::{judge_address, judge_server, judge_service};

/// Seconds for which a deleted server without connections is remembered, so that it can come back
/// with its counters.
const REMEMBER_S: u32 = 120;

/// Reads what a server's slot has counted since the daemon started, summed over all shards.
pub type ReadTraffic<'a> = &'a dyn Fn(ServerId) -> Traffic;

/// Services, servers, and the slots that servers have on the shards.
pub struct Director {
    services: HashMap<ServiceKey, Service>,
    service_limit: usize,
    free_slots: Vec<ServerId>,
    deleted: Vec<Deleted>,
    /// Broadcast addresses of the director's own networks.
    broadcasts: Vec<Ipv4Addr>,
    /// Slots that have ever been used: those with lower numbers.
    slots_used: u32,
    /// All traffic when it was zeroed.
    zeroed: Traffic,
    estimator: Estimator,
    /// Whether changes wait for the end of a batch; then the services that have changed.
    batch: Option<Vec<ServiceKey>>,
    /// Of the next server that there has never been.
    next_serial: u64,
}

struct Service {
    spec: ServiceSpec,
    scheduler: Arc<Scheduler>,
    /// The scheduler's for the servers as they are.
    plan: Arc<Plan>,
    /// Newest first, as the kernel keeps them.
    servers: VecDeque<Server>,
    next_order: u32,
    /// What deleted servers had counted for the service.
    retired: Traffic,
    /// The service's traffic when it was zeroed.
    zeroed: Traffic,
    estimator: Estimator,
    /// Whether the shards have not been told of the last changes yet.
    is_stale: bool,
}

struct Server {
    spec: ServerSpec,
    member: Member,
    /// What the slot had counted when the service got it.
    origin: Traffic,
    /// What the slot had counted when the server was zeroed.
    zeroed: Traffic,
    estimator: Estimator,
}

/// A deleted server, whose connections may still exist.
struct Deleted {
    service: ServiceKey,
    server: Server,
    /// Whether its service has been deleted too, so that its counters start anew.
    with_service: bool,
    /// When it was first seen without connections.
    idle_since: Option<Tick>,
}

/// A service as listings show it.
pub struct ServiceView<'a> {
    /// As configured.
    pub spec: &'a ServiceSpec,
    /// Counted since it was zeroed.
    pub traffic: Traffic,
    /// Traffic per second.
    pub rates: Rates,
    /// Its servers, newest first.
    pub servers: Vec<ServerView<'a>>,
}

/// A server as listings show it.
pub struct ServerView<'a> {
    /// As configured.
    pub spec: &'a ServerSpec,
    /// Its connections.
    pub load: &'a Load,
    /// Counted since it was zeroed.
    pub traffic: Traffic,
    /// Traffic per second.
    pub rates: Rates,
}

impl Director {
    /// A director without services. The limits are those of the shards' tables.
    #[must_use]
    pub fn new(service_limit: usize, server_limit: usize) -> Self {
        Self {
            services: HashMap::new(),
            service_limit,
            free_slots: (0..server_limit as u32).rev().map(ServerId).collect(),
            deleted: Vec::new(),
            broadcasts: Vec::new(),
            slots_used: 0,
            zeroed: Traffic::default(),
            estimator: Estimator::default(),
            batch: None,
            next_serial: 0,
        }
    }

    /// Names the broadcast addresses of the director's own networks, which no server can have.
    pub fn set_broadcasts(&mut self, broadcasts: Vec<Ipv4Addr>) {
        self.broadcasts = broadcasts;
    }

    /// Whether changes of services wait from now on for [`Director::end_batch`], so that many of
    /// them cost one command for each service. Operations return [`Command::Deferred`] then, but
    /// for the removal of services.
    pub fn begin_batch(&mut self) {
        self.batch.get_or_insert_default();
    }

    /// Ends a batch: what the shards are to be told of it.
    pub fn end_batch(&mut self) -> Vec<Command> {
        let changed = self.batch.take().unwrap_or_default();
        let mut commands = Vec::new();
        for key in changed {
            // Deleted since, or changed twice.
            if let Some(service) = self.services.get_mut(&key).filter(|service| service.is_stale) {
                commands.push(service.changed());
            }
        }
        commands
    }

    /// Whether a batch is open.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// Refuses a server of another family than its service's, which synchronisation cannot tell
    /// of; for when a sync daemon runs.
    ///
    /// # Errors
    /// When there is no such service, or the families differ.
    pub fn judge_family(&self, key: &ServiceKey, spec: &ServerSpec) -> Result<(), Refusal> {
        if !self.services.contains_key(key) {
            return Err(Refusal::ServiceNotDefined);
        }
        if Family::of(spec.address) == key.family() {
            Ok(())
        } else {
            Err(Refusal::InvalidOperation)
        }
    }

    /// Whether any server's family is not its service's.
    #[must_use]
    pub fn has_mixed_families(&self) -> bool {
        self.services.values().any(|service| {
            let family = service.spec.key.family();
            service.servers.iter().any(|server| Family::of(server.spec.address) != family)
        })
    }

    /// Adds a virtual service.
    ///
    /// # Errors
    /// When it exists, its scheduler does not, or the table is full.
    pub fn add_service(&mut self, spec: ServiceSpec) -> Result<Command, Refusal> {
        if self.services.contains_key(&spec.key) {
            return Err(Refusal::ServiceExists);
        }
        let scheduler = judge_service(&spec)?;
        if self.services.len() == self.service_limit {
            return Err(Refusal::NoMemory);
        }
        let mut service = Service {
            scheduler: Arc::new(scheduler),
            plan: Arc::default(),
            servers: VecDeque::new(),
            next_order: 1,
            retired: Traffic::default(),
            zeroed: Traffic::default(),
            estimator: Estimator::default(),
            is_stale: false,
            spec,
        };
        let command = changed(&mut self.batch, &mut service);
        self.services.insert(service.spec.key, service);
        Ok(command)
    }

    /// Replaces the attributes of a virtual service. A scheduler of the same name keeps its state.
    ///
    /// # Errors
    /// When the service or its new scheduler does not exist, or there are too many servers for it.
    pub fn edit_service(&mut self, spec: ServiceSpec) -> Result<Command, Refusal> {
        let service = self.services.get_mut(&spec.key).ok_or(Refusal::NoSuchService)?;
        let scheduler = judge_service(&spec)?;
        if service.servers.len() > scheduler.most_servers() {
            return Err(Refusal::InvalidOperation);
        }
        let keeps_scheduler = spec.scheduler == service.spec.scheduler;
        service.spec = spec;
        if keeps_scheduler && !service.is_stale {
            // Its servers have not changed either, so it is told nothing and forgets nothing.
            return Ok(service.put());
        }
        if !keeps_scheduler {
            service.scheduler = Arc::new(scheduler);
        }
        Ok(changed(&mut self.batch, service))
    }

    /// Deletes a virtual service. Its connections stay, and their packets are dropped.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<Command, Refusal> {
        let mut service = self.services.remove(key).ok_or(Refusal::NoSuchService)?;
        for deleted in self.deleted.iter_mut().filter(|deleted| deleted.service == *key) {
            deleted.with_service = true;
        }
        for server in core::mem::take(&mut service.servers) {
            let deleted = Deleted { service: *key, server, with_service: true, idle_since: None };
            self.deleted.push(deleted);
        }
        Ok(Command::RemoveService(*key))
    }

    /// Deletes every virtual service.
    pub fn flush(&mut self) -> Vec<Command> {
        let keys: Vec<_> = self.services.keys().copied().collect();
        keys.iter().filter_map(|key| self.delete_service(key).ok()).collect()
    }

    /// Adds a real server, or brings back a deleted one with its connections.
    ///
    /// # Errors
    /// When there is no such service, the server exists, its values make no sense, or the table is
    /// full.
    pub fn add_server(
        &mut self,
        key: &ServiceKey,
        spec: ServerSpec,
        read: ReadTraffic<'_>,
    ) -> Result<Command, Refusal> {
        let service = self.services.get_mut(key).ok_or(Refusal::ServiceNotDefined)?;
        judge_server(&spec, key.family())?;
        if service.place_of(spec.address, spec.port).is_some() {
            return Err(Refusal::ServerExists);
        }
        judge_address(spec.address, &self.broadcasts)?;
        if service.servers.len() >= service.scheduler.most_servers() {
            return Err(Refusal::InvalidOperation);
        }
        let returning = self.deleted.iter().position(|deleted| {
            let known = &deleted.server.spec;
            deleted.service == *key && (known.address, known.port) == (spec.address, spec.port)
        });
        let (mut server, starts_anew) = match returning {
            Some(place) => {
                let deleted = self.deleted.swap_remove(place);
                (deleted.server, deleted.with_service)
            }
            None => {
                let id = self.free_slots.pop().ok_or(Refusal::NoMemory)?;
                self.next_serial += 1;
                self.slots_used = self.slots_used.max(id.0 + 1);
                (Server::new(id, self.next_serial, spec), true)
            }
        };
        server.set(spec, key.family());
        server.origin = read(server.member.id);
        server.estimator = Estimator::new(server.origin);
        if starts_anew {
            server.zeroed = server.origin;
        }
        server.member.order = service.take_order();
        service.servers.push_front(server);
        Ok(changed(&mut self.batch, service))
    }

    /// Replaces weight, method and thresholds of a real server; it keeps its place.
    ///
    /// # Errors
    /// When service or server does not exist, or the values make no sense.
    pub fn edit_server(&mut self, key: &ServiceKey, spec: ServerSpec) -> Result<Command, Refusal> {
        let service = self.services.get_mut(key).ok_or(Refusal::ServiceNotDefined)?;
        judge_server(&spec, key.family())?;
        let place = service.place_of(spec.address, spec.port).ok_or(Refusal::NoSuchServer)?;
        service.servers[place].set(spec, key.family());
        Ok(changed(&mut self.batch, service))
    }

    /// Takes a real server out of its service.
    ///
    /// # Errors
    /// When service or server does not exist.
    pub fn delete_server(
        &mut self,
        key: &ServiceKey,
        address: IpAddr,
        port: u16,
        read: ReadTraffic<'_>,
    ) -> Result<Command, Refusal> {
        let service = self.services.get_mut(key).ok_or(Refusal::ServiceNotDefined)?;
        let place = service.place_of(address, port).ok_or(Refusal::NoSuchServer)?;
        let server = service.servers.remove(place).expect("it has just been found");
        service.retire(&server, read);
        let deleted = Deleted { service: *key, server, with_service: false, idle_since: None };
        self.deleted.push(deleted);
        Ok(changed(&mut self.batch, service))
    }

    /// Sets the counters of a service and its servers to zero, or all of them.
    ///
    /// # Errors
    /// When there is no such service.
    pub fn zero(&mut self, key: Option<&ServiceKey>, read: ReadTraffic<'_>) -> Result<(), Refusal> {
        match key {
            Some(key) => {
                self.services.get_mut(key).ok_or(Refusal::NoSuchService)?.zero(read);
            }
            None => {
                self.services.values_mut().for_each(|service| service.zero(read));
                self.zeroed = self.everything(read);
                self.estimator = Estimator::new(self.zeroed);
            }
        }
        Ok(())
    }

    /// All traffic since it was zeroed, of servers deleted meanwhile too, and per second.
    #[must_use]
    pub fn total(&self, read: ReadTraffic<'_>) -> (Traffic, Rates) {
        (self.everything(read) - self.zeroed, self.estimator.rates())
    }

    fn everything(&self, read: ReadTraffic<'_>) -> Traffic {
        let mut total = Traffic::default();
        (0..self.slots_used).for_each(|slot| total += read(ServerId(slot)));
        total
    }

    /// Takes a sample of all counters for the rates. To be called every
    /// [`PERIOD_S`](crate::estimator::PERIOD_S) seconds.
    pub fn estimate(&mut self, read: ReadTraffic<'_>) {
        self.estimator.sample(self.everything(read));
        for service in self.services.values_mut() {
            let total = service.total(read);
            service.estimator.sample(total);
            for server in &mut service.servers {
                server.estimator.sample(read(server.member.id));
            }
        }
    }

    /// Every service, in no particular order.
    pub fn services<'a>(
        &'a self,
        read: ReadTraffic<'a>,
    ) -> impl Iterator<Item = ServiceView<'a>> + 'a {
        self.services.values().map(move |service| service.view(read))
    }

    /// One service, by its very key.
    #[must_use]
    pub fn service<'a>(
        &'a self,
        key: &ServiceKey,
        read: ReadTraffic<'a>,
    ) -> Option<ServiceView<'a>> {
        Some(self.services.get(key)?.view(read))
    }

    /// A service as configured.
    #[must_use]
    pub fn service_spec(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        Some(&self.services.get(key)?.spec)
    }

    /// Forgets deleted servers whose connections have ended long ago, and frees their slots. To be
    /// called now and then.
    pub fn forget_deleted(&mut self, now: Tick) -> Vec<Command> {
        self.forget(|deleted, is_idle| {
            let since = match is_idle {
                true => *deleted.idle_since.get_or_insert(now),
                false => {
                    deleted.idle_since = None;
                    return false;
                }
            };
            now.reached(since.after_seconds(REMEMBER_S))
        })
    }

    /// Forgets every deleted server without connections at once: for when slots are out.
    pub fn forget_idle(&mut self) -> Vec<Command> {
        self.forget(|_, is_idle| is_idle)
    }

    /// Lets schedulers forget what has not been used for long. To be called about once a second.
    pub fn tick_schedulers(&self, now: Tick, settings: &Settings) {
        let (lblc, lblcr) = (settings.lblc_expiration as u32, settings.lblcr_expiration as u32);
        for service in self.services.values() {
            service.scheduler.tick(now, lblc, lblcr);
        }
    }

    /// Forgets the deleted servers that `may_go` says, which is told whether they are idle.
    fn forget(&mut self, mut may_go: impl FnMut(&mut Deleted, bool) -> bool) -> Vec<Command> {
        assert!(self.batch.is_none(), "shards may not have heard yet that a server is deleted");
        let mut commands = Vec::new();
        let free_slots = &mut self.free_slots;
        self.deleted.retain_mut(|deleted| {
            let is_idle = deleted.server.member.load.is_idle();
            let goes = may_go(deleted, is_idle);
            if goes {
                let id = deleted.server.member.id;
                free_slots.push(id);
                commands.push(Command::ReleaseServer(id));
            }
            !goes
        });
        commands
    }
}

/// What the shards are to be told of a changed service: nothing yet during a batch.
fn changed(batch: &mut Option<Vec<ServiceKey>>, service: &mut Service) -> Command {
    let Some(batch) = batch else { return service.changed() };
    if !service.is_stale {
        service.is_stale = true;
        batch.push(service.spec.key);
    }
    Command::Deferred
}

impl Service {
    /// Tells the scheduler of a change, and the shards by the command returned.
    fn changed(&mut self) -> Command {
        self.is_stale = false;
        let members = self.members();
        self.plan = Arc::new(self.scheduler.plan(&members));
        self.put_with(members)
    }

    /// The shards' command alone.
    fn put(&self) -> Command {
        self.put_with(self.members())
    }

    fn put_with(&self, members: Box<[Member]>) -> Command {
        Command::PutService(Arc::new(Roster {
            key: self.spec.key,
            scheduler: Arc::clone(&self.scheduler),
            flags: self.spec.scheduler_flags,
            plan: Arc::clone(&self.plan),
            persistence: self
                .spec
                .persistence_s
                .map(|timeout_s| Persistence { timeout_s, mask: self.spec.client_mask }),
            one_packet: self.spec.one_packet,
            members,
        }))
    }

    fn members(&self) -> Box<[Member]> {
        self.servers.iter().map(|server| server.member.clone()).collect()
    }

    /// A number above every member's; when they run out, all are numbered anew.
    fn take_order(&mut self) -> u32 {
        if self.next_order == u32::MAX {
            let count = self.servers.len() as u32;
            for (server, order) in self.servers.iter_mut().zip((1..=count).rev()) {
                server.member.order = order;
            }
            self.next_order = count + 1;
        }
        self.next_order += 1;
        self.next_order - 1
    }

    fn place_of(&self, address: IpAddr, port: u16) -> Option<usize> {
        let is_it = |server: &Server| (server.spec.address, server.spec.port) == (address, port);
        self.servers.iter().position(is_it)
    }

    /// Keeps what a server that leaves has counted for the service.
    fn retire(&mut self, server: &Server, read: ReadTraffic<'_>) {
        self.retired += read(server.member.id) - server.origin;
    }

    fn total(&self, read: ReadTraffic<'_>) -> Traffic {
        let mut total = self.retired;
        for server in &self.servers {
            total += read(server.member.id) - server.origin;
        }
        total
    }

    fn zero(&mut self, read: ReadTraffic<'_>) {
        self.zeroed = self.total(read);
        self.estimator = Estimator::new(self.zeroed);
        for server in &mut self.servers {
            server.zeroed = read(server.member.id);
            server.estimator = Estimator::new(server.zeroed);
        }
    }

    fn view<'a>(&'a self, read: ReadTraffic<'a>) -> ServiceView<'a> {
        let server_view = |server: &'a Server| ServerView {
            spec: &server.spec,
            load: &server.member.load,
            traffic: read(server.member.id) - server.zeroed,
            rates: server.estimator.rates(),
        };
        ServiceView {
            spec: &self.spec,
            traffic: self.total(read) - self.zeroed,
            rates: self.estimator.rates(),
            servers: self.servers.iter().map(server_view).collect(),
        }
    }
}

impl Server {
    /// A server in a slot, without connections.
    fn new(id: ServerId, serial: u64, spec: ServerSpec) -> Self {
        let member = Member {
            id,
            order: 0,
            serial,
            weight: 0,
            last_weight: 0,
            method: spec.method,
            is_plain_tunnel: true,
            address: spec.address,
            port: spec.port,
            load: Arc::default(),
        };
        let (origin, zeroed) = (Traffic::default(), Traffic::default());
        Self { spec, member, origin, zeroed, estimator: Estimator::default() }
    }

    /// Takes the attributes of a server of a service of this family.
    fn set(&mut self, spec: ServerSpec, family: Family) {
        self.spec = spec;
        self.member.weight = spec.weight as u32;
        if self.member.weight != 0 {
            self.member.last_weight = self.member.weight;
        }
        self.member.load.set_thresholds(spec.upper_threshold, spec.lower_threshold);
        self.member.method = spec.method;
        self.member.is_plain_tunnel =
            spec.tunnel.kind == TunnelKind::Ipip && Family::of(spec.address) == family;
    }
}

#[cfg(test)]
#[path = "director_tests.rs"]
mod tests;
