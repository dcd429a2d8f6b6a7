//! The director of the recordings: where it stood, told what to do in ipvsadm's words.

use std::net::IpAddr;
use std::sync::Arc;

use ctl::backend::Backend;
use ctl::names::SystemNames;
use ctl::print::proc;
use ctl::session::{self, Reply};
use dataplane::command::{Command, ConnectionInfo, ConnectionPage};
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Route, Topology};
use dataplane::mark::MarkRule;
use dataplane::packet::ethernet::Mac;
use dataplane::roster::ServerId;
use dataplane::service::Traffic;
use dataplane::settings::Settings;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId, Verdict};
use dataplane::{BURST, command::Reply as ShardReply};

use crate::common::frame::{TestFrame, TestHost};

/// The interface towards the clients, `d0`.
pub(crate) const CLIENTS: PortId = PortId(0);
/// The interface towards the servers, `d1`.
pub(crate) const SERVERS: PortId = PortId(1);
const SERVICES: usize = 64;
const SLOTS: usize = 256;

/// How the recorded machine differed from scene to scene.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) client_mac: Mac,
    pub(crate) server_mac: Mac,
    pub(crate) server_mtu: u16,
}

pub(crate) struct World {
    pub(crate) shard: Shard<TestFrame>,
    pub(crate) director: Director,
    pub(crate) counters: Arc<Counters>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) settings: Settings,
    pub(crate) now: Tick,
    host: TestHost,
}

impl World {
    pub(crate) fn new(scene: Scene) -> Self {
        let key = HashKey::new([1, 2, 3]);
        let counters = Arc::new(Counters::new(SLOTS));
        let templates = Arc::new(Templates::new(4096, key));
        let config = ShardConfig {
            id: ShardId(0),
            shards: 1,
            key,
            table: TableSize { connections: 4096 },
            table6: TableSize { connections: 4096 },
            services: SERVICES,
            servers: SLOTS,
            neighbours: 64,
        };
        let topology = Arc::new(topology(scene));
        let mut shard =
            Shard::new(&config, topology, Arc::clone(&counters), Arc::clone(&templates));
        for (address, mac) in neighbours() {
            shard.fix_neighbour(address, mac).expect("it is on-link");
        }
        let mut world = Self {
            shard,
            director: Director::new(SERVICES, SLOTS),
            counters,
            templates,
            settings: Settings::default(),
            now: Tick(100_000),
            host: TestHost::new(),
        };
        // As the recorded machine was set up.
        for (name, value) in [("icmp_ratelimit", "0"), ("icmp_msgs_per_sec", "100000")] {
            world.settings.set(&format!("net.ipv4.{name}"), value).expect("it exists");
        }
        world.put_settings();
        world
    }

    /// Lets time pass, and what has run out end.
    pub(crate) fn wait(&mut self, ticks: u32) {
        self.now = self.now.after(ticks);
        self.shard.sweep_all(self.now);
        self.shard.sweep_all_templates(self.now);
        for command in self.director.forget_deleted(self.now) {
            self.apply(command);
        }
        self.director.tick_schedulers(self.now, &self.settings);
    }

    /// The kernel's tick for rates.
    pub(crate) fn estimate(&mut self) {
        let read = self.traffic();
        self.director.estimate(&read);
    }

    pub(crate) fn apply(&mut self, command: Command) -> ShardReply {
        self.shard.apply(self.now, command)
    }

    pub(crate) fn put_settings(&mut self) {
        self.apply(Command::PutSettings(self.settings));
    }

    /// Every packet gets this mark.
    pub(crate) fn mark_all(&mut self, mark: u32) {
        let rule = MarkRule {
            protocol: None,
            source: None,
            destination: None,
            source_ports: None,
            destination_ports: None,
            mark,
        };
        self.apply(Command::PutMarks(Arc::new([rule])));
    }

    /// Runs a recorded line of shell: ipvsadm, sysctl, or a look at a file.
    pub(crate) fn run(&mut self, line: &str) -> Option<String> {
        let line = line.trim();
        if let Some((first, second)) = line.split_once(';') {
            return Some(self.run(first)? + &self.run(second)?);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["ipvsadm", ..] => {
                let reply = self.ipvsadm(line);
                Some(String::from_utf8([reply.stdout, reply.stderr].concat()).expect("text"))
            }
            ["sysctl", "-w" | "-qw", ..] => {
                let (name, value) =
                    line.split_once("-w ").or(line.split_once("-qw "))?.1.split_once('=')?;
                self.settings.set(name.trim(), value.trim()).ok()?;
                self.put_settings();
                Some(format!("{} = {}\n", name.trim(), value.trim()))
            }
            ["sleep", _] => Some(String::new()),
            ["cat", path] => self.file(path.strip_prefix("/proc/net/")?),
            _ => None,
        }
    }

