//! Two directors that stand in for each other: connection sync between them, and virtual addresses
//! that go where the master is.
//!
//! ```text
//!  client             router              directors                         real servers
//!  c0 10.9.0.7/17 --- r0 10.9.0.1
//!                     r1 .255.253 - br1 - d0 10.9.255.251, .252
//!                                         d1 10.1.255.251, .252 --- br0 --- rs1 10.1.0.1/16
//!                     r2 10.1.0.254 ------------------------------- br0 --- rs2 10.1.0.2/16
//!                                         s0 10.77.0.1, .2 (br2: sync messages)
//! ```
//!
//! Floating by VRRP: 10.9.255.1 (address translation), 10.9.255.2 (direct routing), and the servers'
//! gateway 10.1.255.254. No neighbour is fixed: router and servers learn by gratuitous ARP where
//! the addresses are. Direct servers answer by the router's third leg.

pub mod crowd;
pub mod download;
pub mod echo;
pub mod herd;
pub mod opening;
pub mod probe;
pub mod scene;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use self::echo::{ECHO_PORT, EchoServer};
use self::herd::Part;
use crate::daemon::Daemon;
use crate::interrupt;
use crate::lab::{DIRECTOR_INSIDE, Lab, ROUTER, VIP, plug};
use crate::namespace::Namespace;
use crate::process::{Service, must};
use crate::requirements::Binaries;
use crate::server::RealServer;
use crate::session::Session;

/// The virtual address of the services by direct routing.
pub const VIP_DIRECT: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 2);
/// A service that sends back what it gets, by address translation, TCP and UDP.
pub const NAT_ECHO: SocketAddrV4 = SocketAddrV4::new(VIP, ECHO_PORT);
/// The same by direct routing, TCP.
pub const DIRECT_ECHO: SocketAddrV4 = SocketAddrV4::new(VIP_DIRECT, ECHO_PORT);
/// The same by address translation of the port too; the place of a login.
pub const LOGIN: SocketAddrV4 = SocketAddrV4::new(VIP, 22);

/// Of the servers; floats.
const GATEWAY: &str = "10.1.255.254";

/// Between two looks at a director.
const LOOK: Duration = Duration::from_millis(5);
/// Directors are in touch and in step after this time: they greet once a second.
const IN_STEP: Duration = Duration::from_secs(8);

/// One of the two directors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one of higher priority.
    First,
    /// The other.
    Second,
}

impl Who {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that is not this one.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::First { Self::Second } else { Self::First }
    }
}

/// How the directors are set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Milliseconds between VRRP advertisements.
    pub interval_ms: u32,
    /// Room for connections.
    pub connections: u32,
    /// Addresses of the client, besides its first.
    pub sources: u8,
    /// Programs that serve, besides this one, at each server.
    pub echoes: usize,
    /// Niceness of the directors, for a machine with others on it.
    pub nice: i8,
    /// Workers spin instead of yielding.
    pub spin: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { interval_ms: 70, connections: 65_536, sources: 1, echoes: 0, nice: 0, spin: false }
    }
}

/// Both directors, and the networks around them. Fields are dropped in order.
#[derive(Debug)]
pub struct Pair<'lab> {
    daemons: [Option<Daemon<'lab>>; 2],
    /// Programs that do nothing, in the directors' namespaces. `ip netns exec` makes a mount
    /// namespace too, which takes seconds while pollers hold the cores; to enter one does not.
    doors: [Service; 2],
    _echo: EchoServer,
    /// More of them.
    _echoes: Vec<Part>,
    lab: &'lab Lab,
    second: Namespace,
    router: Namespace,
    binaries: Binaries,
    setup: Setup,
}

