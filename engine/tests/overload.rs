//! Rings, transmit queues and pools that are full or empty: what is too much is dropped by name,
//! all else passes, and when there is room again all of it does. Workers are turned by hand.

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::{Crew, OUR_MAC, SERVERS, THEIR_MAC, Udp, VIP};
use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::connection::TableSize;
use dataplane::counters::{Counter, Counters};
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::owner_of;
use dataplane::interface::{Interface, Topology};
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId, ShardId};
use engine::clock::Clock;
use engine::handoff::RING_FRAMES;
use engine::links::links;
use engine::load::Load;
use engine::port::memory::{MemoryFrame, MemoryPorts};
use engine::port::{Burst, Ports};
use engine::worker::{Idle, Worker};

const REQUEST: (Ipv4Addr, u16) = (VIP, 80);

type Client = (Ipv4Addr, u16);

/// A crew that knows a service, whose workers stand still.
fn crew(workers: u16) -> (Crew, Vec<Worker<MemoryPorts>>) {
    let mut crew = Crew::new(workers);
    let mut hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        for worker in &mut hired {
            let go = &crew.go;
            scope.spawn(move || worker.wait_for(go));
        }
        crew.control("-A -u 10.9.255.1:80 -s rr");
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[0]));
    });
    (crew, hired)
}

/// Clients that a worker owns.
fn owned_by(owner: u16, workers: u16, count: usize) -> Vec<Client> {
    let clients = (0..).map(common::client);
    let is_owned = |&(address, port): &Client| {
        owner_of(&common::key(), address, port, workers) == ShardId(owner)
    };
    clients.filter(is_owned).take(count).collect()
}

/// All these clients' frames, and no others, come out.
fn assert_forwarded<'a>(crew: &Crew, clients: impl IntoIterator<Item = &'a Client>) {
    let expected: Vec<_> = clients.into_iter().copied().collect();
    let forwarded: HashSet<_> = crew.take(expected.len()).iter().map(|udp| udp.from).collect();
    assert_eq!(forwarded, expected.into_iter().collect());
}

/// The second worker stands still: frames for it fill its ring, then they are dropped. What the
/// first one owns passes all the while.
#[test]
fn a_full_ring_costs_only_those_whose_it_is() {
    let (crew, mut hired) = crew(2);
    let (own, foreign) = (owned_by(0, 2, 1000), owned_by(1, 2, RING_FRAMES + 300));
    for round in 1..=3_u64 {
        for (n, &from) in foreign.iter().enumerate() {
            crew.send(0, Udp { from, to: REQUEST });
            if let Some(&from) = own.get(n) {
                crew.send(0, Udp { from, to: REQUEST });
            }
        }
        while hired[0].turn(Tick(1)) {}
        assert_forwarded(&crew, &own);
        assert_eq!(crew.counters[0].dropped(DropReason::HandoffFull), 300 * round);
        while hired[1].turn(Tick(1)) {}
        assert_forwarded(&crew, &foreign[..RING_FRAMES]);
    }
    let handed_over = crew.counters[0].handed_over.get();
    assert_eq!(handed_over, 3 * foreign.len() as u64, "those dropped included");
    assert_eq!(crew.counters[1].received.get(), 3 * RING_FRAMES as u64);
    // As many as there is room for: none is lost.
    let few = &foreign[foreign.len() - 500..];
    few.iter().for_each(|&from| crew.send(0, Udp { from, to: REQUEST }));
    while hired[0].turn(Tick(1)) {}
    while hired[1].turn(Tick(1)) {}
    assert_forwarded(&crew, few);
    assert_eq!(crew.counters[0].dropped(DropReason::HandoffFull), 900);
}

