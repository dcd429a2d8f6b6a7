//! The control grammar's back end: each operation runs on the control thread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ctl::backend::{
    Backend, ConnectionRow, DaemonRow, FrameCounts, Rates, ServerRow, ServiceRow, SettingChange,
    Table,
};
use ctl::command::{DaemonSpec, Role, Timeouts};
use ctl::mark::{MarkChange, MarkError};
use dataplane::command::{Command, ConnectionInfo};
use dataplane::connection::state::State;
use dataplane::counters::Counters;
use dataplane::director::{Director, ReadTraffic, ServiceView};
use dataplane::mark::MarkRule;
use dataplane::refusal::Refusal;
use dataplane::service::{Protocol, ServerSpec, ServiceKey, ServiceSpec};
use dataplane::settings::Settings;
use dataplane::verdict::DropReason;

use super::{Control, Handle};

const STOPPING: Refusal = Refusal::Unsupported("pollvsd is stopping");
const NO_SYNC: Refusal = Refusal::Unsupported("connection sync is not supported yet");

/// A back end on another thread than control's.
pub struct Remote(pub Handle);

impl Remote {
    /// Changes the truth, then the workers.
    fn change(
        &self,
        change: impl FnOnce(&mut Director, ReadTraffic<'_>) -> Result<Command, Refusal> + Send + 'static,
    ) -> Result<(), Refusal> {
        let changed = self.0.call(|control| {
            let counters = &control.counters;
            let command = change(&mut control.director, &|id| Control::traffic(counters, id))?;
            control.broadcast(&command);
            Ok(())
        });
        changed.unwrap_or(Err(STOPPING))
    }

    /// Changes settings here, then at the workers.
    fn put(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<(), Refusal> {
        let changed = self.0.call(|control| {
            let mut settings = control.settings;
            change(&mut settings)?;
            control.put_settings(settings);
            Ok(())
        });
        changed.unwrap_or(Err(STOPPING))
    }

    /// Puts what is configured in force: for the start, before the first packet.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub fn configure(&self, settings: Settings, marks: Arc<[MarkRule]>) -> Result<(), Refusal> {
        let configured = self.0.call(move |control| {
            control.put_settings(settings);
            control.put_marks(marks);
        });
        configured.ok_or(STOPPING)
    }
}

impl Backend for Remote {
    fn add_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        self.change(|director, _| director.add_service(spec))
    }

    fn edit_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        self.change(|director, _| director.edit_service(spec))
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Refusal> {
        let key = *key;
        self.change(move |director, _| director.delete_service(&key))
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        let flushed = self.0.call(|control| {
            for command in control.director.flush() {
                control.broadcast(&command);
            }
        });
        flushed.ok_or(STOPPING)
    }

