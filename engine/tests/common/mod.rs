//! Workers on one port in memory, their control, and frames of UDP.
// Not every test file uses all of it.
#![allow(dead_code)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use ctl::load::{Link, PortCounts, PortRow};
use ctl::names::NumericNames;
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Route, Topology};
use dataplane::packet::ethernet::Mac;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::verdict::{PortId, ShardId};
use engine::clock::Clock;
use engine::control::{Control, Gauges, Handle, Remote};
use engine::links::links;
use engine::port::ReadPorts;
use engine::port::memory::{MemoryFrame, MemoryPorts};
use engine::sync::{Sync, SyncConfig};
use engine::worker::{Idle, Worker};

/// The virtual address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 1);
/// The real servers.
pub(crate) const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)];
/// Clients of a round, fewer than a ring holds.
pub(crate) const CLIENTS: usize = 800;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const THEIR_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// Servers that there is room for.
pub(crate) const SLOTS: usize = 64;
/// Frames that the wires hold.
pub(crate) const WIRE: usize = 8192;

/// The n-th client.
pub(crate) fn client(n: usize) -> (Ipv4Addr, u16) {
    (Ipv4Addr::from(0xac10_0000 + n as u32 / 16), 1024 + (n % 16) as u16)
}

/// The hash key of all workers.
pub(crate) fn key() -> HashKey {
    HashKey::new([0x1234, 0x5678, 0x9abc])
}

/// What the port in memory says of itself: that it is there.
struct OnePort;

impl ReadPorts for OnePort {
    fn counts(&self) -> Vec<PortCounts> {
        vec![PortCounts { missed: 3, ..PortCounts::default() }]
    }

    fn links(&self) -> Vec<Link> {
        vec![Link { is_up: true, ..Link::default() }]
    }
}

fn port_row() -> PortRow {
    PortRow {
        number: 0,
        name: "memory0".into(),
        kind: "memory".into(),
        driver: "none".into(),
        mac: OUR_MAC,
        addresses: Vec::new(),
        mtu: 1500,
        receive_queues: 1,
        transmit_queues: 1,
        link: Link::default(),
        total: PortCounts::default(),
        per_second: PortCounts::default(),
    }
}

/// Workers that are not running yet, and the far ends of all that they are joined to.
pub(crate) struct Crew {
    pub(crate) workers: Vec<Worker<MemoryPorts>>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) go: AtomicBool,
    stop: Arc<AtomicBool>,
    to_worker: Vec<Sender<MemoryFrame>>,
    from_workers: Receiver<MemoryFrame>,
    control: Handle,
}

impl Crew {
    pub(crate) fn new(workers: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ways, links) = links(workers, 1, &stop);
        let counters: Vec<_> = (0..workers).map(|_| Arc::new(Counters::new(SLOTS))).collect();
        let (table, clock) = (TableSize { connections: 8192 }, Clock::start());
        let director = Director::new(16, SLOTS);
        let loads: Vec<_> = links.iter().map(|links| Arc::clone(&links.load)).collect();
        let cores = (0..usize::from(workers)).map(|n| n + 8).collect();
        let ports = vec![port_row()];
        let gauges = Gauges::new(loads, cores, Some(2_000_000_000), ports, Box::new(OnePort));
        let templates = Arc::new(Templates::new(64, key()));
        let sync = Sync::new(
            SyncConfig::default(),
            key(),
            clock,
            Arc::clone(&templates),
            counters.clone(),
            ways.commands.clone(),
            (ways.told, ways.taken),
        );
        let control = Control::new(
            director,
            ways.commands,
            counters.clone(),
            Arc::clone(&templates),
            table,
            clock,
            gauges,
            sync,
            None,
        );
        let (control, _) = control.start().expect("a thread");
        let (outgoing, from_workers) = bounded(WIRE);
        let mut to_worker = Vec::new();
        let work = links.into_iter().zip(0..).map(|(links, id)| {
            let (to, incoming) = bounded(WIRE);
            to_worker.push(to);
            let ports = MemoryPorts::new(vec![(incoming, outgoing.clone())]);
            let counters = Arc::clone(&counters[usize::from(id)]);
            let shard = shard(id, workers, table, &counters, &templates);
            Worker::new(shard, ports, links, counters, clock, Idle::Yield)
        });
        let workers = work.collect();
        let go = AtomicBool::new(false);
        Self { workers, counters, go, stop, to_worker, from_workers, control }
    }

    /// Starts the workers on threads of their own; they wait for `go`.
    pub(crate) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, workers: Vec<Worker<MemoryPorts>>) {
        for mut worker in workers {
            let go = &self.go;
            scope.spawn(move || {
                worker.wait_for(go);
                worker.run();
            });
        }
    }

    /// The back end of control.
    pub(crate) fn remote(&self) -> Remote {
        Remote::new(self.control.clone(), None)
    }

    /// Has a command carried out.
    pub(crate) fn control(&self, words: &str) {
        let argv: Vec<_> = format!("ipvsadm {words}").split(' ').map(str::to_owned).collect();
        let reply = ctl::session::run(&argv, &mut self.remote(), &NumericNames);
        assert_eq!(reply.status, 0, "{words}: {}", String::from_utf8_lossy(&reply.stderr));
    }

    /// A frame comes in at a worker's port.
    pub(crate) fn send(&self, worker: u16, udp: Udp) {
        let frame = MemoryFrame::new(PortId(0), &udp.frame());
        self.to_worker[usize::from(worker)].try_send(frame).expect("the wire has room");
    }

    /// So many frames come out, and no more.
    pub(crate) fn take(&self, count: usize) -> Vec<Udp> {
        let take = |n| {
            let frame = self.from_workers.recv_timeout(Duration::from_secs(20));
            Udp::read(frame.unwrap_or_else(|_| panic!("only {n} of {count}")).bytes())
        };
        let frames = (0..count).map(take).collect();
        assert!(self.from_workers.recv_timeout(Duration::from_millis(20)).is_err());
        frames
    }

    /// Ends the workers, also when an assertion fails.
    pub(crate) fn stop_on_drop(&self) -> impl Drop {
        struct Stop(Arc<AtomicBool>);
        impl Drop for Stop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Stop(Arc::clone(&self.stop))
    }
}

