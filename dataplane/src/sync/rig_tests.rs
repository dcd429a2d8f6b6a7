//! A director with little around it, for the tests of sync: shards, control, and packets.

use super::{Record, RecordFlags, Told};
use crate::command::{Command, SyncRoles};
use crate::connection::TableSize;
use crate::counters::{Counters, SyncCounters};
use crate::director::Director;
use crate::frame::{Frame, Host};
use crate::hash::HashKey;
use crate::interface::{Interface, Route, Topology};
use crate::lane::BURST;
use crate::packet::ethernet::Mac;
use crate::roster::ServerId;
use crate::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use crate::settings::Settings;
use crate::shard::{Shard, ShardConfig};
use crate::template::Templates;
use crate::time::Tick;
use crate::verdict::{PortId, ShardId, Verdict};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use etherparse::PacketBuilder;

const CLIENTS: PortId = PortId(0);
const SERVERS: PortId = PortId(1);
const SERVER_SLOTS: usize = 32;
const ROOM: usize = 64;

/// States of TCP, by the kernel's numbers.
pub(super) const ESTABLISHED: u16 = 1;
pub(super) const FIN_WAIT: u16 = 4;
pub(super) const CLOSE_WAIT: u16 = 7;

pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;
pub(super) const FIN_ACK: u8 = 17;

/// A frame in a vector, with room in front.
pub(super) struct Bytes {
    port: PortId,
    buffer: Vec<u8>,
    start: usize,
}

impl Frame for Bytes {
    fn port(&self) -> PortId {
        self.port
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_add_signed(distance)?;
        self.buffer.truncate(self.start + length);
        Some(self.bytes_mut())
    }
}

/// A host with buffers, which loses what shards send by themselves.
struct Nowhere;

impl Host for Nowhere {
    type Frame = Bytes;

    fn allocate(&mut self, length: usize) -> Option<Bytes> {
        Some(Bytes { port: CLIENTS, buffer: vec![0; ROOM + length], start: ROOM })
    }

    fn send(&mut self, _: PortId, _: Bytes) {}

    fn release(&mut self, _: Bytes) {}
}

/// What a transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With these flags.
    Tcp(u8),
    Udp,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp => 17,
        }
    }
}

/// What is known of a frame that went out, by its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Last byte of the station's address: the number of the server, or 0 for the clients' router.
    pub(super) to: u8,
    /// Destination, without port in a tunnel's outer header.
    pub(super) destination: SocketAddr,
    /// The packet; the identification of an outer header, and its checksum, are zero.
    pub(super) packet: Vec<u8>,
}

pub(super) struct Rig {
    pub(super) shards: Vec<Shard<Bytes>>,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) templates: Arc<Templates>,
    pub(super) director: Director,
    pub(super) settings: Settings,
    pub(super) now: Tick,
    servers: BTreeMap<String, ServiceKey>,
}

impl Rig {
    /// Some shards with room for so many connections of each family, and templates.
    pub(super) fn new(shards: u16, connections: u32, templates: usize) -> Self {
        let key = HashKey::new([7, 8, 9]);
        let topology = Arc::new(topology());
        let templates = Arc::new(Templates::new(templates, key));
        let counters: Vec<_> = (0..shards).map(|_| Arc::new(Counters::new(SERVER_SLOTS))).collect();
        let shard = |n: u16| {
            let config = ShardConfig {
                id: ShardId(n),
                shards,
                key,
                table: TableSize { connections },
                table6: TableSize { connections },
                services: 16,
                servers: SERVER_SLOTS,
                neighbours: 64,
            };
            let counters = Arc::clone(&counters[usize::from(n)]);
            let mut shard =
                Shard::new(&config, Arc::clone(&topology), counters, Arc::clone(&templates));
            for (address, mac) in stations() {
                shard.fix_neighbour(address, mac).expect("it is on-link");
            }
            shard
        };
        let shards = (0..shards).map(shard).collect();
        Self {
            shards,
            counters,
            templates,
            director: Director::new(16, SERVER_SLOTS),
            settings: Settings::default(),
            now: Tick(u32::MAX - 5000),
            servers: BTreeMap::new(),
        }
    }

    pub(super) fn apply(&mut self, command: &Command) {
        for shard in &mut self.shards {
            shard.apply(self.now, command.clone());
        }
    }

