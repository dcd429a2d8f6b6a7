//! Directors with a sync network between them, and somebody else on it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tests::frames::{Mac, checksum, mac_of, send_frames};
pub(crate) use tests::guest::{SYNC_GROUP as GROUP, SYNC_PORT as PORT};
use tests::interrupt;
use tests::lab::Lab;
use tests::namespace::Namespace;
use tests::requirements::Binaries;

use crate::vrrp_lan::{Director, LINK, Lan};

/// Everybody's link of the sync network.
pub(crate) const SYNC: &str = "m0";
/// The virtual address, which the client has too: it is its own real server.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
/// Of the service by UDP.
pub(crate) const SERVICE: u16 = 53;
/// Directors greet once a second, and two beacons tell of a loss.
const LIMIT: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(20);

const SERVICES: [&str; 6] = [
    "-A -u 10.77.0.200:53 -s rr",
    "-a -u 10.77.0.200:53 -r 10.77.0.9 -g",
    "-A -t 10.77.0.200:80 -s rr -p 300",
    "-a -t 10.77.0.200:80 -r 10.77.0.9 -g",
    "-A -t [fd77::200]:80 -s rr -p 300",
    "-a -t [fd77::200]:80 -r fd77::9 -g",
];

/// Nodes on two networks: the clients' one, where daemons own the links, and the sync network.
pub(crate) struct Net {
    pub(crate) lan: Lan,
    macs: Vec<Mac>,
    switch: Namespace,
}

impl Net {
    pub(crate) fn new(names: &[&str]) -> Result<Self> {
        let lan = Lan::new(names, &[])?;
        let switch = Namespace::new("sync")?;
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        switch.ip("link set br0 up")?;
        for n in 0..names.len() {
            let node = lan.node(n);
            switch
                .ip(&format!("link add to{n} type veth peer name {SYNC} netns {}", node.name()))?;
            switch.ip(&format!("link set to{n} master br0 up"))?;
            node.ip(&format!("addr add {}/24 dev {SYNC}", address(n)))?;
            node.ip(&format!("link set {SYNC} up"))?;
        }
        lan.client.ip(&format!("addr add {VIP}/32 dev lo"))?;
        let macs = (0..names.len()).map(|n| mac_of(lan.node(n), LINK)).collect::<Result<_>>()?;
        Ok(Self { lan, macs, switch })
    }

    /// Starts a director with the services, and daemons of these roles.
    pub(crate) fn start<'lab>(
        &self,
        lab: &'lab Lab,
        binaries: &Binaries,
        n: usize,
        (roles, tables): (&[&str], &str),
    ) -> Result<Director<'lab>> {
        let director = self.lan.start(lab, binaries, n, tables)?;
        for line in SERVICES {
            director.must(line)?;
        }
        for role in roles {
            start(&director, role, 1)?;
        }
        Ok(director)
    }

    /// Cuts a node's cable of the sync network, or mends it.
    pub(crate) fn plug(&self, n: usize, is_up: bool) -> Result<()> {
        self.switch.ip(&format!("link set to{n} {}", if is_up { "up" } else { "down" }))?;
        Ok(())
    }

    /// Has a director serve a client's datagrams, enough of each port to be told of.
    pub(crate) fn datagrams(&self, n: usize, ports: impl IntoIterator<Item = u16>) -> Result<()> {
        let one = |port: u16| {
            let from = SocketAddr::from(([10, 77, 0, 99], port));
            datagram(self.macs[n], from, (VIP, SERVICE), b"hello")
        };
        let frames: Vec<_> = ports.into_iter().flat_map(|port| vec![one(port); 4]).collect();
        let sent = send_frames(&self.lan.client, LINK, &frames)?;
        ensure!(sent == frames.len(), "sent {sent} of {}", frames.len());
        Ok(())
    }

    /// The service's server, which is the client.
    pub(crate) fn server(&self) -> Result<UdpSocket> {
        let server = self.lan.client.enter(|| UdpSocket::bind((VIP, SERVICE)))??;
        server.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(server)
    }

    /// A socket of a node that hears the group and sends to it.
    pub(crate) fn member(&self, n: usize) -> Result<UdpSocket> {
        let own = address(n);
        self.lan.node(n).enter(|| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_recv_buffer_size(1 << 20)?;
            socket.bind(&SocketAddr::from((GROUP, PORT)).into())?;
            socket.join_multicast_v4(&GROUP, &own)?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            Ok(socket.into())
        })?
    }

    /// A socket of a node that sends to the group.
    pub(crate) fn teller(&self, n: usize) -> Result<UdpSocket> {
        let own = address(n);
        self.lan.node(n).enter(|| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.bind(&SocketAddr::from((own, 0)).into())?;
            socket.set_multicast_if_v4(&own)?;
            socket.connect(&SocketAddr::from((GROUP, PORT)).into())?;
            Ok(socket.into())
        })?
    }

    /// Sends messages to the group from node `n`, by the address of `source`, with time to read
    /// each.
    pub(crate) fn forge(&self, n: usize, source: usize, messages: &[Vec<u8>]) -> Result<()> {
        let from = SocketAddr::from((address(source), 4000));
        let mac = [1, 0, 0x5e, 0, 0, 81];
        let frame = |message: &Vec<u8>| datagram(mac, from, (GROUP, PORT), message);
        for few in messages.chunks(20) {
            let frames: Vec<_> = few.iter().map(frame).collect();
            let sent = send_frames(self.lan.node(n), SYNC, &frames)?;
            ensure!(sent == frames.len(), "sent {sent} of {}", frames.len());
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// A node's address on the sync network.
pub(crate) fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, n as u8 + 1)
}

