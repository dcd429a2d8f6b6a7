//! How fast a backup takes in what it is told, and how fast a whole table goes over: two daemons in
//! network namespaces.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use core_affinity::CoreId;
use dataplane::sync::wire::{Version, Writer};
use engine::sync::GROUP;
use hdrhistogram::Histogram;
use nix::unistd::gettid;
use tests::client::echo;
use tests::namespace::Namespace;

use super::rates::record;
use crate::daemon::Daemon;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::process::{LIMIT, folder, pause};
use crate::sample::{Samples, histogram};

const PORT: u16 = 8848;
const SYNC_ID: u8 = 7;
/// Tries to have all connections known.
const MOST_TRIES: u32 = 5;
/// Pings at least.
const PINGS: u16 = 200;
/// Tables fetched.
const FETCHES: usize = 5;
/// Messages sent without a pause, when there are pauses.
const TOGETHER: u32 = 32;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Two machines with a link of their own.
struct Pair {
    master: Namespace,
    backup: Namespace,
}

pub(super) fn measure(options: &Options, output: &mut Output) -> Result<()> {
    let connections = options.connections.as_ref().and_then(|all| all.first()).copied();
    let connections = connections.context("connections are given")?;
    let folder = folder()?;
    let pair = Pair::new().context("namespaces (they need root)")?;
    // Everything but the master's worker, the other machine too, shares the cores left.
    let first = |cores: Vec<CoreId>| cores.into_iter().next();
    let cores = core_affinity::get_core_ids().filter(|cores| cores.len() > 1);
    let first = cores.and_then(first).context("two cores")?;
    let master = pair.daemon(&pair.master, &folder.path().join("master"), connections)?;
    ensure!(core_affinity::set_for_current(first), "cannot be pinned to {first:?}");
    progress(&format!("sync: {connections} connections told live"));
    let taken = pair.tell(&master, connections)?;
    output.row(&Row {
        bench: "sync",
        case: Some("taken live".into()),
        connections: Some(connections),
        per_second: Some(taken),
        ..Row::default()
    })?;
    let mut rate = Samples::default();
    let mut pings = [("pings, idle", histogram()), ("pings, meanwhile", histogram())];
    for n in 0..FETCHES {
        progress(&format!("sync: whole table, {} of {FETCHES}", n + 1));
        pings[0].1.add(pair.pings(&AtomicBool::new(true))?)?;
        let is_over = AtomicBool::new(false);
        let (fetched, meanwhile) = thread::scope(|scope| {
            let pinging = scope.spawn(|| pair.pings(&is_over));
            let fetched = pair.fetch(&folder.path().join("backup"), connections);
            is_over.store(true, Ordering::Relaxed);
            (fetched, pinging.join().expect("pinging does not panic"))
        });
        rate.push(fetched?);
        pings[1].1.add(meanwhile?)?;
    }
    output.row(
        &Row {
            bench: "sync",
            case: Some("whole table".into()),
            connections: Some(connections),
            per_second: Some(rate.median()),
            ..Row::default()
        }
        .spread(&rate),
    )?;
    for (case, pings) in pings {
        let row = Row { bench: "sync", case: Some(case.into()), ..Row::default() };
        output.row(&row.latencies(&pings))?;
    }
    Ok(())
}

impl Pair {
    fn new() -> Result<Self> {
        let (master, backup) = (Namespace::new("sync-a")?, Namespace::new("sync-b")?);
        master.ip(&format!("link add s0 type veth peer name s0 netns {}", backup.name()))?;
        for (namespace, address) in [(&master, "10.77.0.1/24"), (&backup, "10.77.0.2/24")] {
            namespace.ip("link set lo up")?;
            namespace.ip("link set s0 up")?;
            namespace.ip(&format!("address add {address} dev s0"))?;
        }
        // The master's data port, and who pings it.
        master.ip(&format!("link add d0 type veth peer name c0 netns {}", backup.name()))?;
        for (namespace, link) in [(&master, "d0"), (&backup, "c0")] {
            namespace.plain_frames(link)?;
            namespace.ip(&format!("link set {link} up"))?;
        }
        backup.ip("address add 10.88.0.2/24 dev c0")?;
        Ok(Self { master, backup })
    }