impl<'lab> Pair<'lab> {
    /// Connects everything in a new lab and starts what is not a director.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn new(lab: &'lab Lab, binaries: &Binaries, setup: Setup) -> Result<Self> {
        let (client, switch) = (lab.client(), lab.switch());
        let (second, router) = (Namespace::new("director2")?, Namespace::new("router")?);
        for bridge in ["br1", "br2"] {
            let options = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0";
            switch.ip(&format!("link add {bridge} {options}"))?;
            switch.ip(&format!("link set {bridge} up"))?;
        }
        for cable in ["c0", "c1"] {
            client.ip(&format!("link del {cable}"))?;
        }
        client.ip(&format!("link add c0 type veth peer name r0 netns {}", router.name()))?;
        for (namespace, link) in [(client, "c0"), (&router, "r0")] {
            namespace.plain_frames(link)?;
            namespace.ip(&format!("link set {link} up"))?;
        }
        for source in sources(setup.sources) {
            client.ip(&format!("addr add {source}/17 dev c0"))?;
        }
        client.ip("route add default via 10.9.0.1")?;
        router.ip("addr add 10.9.0.1/17 dev r0")?;
        plug(switch, "br1", "to-r1", &router, "r1")?;
        router.ip("addr add 10.9.255.253/24 dev r1")?;
        plug(switch, "br0", "to-r2", &router, "r2")?;
        router.ip(&format!("addr add {ROUTER}/16 dev r2"))?;
        router.set("ipv4/ip_forward", "1")?;

        let first = lab.director();
        plug(switch, "br1", "to-d0", first, "d0")?;
        plug(switch, "br2", "to-s0", first, "s0")?;
        plug(switch, "br1", "to-d0b", &second, "d0")?;
        plug(switch, "br0", "to-d1b", &second, "d1")?;
        plug(switch, "br2", "to-s0b", &second, "s0")?;
        first.ip("addr add 10.77.0.1/24 dev s0")?;
        second.ip("addr add 10.77.0.2/24 dev s0")?;
        second.set("ipv4/ip_forward", "0")?;