    /// One of the kernel's files.
    fn file(&mut self, name: &str) -> Option<String> {
        let rows = Backend::connections(self).ok()?;
        Some(match name {
            "ip_vs" => proc::ip_vs(&self.table().ok()?),
            "ip_vs_conn" => proc::ip_vs_conn(&rows),
            "ip_vs_conn_sync" => proc::ip_vs_conn_sync(&rows),
            "ip_vs_stats" => proc::ip_vs_stats(&self.totals().ok()?),
            "ip_vs_stats_percpu" => proc::ip_vs_stats_percpu(&self.totals().ok()?),
            _ => return None,
        })
    }

    pub(crate) fn ipvsadm(&mut self, line: &str) -> Reply {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        session::run(&argv, self, &SystemNames::new())
    }

    pub(crate) fn traffic(&self) -> impl Fn(ServerId) -> Traffic + use<> {
        let counters = Arc::clone(&self.counters);
        move |id| counters.traffic(id)
    }

    /// Connections and templates.
    pub(crate) fn connections(&mut self) -> Vec<ConnectionInfo> {
        let mut all = Vec::new();
        let mut page = ConnectionPage::default();
        loop {
            page.connections = Vec::with_capacity(64);
            let ShardReply::Connections(filled) = self.apply(Command::Connections(page)) else {
                unreachable!("a question is answered")
            };
            all.extend_from_slice(&filled.connections);
            if filled.from.is_none() {
                break;
            }
            page = filled;
        }
        self.templates.list(self.now, |template| all.push(template));
        all
    }

    /// A frame through the director: what comes out, and where.
    pub(crate) fn frame(&mut self, port: PortId, bytes: &[u8]) -> Vec<(PortId, Vec<u8>)> {
        use dataplane::frame::Frame;
        let mut frames = [TestFrame::with_headroom(port, bytes, 128)];
        let mut verdicts = [Verdict::Consumed; BURST];
        self.shard.process(self.now, &self.host, &mut frames, &mut verdicts);
        let mut out = std::mem::take(&mut self.host.sent);
        if let Verdict::Transmit(port) = verdicts[0] {
            out.push((port, frames[0].bytes().to_vec()));
        }
        assert!(!matches!(verdicts[0], Verdict::Hold(_) | Verdict::ToOwner(_)), "{verdicts:?}");
        out
    }
}

fn topology(scene: Scene) -> Topology {
    let interface = |port, mac, mtu, addresses: &[&str]| Interface {
        port,
        vlan: None,
        mac,
        mtu,
        addresses: addresses.iter().map(|text| text.parse().expect("a prefix")).collect(),
    };
    let clients =
        ["10.99.0.1/24", "2001:db8:99::1/64", "10.0.0.1/32", "10.0.0.2/32", "2001:db8::1/128"];
    let servers = ["10.1.255.254/16", "2001:db8:1::ffff/64"];
    let interfaces = vec![
        interface(CLIENTS, scene.client_mac, 1500, &clients),
        interface(SERVERS, scene.server_mac, scene.server_mtu, &servers),
    ];
    let route = |to: &str, gateway: &str| Route {
        to: to.parse().expect("a prefix"),
        gateway: gateway.parse().expect("an address"),
    };
    let routes = [route("10.9.0.0/16", "10.99.0.2"), route("2001:db8:9::/64", "2001:db8:99::2")];
    Topology::new(interfaces, &routes).expect("it makes sense")
}

fn neighbours() -> impl Iterator<Item = (IpAddr, Mac)> {
    let gateway = Mac([2, 0, 0, 0, 0x0c, 1]);
    let gateways = ["10.99.0.2", "2001:db8:99::2"].map(|text| (text.to_owned(), gateway));
    let servers = (1..=8).flat_map(|n| {
        let mac = Mac([2, 0, 0, 0, 0x1a, n]);
        [(format!("10.1.0.{n}"), mac), (format!("2001:db8:1::{n}"), mac)]
    });
    gateways.into_iter().chain(servers).map(|(text, mac)| (text.parse().expect("an address"), mac))
}
