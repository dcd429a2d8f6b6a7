//! Puts the daemon together, runs it, and takes it apart in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use ctl::backend::Backend;
use ctl::load::{Link, PortCounts, PortRow};
use ctl::names::SystemNames;
use ctl::protocol::{LONGEST_INPUT, Room};
use ctl::read_only::ReadOnly;
use ctl::{restore, session};
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::Topology;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::verdict::ShardId;

use crate::clock::Clock;
use crate::config::{Config, PortConfig};
use crate::control::{Control, ControlSocket, Deadline, Files, Gauges, Remote, SavedTable, Saver};
use crate::links::links;
use crate::machine::{Machine, rule_words};
use crate::port::dpdk::{
    Device, DpdkPorts, Eal, EalConfig, FrameMemory, Hugepages, PortSet, PortSetConfig, StartedPort,
};
use crate::port::huge_pages::hold_in_large_pages;
use crate::say::{complain, say};
use crate::sync::Sync;
use crate::validate::PortFacts;
use crate::vrrp::Vrrp;
use crate::worker::Worker;

/// Restore input of all clients together, in bytes: a few of the longest.
const ROOM: usize = 4 * LONGEST_INPUT;
/// The same on the read-only socket, where it is refused anyway.
const READ_ONLY_ROOM: usize = 4 << 20;
/// Lines of a saved table that are complained about one by one.
const SHOWN_BAD_LINES: usize = 20;

/// Everything about the workers that is known before their threads exist.
struct Plan {
    topology: Arc<Topology>,
    shards: Vec<ShardConfig>,
    counters: Vec<Arc<Counters>>,
    templates: Arc<Templates>,
    clock: Clock,
}