    /// Puts a setting in force.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.settings.set(&format!("net.ipv4.vs.{name}"), value).expect("a setting");
        self.apply(&Command::PutSettings(self.settings));
    }

    pub(super) fn roles(&mut self, is_master: bool, is_backup: bool) {
        self.apply(&Command::PutSync(SyncRoles { is_master, is_backup }));
    }

    /// Adds a service; with a time, clients are persistent.
    pub(super) fn service(&mut self, kind: Kind, end: &str, persistence_s: Option<u32>) {
        let key = service_key(kind, end);
        let command = self.director.add_service(ServiceSpec {
            key,
            scheduler: "rr".into(),
            scheduler_flags: 0,
            persistence_s,
            client_mask: ClientMask::each_client(key.family()),
            persistence_engine: None,
            one_packet: false,
        });
        self.apply(&command.expect("it can be added"));
        self.servers.insert(format!("{}/{end}", kind.number()), key);
    }

    pub(super) fn server(&mut self, kind: Kind, service: &str, end: &str, method: Method) {
        let end: SocketAddr = end.parse().expect("an end");
        let spec = ServerSpec {
            address: end.ip(),
            port: end.port(),
            method,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: TunnelSpec::default(),
        };
        let command =
            self.director.add_server(&service_key(kind, service), spec, &|_| Traffic::default());
        self.apply(&command.expect("it can be added"));
    }

    pub(super) fn delete_server(&mut self, kind: Kind, service: &str, end: &str) {
        let end: SocketAddr = end.parse().expect("an end");
        let key = service_key(kind, service);
        let read = |_: ServerId| Traffic::default();
        let command = self.director.delete_server(&key, end.ip(), end.port(), &read);
        self.apply(&command.expect("it is there"));
    }

    /// Takes a record where it belongs; a template anywhere.
    pub(super) fn take(&mut self, record: &Record, told: Told) {
        let shards = self.shards.len() as u16;
        let owner = match record.client.0 {
            IpAddr::V4(address) => {
                self.shards[0].v4.connections.hash(address, record.client.1).owner(shards)
            }
            IpAddr::V6(address) => {
                self.shards[0].v6.connections.hash(address, record.client.1).owner(shards)
            }
        };
        self.shards[usize::from(owner.0)].take(self.now, record, told);
    }

    /// Lets seconds pass, and what has run out end.
    pub(super) fn wait(&mut self, seconds: u32) {
        self.now = self.now.after_seconds(seconds);
        self.sweep();
    }

    pub(super) fn sweep(&mut self) {
        for shard in &mut self.shards {
            shard.sweep_all(self.now);
            shard.sweep_all_templates(self.now);
        }
        for command in self.director.forget_deleted(self.now) {
            self.apply(&command);
        }
    }

    /// A client's packet through the director.
    pub(super) fn request(&mut self, kind: Kind, client: &str, service: &str) -> Option<Sent> {
        self.frame(CLIENTS, &frame(CLIENTS, kind, client, service))
    }

    /// A server's.
    pub(super) fn reply(&mut self, kind: Kind, server: &str, client: &str) -> Option<Sent> {
        self.frame(SERVERS, &frame(SERVERS, kind, server, client))
    }

    /// An ICMP error from somewhere to a virtual address, about what its server has sent a client.
    pub(super) fn error(&mut self, kind: Kind, service: &str, client: &str) -> Option<Sent> {
        let quoted = frame(SERVERS, kind, service, client);
        let vip: SocketAddr = service.parse().expect("an end");
        let IpAddr::V4(vip) = vip.ip() else { unreachable!("IPv4 only") };
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 9, 9], own_mac(CLIENTS).0)
            .ipv4([192, 0, 2, 1], vip.octets(), 64)
            .icmpv4_raw(3, 1, [0; 4])
            .write(&mut bytes, &quoted[14..])
            .expect("a small packet can be written");
        self.frame(CLIENTS, &bytes)
    }

    fn frame(&mut self, port: PortId, bytes: &[u8]) -> Option<Sent> {
        let mut shard = 0;
        loop {
            let buffer = [&[0xa5; ROOM], bytes].concat();
            let mut frames = [Bytes { port, buffer, start: ROOM }];
            let mut verdicts = [Verdict::Consumed; 1];
            self.shards[shard].process(self.now, &Nowhere, &mut frames, &mut verdicts);
            match verdicts[0] {
                Verdict::ToOwner(owner) => shard = usize::from(owner.0),
                Verdict::Transmit(_) => return Some(sent(frames[0].bytes())),
                _ => return None,
            }
        }
    }

    /// So many equal requests in one burst.
    pub(super) fn burst(&mut self, kind: Kind, clients: &[String], service: &str) {
        assert!(clients.len() <= BURST && self.shards.len() == 1);
        let frame = |client: &String| {
            let bytes = frame(CLIENTS, kind, client, service);
            Bytes { port: CLIENTS, buffer: [&[0; ROOM], &bytes[..]].concat(), start: ROOM }
        };
        let mut frames: Vec<_> = clients.iter().map(frame).collect();
        let mut verdicts = [Verdict::Consumed; BURST];
        self.shards[0].process(self.now, &Nowhere, &mut frames, &mut verdicts);
    }

    /// What backups are to be told since the last call.
    pub(super) fn told(&mut self) -> Vec<Record> {
        self.shards.iter_mut().flat_map(|shard| shard.fetch_told().collect::<Vec<_>>()).collect()
    }

    /// A count of sync's, over all shards.
    pub(super) fn count(&self, read: impl Fn(&SyncCounters) -> u64) -> u64 {
        self.counters.iter().map(|counters| read(&counters.sync)).sum()
    }

    /// Active and inactive connections, and templates, of a server.
    pub(super) fn load(&self, kind: Kind, service: &str, end: &str) -> (u32, u32, u32) {
        let end: SocketAddr = end.parse().expect("an end");
        let view = self.director.service(&service_key(kind, service), &|_| Traffic::default());
        let servers = view.expect("there is such a service").servers;
        let of_it = |spec: &ServerSpec| (spec.address, spec.port) == (end.ip(), end.port());
        let server = servers.iter().find(|server| of_it(server.spec)).expect("and such a server");
        (server.load.active(), server.load.inactive(), server.load.templates())
    }

    /// What the tables hold must be what the servers count.
    pub(super) fn check(&self) {
        let mut all: BTreeMap<usize, (u32, u32)> = BTreeMap::new();
        let nobody = SERVER_SLOTS;
        for shard in &self.shards {
            let mut alone = (0, 0);
            let mut held = 0;
            let mut count = |server: ServerId, is_active: bool| {
                let load = match server.index() == nobody {
                    true => &mut alone,
                    false => all.entry(server.index()).or_default(),
                };
                *(if is_active { &mut load.0 } else { &mut load.1 }) += 1;
                held += 1;
            };
            let (v4, v6) = (&shard.v4.connections, &shard.v6.connections);
            for index in 0..v4.touched() {
                v4.at(index).inspect(|(_, it)| count(it.server, it.flags.is_active()));
            }
            for index in 0..v6.touched() {
                v6.at(index).inspect(|(_, it)| count(it.server, it.flags.is_active()));
            }
            assert_eq!(held, shard.connections(), "every connection in a table can be swept");
            let slot = &shard.common.servers[nobody];
            let (_, load) = slot.server.as_ref().expect("it is always there");
            assert_eq!(load.both(), alone, "connections without a server");
        }
        let mut templates = 0;
        for (n, slot) in self.shards[0].common.servers[..nobody].iter().enumerate() {
            if let Some((_, load)) = &slot.server {
                assert_eq!(load.both(), all.remove(&n).unwrap_or_default(), "server {n}");
                templates += load.templates();
            }
        }
        assert!(all.is_empty(), "connections of servers that are not there: {all:?}");
        assert!(templates as usize <= self.templates.len());
    }

    /// Lets everything run out, and nothing may be left.
    pub(super) fn end(&mut self) {
        // No comparison of times spans more than half of their range.
        for _ in 0..4 {
            self.wait(10 * 24 * 3600);
        }
        self.check();
        assert_eq!(self.shards.iter().map(Shard::connections).sum::<u32>(), 0);
        assert_eq!(self.templates.len(), 0);
        for slot in self.shards.iter().flat_map(|shard| shard.common.servers.iter()) {
            assert!(slot.server.as_ref().is_none_or(|(_, load)| load.is_idle()));
        }
    }
}

