//! A copy of the truth to try changes on that belong together.

use super::{Deleted, Director, Server};
use crate::service::Traffic;

impl Director {
    /// A director with the same services and servers to try changes on. What it takes this one
    /// takes too, whatever packets come meanwhile: every server counts as busy there, but for the
    /// deleted ones that are idle here, and so get no connection any more.
    #[must_use]
    pub fn draft(&self) -> Self {
        let servers = self.services.values().map(|service| service.servers.len()).sum::<usize>();
        let slots = servers + self.free_slots.len() + self.deleted.len();
        let mut draft = Self::new(self.service_limit, slots);
        draft.broadcasts.clone_from(&self.broadcasts);
        draft.begin_batch();
        for service in self.services.values() {
            draft.add_service(service.spec.clone()).expect("a service that exists is sound");
            for server in service.servers.iter().rev() {
                let added =
                    draft.add_server(&service.spec.key, server.spec, &|_| Traffic::default());
                added.expect("a server that exists is sound");
            }
        }
        for server in draft.services.values().flat_map(|service| &service.servers) {
            server.member.load.bind(false);
        }
        for deleted in &self.deleted {
            let id = draft.free_slots.pop().expect("a slot for each");
            let server = Server::new(id, 0, deleted.server.spec);
            if !deleted.server.member.load.is_idle() {
                server.member.load.bind(false);
            }
            let (service, with_service) = (deleted.service, deleted.with_service);
            draft.deleted.push(Deleted { service, server, with_service, idle_since: None });
        }
        draft
    }
}