/// Runs the daemon until `wait` returns.
///
/// # Errors
/// What keeps it from starting, in words for the user. Everything done so far is undone.
pub fn run(config: &Config, wait: impl FnOnce()) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let Machine { placement, devices } = Machine::check(config).map_err(|error| text(&error))?;
    let names: Vec<String> = config.ports.iter().map(|port| port.device.clone()).collect();
    let socket = ControlSocket::bind(&config.socket, config.socket_group.as_deref())
        .map_err(|error| text(&error))?;
    let read_only_group = config.read_only_group.as_deref();
    let read_only = config.read_only_socket.as_deref();
    let read_only = read_only.map(|path| ControlSocket::bind(path, read_only_group));
    let read_only = read_only.transpose().map_err(|error| text(&error))?;
    let saved = config.state.as_deref().map(SavedTable::claim).transpose()?;
    let files = config.run.as_deref().map(Files::claim).transpose()?;

    let set_config = port_set_config(config);
    let eal = Eal::init(&eal_config(config, &devices, set_config)).map_err(|e| text(&e))?;
    let mut set = PortSet::open(&eal, &devices, &names, set_config)?;
    set.ports().iter().for_each(|port| announce(port, config.workers));
    let facts = facts(config, set.ports());
    let plan = Plan::new(config, &facts)?;

    let stop = Arc::new(AtomicBool::new(false));
    let go = AtomicBool::new(false);
    let (ways, worker_links) = links(config.workers, facts.len(), &stop);
    let mut director = Director::new(config.services, config.servers);
    director.set_broadcasts(plan.topology.broadcasts());
    let table = TableSize { connections: config.connections };
    let gauges = Gauges::new(
        worker_links.iter().map(|links| Arc::clone(&links.load)).collect(),
        placement.cores.iter().map(|core| core.id).collect(),
        eal.tsc_hz(),
        port_rows(config, set.ports(), &facts),
        Box::new(set.reader()),
    );
    let vrrp = crate::vrrp::Plan::new(config, &plan.topology).map_err(|error| text(&error))?;
    let vrrp = Vrrp::new(vrrp);
    let sync = Sync::new(
        config.sync.load()?,
        plan.shards[0].key,
        plan.clock,
        Arc::clone(&plan.templates),
        plan.counters.clone(),
        ways.commands.clone(),
        ways.told,
        ways.taken,
    );
    let (activity, to_workers) = (sync.activity(), ways.commands.clone());
    let (routers, reader) = ((ways.punted, ways.outgoing), set.reader());
    let control = Control::new(
        director,
        ways.commands,
        plan.counters.clone(),
        Arc::clone(&plan.templates),
        table,
        plan.clock,
        gauges,
        sync,
        vrrp.as_ref().map(Vrrp::pilot),
    );
    placement.keep_off_workers();
    let (control, control_thread) = control.start().map_err(|error| text(&error))?;

    thread::scope(|scope| {
        let stopper = StopOnDrop(&stop);
        let (ready, started) = bounded(usize::from(config.workers));
        for (n, (links, queues)) in worker_links.into_iter().zip(set.split()).enumerate() {
            let (plan, placement, ready, go) = (&plan, &placement, ready.clone(), &go);
            let work = move || {
                let core = placement.cores[n];
                if !core_affinity::set_for_current(core) {
                    say(format_args!(
                        "pollvsd: worker {n} cannot be pinned to core {}: other work may delay it",
                        core.id
                    ));
                }
                let made = plan.shard(n, config).and_then(|shard| {
                    let ports = DpdkPorts::attach(queues)?;
                    let counters = Arc::clone(&plan.counters[n]);
                    Ok(Worker::new(shard, ports, links, counters, plan.clock, placement.idle))
                });
                match made {
                    Ok(mut worker) => {
                        let _ = ready.send(Ok(()));
                        worker.wait_for(go);
                        if n == 0 {
                            worker.announce();
                        }
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
        let mut remote = Remote::new(control.clone(), None);
        let stopping = |_| "pollvsd is stopping".to_owned();
        remote.configure(config.settings(), config.mark_rules().into()).map_err(stopping)?;
        if !saved.as_ref().map_or(Ok(false), |saved| take_back(saved, &mut remote))? {
            apply_rules(config, &mut remote)?;
        } else if !config.rules.is_empty() {
            say("pollvsd: the configured rules are left out: they are for when no table is saved");
        }
        // None only if it has ended already, which others notice.
        let _ = control.call(Control::hold_back);
        let saver = saved.map(|saved| Saver::start(saved, control.clone())).transpose()?;
        if let Some(files) = &files {
            files.keep_fresh(control.clone())?;
        }
        go.store(true, Ordering::Release);
        let start =
            |vrrp: Vrrp| vrrp.start(routers, to_workers, Box::new(reader), plan.clock, activity);
        let vrrp = vrrp.map(start).transpose()?;
        let names = SystemNames::new();
        if let Some(socket) = &read_only {
            let (control, names) = (control.clone(), names.clone());
            let room = Arc::new(Room::new(READ_ONLY_ROOM));
            let serve = move |stream| {
                serve(stream, ReadOnly(Remote::new(control.clone(), None)), &names, &room)
            };
            socket.serve(serve).map_err(|error| text(&error))?;
        }
        let room = Arc::new(Room::new(ROOM));
        let serve =
            move |stream| serve(stream, Remote::new(control.clone(), saver.clone()), &names, &room);
        socket.serve(serve).map_err(|error| text(&error))?;
        let cores: Vec<_> = placement.cores.iter().map(|core| core.id.to_string()).collect();
        say(format_args!(
            "pollvsd: ready, {} worker(s) on core {}, {:?} when idle, frames in {}, control by {}",
            config.workers,
            cores.join(","),
            placement.idle,
            if eal.uses_hugepages() { "hugepages" } else { "ordinary memory" },
            config.socket.display(),
        ));
        wait();
        // Before the workers stop, so that what it says last is sent.
        drop(vrrp);
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
    fn new(config: &Config, ports: &[PortFacts]) -> Result<Self, String> {
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
            table6: TableSize { connections: config.connections_ipv6_per_worker() },
            services: config.services,
            servers: config.servers,
            neighbours: config.neighbours,
        };
        Ok(Self {
            topology: Arc::new(config.topology(ports).map_err(|error| error.to_string())?),
            shards: (0..workers).map(shard).collect(),
            counters: (0..workers).map(|_| Arc::new(Counters::new(config.servers))).collect(),
            templates: Arc::new(Templates::new(config.templates as usize, HashKey::new(key))),
            clock: Clock::start(),
        })
    }

    /// Makes a shard, on the thread that will use it, so that its memory is near.
    fn shard<F: Frame>(&self, n: usize, config: &Config) -> Result<Shard<F>, String> {
        let counters = Arc::clone(&self.counters[n]);
        let (topology, templates) = (Arc::clone(&self.topology), Arc::clone(&self.templates));
        let mut shard = Shard::new(&self.shards[n], topology, counters, templates);
        if let Err(error) = hold_in_large_pages(shard.memory()) {
            say(format_args!("pollvsd: tables are not in 2 MiB pages, which is slower: {error}"));
        }
        for fixed in &config.static_neighbours {
            shard
                .fix_neighbour(fixed.address, fixed.mac)
                .map_err(|reason| format!("neighbour {}: {}", fixed.address, reason.text()))?;
        }
        Ok(shard)
    }
}

/// Serves one client of a control socket. Its names are a clone of those that all clients share.
fn serve(
    stream: Deadline,
    mut backend: impl Backend,
    names: &SystemNames,
    room: &Room,
) -> io::Result<()> {
    ctl::protocol::serve(stream, &mut backend, names, room)
}

/// Takes a saved table back; false when there is none. What cannot be taken back is said, and the
/// table kept under another name.
fn take_back(saved: &SavedTable, backend: &mut Remote) -> Result<bool, String> {
    let shown = saved.path().display();
    let unreadable = |error| format!("saved table {shown}: {error}");
    let Some(text) = saved.read().map_err(unreadable)? else { return Ok(false) };
    let bad = restore::replay(&text, backend);
    let services = backend.table().map_or(0, |table| table.services.len());
    say(format_args!("pollvsd: {services} virtual service(s) taken back from {shown}"));
    if !bad.is_empty() {
        let aside = saved.keep_aside();
        let kept = match &aside {
            Ok(aside) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it cannot be kept: {error}"),
        };
        complain(format_args!("pollvsd: not all of {shown} could be taken back; {kept}"));
        let aside = aside.as_deref().unwrap_or(saved.path()).display();
        for line in bad.iter().take(SHOWN_BAD_LINES) {
            complain(format_args!("pollvsd: {aside}: line {}: {}", line.number, line.reason));
        }
        if let Some(more) = bad.len().checked_sub(SHOWN_BAD_LINES).filter(|&more| more > 0) {
            complain(format_args!("pollvsd: {aside}: and {more} more line(s)"));
        }
    }
    Ok(true)
}

/// Carries out the configured commands; the first that fails stops the start.
fn apply_rules(config: &Config, backend: &mut Remote) -> Result<(), String> {
    let names = SystemNames::new();
    for rule in &config.rules {
        let reply = session::run(&rule_words(rule), backend, &names);
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
        memory: config.memory.map_or_else(
            || set.memory(devices),
            |mib| FrameMemory { huge_mib: mib, ordinary_mib: mib },
        ),
        pci: pci.collect(),
    }
}

/// What the ports add to their configuration. A packet is never larger than the buffers.
fn facts(config: &Config, ports: &[StartedPort]) -> Vec<PortFacts> {
    let facts = |(configured, port): (&PortConfig, &StartedPort)| {
        let wanted = configured.mtu.map_or(port.mtu, u32::from);
        let mtu = wanted.min(u32::from(port.mtu_max)) as u16;
        if u32::from(mtu) < wanted {
            say(format_args!(
                "pollvsd: port {}: MTU {wanted} is more than it takes by {}; packets larger than \
                 {mtu} bytes are dropped",
                port.name, port.kind
            ));
        }
        PortFacts { id: port.id, mac: port.mac, mtu }
    };
    config.ports.iter().zip(ports).map(facts).collect()
}

/// What `ports` lists and does not change.
fn port_rows(config: &Config, ports: &[StartedPort], facts: &[PortFacts]) -> Vec<PortRow> {
    let row = |((configured, port), facts): ((&PortConfig, &StartedPort), &PortFacts)| {
        let untagged = configured.addresses.iter().map(|&address| (None, address));
        let tagged = configured
            .vlans
            .iter()
            .flat_map(|vlan| vlan.addresses.iter().map(move |&address| (Some(vlan.id), address)));
        PortRow {
            number: port.id.0,
            name: port.name.clone(),
            kind: port.kind.into(),
            driver: port.driver.clone(),
            mac: port.mac,
            addresses: untagged.chain(tagged).collect(),
            mtu: facts.mtu,
            receive_queues: port.rx_queues,
            transmit_queues: port.tx_queues,
            link: Link::default(),
            total: PortCounts::default(),
            per_second: PortCounts::default(),
        }
    };
    config.ports.iter().zip(ports).zip(facts).map(row).collect()
}

/// Says what became of a port.
fn announce(port: &StartedPort, workers: u16) {
    let able = |is: bool, what: &'static str| if is { what } else { "" };
    say(format_args!(
        "pollvsd: port {} by {} (driver {}), MAC {}, MTU {}, {} receive and {} transmit queue(s){}{}",
        port.name,
        port.kind,
        port.driver,
        port.mac,
        port.mtu,
        port.rx_queues,
        port.tx_queues,
        able(port.has_rss, ", RSS"),
        able(port.has_checksum, ", checksums by the device"),
    ));
    if let Some(why) = &port.fallback {
        say(format_args!("pollvsd: port {}: better kinds failed: {why}", port.name));
    }
    if !port.is_up {
        say(format_args!("pollvsd: port {}: the link is down", port.name));
    }
    if port.rx_queues < workers {
        say(format_args!(
            "pollvsd: port {}: fewer receive queues than workers; the others get their frames \
             through rings",
            port.name
        ));
    }
}