    fn add_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        let key = *service;
        let added = self.0.call(move |control| {
            let counters = control.counters.clone();
            let read = |id| Control::traffic(&counters, id);
            let mut added = control.director.add_server(&key, server, &read);
            if matches!(added, Err(Refusal::NoMemory)) {
                // Deleted servers keep their slots for a while; now the slots are worth more.
                for command in control.director.forget_idle() {
                    control.broadcast(&command);
                }
                added = control.director.add_server(&key, server, &read);
            }
            control.broadcast(&added?);
            Ok(())
        });
        added.unwrap_or(Err(STOPPING))
    }

    fn edit_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        let key = *service;
        self.change(move |director, _| director.edit_server(&key, server))
    }

    fn delete_server(
        &mut self,
        service: &ServiceKey,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Refusal> {
        let key = *service;
        self.change(move |director, read| director.delete_server(&key, address, port, read))
    }

    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Refusal> {
        let key = service.copied();
        let zeroed = self.0.call(move |control| {
            let counters = &control.counters;
            control.director.zero(key.as_ref(), &|id| Control::traffic(counters, id))
        });
        zeroed.unwrap_or(Err(STOPPING))
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), Refusal> {
        let Timeouts { tcp_s, tcp_fin_s, udp_s } = timeouts;
        self.put(move |settings| settings.timeouts.set(tcp_s, tcp_fin_s, udp_s))
    }

    fn start_daemon(&mut self, _: DaemonSpec) -> Result<(), Refusal> {
        Err(NO_SYNC)
    }

    fn stop_daemon(&mut self, _: Role, _: u8) -> Result<(), Refusal> {
        Err(Refusal::NoDaemon)
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        let table = self.0.call(|control| {
            let read = |id| Control::traffic(&control.counters, id);
            let services = control.director.services(&read).map(|view| service_row(&view));
            Table { size_buckets: u64::from(control.table.buckets()), services: services.collect() }
        });
        table.ok_or(STOPPING)
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
        let key = *key;
        let row = self.0.call(move |control| {
            let read = |id| Control::traffic(&control.counters, id);
            control.director.service(&key, &read).map(|view| service_row(&view))
        });
        row.ok_or(STOPPING)?.ok_or(Refusal::NoSuchService)
    }

    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal> {
        let connections = self.0.call(|control| control.connections()).ok_or(STOPPING)?;
        Ok(connections.iter().map(connection_row).collect())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        let timeouts = self.settings()?.timeouts;
        Ok(Timeouts {
            tcp_s: timeouts.seconds(State::Established),
            tcp_fin_s: timeouts.seconds(State::FinWait),
            udp_s: timeouts.seconds(State::Udp),
        })
    }

    fn settings(&mut self) -> Result<Settings, Refusal> {
        self.0.call(|control| control.settings).ok_or(STOPPING)
    }

    fn change_settings(&mut self, changes: Vec<SettingChange>) -> Result<(), Refusal> {
        self.put(move |settings| SettingChange::apply(&changes, settings))
    }

    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal> {
        Ok(Vec::new())
    }

    fn frames(&mut self) -> Result<FrameCounts, Refusal> {
        let counts = self.0.call(|control| {
            let sum = |of: &dyn Fn(&Counters) -> u64| {
                control.counters.iter().map(|counters| of(counters)).sum::<u64>()
            };
            let drops = DropReason::ALL
                .iter()
                .map(|&reason| (reason, sum(&|counters| counters.dropped(reason))));
            FrameCounts {
                received: sum(&|counters| counters.received.get()),
                transmitted: sum(&|counters| counters.transmitted.get()),
                handed_over: sum(&|counters| counters.handed_over.get()),
                answered: sum(&|counters| counters.answered.get()),
                limited: sum(&|counters| counters.limited.get()),
                drops: drops.collect(),
                ports: (control.losses)(),
            }
        });
        counts.ok_or(STOPPING)
    }

    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal> {
        self.0.call(|control| control.marks.to_vec()).ok_or(STOPPING)
    }

    fn change_marks(&mut self, change: MarkChange) -> Result<(), MarkError> {
        let changed = self.0.call(|control| {
            let marks = change.apply(&control.marks)?;
            control.put_marks(marks.into());
            Ok(())
        });
        changed.unwrap_or(Err(MarkError::Refused(STOPPING)))
    }
}

fn service_row(view: &ServiceView<'_>) -> ServiceRow {
    let servers = view.servers.iter().map(|server| ServerRow {
        spec: *server.spec,
        active: server.load.active(),
        inactive: server.load.inactive(),
        persistent: server.load.templates(),
        traffic: server.traffic,
        rates: Rates::default(),
    });
    ServiceRow {
        spec: view.spec.clone(),
        traffic: view.traffic,
        rates: Rates::default(),
        servers: servers.collect(),
    }
}

fn connection_row(connection: &ConnectionInfo) -> ConnectionRow {
    let end = |(address, port)| SocketAddr::new(address, port);
    ConnectionRow {
        protocol: Protocol::from_number(connection.protocol).map_or("IP", Protocol::name),
        client: end(connection.client),
        virtual_end: end(connection.virtual_end),
        real: end(connection.real),
        state: connection.state.name().into(),
        expires_s: u64::from(connection.expires_s),
        engine: None,
    }
}