pub(crate) fn start(director: &Director<'_>, role: &str, id: u8) -> Result<()> {
    director.must(&format!("--start-daemon {role} --mcast-interface {SYNC} --syncid {id}"))?;
    Ok(())
}

/// A frame with a datagram.
fn datagram(mac: Mac, from: SocketAddr, to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(from) = from else { unreachable!("all is IPv4") };
    let length = (8 + payload.len()) as u16;
    let total = (20 + length).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 1, 17, 0, 0];
    header[8] = if to.0.is_multicast() { 1 } else { 64 };
    header.extend(from.ip().octets());
    header.extend(to.0.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [from.port().to_be_bytes(), to.1.to_be_bytes(), length.to_be_bytes(), [0, 0]];
    [&mac[..], &[2, 0, 0, 0, 0, 99, 8, 0], &header, &udp.concat(), payload].concat()
}

/// What `sync` tells.
pub(crate) fn sync(director: &Director<'_>) -> Result<Value> {
    Ok(serde_json::from_str(&director.must("sync --json")?)?)
}

/// A counter of the backup daemon.
pub(crate) fn count(sync: &Value, name: &str) -> u64 {
    sync["backup"][name].as_u64().unwrap_or(0)
}

/// How often the backup daemon rejected messages for a reason; `list` is of which kind.
pub(crate) fn rejected(sync: &Value, list: &str, name: &str) -> u64 {
    let rejects = sync["backup"][list].as_array().into_iter().flatten();
    rejects.filter(|row| row["name"] == name).filter_map(|row| row["count"].as_u64()).sum()
}

/// All that was rejected.
pub(crate) fn all_rejected(sync: &Value, list: &str) -> u64 {
    let rejects = sync["backup"][list].as_array().into_iter().flatten();
    rejects.filter_map(|row| row["count"].as_u64()).sum()
}

/// What a backup knows of node `n`.
pub(crate) fn sender(sync: &Value, n: usize) -> Value {
    let own = address(n).to_string();
    let mut rows = sync["backup"]["senders"].as_array().into_iter().flatten();
    rows.find(|row| row["address"] == own.as_str()).cloned().unwrap_or(Value::Null)
}

/// Connections and templates, without the time they have left.
pub(crate) fn listed(director: &Director<'_>) -> Result<BTreeSet<String>> {
    let text = director.must("-Lnc")?;
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_row = words.get(1).is_some_and(|left| left.contains(':'));
        is_row.then(|| [&words[..1], &words[2..]].concat().join(" "))
    };
    Ok(text.lines().filter_map(row).collect())
}

/// Waits until something is so.
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !is_so()? {
        interrupt::check()?;
        ensure!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Waits until a backup has fetched a table of node `n` so many times, and all since.
pub(crate) fn wait_for_step(director: &Director<'_>, n: usize, fetched: u64) -> Result<Value> {
    let mut last = Value::Null;
    let result = wait("in step", || {
        last = sender(&sync(director)?, n);
        Ok(last["in_step"] == true && last["fetched"].as_u64() >= Some(fetched))
    });
    result.with_context(|| format!("{fetched} tables wanted of node {n}, it is {last}"))?;
    ensure!(last["fetched"] == fetched, "more often than wanted ({fetched}): {last}");
    Ok(last)
}

/// Waits until one lists what the other does, and so much.
pub(crate) fn wait_equal(one: &Director<'_>, other: &Director<'_>, count: usize) -> Result<()> {
    let mut rows = [BTreeSet::new(), BTreeSet::new()];
    let result = wait("equal listings", || {
        rows = [listed(one)?, listed(other)?];
        Ok(rows[0] == rows[1] && rows[0].len() == count)
    });
    let apart: Vec<_> = rows[0].symmetric_difference(&rows[1]).take(5).collect();
    result.with_context(|| format!("{} and {} rows: {apart:?}", rows[0].len(), rows[1].len()))
}
