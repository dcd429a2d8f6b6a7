//! A link with directors and a client that asks who has an address.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use serde_json::Value;
use tests::daemon::Daemon;
use tests::frames::{Mac, checksum, mac_of};
use tests::interrupt;
use tests::lab::Lab;
use tests::namespace::Namespace;
use tests::process::{Finished, run};
use tests::requirements::Binaries;

/// How long directors may take to agree: much longer than they need, because a test machine may be
/// busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);
/// Within this an answer to a question comes.
const ANSWER: Duration = Duration::from_millis(60);
/// The client's last byte.
const CLIENT: u8 = 9;
/// Everybody's interface.
pub(crate) const LINK: &str = "e0";

/// A link: `nodes` and a client on a switch.
pub(crate) struct Lan {
    nodes: Vec<Namespace>,
    pub(crate) client: Namespace,
    switch: Namespace,
    /// Of each node and of the client. Asked for once: every `ip` keeps the kernel busy for long.
    macs: Vec<Mac>,
}

/// A director on the link, and a way to its control socket that needs no namespace.
pub(crate) struct Director<'lab> {
    pub(crate) daemon: Daemon<'lab>,
    program: PathBuf,
}

impl Lan {
    /// Builds it. Node `n` has `10.77.0.(n + 1)`, which its kernel has if `kernels` names it.
    pub(crate) fn new(names: &[&str], kernels: &[usize]) -> Result<Self> {
        let switch = Namespace::new("lan")?;
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        switch.ip("link set br0 up")?;
        let client = Namespace::new("asker")?;
        let nodes = names.iter().map(|name| Namespace::new(name)).collect::<Result<Vec<_>>>()?;
        for (n, node) in nodes.iter().chain([&client]).enumerate() {
            let far = node.name();
            switch.ip(&format!("link add to{n} type veth peer name {LINK} netns {far}"))?;
            node.plain_frames(LINK)?;
            node.ip(&format!("link set {LINK} up"))?;
            switch.ip(&format!("link set to{n} master br0 up"))?;
        }
        client.ip(&format!("addr add 10.77.0.{CLIENT}/24 dev {LINK}"))?;
        for &n in kernels {
            nodes[n].ip(&format!("addr add {}/24 dev {LINK}", address(n)))?;
            // Its link-local address is usable at once.
            for scope in ["all", "default", LINK] {
                nodes[n].set(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
            }
            ensure!(nodes[n].enable_ipv6(LINK, &format!("fd77::{}/64", n + 1))?, "no IPv6 here");
        }
        let macs = nodes.iter().chain([&client]).map(|node| mac_of(node, LINK));
        Ok(Self { macs: macs.collect::<Result<_>>()?, nodes, client, switch })
    }

    pub(crate) fn node(&self, n: usize) -> &Namespace {
        &self.nodes[n]
    }

    /// Cuts a node's cable, or mends it.
    pub(crate) fn plug(&self, n: usize, is_up: bool) -> Result<()> {
        self.switch.ip(&format!("link set to{n} {}", if is_up { "up" } else { "down" }))?;
        Ok(())
    }

    /// Lays a cable of their kernels between the first two nodes, as sync needs one: the other's
    /// frames are the daemon's.
    pub(crate) fn add_sync_link(&self, link: &str) -> Result<()> {
        let [a, b, ..] = &self.nodes[..] else { unreachable!("there are two nodes") };
        a.ip(&format!("link add {link} type veth peer name {link} netns {}", b.name()))?;
        for (n, node) in [a, b].into_iter().enumerate() {
            node.ip(&format!("addr add 10.78.0.{}/24 dev {link}", n + 1))?;
            node.ip(&format!("link set {link} up"))?;
        }
        Ok(())
    }

    /// Starts pollvsd at a node with these tables.
    pub(crate) fn start<'lab>(
        &self,
        lab: &'lab Lab,
        binaries: &Binaries,
        n: usize,
        tables: &str,
    ) -> Result<Director<'lab>> {
        let text = format!(
            "state = \"none\"\nrun = \"none\"\nconnections = 4096\nidle = \"yield\"\n\
             [[port]]\ndevice = \"{LINK}\"\naddresses = [\"{}/24\", \"fd77::{}/64\"]\n{tables}",
            address(n),
            n + 1
        );
        let file = lab.directory().join(format!("node{n}.toml"));
        fs::write(&file, text)?;
        let socket = lab.directory().join(format!("node{n}.sock"));
        let mut command = self.nodes[n].lasting_command(&binaries.daemon);
        command.arg("--config").arg(&file).arg("--socket").arg(&socket);
        let daemon = Daemon::start_by(lab, binaries, &socket, &mut command)?;
        Ok(Director { daemon, program: binaries.control.clone() })
    }

    /// The link-layer addresses of those who say that they have an address.
    pub(crate) fn holders(&self, address: IpAddr) -> Result<BTreeSet<Mac>> {
        let own = self.macs[self.nodes.len()];
        self.client.enter(|| ask(own, address))?
    }

    /// Waits until node `n`, and no other, has all of these addresses; returns how long it took.
    pub(crate) fn await_holder(&self, n: usize, addresses: &[IpAddr]) -> Result<Duration> {
        let (started, mac) = (Instant::now(), self.macs[n]);
        for &address in addresses {
            loop {
                let holders = self.holders(address)?;
                if holders.len() == 1 && holders.contains(&mac) {
                    break;
                }
                let waited = started.elapsed();
                ensure!(waited < PATIENCE, "{address} is at {holders:x?}, not at {mac:x?}");
                interrupt::check()?;
            }
        }
        Ok(started.elapsed())
    }
}