/// A record of an established TCP connection.
pub(super) fn record(client: &str, service: &str, real: &str, method: Method) -> Record {
    let end = |text: &str| {
        let end: SocketAddr = text.parse().expect("an end");
        (end.ip(), end.port())
    };
    Record {
        protocol: 6,
        flags: RecordFlags::of_method(method),
        state: ESTABLISHED,
        timeout_s: 900,
        mark: 0,
        client: end(client),
        virtual_end: end(service),
        real: end(real),
        sequence: None,
    }
}

/// The same connection in another state, which counts as inactive.
pub(super) fn inactive(record: &Record, state: u16) -> Record {
    Record { state, flags: record.flags.with(RecordFlags::INACTIVE, true), ..*record }
}

/// A record of a template.
pub(super) fn template(client: &str, service: &str, real: &str) -> Record {
    let record = record(client, service, real, Method::Nat);
    let flags = RecordFlags(RecordFlags::TEMPLATE | RecordFlags::INACTIVE);
    Record { flags, state: 1, timeout_s: 300, client: (record.client.0, 0), ..record }
}

fn service_key(kind: Kind, end: &str) -> ServiceKey {
    let end: SocketAddr = end.parse().expect("an end");
    let protocol = Protocol::from_number(kind.number()).expect("it is balanced");
    ServiceKey::Address { protocol, address: end.ip(), port: end.port() }
}