/// A crowd whose connections all have one owner, on every worker's queue, while the owner turns
/// once for every so many turns of the others: the rings fill. What others own passes.
#[test]
fn all_flows_on_one_owner_leave_others_theirs() {
    const WORKERS: u16 = 4;
    const OWNER: u16 = 1;
    let (crew, mut hired) = crew(WORKERS);
    let crowd = owned_by(OWNER, WORKERS, 2 * RING_FRAMES);
    let own: Vec<_> = (0..WORKERS).map(|worker| owned_by(worker, WORKERS, 100)).collect();
    let others = [0, 2, 3];
    for worker in others {
        for (n, &from) in crowd.iter().enumerate() {
            crew.send(worker, Udp { from, to: REQUEST });
            if n % 16 == 0 && n / 16 < 100 {
                crew.send(worker, Udp { from: own[usize::from(worker)][n / 16], to: REQUEST });
            }
        }
    }
    let mut turns = 0;
    loop {
        let mut is_busy = false;
        for worker in others {
            is_busy |= hired[usize::from(worker)].turn(Tick(1));
        }
        turns += 1;
        if turns % 8 == 0 {
            is_busy |= hired[usize::from(OWNER)].turn(Tick(1));
        }
        if !is_busy {
            break;
        }
    }
    while hired[usize::from(OWNER)].turn(Tick(1)) {}
    let lost = |worker: u16| crew.counters[usize::from(worker)].dropped(DropReason::HandoffFull);
    let mut taken = 0;
    for worker in others {
        // What the ring holds passed at the least, and not all could.
        assert!((1..=RING_FRAMES as u64).contains(&lost(worker)), "{worker}: {}", lost(worker));
        let counters = &crew.counters[usize::from(worker)];
        assert_eq!(counters.transmitted.get(), 100, "all that worker {worker} owns");
        assert_eq!(counters.handed_over.get(), crowd.len() as u64);
        taken += crowd.len() as u64 - lost(worker);
    }
    let owner = &crew.counters[usize::from(OWNER)];
    assert_eq!((owner.received.get(), owner.transmitted.get()), (taken, taken));
    for counters in &crew.counters {
        let all: u64 = DropReason::ALL.iter().map(|&reason| counters.dropped(reason)).sum();
        assert_eq!(all, counters.dropped(DropReason::HandoffFull), "for no other reason");
    }
    crew.take(taken as usize + 3 * 100);
    // The crowd has gone home.
    let before: u64 = others.map(lost).iter().sum();
    for worker in 0..WORKERS {
        own.iter().flatten().for_each(|&from| crew.send(worker, Udp { from, to: REQUEST }));
    }
    for _ in 0..2 {
        for worker in &mut hired {
            while worker.turn(Tick(2)) {}
        }
    }
    let frames = crew.take(16 * 100);
    assert_eq!(frames.iter().map(|udp| udp.from).collect::<HashSet<_>>().len(), 400);
    assert_eq!(others.map(lost).iter().sum::<u64>(), before);
}

/// Ports of a pool that may be empty.
struct PoolPorts {
    ports: MemoryPorts,
    buffers: Arc<AtomicUsize>,
}

impl Ports for PoolPorts {
    type Frame = MemoryFrame;

    fn ids(&self) -> &[PortId] {
        self.ports.ids()
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<MemoryFrame>) {
        self.ports.receive(port, burst);
    }

    fn transmit(&mut self, port: PortId, burst: &mut Burst<MemoryFrame>) {
        self.ports.transmit(port, burst);
    }

    fn allocate(&mut self, length: usize) -> Option<MemoryFrame> {
        let buffers = self.buffers.load(Ordering::Relaxed).checked_sub(1)?;
        self.buffers.store(buffers, Ordering::Relaxed);
        self.ports.allocate(length)
    }

    fn release(&mut self, burst: &mut Burst<MemoryFrame>) {
        self.ports.release(burst);
    }

    fn waiting(&self) -> Option<u64> {
        self.ports.waiting()
    }
}

/// One worker on two ports, clients and the first server at one, the second server at the other.
struct Bench {
    worker: Worker<PoolPorts>,
    counters: Arc<Counters>,
    load: Arc<Load>,
    buffers: Arc<AtomicUsize>,
    to_worker: Sender<MemoryFrame>,
    from_worker: [Receiver<MemoryFrame>; 2],
}

impl Bench {
    /// The first port's queue holds so many frames. The first server's address is known, the
    /// second's if it is said to be.
    fn new(queue: usize, knows_second: bool) -> Self {
        let interface = |port, address: &str| Interface {
            port: PortId(port),
            vlan: None,
            mac: OUR_MAC,
            mtu: 1500,
            addresses: vec![address.parse().expect("a prefix")],
        };
        let interfaces = vec![interface(0, "10.1.255.254/16"), interface(1, "10.2.255.254/16")];
        let topology = Arc::new(Topology::new(interfaces, &[]).expect("a sound topology"));
        let config = ShardConfig {
            id: ShardId(0),
            shards: 1,
            key: common::key(),
            table: TableSize { connections: 8192 },
            table6: TableSize { connections: 64 },
            services: 16,
            servers: common::SLOTS,
            neighbours: 64,
        };
        let counters = Arc::new(Counters::new(common::SLOTS));
        let templates = Arc::new(Templates::new(64, common::key()));
        let mut shard = Shard::new(&config, topology, Arc::clone(&counters), templates);
        let servers = [SERVERS[0], SECOND].map(IpAddr::V4);
        for &server in if knows_second { &servers[..] } else { &servers[..1] } {
            shard.fix_neighbour(server, THEIR_MAC).expect("it is on-link");
        }
        let mut director = Director::new(16, common::SLOTS);
        let key = ServiceKey::Address { protocol: Protocol::Udp, address: VIP.into(), port: 80 };
        let service = ServiceSpec {
            key,
            scheduler: "rr".into(),
            scheduler_flags: 0,
            persistence_s: None,
            client_mask: ClientMask::each_client(Family::V4),
            persistence_engine: None,
            one_packet: false,
        };
        let mut commands = vec![director.add_service(service).expect("a plain service")];
        for address in servers {
            let server = ServerSpec {
                address,
                port: 80,
                method: Method::Direct,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: TunnelSpec::default(),
            };
            let added = director.add_server(&key, server, &|_| Traffic::default());
            commands.push(added.expect("a plain server"));
        }
        for command in commands {
            shard.apply(Tick(0), command);
        }
        let (to_worker, incoming) = bounded(common::WIRE);
        let (_silent, nothing) = bounded(1);
        let (first, out) = bounded(queue);
        let (second, other) = bounded(common::WIRE);
        let buffers = Arc::new(AtomicUsize::new(0));
        let ports = MemoryPorts::new(vec![(incoming, first), (nothing, second)]);
        let ports = PoolPorts { ports, buffers: Arc::clone(&buffers) };
        let (_, mut ends) = links(1, 2, &Arc::new(AtomicBool::new(false)));
        let ends = ends.remove(0);
        let load = Arc::clone(&ends.load);
        let all = Arc::clone(&counters);
        let worker = Worker::new(shard, ports, ends, all, Clock::start(), Idle::Yield);
        Self { worker, counters, load, buffers, to_worker, from_worker: [out, other] }
    }