/// A node's address.
pub(crate) fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, n as u8 + 1)
}

impl Director<'_> {
    /// Runs `pollvsadm`.
    pub(crate) fn run(&self, arguments: &str) -> Result<Finished> {
        let mut command = Command::new(&self.program);
        command.arg("--socket").arg(self.daemon.control().socket());
        run(command.args(arguments.split_whitespace()), PATIENCE)
    }

    /// Runs `pollvsadm`, which has to succeed, and returns what it printed.
    pub(crate) fn must(&self, arguments: &str) -> Result<String> {
        let finished = self.run(arguments)?;
        ensure!(finished.status.success(), "pollvsadm {arguments}: {}", finished.err());
        Ok(finished.out())
    }

    /// Its routers.
    pub(crate) fn routers(&self) -> Result<Vec<Value>> {
        let document: Value = serde_json::from_str(&self.must("vrrp --json")?)?;
        Ok(document["routers"].as_array().context("no list of routers")?.clone())
    }

    /// Waits until all of its routers are in this state.
    pub(crate) fn await_state(&self, state: &str) -> Result<Vec<Value>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let routers = self.routers()?;
            if routers.iter().all(|router| router["state"] == state) {
                return Ok(routers);
            }
            ensure!(Instant::now() < end, "not {state}: {}", self.must("vrrp")?);
            interrupt::check()?;
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How often a router has rejected packets for a reason.
pub(crate) fn rejected(router: &Value, reason: &str) -> u64 {
    let rejects = router["rejects"].as_array().into_iter().flatten();
    let named = |reject: &&Value| reject["name"] == reason;
    rejects.filter(named).find_map(|reject| reject["count"].as_u64()).unwrap_or(0)
}

/// Asks in this thread's namespace who has an address.
fn ask(own: Mac, address: IpAddr) -> Result<BTreeSet<Mac>> {
    let entry = getifaddrs()?
        .filter(|entry| entry.interface_name == LINK)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .context("no link")?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let everything = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, everything)?;
    bind(socket.as_raw_fd(), &entry)?;
    let question = match address {
        IpAddr::V4(address) => arp_request(own, address),
        IpAddr::V6(address) => solicitation(own, address),
    };
    send(socket.as_raw_fd(), &question, MsgFlags::empty())?;
    let (end, mut holders) = (Instant::now() + ANSWER, BTreeSet::new());
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) if is_answer(&buffer[..length], own, address) => {
                holders.insert(buffer[6..12].try_into()?);
            }
            Ok(_) => {}
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    Ok(holders)
}

fn arp_request(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &own].concat();
    frame.extend([10, 77, 0, CLIENT]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// A neighbour solicitation (RFC 4861 section 4.3).
fn solicitation(own: Mac, address: Ipv6Addr) -> Vec<u8> {
    let last = &address.octets()[13..];
    let group = [&[0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff][..], last].concat();
    let source = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, CLIENT.into()).octets();
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &address.octets(), &[1, 1], &own].concat();
    let pseudo = [&source[..], &group, &[0, 0, 0, 32, 0, 0, 0, 58], &message].concat();
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let link = [&[0x33, 0x33, 0xff][..], last, &own, &[0x86, 0xdd]].concat();
    [&link[..], &[0x60, 0, 0, 0, 0, 32, 58, 255], &source, &group, &message].concat()
}

/// Whether a frame to us says that its sender has the address. Announcements are to everybody.
fn is_answer(frame: &[u8], own: Mac, address: IpAddr) -> bool {
    frame.starts_with(&own)
        && match address {
            IpAddr::V4(address) => {
                frame.get(12..14) == Some(&[8, 6])
                    && frame.get(20..22) == Some(&[0, 2])
                    && frame.get(28..32) == Some(&address.octets())
            }
            IpAddr::V6(address) => {
                frame.get(12..14) == Some(&[0x86, 0xdd])
                    && frame.get(54) == Some(&136)
                    && frame.get(62..78) == Some(&address.octets())
            }
        }
}