    fn daemon(&self, at: &Namespace, folder: &Path, connections: u32) -> Result<Daemon> {
        std::fs::create_dir_all(folder)?;
        let is_master = std::ptr::eq(at, &raw const self.master);
        // The master has a core of its own; the backups share theirs with everything else.
        let (port, idle) = if is_master { ("d0", "spin") } else { ("net_null0,no-rx=1", "yield") };
        let rules = format!(
            "connections = {connections}\nidle = \"{idle}\"\nrules = [\n\
             \"-A -t 192.0.2.1:80 -s rr\", \"-a -t 192.0.2.1:80 -r 10.200.0.1:8080 -m\",\n\
             \"--start-daemon master --mcast-interface s0 --syncid {SYNC_ID}\",\n\
             \"--start-daemon backup --mcast-interface s0 --syncid {SYNC_ID}\"]\n"
        );
        Daemon::start(["--port", port, "--address", "10.88.0.1/24"], &rules, Some(at), folder)
    }

    /// Tells a backup of connections as fast as it can be done; says how many it took a second.
    fn tell(&self, daemon: &Daemon, connections: u32) -> Result<f64> {
        let start = Instant::now();
        self.send(connections, None)?;
        let mut last = (made(daemon)?, start.elapsed());
        loop {
            pause(LOOK)?;
            let now = made(daemon)?;
            if now == last.0 {
                break;
            }
            last = (now, start.elapsed());
        }
        // What was lost comes now, slowly.
        for _ in 0..MOST_TRIES {
            self.send(connections, Some(Duration::from_millis(2)))?;
            pause(Duration::from_millis(500))?;
            if made(daemon)? == u64::from(connections) {
                break;
            }
        }
        let made = made(daemon)?;
        ensure!(made == u64::from(connections), "{made} of {connections} connections were made");
        Ok(last.0 as f64 / last.1.as_secs_f64())
    }

    /// Sends messages about connections to the master's group, with a pause now and then.
    fn send(&self, connections: u32, pause: Option<Duration>) -> Result<()> {
        self.backup.enter(|| -> Result<()> {
            let socket = UdpSocket::bind((Ipv4Addr::new(10, 77, 0, 2), 0))?;
            let mut writer = Writer::new(Version::V1, SYNC_ID, 1472);
            let mut messages = 0_u32;
            for record in (0..connections).map(record) {
                if writer.push(&record, None).is_ok() {
                    continue;
                }
                socket.send_to(writer.message(), (GROUP, PORT))?;
                writer.clear();
                writer.push(&record, None).ok().context("a message takes a record")?;
                messages += 1;
                if let Some(pause) = pause.filter(|_| messages.is_multiple_of(TOGETHER)) {
                    thread::sleep(pause);
                }
            }
            socket.send_to(writer.message(), (GROUP, PORT))?;
            Ok(())
        })?
    }

    /// Round trips to the master's data port: [`PINGS`] at least, and until it is over.
    fn pings(&self, is_over: &AtomicBool) -> Result<Histogram<u64>> {
        let mut trips = histogram();
        self.backup.enter(|| -> Result<()> {
            // Ahead of all else on its core: what is seen are the master's delays, not its own.
            let thread = gettid().to_string();
            let fifo = ["--fifo", "--pid", "1", &thread];
            ensure!(Command::new("chrt").args(fifo).status()?.success(), "chrt");
            let mut pings = 0_u16;
            while pings < PINGS || !is_over.load(Ordering::Relaxed) {
                let took = echo(Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 88, 0, 1), pings)?;
                // The first ones resolve the address.
                if pings >= 10 {
                    trips.saturating_record(took.as_nanos() as u64);
                }
                pings = pings.wrapping_add(1);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(())
        })??;
        Ok(trips)
    }

    /// Starts a daemon and waits until it has fetched the whole table; records a second.
    fn fetch(&self, folder: &Path, connections: u32) -> Result<f64> {
        fetched(&self.daemon(&self.backup, folder, connections)?, connections)
    }
}

/// Connections that a daemon has made because it was told of them.
fn made(daemon: &Daemon) -> Result<u64> {
    daemon.ask("sync")?["backup"]["made"].as_u64().context("sync counts what was made")
}

/// Records a second of the table that a daemon has fetched since its start.
fn fetched(daemon: &Daemon, connections: u32) -> Result<f64> {
    let end = Instant::now() + LIMIT;
    loop {
        let out = daemon.service().out();
        let line = out.lines().find(|line| line.contains("record(s) fetched"));
        if let Some(line) = line {
            let numbers: Vec<f64> =
                line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [records, ms] = numbers[..] else { anyhow::bail!("{line}") };
            ensure!(records == f64::from(connections), "{line}");
            return Ok(records / (ms / 1000.0));
        }
        ensure!(Instant::now() < end, "no table was fetched: {out}");
        pause(LOOK)?;
    }
}