    fn send(&self, frame: &[u8]) {
        self.to_worker.try_send(MemoryFrame::new(PortId(0), frame)).expect("the wire has room");
    }

    /// The requests of clients, from one on; how many come out of each port.
    fn forward(&mut self, first: usize, count: usize) -> [usize; 2] {
        for n in first..first + count {
            self.send(&Udp { from: common::client(n), to: REQUEST }.frame());
        }
        while self.worker.turn(Tick(1)) {}
        self.take()
    }

    /// A second passes.
    fn idle(&mut self, from: Tick) {
        for n in 1..=10 {
            self.worker.look_around(from.after(10 * n));
        }
    }

    fn take(&self) -> [usize; 2] {
        self.from_worker.each_ref().map(|port| {
            port.try_iter()
                .map(|frame| Udp::read(frame.bytes()))
                .filter(|udp| udp.to == REQUEST)
                .count()
        })
    }

    fn dropped(&self) -> Vec<(DropReason, u64)> {
        let counts = DropReason::ALL.iter().map(|&reason| (reason, self.counters.dropped(reason)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

const SECOND: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

#[test]
fn a_full_transmit_queue_holds_up_no_other_port() {
    let mut bench = Bench::new(100, true);
    for round in 1..=3 {
        assert_eq!(bench.forward(0, 800), [100, 400], "round {round}");
        assert_eq!(bench.dropped(), [(DropReason::TransmitFull, 300 * round)]);
        let full = bench.load.queue_full.iter().map(Counter::get);
        assert_eq!(full.collect::<Vec<_>>(), [300 * round, 0], "at the port whose queue it is");
    }
    assert_eq!(bench.forward(800, 200), [100, 100], "with room all are sent");
    assert_eq!(bench.dropped(), [(DropReason::TransmitFull, 900)]);
    assert_eq!(bench.counters.transmitted.get(), 3 * 500 + 200);
}

#[test]
fn an_empty_pool_holds_up_only_those_whose_next_hop_is_to_be_asked_for() {
    let mut bench = Bench::new(common::WIRE, false);
    assert_eq!(bench.forward(0, 200), [100, 0]);
    let some =
        |empty, full| vec![(DropReason::HoldQueueFull, full), (DropReason::BufferEmpty, empty)];
    assert_eq!(bench.dropped(), some(1, 68), "32 wait");
    bench.idle(Tick(1));
    assert_eq!((bench.take(), bench.dropped()), ([0, 0], some(2, 68)), "asked for again, in vain");
    // Buffers have come back.
    bench.buffers.store(5, Ordering::Relaxed);
    bench.idle(Tick(101));
    let question = bench.from_worker[1].try_recv().expect("a question");
    assert_eq!(&question.bytes()[12..14], [8, 6], "of ARP");
    assert_eq!(bench.buffers.load(Ordering::Relaxed), 4);
    let (ours, theirs) = (OUR_MAC.0, THEIR_MAC.0);
    let answer = [
        &[&ours[..], &theirs, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat()[..],
        &[&theirs[..], &SECOND.octets(), &ours, &[10, 2, 255, 254]].concat(),
    ];
    bench.to_worker.try_send(MemoryFrame::new(PortId(1), &answer.concat())).expect("room");
    assert_eq!(bench.forward(200, 0), [0, 32], "all that waited");
    assert_eq!(bench.forward(200, 200), [100, 100]);
    assert_eq!(bench.dropped(), some(2, 68));
}
