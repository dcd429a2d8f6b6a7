//! Puts the daemon together, runs it, and takes it apart in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use ctl::names::SystemNames;
use ctl::session;
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Route, Topology, TopologyError};
use dataplane::neighbour::Learned;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::verdict::ShardId;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::{Control, ControlSocket, Remote};
use crate::handoff::Handoff;
use crate::placement::Placement;
use crate::port::dpdk::{
    Device, DpdkPorts, Eal, EalConfig, Hugepages, PortSet, PortSetConfig, StartedPort,
};
use crate::worker::{Envelope, Links, Worker};

/// Commands that may wait for a worker.
const COMMANDS: usize = 64;
/// Link-layer addresses that may wait for a worker.
const LEARNED: usize = 256;

/// Everything about the workers that is known before their threads exist.
struct Plan {
    topology: Arc<Topology>,
    shards: Vec<ShardConfig>,
    counters: Vec<Arc<Counters>>,
    clock: Clock,
}

/// Runs the daemon until `wait` returns.
///
/// # Errors
/// What keeps it from starting, in words for the user. Everything done so far is undone.
pub fn run(config: &Config, wait: impl FnOnce()) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let placement = Placement::new(config.workers, config.cores.as_deref(), config.idle)
        .map_err(|error| text(&error))?;
    let names: Vec<String> = config.ports.iter().map(|port| port.device.clone()).collect();
    let devices = names.iter().map(|name| Device::parse(name));
    let devices: Vec<Device> = devices.collect::<Result<_, _>>().map_err(|e| text(&e))?;
    let socket = ControlSocket::bind(&config.socket).map_err(|error| text(&error))?;

    let set_config = port_set_config(config);
    let eal = Eal::init(&eal_config(config, &devices, set_config)).map_err(|e| text(&e))?;
    let set = PortSet::open(&eal, &devices, &names, set_config)?;
    set.ports().iter().for_each(|port| announce(port, config.workers));
    let plan = Plan::new(config, set.ports())?;

    let stop = Arc::new(AtomicBool::new(false));
    let (commands, worker_links) = links(config.workers, &stop);
    let director = Director::new(config.services, config.servers);
    let table = TableSize { connections: config.connections };
    let control = Control::new(director, commands, plan.counters.clone(), table, plan.clock);
    let (control, control_thread) = control.start().map_err(|error| text(&error))?;

    thread::scope(|scope| {
        let stopper = StopOnDrop(&stop);
        let (ready, started) = bounded(usize::from(config.workers));
        for (n, links) in worker_links.into_iter().enumerate() {
            let (plan, placement, ready) = (&plan, &placement, ready.clone());
            let queues = set.queues(n as u16);
            let work = move || {
                core_affinity::set_for_current(placement.cores[n]);
                let made = plan.shard(n, config).and_then(|shard| {
                    let ports = DpdkPorts::attach(queues)?;
                    let counters = Arc::clone(&plan.counters[n]);
                    Ok(Worker::new(shard, ports, links, counters, plan.clock, placement.idle))
                });
                match made {
                    Ok(mut worker) => {
                        let _ = ready.send(Ok(()));
                        worker.run();
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            };
            thread::Builder::new()
                .name(format!("worker-{n}"))
                .spawn_scoped(scope, work)
                .map_err(|error| text(&error))?;
        }
        drop(ready);
        for _ in 0..config.workers {
            started.recv().unwrap_or_else(|_| Err("a worker ended at its start".into()))?;
        }
        apply_rules(config, &mut Remote(control.clone()))?;
        socket.serve(control).map_err(|error| text(&error))?;
        let cores: Vec<_> = placement.cores.iter().map(|core| core.id.to_string()).collect();
        println!(
            "pollvsd: ready, {} worker(s) on core {}, {:?} when idle, frames in {}, control by {}",
            config.workers,
            cores.join(","),
            placement.idle,
            if eal.uses_hugepages() { "hugepages" } else { "ordinary memory" },
            config.socket.display(),
        );
        wait();
        drop(stopper);
        Ok::<(), String>(())
    })?;
    // The accepting thread holds a handle for as long as the process lives, so the control thread
    // is not waited for: it owns nothing that has to be put back.
    drop(control_thread);
    Ok(())
}

/// Stops the workers however their scope is left, so that their threads can be joined.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Plan {
    fn new(config: &Config, ports: &[StartedPort]) -> Result<Self, String> {
        let mut random = [0_u8; 24];
        getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
        let mut key = [0; 3];
        for (word, bytes) in key.iter_mut().zip(random.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        let workers = config.workers;
        let shard = |id| ShardConfig {
            id: ShardId(id),
            shards: workers,
            key: HashKey::new(key),
            table: TableSize { connections: config.connections_per_worker() },
            services: config.services,
            servers: config.servers,
            neighbours: config.neighbours,
        };
        Ok(Self {
            topology: Arc::new(topology(config, ports)?),
            shards: (0..workers).map(shard).collect(),
            counters: (0..workers).map(|_| Arc::new(Counters::new(config.servers))).collect(),
            clock: Clock::start(),
        })
    }

    /// Makes a shard, on the thread that will use it, so that its memory is near.
    fn shard<F: Frame>(&self, n: usize, config: &Config) -> Result<Shard<F>, String> {
        let counters = Arc::clone(&self.counters[n]);
        let mut shard = Shard::new(&self.shards[n], Arc::clone(&self.topology), counters);
        for fixed in &config.static_neighbours {
            shard
                .fix_neighbour(fixed.address, fixed.mac)
                .map_err(|reason| format!("neighbour {}: {}", fixed.address, reason.text()))?;
        }
        Ok(shard)
    }
}

fn topology(config: &Config, ports: &[StartedPort]) -> Result<Topology, String> {
    let mut interfaces = Vec::new();
    for (port, started) in config.ports.iter().zip(ports) {
        let interface = |vlan, addresses: &[_]| Interface {
            port: started.id,
            vlan,
            mac: started.mac,
            mtu: port.mtu.unwrap_or(started.mtu),
            addresses: addresses.to_vec(),
        };
        interfaces.push(interface(None, &port.addresses));
        interfaces.extend(port.vlans.iter().map(|vlan| interface(Some(vlan.id), &vlan.addresses)));
    }
    let routes: Vec<Route> =
        config.routes.iter().map(|route| Route { to: route.to, gateway: route.via }).collect();
    Topology::new(interfaces, &routes).map_err(|error| match error {
        TopologyError::DuplicateVlan(_, vlan) => {
            format!("VLAN {} is configured twice on a port", vlan.unwrap_or(0))
        }
        TopologyError::GatewayUnreachable(route) => format!(
            "route to {}: gateway {} is in no network of an --address",
            route.to, route.gateway
        ),
    })
}

type WorkerLinks<F> = (Vec<Sender<Envelope>>, Vec<Links<F>>);

/// The channels between control and workers, and of workers with each other.
fn links<F>(workers: u16, stop: &Arc<AtomicBool>) -> WorkerLinks<F> {
    let count = usize::from(workers);
    let (senders, receivers): (Vec<Sender<Envelope>>, Vec<Receiver<Envelope>>) =
        (0..count).map(|_| bounded(COMMANDS)).unzip();
    let (tell, hear): (Vec<Sender<Learned>>, Vec<Receiver<Learned>>) =
        (0..count).map(|_| bounded(LEARNED)).unzip();
    let links = Handoff::mesh(count).into_iter().zip(receivers).zip(hear).enumerate().map(
        |(n, ((handoff, commands), learned))| Links {
            handoff,
            commands,
            learned,
            peers: tell
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, t)| t.clone())
                .collect(),
            stop: Arc::clone(stop),
        },
    );
    (senders, links.collect())
}

