//! What an administrator may do, and when it is refused.

use std::net::IpAddr;

use dataplane::refusal::Refusal;
use dataplane::service::{ServerSpec, ServiceKey, ServiceSpec};

use super::schedule::{Candidate, Scheduler};
use super::{Knobs, Life, Model, SECOND, Server, Service};

/// How long an unreferenced deleted server is remembered.
const REMEMBER: u64 = 120 * SECOND;

type Result = std::result::Result<(), Refusal>;

impl Model {
    pub(crate) fn add_service(&mut self, spec: ServiceSpec) -> Result {
        if self.services.contains_key(&spec.key) {
            return Err(Refusal::ServiceExists);
        }
        let scheduler = Scheduler::attach(&spec.scheduler, &[]);
        let service = Service { scheduler, list: Vec::new(), traffic: [0; 5], spec };
        self.services.insert(service.spec.key, service);
        Ok(())
    }

    pub(crate) fn edit_service(&mut self, spec: ServiceSpec) -> Result {
        let old = self.services.get(&spec.key).ok_or(Refusal::NoSuchService)?;
        let candidates = self.candidates(old);
        let service = self.services.get_mut(&spec.key).unwrap();
        if service.spec.scheduler != spec.scheduler {
            service.scheduler = Scheduler::attach(&spec.scheduler, &candidates);
        }
        service.spec = spec;
        Ok(())
    }

    pub(crate) fn delete_service(&mut self, key: &ServiceKey) -> Result {
        let service = self.services.remove(key).ok_or(Refusal::NoSuchService)?;
        for server in service.list {
            self.servers[server].life = Life::Deleted(None);
            self.deleted();
        }
        for server in &mut self.servers {
            server.is_orphan |= server.service == *key;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) {
        let keys: Vec<_> = self.services.keys().copied().collect();
        for key in keys {
            self.delete_service(&key).unwrap();
        }
    }

    pub(crate) fn add_server(&mut self, key: &ServiceKey, spec: ServerSpec) -> Result {
        let service = self.services.get(key).ok_or(Refusal::ServiceNotDefined)?;
        if self.place_of(service, spec.address, spec.port).is_some() {
            return Err(Refusal::ServerExists);
        }
        let is_back = |server: &Server| {
            matches!(server.life, Life::Deleted(_))
                && server.service == *key
                && (server.spec.address, server.spec.port) == (spec.address, spec.port)
        };
        let server = match self.servers.iter().position(is_back) {
            Some(server) => {
                if self.total(server) > 0 {
                    self.events.push("resumed");
                }
                let back = &mut self.servers[server];
                back.life = Life::Available;
                if back.is_orphan {
                    back.traffic = [0; 5];
                }
                back.is_orphan = false;
                server
            }
            None => {
                self.servers.push(Server {
                    service: *key,
                    spec: ServerSpec { upper_threshold: 0, ..spec },
                    last_weight: 0,
                    is_overloaded: false,
                    life: Life::Available,
                    is_orphan: false,
                    traffic: [0; 5],
                });
                self.servers.len() - 1
            }
        };
        self.set_server(server, spec);
        self.services.get_mut(key).unwrap().list.insert(0, server);
        self.tell(key, Scheduler::added);
        Ok(())
    }

    pub(crate) fn edit_server(&mut self, key: &ServiceKey, spec: ServerSpec) -> Result {
        let service = self.services.get(key).ok_or(Refusal::ServiceNotDefined)?;
        let place = self.place_of(service, spec.address, spec.port);
        let server = service.list[place.ok_or(Refusal::NoSuchServer)?];
        self.set_server(server, spec);
        self.tell(key, Scheduler::edited);
        Ok(())
    }

    pub(crate) fn delete_server(&mut self, key: &ServiceKey, end: super::End) -> Result {
        let service = self.services.get(key).ok_or(Refusal::ServiceNotDefined)?;
        let place = self.place_of(service, end.0, end.1).ok_or(Refusal::NoSuchServer)?;
        let service = self.services.get_mut(key).unwrap();
        let predecessor = place.checked_sub(1).map(|before| service.list[before]);
        let server = service.list.remove(place);
        self.servers[server].life = Life::Deleted(None);
        self.deleted();
        self.tell(key, |scheduler, candidates| {
            scheduler.deleted(candidates, server, predecessor);
        });
        Ok(())
    }

    /// Forgets deleted servers to which nothing has referred for long enough, as seen now and the
    /// times before.
    pub(crate) fn forget_deleted(&mut self) {
        for place in 0..self.servers.len() {
            let Life::Deleted(idle_since) = self.servers[place].life else { continue };
            let is_idle = self.total(place) + self.persistent(place) == 0;
            let since = idle_since.unwrap_or(self.now);
            self.servers[place].life = match is_idle {
                true if self.now - since >= REMEMBER => Life::Forgotten,
                true => Life::Deleted(Some(since)),
                false => Life::Deleted(None),
            };
        }
    }

    /// Sets the counters of a service and its servers to zero, or all of them.
    pub(crate) fn zero(&mut self, key: Option<&ServiceKey>) -> Result {
        if key.is_some_and(|key| !self.services.contains_key(key)) {
            return Err(Refusal::NoSuchService);
        }
        for (of, service) in &mut self.services {
            if key.is_none_or(|key| key == of) {
                service.traffic = [0; 5];
                service.list.iter().for_each(|&server| self.servers[server].traffic = [0; 5]);
            }
        }
        Ok(())
    }

    pub(crate) fn set_knobs(&mut self, knobs: Knobs) {
        self.knobs = knobs;
        if !self.nodest_at_deletion {
            self.nodest_sweep = (knobs.expire_nodest_conn != 0).then_some(self.now + 1);
        }
    }

    /// A service's servers as its scheduler sees them.
    pub(crate) fn candidates(&self, service: &Service) -> Vec<Candidate> {
        let candidate = |&number: &usize| {
            let server = &self.servers[number];
            let (active, inactive) = self.load(number);
            Candidate {
                number,
                weight: server.spec.weight,
                last_weight: server.last_weight,
                is_overloaded: server.is_overloaded,
                active: active as i64,
                inactive: inactive as i64,
                end: (server.spec.address, server.spec.port),
            }
        };
        service.list.iter().map(candidate).collect()
    }

    fn tell(&mut self, key: &ServiceKey, event: impl FnOnce(&mut Scheduler, &[Candidate])) {
        let candidates = self.candidates(&self.services[key]);
        event(&mut self.services.get_mut(key).unwrap().scheduler, &candidates);
    }

    fn place_of(&self, service: &Service, address: IpAddr, port: u16) -> Option<usize> {
        let is_it = |&server: &usize| {
            let spec = &self.servers[server].spec;
            (spec.address, spec.port) == (address, port)
        };
        service.list.iter().position(is_it)
    }

    /// Only another upper threshold touches the mark of overload here.
    fn set_server(&mut self, server: usize, spec: ServerSpec) {
        let server = &mut self.servers[server];
        if spec.upper_threshold == 0 || spec.upper_threshold > server.spec.upper_threshold {
            server.is_overloaded = false;
        }
        if spec.weight != 0 {
            server.last_weight = spec.weight;
        }
        server.spec = spec;
    }

    /// After a server has been deleted.
    fn deleted(&mut self) {
        if self.knobs.expire_nodest_conn != 0 && self.nodest_sweep.is_none() {
            self.nodest_sweep = Some(self.now + 1);
        }
    }
}
