//! A director that only keeps its table, with the kernel's order of tests and its order of rows.
// Not every test file uses all of it.
#![allow(dead_code, unreachable_pub)]

pub mod packets;
pub mod sync;

use std::net::{IpAddr, Ipv4Addr};

use ctl::backend::{
    Backend, ConnectionRow, DaemonRow, FrameCounts, PortLosses, Rates, ServerRow, ServiceRow,
    Table, Totals, Undone,
};
use ctl::command::{Change, DaemonSpec, Role, SettingChange, Timeouts};
use ctl::explain::Explanation;
use ctl::load::{Link, PortCounts, PortRow, WorkerCounts, WorkerRow, Workers};
use ctl::mark::{MarkChange, MarkError};
use ctl::names::{Names, Services};
use ctl::refusal::Refusal;
use ctl::sync::{Handover, HandoverStep, SyncState, VrrpRow};
use ctl::trace::{Order, Taken, TraceError};
use dataplane::explain::Question;
use dataplane::mark::MarkRule;
use dataplane::packet::ethernet::Mac;
use dataplane::service::{Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic};
use dataplane::settings::Settings;
use dataplane::verdict::DropReason;

const SCHEDULERS: [&str; 15] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
    "none",
];

/// The toy director.
#[derive(Clone, Debug)]
pub struct Toy {
    /// Newest first.
    pub services: Vec<ServiceRow>,
    pub connections: Vec<ConnectionRow>,
    pub timeouts: Timeouts,
    pub settings: Settings,
    pub daemons: Vec<DaemonRow>,
    pub marks: Vec<MarkRule>,
    /// What was asked last, and answers to what will be, the next one last.
    pub asked: Option<Question>,
    pub explanations: Vec<Explanation>,
    /// What traces were told, and what they have seen.
    pub orders: Vec<Order>,
    pub taken: Option<Taken>,
    pub tsc_hz: Option<u64>,
    pub sync: SyncState,
    pub routers: Vec<VrrpRow>,
    /// Steps of handovers so far, and answers to those that come, the next one last; the first one holds.
    pub steps: Vec<HandoverStep>,
    pub handovers: Vec<Handover>,
    /// Commits so far, and why they fail.
    pub commits: u32,
    pub uncommitted: Option<String>,
    /// Every operation is refused for this reason.
    pub broken: Option<Refusal>,
}

impl Default for Toy {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            connections: Vec::new(),
            timeouts: Timeouts { tcp_s: 900, tcp_fin_s: 120, udp_s: 300 },
            settings: Settings::default(),
            daemons: Vec::new(),
            marks: Vec::new(),
            asked: None,
            explanations: Vec::new(),
            orders: Vec::new(),
            taken: None,
            tsc_hz: Some(3_000_000_000),
            sync: SyncState::default(),
            routers: Vec::new(),
            steps: Vec::new(),
            handovers: vec![Handover::NoRouter],
            commits: 0,
            uncommitted: None,
            broken: None,
        }
    }
}

impl Toy {
    fn check(&self) -> Result<(), Refusal> {
        self.broken.map_or(Ok(()), Err)
    }

    fn find(&mut self, key: &ServiceKey) -> Option<&mut ServiceRow> {
        self.services.iter_mut().find(|row| row.spec.key == *key)
    }

    fn known(spec: &ServiceSpec) -> Result<(), Refusal> {
        let engine = spec.persistence_engine.as_deref();
        if SCHEDULERS.contains(&spec.scheduler.as_str()) && engine.is_none_or(|e| e == "sip") {
            Ok(())
        } else {
            Err(Refusal::SchedulerOrEngineNotFound)
        }
    }

    /// The tests that adding and editing a server share.
    fn judge(&mut self, key: &ServiceKey, server: &ServerSpec) -> Result<(), Refusal> {
        self.check()?;
        let daemons = !self.daemons.is_empty();
        self.find(key).ok_or(Refusal::ServiceNotDefined)?;
        let mixed = Family::of(server.address) != key.family();
        if mixed && (server.method != Method::Tunnel || daemons) {
            return Err(Refusal::InvalidOperation);
        }
        if server.lower_threshold > server.upper_threshold {
            return Err(Refusal::OutOfRange);
        }
        Ok(())
    }
}

