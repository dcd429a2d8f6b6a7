//! The director of the recordings behind ipvsadm's grammar.

use std::net::{IpAddr, SocketAddr};

use ctl::backend::{
    Backend, ConnectionRow, DaemonRow, FrameCounts, ServerRow, ServiceRow, Table, Totals, Undone,
};
use ctl::command::{Change, DaemonSpec, Role, Timeouts};
use ctl::explain::Explanation;
use ctl::load::{PortRow, Workers};
use ctl::mark::{MarkChange, MarkError};
use ctl::refusal::Refusal;
use ctl::trace::{self, Taken, TraceError};
use dataplane::command::Command;
use dataplane::connection::state::State;
use dataplane::director::ServiceView;
use dataplane::explain::Question;
use dataplane::mark::MarkRule;
use dataplane::service::{Protocol, ServerSpec, ServiceKey, ServiceSpec};
use dataplane::settings::Settings;

use crate::world::World;

impl World {
    fn applied(&mut self, command: Result<Command, Refusal>) -> Result<(), Refusal> {
        self.apply(command?);
        Ok(())
    }
}

impl World {
    fn add_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        let command = self.director.add_service(spec);
        self.applied(command)
    }

    fn edit_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        let command = self.director.edit_service(spec);
        self.applied(command)
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Refusal> {
        let command = self.director.delete_service(key);
        self.applied(command)
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        for command in self.director.flush() {
            self.apply(command);
        }
        Ok(())
    }

    fn add_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        let read = self.traffic();
        let command = self.director.add_server(service, server, &read);
        self.applied(command)
    }

    fn edit_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        let command = self.director.edit_server(service, server);
        self.applied(command)
    }

    fn delete_server(
        &mut self,
        service: &ServiceKey,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Refusal> {
        let read = self.traffic();
        let command = self.director.delete_server(service, address, port, &read);
        self.applied(command)
    }

    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Refusal> {
        let read = self.traffic();
        self.director.zero(service, &read)
    }

    fn set_timeouts(&mut self, new: Timeouts) -> Result<(), Refusal> {
        self.settings.timeouts.set(new.tcp_s, new.tcp_fin_s, new.udp_s)?;
        self.put_settings();
        Ok(())
    }

    fn start_daemon(&mut self, _: DaemonSpec) -> Result<(), Refusal> {
        Err(Refusal::Unsupported("sync"))
    }

    fn stop_daemon(&mut self, _: Role) -> Result<(), Refusal> {
        Err(Refusal::NoDaemon)
    }

    fn make(&mut self, change: Change) -> Result<(), Refusal> {
        match change {
            Change::AddService(spec) => self.add_service(spec),
            Change::EditService(spec) => self.edit_service(spec),
            Change::DeleteService(key) => self.delete_service(&key),
            Change::Flush => self.flush(),
            Change::AddServer { service, server } => self.add_server(&service, server),
            Change::EditServer { service, server } => self.edit_server(&service, server),
            Change::DeleteServer { service, address, port } => {
                self.delete_server(&service, address, port)
            }
            Change::Zero(service) => self.zero(service.as_ref()),
            Change::SetTimeouts(timeouts) => self.set_timeouts(timeouts),
            Change::StartDaemon(spec) => self.start_daemon(spec),
            Change::StopDaemon { role, .. } => self.stop_daemon(role),
            Change::Settings(changes) => {
                let _ = changes;
                unreachable!("recordings change them by sysctl")
            }
        }
    }
}

impl Backend for World {
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        changes.into_iter().map(|change| self.make(change)).collect()
    }

    fn commit(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn explain(&mut self, _: &Question) -> Result<Explanation, Refusal> {
        unreachable!("the real tool does not explain")
    }

    fn trace(&mut self, _: trace::Order) -> Result<Taken, TraceError> {
        unreachable!("the real tool does not trace")
    }

    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), Undone> {
        let _ = changes;
        unreachable!("nothing recorded is atomic")
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        let read = self.traffic();
        let services = self.director.services(&read).map(|view| service_row(&view)).collect();
        Ok(Table { size_buckets: 4096, services })
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
        let read = self.traffic();
        let view = self.director.service(key, &read).ok_or(Refusal::NoSuchService)?;
        Ok(service_row(&view))
    }

    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal> {
        let row = |connection: &dataplane::command::ConnectionInfo| ConnectionRow {
            protocol: Protocol::from_number(connection.protocol).map_or("IP", Protocol::name),
            client: SocketAddr::from(connection.client),
            virtual_end: SocketAddr::from(connection.virtual_end),
            real: SocketAddr::from(connection.real),
            state: connection.state.name().into(),
            expires_s: connection.expires_s.into(),
            is_synced: connection.is_synced,
            engine: None,
        };
        Ok(World::connections(self).iter().map(row).collect())
    }

    fn settings(&mut self) -> Result<Settings, Refusal> {
        Ok(self.settings)
    }

    fn totals(&mut self) -> Result<Totals, Refusal> {
        let read = self.traffic();
        let (traffic, rates) = self.director.total(&read);
        Ok(Totals { traffic, rates, workers: vec![self.counters.total()] })
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        let seconds = |state| self.settings.timeouts.seconds(state);
        Ok(Timeouts {
            tcp_s: seconds(State::Established),
            tcp_fin_s: seconds(State::FinWait),
            udp_s: seconds(State::Udp),
        })
    }

    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal> {
        Ok(Vec::new())
    }

    fn frames(&mut self) -> Result<FrameCounts, Refusal> {
        Ok(FrameCounts::default())
    }

    fn ports(&mut self) -> Result<Vec<PortRow>, Refusal> {
        Ok(Vec::new())
    }

    fn workers(&mut self) -> Result<Workers, Refusal> {
        Ok(Workers::default())
    }

    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal> {
        Ok(Vec::new())
    }

    fn change_marks(&mut self, _: MarkChange) -> Result<(), MarkError> {
        unreachable!("recordings mark by a rule of their own")
    }
}

fn service_row(view: &ServiceView<'_>) -> ServiceRow {
    let servers = view.servers.iter().map(|server| ServerRow {
        spec: *server.spec,
        active: server.load.active(),
        inactive: server.load.inactive(),
        persistent: server.load.templates(),
        traffic: server.traffic,
        rates: server.rates,
    });
    ServiceRow {
        spec: view.spec.clone(),
        traffic: view.traffic,
        rates: view.rates,
        servers: servers.collect(),
    }
}