fn own_mac(port: PortId) -> Mac {
    Mac([2, 0, 0, 0, 1, port.0 as u8])
}

fn topology() -> Topology {
    let interface = |port, addresses: [&str; 2]| Interface {
        port,
        vlan: None,
        mac: own_mac(port),
        mtu: 1500,
        addresses: addresses.iter().map(|text| text.parse().expect("a prefix")).collect(),
    };
    let interfaces = vec![
        interface(CLIENTS, ["10.99.0.1/24", "2001:db8:99::1/64"]),
        interface(SERVERS, ["10.1.255.254/16", "2001:db8:1::ffff/64"]),
    ];
    let route = |(to, gateway): (&str, &str)| Route {
        to: to.parse().expect("a prefix"),
        gateway: gateway.parse().expect("an address"),
    };
    let routes = [("0.0.0.0/0", "10.99.0.2"), ("::/0", "2001:db8:99::2")].map(route);
    Topology::new(interfaces, &routes).expect("it makes sense")
}

fn stations() -> impl Iterator<Item = (IpAddr, Mac)> {
    let mac = |n| Mac([2, 0, 0, 0, 2, n]);
    let routers = ["10.99.0.2", "2001:db8:99::2"].map(|text| (String::from(text), mac(0)));
    let servers = (1..=8)
        .flat_map(move |n| [(format!("10.1.0.{n}"), mac(n)), (format!("2001:db8:1::{n}"), mac(n))]);
    routers.into_iter().chain(servers).map(|(text, mac)| (text.parse().expect("an address"), mac))
}

fn frame(port: PortId, kind: Kind, source: &str, destination: &str) -> Vec<u8> {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().expect("an end"), destination.parse().expect("an end"));
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 9, 9], own_mac(port).0);
    let ip = match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            link.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            link.ipv6(source.octets(), destination.octets(), 64)
        }
        _ => unreachable!("both are of one family"),
    };
    let (ports, payload) = ((source.port(), destination.port()), b"payload");
    let mut bytes = Vec::new();
    let written = match kind {
        Kind::Udp => ip.udp(ports.0, ports.1).write(&mut bytes, payload),
        Kind::Tcp(flags) => {
            let mut tcp = ip.tcp(ports.0, ports.1, 1000, 64240);
            tcp = if flags & 1 != 0 { tcp.fin() } else { tcp };
            tcp = if flags & 2 != 0 { tcp.syn() } else { tcp };
            tcp = if flags & 4 != 0 { tcp.rst() } else { tcp };
            tcp = if flags & 16 != 0 { tcp.ack(1) } else { tcp };
            tcp.write(&mut bytes, payload)
        }
    };
    written.expect("a small packet can be written");
    bytes
}

fn sent(frame: &[u8]) -> Sent {
    let mut packet = frame[14..].to_vec();
    let port = |at: usize| u16::from_be_bytes([frame[14 + at], frame[15 + at]]);
    let destination = if packet[0] >> 4 == 4 {
        let port = if packet[9] == 4 { 0 } else { port(22) };
        if packet[9] == 4 {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        let address: [u8; 4] = packet[16..20].try_into().expect("four bytes");
        SocketAddr::new(address.into(), port)
    } else {
        let port = if packet[6] == 41 { 0 } else { port(42) };
        let address: [u8; 16] = packet[24..40].try_into().expect("sixteen bytes");
        SocketAddr::new(address.into(), port)
    };
    Sent { to: frame[5], destination, packet }
}

/// An address of a family, by number.
pub(super) fn end_of(family: Family, net: u8, host: u8, port: u16) -> String {
    match family {
        Family::V4 => format!("10.{net}.0.{host}:{port}"),
        Family::V6 => format!("[2001:db8:{net}::{host}]:{port}"),
    }
}