        for server in lab.servers() {
            // By the other way, what comes from the direct service's address.
            let namespace = server.namespace();
            namespace.ip(&format!("addr add {VIP_DIRECT}/32 dev lo"))?;
            namespace.ip(&format!("route add default via {ROUTER} table 100"))?;
            namespace.ip(&format!("rule add from {VIP_DIRECT} table 100"))?;
        }
        let echo = EchoServer::start(lab.servers().iter().map(RealServer::namespace))?;
        let mut echoes = Vec::new();
        for server in lab.servers() {
            for number in 0..setup.echoes {
                let log = lab.logs().join(format!("echo-{}-{number}.err", server.name()));
                let mut part = Part::start(server.namespace(), "serve", &log)?;
                part.hear("ready")?;
                echoes.push(part);
            }
        }
        let door = |number: usize, namespace: &Namespace| {
            let mut command = namespace.lasting_command("sleep");
            command.arg("infinity");
            let mut door = Service::start(&format!("door-{number}"), &mut command, &lab.logs())?;
            // Before, it is still on its way in.
            door.wait_until(IN_STEP, |door| {
                let name = fs::read_to_string(format!("/proc/{}/comm", door.id()));
                name.is_ok_and(|name| name.trim() == "sleep")
            })?;
            Ok::<_, anyhow::Error>(door)
        };
        let doors = [door(0, first)?, door(1, &second)?];
        let (binaries, daemons) = (binaries.clone(), [None, None]);
        Ok(Self {
            daemons,
            doors,
            _echo: echo,
            _echoes: echoes,
            lab,
            second,
            router,
            binaries,
            setup,
        })
    }

    /// Starts a director and waits until it polls its ports.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self, who: Who) -> Result<()> {
        let number = who as usize;
        let directory = self.lab.directory();
        let socket = directory.join(format!("director-{number}.sock"));
        let file = directory.join(format!("director-{number}.toml"));
        let config = self.config(who).replace("SOCKET", &socket.display().to_string());
        fs::write(&file, config)?;
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.doors[number].id().to_string()]);
        let nice = self.setup.nice.to_string();
        command.args(["setpriv", "--pdeathsig", "KILL", "nice", "-n", &nice]);
        command.arg(&self.binaries.daemon);
        command.arg("--config").arg(&file);
        let daemon = Daemon::start_by(self.lab, &self.binaries, &socket, &mut command)?;
        self.daemons[number] = Some(daemon);
        Ok(())
    }

    /// Starts both, and waits until the first is the master and they have greeted each other.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn start_both(&mut self) -> Result<()> {
        self.start(Who::First)?;
        self.wait("the first director is master", IN_STEP, |pair| pair.is_master(Who::First))?;
        self.start(Who::Second)?;
        self.wait_for_step(Who::Second)
    }

    /// SIGKILL; returns when that was.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, who: Who) -> Result<Instant> {
        let daemon = self.daemons[who as usize].as_mut().context("it does not run")?;
        let at = Instant::now();
        daemon.kill();
        self.daemons[who as usize] = None;
        Ok(at)
    }

    /// A director that runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn daemon(&self, who: Who) -> Result<&Daemon<'lab>> {
        self.daemons[who as usize].as_ref().with_context(|| format!("{who:?} does not run"))
    }

    /// Runs `pollvsadm` for a director, which has to succeed. Not in the director's namespace: that
    /// takes seconds to enter where pollers hold the cores.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn admin(&self, who: Who, words: &str, limit: Duration) -> Result<String> {
        let mut command = Command::new(&self.binaries.control);
        command.arg("--socket").arg(self.daemon(who)?.control().socket());
        must(command.args(words.split_whitespace()), limit)
    }

    /// A listing of a director, asked for without a program, which would take time from those that
    /// are measured.
    ///
    /// # Errors
    /// When it gives none.
    pub fn listing(&self, who: Who, word: &str) -> Result<Value> {
        let socket = self.daemon(who)?.control().socket();
        let answer = Session::open(socket)?.ask(&format!(r#"@["pollvsadm","--json","{word}"]"#))?;
        ensure!(answer.status == 0, "{word}: {answer:?}");
        Ok(serde_json::from_str(&answer.out)?)
    }

    /// Whether a director has all virtual addresses.
    ///
    /// # Errors
    /// As [`Pair::listing`].
    pub fn is_master(&self, who: Who) -> Result<bool> {
        let listing = self.listing(who, "vrrp")?;
        let routers = listing["routers"].as_array().context("no routers")?;
        Ok(!routers.is_empty() && routers.iter().all(|router| router["state"] == "MASTER"))
    }

    /// Whether router and servers send to a director what is for the virtual addresses.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn is_learnt(&self, who: Who) -> Result<bool> {
        let director = if who == Who::First { self.lab.director() } else { &self.second };
        let mac = |text: String| {
            let mut words = text.split_whitespace();
            words.find(|word| matches!(*word, "lladdr" | "link/ether"))?;
            words.next().map(str::to_owned)
        };
        let [outside, inside] =
            ["d0", "d1"].map(|port| director.ip(&format!("link show {port}")).map(mac));
        let (outside, inside) = (outside?, inside?);
        let known = |from: &Namespace, address: &dyn fmt::Display| {
            from.ip(&format!("neigh show {address}")).map(mac)
        };
        let mut is_learnt = known(&self.router, &VIP)? == outside;
        for server in self.lab.servers() {
            is_learnt &= known(server.namespace(), &GATEWAY)? == inside;
        }
        Ok(is_learnt)
    }

    /// Connections that a director knows.
    ///
    /// # Errors
    /// As [`Pair::listing`].
    pub fn connections(&self, who: Who) -> Result<u64> {
        let listing = self.listing(who, "workers")?;
        let workers = listing["workers"].as_array().context("no workers")?;
        Ok(workers.iter().filter_map(|worker| worker["connections"].as_u64()).sum())
    }

    /// What sync has lost on its way to a director, in words, as far as it runs.
    ///
    /// # Errors
    /// As [`Pair::listing`].
    pub fn losses(&self, who: Who) -> Result<String> {
        let mut words = Vec::new();
        if self.daemon(who.other()).is_ok() {
            let master = &self.listing(who.other(), "sync")?["master"];
            let ports = self.listing(who.other(), "ports")?;
            for port in ports["ports"].as_array().into_iter().flatten() {
                words.push(format!("{}_missed={}", port["name"], port["missed"]));
            }
            for name in ["records", "overruns", "queue_full", "send_errors", "lag_us"] {
                words.push(format!("{name}={}", master[name]));
            }
        }
        let backup = &self.listing(who, "sync")?["backup"];
        let lost = backup["senders"].as_array().into_iter().flatten();
        let lost: u64 = lost.filter_map(|sender| sender["lost"].as_u64()).sum();
        words.push(format!("lost={lost}"));
        for name in ["made", "overruns", "no_room", "unfit"] {
            words.push(format!("{name}={}", backup[name]));
        }
        Ok(words.join(" "))
    }

    /// Waits until a director has fetched the other's table and all that was said since.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_step(&self, who: Who) -> Result<()> {
        self.wait("the backup is in step", IN_STEP, |pair| {
            let listing = pair.listing(who, "sync")?;
            let senders = listing["backup"]["senders"].as_array();
            Ok(senders.is_some_and(|senders| {
                let fetched = |sender: &Value| sender["fetched"].as_u64().is_some_and(|n| n > 0);
                senders.iter().any(|sender| sender["in_step"] == true && fetched(sender))
            }))
        })
    }

    /// Waits until something is so.
    ///
    /// # Errors
    /// When `limit` passes, with what is awaited.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !is_so(self)? {
            interrupt::check()?;
            ensure!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &'lab Namespace {
        self.lab.client()
    }

    /// The lab that it is made of.
    #[must_use]
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// The client's addresses.
    #[must_use]
    pub fn sources(&self) -> Vec<Ipv4Addr> {
        sources(self.setup.sources).collect()
    }

    fn config(&self, who: Who) -> String {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let (number, priority) = match who {
            Who::First => (1, 150),
            Who::Second => (2, 100),
        };
        // Apart, as far as there are cores.
        let core = (number - 1) % cores;
        let Setup { interval_ms, connections, spin, .. } = self.setup;
        let idle = if spin { "spin" } else { "yield" };
        let services: String = [
            format!("-t {VIP}:80"),
            format!("-t {NAT_ECHO}"),
            format!("-u {NAT_ECHO}"),
            format!("-t {LOGIN}"),
            format!("-t {DIRECT_ECHO}"),
        ]
        .iter()
        .flat_map(|service| {
            let port = if service.ends_with(":80") { 80 } else { ECHO_PORT };
            let method = if service.contains(&VIP_DIRECT.to_string()) { "-g" } else { "-m" };
            let servers = self.lab.servers().iter().map(move |server| {
                format!("    \"-a {service} -r {}:{port} {method}\",\n", server.address())
            });
            [format!("    \"-A {service} -s rr\",\n")].into_iter().chain(servers)
        })
        .collect();
        format!(
            "workers = 1
cores = [{core}]
connections = {connections}
connections_ipv6 = 1024
idle = \"{idle}\"
state = \"none\"
run = \"none\"
socket = \"SOCKET\"
rules = [
{services}    \"--start-daemon master --mcast-interface s0 --syncid 7\",
    \"--start-daemon backup --mcast-interface s0 --syncid 7\",
]

[sysctl] # a connection is told as soon as it is established
sync_threshold = \"2 50\"

[[port]] # towards the clients
device = \"d0\"
addresses = [\"10.9.255.25{number}/24\"]

[[port]] # towards the real servers
device = \"d1\"
addresses = [\"10.1.255.25{number}/16\"]

[[route]]
to = \"10.9.0.0/17\"
via = \"10.9.255.253\"

[[vrrp]]
name = \"outside\"
group = \"pair\"
vrid = 51
port = \"d0\"
priority = {priority}
interval_ms = {interval_ms}
addresses = [\"{VIP}\", \"{VIP_DIRECT}\"]

[[vrrp]]
name = \"inside\"
group = \"pair\"
vrid = 52
port = \"d1\"
priority = {priority}
interval_ms = {interval_ms}
addresses = [\"{DIRECTOR_INSIDE}\"]
"
        )
    }
}

fn sources(number: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..number).map(|last| Ipv4Addr::new(10, 9, 1, 1 + last))
}