fn row_of(spec: ServerSpec) -> ServerRow {
    let (traffic, rates) = (Traffic::default(), Rates::default());
    ServerRow { spec, active: 0, inactive: 0, persistent: 0, traffic, rates }
}

fn same(row: &ServerRow, address: IpAddr, port: u16) -> bool {
    row.spec.address == address && row.spec.port == port
}

fn takes_servers(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            !(a.is_unspecified()
                || a.is_broadcast()
                || a.is_multicast()
                || a == Ipv4Addr::new(127, 255, 255, 255))
        }
        IpAddr::V6(a) => {
            !(a.is_unspecified() || a.is_multicast() || a.segments()[0] & 0xffc0 == 0xfe80)
        }
    }
}

/// Where the recorded kernel kept a service: its table of addresses, then its table of marks.
fn bucket(key: &ServiceKey) -> (bool, u32) {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let folded = match address {
                IpAddr::V4(a) => u32::from(a),
                IpAddr::V6(a) => {
                    let bits = u128::from(a);
                    [96, 64, 32, 0].iter().fold(0, |sum, shift| sum ^ (bits >> shift) as u32)
                }
            };
            let port = u32::from(port);
            (false, (protocol as u32 ^ folded ^ (port >> 8) ^ port ^ 0x20) & 255)
        }
        ServiceKey::Mark { mark, .. } => (true, mark & 255),
    }
}

impl Toy {
    pub fn add_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        self.check()?;
        if self.find(&spec.key).is_some() {
            return Err(Refusal::ServiceExists);
        }
        Self::known(&spec)?;
        let (traffic, rates, servers) = (Traffic::default(), Rates::default(), Vec::new());
        self.services.insert(0, ServiceRow { spec, traffic, rates, servers });
        Ok(())
    }

    fn edit_service(&mut self, spec: ServiceSpec) -> Result<(), Refusal> {
        self.check()?;
        let row = self.find(&spec.key).ok_or(Refusal::NoSuchService)?;
        Self::known(&spec)?;
        row.spec = spec;
        Ok(())
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Refusal> {
        self.check()?;
        self.find(key).ok_or(Refusal::NoSuchService)?;
        self.services.retain(|row| row.spec.key != *key);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Refusal> {
        self.check()?;
        self.services.clear();
        Ok(())
    }

    pub fn add_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        self.judge(service, &server)?;
        let row = self.find(service).ok_or(Refusal::ServiceNotDefined)?;
        if row.servers.iter().any(|row| same(row, server.address, server.port)) {
            return Err(Refusal::ServerExists);
        }
        if !takes_servers(server.address) {
            return Err(Refusal::InvalidOperation);
        }
        row.servers.insert(0, row_of(server));
        Ok(())
    }

    fn edit_server(&mut self, service: &ServiceKey, server: ServerSpec) -> Result<(), Refusal> {
        self.judge(service, &server)?;
        let row = self.find(service).ok_or(Refusal::ServiceNotDefined)?;
        let found = row.servers.iter_mut().find(|row| same(row, server.address, server.port));
        found.ok_or(Refusal::NoSuchServer)?.spec = server;
        Ok(())
    }

    fn delete_server(
        &mut self,
        service: &ServiceKey,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Refusal> {
        self.check()?;
        let row = self.find(service).ok_or(Refusal::ServiceNotDefined)?;
        let found = row.servers.iter().position(|row| same(row, address, port));
        row.servers.remove(found.ok_or(Refusal::NoSuchServer)?);
        Ok(())
    }

    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Refusal> {
        self.check()?;
        match service {
            Some(key) => self.find(key).map(|_| ()).ok_or(Refusal::NoSuchService),
            None => Ok(()),
        }
    }

    fn set_timeouts(&mut self, new: Timeouts) -> Result<(), Refusal> {
        self.check()?;
        let pick = |new: u32, old: u32| if new == 0 { old } else { new };
        self.timeouts = Timeouts {
            tcp_s: pick(new.tcp_s, self.timeouts.tcp_s),
            tcp_fin_s: pick(new.tcp_fin_s, self.timeouts.tcp_fin_s),
            udp_s: pick(new.udp_s, self.timeouts.udp_s),
        };
        Ok(())
    }

    fn start_daemon(&mut self, spec: DaemonSpec) -> Result<(), Refusal> {
        self.check()?;
        if spec.interface != "lo" {
            return Err(Refusal::NoDevice);
        }
        if self.daemons.iter().any(|row| row.role == spec.role) {
            return Err(Refusal::DaemonRuns);
        }
        let group = spec.group.unwrap_or(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81)));
        if group.is_ipv6() {
            return Err(Refusal::NetworkUnreachable);
        }
        // The recorded machine's loopback interface: 65535 less the headers.
        let default = if spec.role == Role::Master { 1472 } else { 65507 };
        self.daemons.push(DaemonRow {
            role: spec.role,
            interface: spec.interface,
            sync_id: spec.sync_id,
            max_length: spec.max_length.unwrap_or(default),
            group: Some(group),
            port: spec.port.unwrap_or(8848),
            ttl: spec.ttl.unwrap_or(1),
        });
        self.daemons.sort_by_key(|row| row.role);
        Ok(())
    }

    fn stop_daemon(&mut self, role: Role) -> Result<(), Refusal> {
        self.check()?;
        let found = self.daemons.iter().position(|row| row.role == role);
        self.daemons.remove(found.ok_or(Refusal::NoDaemon)?);
        Ok(())
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
                self.check()?;
                SettingChange::apply(&changes, &mut self.settings)
            }
        }
    }
}