fn shard(
    id: u16,
    shards: u16,
    table: TableSize,
    counters: &Arc<Counters>,
    templates: &Arc<Templates>,
) -> Shard<MemoryFrame> {
    let addresses =
        ["10.9.255.254/16", "10.1.255.254/16"].map(|text| text.parse().expect("a prefix"));
    let interface = Interface {
        port: PortId(0),
        vlan: None,
        mac: OUR_MAC,
        mtu: 1500,
        addresses: addresses.to_vec(),
    };
    let route = Route { to: "0.0.0.0/0".parse().expect("a prefix"), gateway: IpAddr::V4(ROUTER) };
    let topology = Arc::new(Topology::new(vec![interface], &[route]).expect("a sound topology"));
    let config = ShardConfig {
        id: ShardId(id),
        shards,
        key: key(),
        table,
        table6: TableSize { connections: 64 },
        services: 16,
        servers: SLOTS,
        neighbours: 64,
    };
    let mut shard = Shard::new(&config, topology, Arc::clone(counters), Arc::clone(templates));
    for address in [ROUTER, SERVERS[0], SERVERS[1]] {
        shard.fix_neighbour(IpAddr::V4(address), THEIR_MAC).expect("it is on-link");
    }
    shard
}

/// A UDP packet, by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Udp {
    pub(crate) from: (Ipv4Addr, u16),
    pub(crate) to: (Ipv4Addr, u16),
}

const LENGTH: u16 = 8 + 18;

impl Udp {
    /// As it is on a wire, checksums included.
    pub(crate) fn frame(self) -> Vec<u8> {
        let mut frame = [&OUR_MAC.0[..], &THEIR_MAC.0, &[8, 0]].concat();
        let mut ip = vec![0x45, 0, 0, 20 + LENGTH as u8, 0, 0, 0, 0, 64, 17, 0, 0];
        ip.extend(self.from.0.octets().into_iter().chain(self.to.0.octets()));
        let header = !sum(&ip);
        ip[10..12].copy_from_slice(&header.to_be_bytes());
        let mut udp: Vec<u8> =
            [self.from.1, self.to.1, LENGTH, 0].into_iter().flat_map(u16::to_be_bytes).collect();
        udp.extend([7; 18]);
        let checksum = !sum(&[&pseudo(&ip), &udp[..]].concat());
        udp[6..8].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(ip.into_iter().chain(udp));
        frame
    }

    /// Out of a frame to the next hop whose checksums are right.
    pub(crate) fn read(frame: &[u8]) -> Self {
        assert_eq!((&frame[..6], &frame[6..12]), (&THEIR_MAC.0[..], &OUR_MAC.0[..]));
        let (ip, udp) = frame[14..].split_at(20);
        assert_eq!(sum(ip), 0xffff, "header checksum");
        assert_eq!(sum(&[&pseudo(ip), udp].concat()), 0xffff, "UDP checksum");
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
        Self { from: (address(12), port(0)), to: (address(16), port(2)) }
    }
}

fn pseudo(ip: &[u8]) -> Vec<u8> {
    [&ip[12..20], &[0, 17, 0, LENGTH as u8]].concat()
}

/// The one's complement sum of an even number of bytes.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let total: u32 = words.sum();
    let folded = (total & 0xffff) + (total >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}