/// Carries out the configured commands; the first that fails stops the start.
fn apply_rules(config: &Config, backend: &mut Remote) -> Result<(), String> {
    let names = SystemNames::new();
    for rule in &config.rules {
        let words = rule.split_whitespace().map(str::to_owned);
        let argv: Vec<String> = std::iter::once("pollvsd".to_owned()).chain(words).collect();
        let reply = session::run(&argv, backend, &names);
        if reply.status != 0 {
            let error = String::from_utf8_lossy(&reply.stderr);
            return Err(format!("rule {rule:?}: {}", error.trim_end()));
        }
    }
    Ok(())
}

fn port_set_config(config: &Config) -> PortSetConfig {
    let workers = u32::from(config.workers);
    let rings = workers * (workers - 1) * crate::handoff::RING_FRAMES as u32;
    PortSetConfig { workers: config.workers, ring_frames: rings }
}

fn eal_config(config: &Config, devices: &[Device], set: PortSetConfig) -> EalConfig {
    let pci = devices.iter().filter_map(|device| match device {
        Device::Pci(address) => Some(address.clone()),
        _ => None,
    });
    EalConfig {
        hugepages: match config.hugepages {
            None => Hugepages::Auto,
            Some(true) => Hugepages::Yes,
            Some(false) => Hugepages::No,
        },
        memory_mib: config.memory.unwrap_or_else(|| set.memory_mib(devices.len())),
        pci: pci.collect(),
    }
}

/// Says what became of a port.
fn announce(port: &StartedPort, workers: u16) {
    println!(
        "pollvsd: port {} by {} (driver {}), MAC {}, MTU {}, {} receive and {} transmit queue(s)",
        port.name, port.kind, port.driver, port.mac, port.mtu, port.rx_queues, port.tx_queues
    );
    if let Some(why) = &port.fallback {
        println!("pollvsd: port {}: better kinds failed: {why}", port.name);
    }
    if port.rx_queues < workers {
        println!(
            "pollvsd: port {}: fewer receive queues than workers; the others get their frames \
             through rings",
            port.name
        );
    }
}