impl Backend for Toy {
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>> {
        changes.into_iter().map(|change| self.make(change)).collect()
    }

    fn commit(&mut self) -> Result<(), String> {
        self.commits += 1;
        self.uncommitted.clone().map_or(Ok(()), Err)
    }

    fn explain(&mut self, question: &Question) -> Result<Explanation, Refusal> {
        self.check()?;
        self.asked = Some(*question);
        self.explanations.pop().ok_or(Refusal::NoMemory)
    }

    fn trace(&mut self, order: Order) -> Result<Taken, TraceError> {
        self.orders.push(order);
        self.taken.clone().ok_or(TraceError::Busy)
    }

    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), Undone> {
        let mut changed = self.clone();
        for (place, change) in changes.into_iter().enumerate() {
            changed.make(change).map_err(|refusal| Undone::wholly(place, refusal))?;
        }
        *self = changed;
        Ok(())
    }

    fn table(&mut self) -> Result<Table, Refusal> {
        self.check()?;
        let mut services = self.services.clone();
        services.sort_by_key(|row| bucket(&row.spec.key));
        Ok(Table { size_buckets: 4096, services })
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal> {
        self.check()?;
        self.find(key).cloned().ok_or(Refusal::NoSuchService)
    }

    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal> {
        self.check()?;
        Ok(self.connections.clone())
    }

    fn totals(&mut self) -> Result<Totals, Refusal> {
        Ok(Totals::default())
    }

    fn timeouts(&mut self) -> Result<Timeouts, Refusal> {
        self.check()?;
        Ok(self.timeouts)
    }

    fn settings(&mut self) -> Result<Settings, Refusal> {
        self.check()?;
        Ok(self.settings)
    }

    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal> {
        self.check()?;
        Ok(self.daemons.clone())
    }

    fn frames(&mut self) -> Result<FrameCounts, Refusal> {
        self.check()?;
        let drops = DropReason::ALL.iter().zip(1..).map(|(&reason, count)| (reason, count));
        let port = PortLosses { name: "net_null0".into(), missed: 11, ..PortLosses::default() };
        Ok(FrameCounts {
            received: 7,
            transmitted: 5,
            handed_over: 3,
            answered: 2,
            limited: 1,
            drops: drops.collect(),
            ports: vec![port],
        })
    }

    fn ports(&mut self) -> Result<Vec<PortRow>, Refusal> {
        self.check()?;
        let prefix = |text: &str| text.parse().expect("a prefix");
        let known = PortRow {
            number: 0,
            name: "eth0".into(),
            kind: "AF_PACKET".into(),
            driver: "net_af_packet".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            addresses: vec![(None, prefix("10.0.0.254/8")), (Some(5), prefix("2001:db8::1/64"))],
            mtu: 1500,
            receive_queues: 1,
            transmit_queues: 2,
            link: Link { is_up: true, speed_mbps: Some(10_000), full_duplex: Some(true) },
            total: PortCounts { frames_in: 9_007_199_254_740_993, missed: 3, ..Default::default() },
            per_second: PortCounts { bytes_out: 1500, ..Default::default() },
        };
        Ok(vec![known.clone(), PortRow { number: 1, link: Link::default(), ..known }])
    }

    fn workers(&mut self) -> Result<Workers, Refusal> {
        self.check()?;
        let total = WorkerCounts {
            polls: 100,
            busy_polls: 20,
            bursts: 30,
            frames: 90,
            transmitted: 80,
            handed_over: 10,
            busy_ns: 4500,
            run_ns: 30_000,
        };
        let first = WorkerRow {
            core: 6,
            connections: 12,
            total,
            per_second: total,
            ring_depth: 4,
            queue_depth: Some(5),
            ..WorkerRow::default()
        };
        let idle = WorkerRow { number: 1, core: 7, ..WorkerRow::default() };
        Ok(Workers { tsc_hz: self.tsc_hz, rows: vec![first, idle] })
    }

    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal> {
        self.check()?;
        Ok(self.marks.clone())
    }

    fn sync(&mut self) -> Result<SyncState, Refusal> {
        self.check()?;
        Ok(self.sync.clone())
    }

    fn vrrp(&mut self) -> Result<Vec<VrrpRow>, Refusal> {
        self.check()?;
        Ok(self.routers.clone())
    }

    fn handover(&mut self, step: HandoverStep) -> Result<Handover, Refusal> {
        self.check()?;
        self.steps.push(step);
        let holds = self.handovers.len() == 1;
        let next = if holds { self.handovers.first().cloned() } else { self.handovers.pop() };
        Ok(next.expect("an answer"))
    }

    fn change_marks(&mut self, change: MarkChange) -> Result<(), MarkError> {
        self.check().map_err(MarkError::Refused)?;
        self.marks = change.apply(&self.marks)?;
        Ok(())
    }
}

/// The names of the recorded machine.
#[derive(Debug)]
pub struct RecordedNames(Services);

impl Default for RecordedNames {
    fn default() -> Self {
        Self(Services::parse(
            "domain 53/tcp\nhttp 80/tcp www # web\nkerberos 88/tcp kerberos5 krb5\niso-tsap 102/tcp tsap\n\
             acr-nema 104/tcp dicom\npoppassd 106/tcp\nhttps 443/tcp\nsip 5060/tcp\nhttp-alt 8080/tcp webcache\n\
             domain 53/udp\nsip 5060/udp\nsip-tls 5061/udp\nmdns 5353/udp\n",
        ))
    }
}

impl Names for RecordedNames {
    fn host_v4(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "localhost").then_some(Ipv4Addr::LOCALHOST)
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        let own = ["127.0.0.1", "::1"].map(|a| a.parse::<IpAddr>().expect("an address"));
        own.contains(&address).then(|| "localhost".to_owned())
    }

    fn service_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.0.port(name, protocol)
    }

    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.0.name(port, protocol).map(str::to_owned)
    }
}

/// The words of a command line.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
