//! Random traffic through one director; another has been told of it, and takes over in the middle
//! of all connections: each that was told goes on as if nothing had happened.

use super::rig_tests::{ACK, FIN_ACK, Kind, Rig, SYN, Sent};
use super::{Record, RecordPage, Told};
use crate::command::{Command, Place, Reply};
use crate::service::Method;
use crate::time::Tick;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

const TCP: Kind = Kind::Tcp(ACK);
/// Services, with how they forward and whether clients stay.
const SERVICES: [(Kind, &str, Method, Option<u32>); 7] = [
    (TCP, "10.0.0.1:80", Method::Nat, None),
    (TCP, "10.0.0.2:80", Method::Direct, None),
    (TCP, "10.0.0.3:80", Method::Tunnel, None),
    (TCP, "10.0.0.4:80", Method::Nat, Some(300)),
    (Kind::Udp, "10.0.0.5:53", Method::Nat, None),
    (TCP, "[2001:db8::1]:80", Method::Nat, None),
    (TCP, "[2001:db8::2]:80", Method::Tunnel, Some(300)),
];
const CLIENTS: u32 = 24;
const STEPS: u32 = 4000;

/// Protocol, client and virtual end.
type Key = (u8, (IpAddr, u16), (IpAddr, u16));

/// xorshift32.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        for shift in [13, -17, 5] {
            let shifted = if shift > 0 { self.0 << shift } else { self.0 >> -shift };
            self.0 ^= shifted;
        }
        self.0 % limit
    }
}

fn director(shards: u16) -> Rig {
    let mut rig = Rig::new(shards, 2048, 2048);
    for (kind, vip, method, persistence_s) in SERVICES {
        rig.service(kind, vip, persistence_s);
        for host in 1..=4 {
            rig.server(kind, vip, &server(vip, host), method);
        }
    }
    rig
}

/// Each service has ports of its own, or a reply would not say whose it is.
fn server(vip: &str, host: u8) -> String {
    let place = SERVICES.iter().position(|service| service.1 == vip).expect("one of these");
    let port = 8000 + place;
    if vip.starts_with('[') {
        format!("[2001:db8:1::{host}]:{port}")
    } else {
        format!("10.1.0.{host}:{port}")
    }
}

fn client(vip: &str, n: u32) -> String {
    let (host, port) = (n % 8 + 1, 1000 + n);
    if vip.starts_with('[') {
        format!("[2001:db8:9::{host}]:{port}")
    } else {
        format!("10.9.0.{host}:{port}")
    }
}

/// A backup, and what it has accepted: where each connection and template leads, and until when.
struct Backup {
    rig: Rig,
    known: BTreeMap<Key, ((IpAddr, u16), Tick)>,
}

impl Backup {
    fn take(&mut self, now: Tick, record: &Record, told: Told) {
        self.rig.now = now;
        let late = self.rig.count(|sync| sync.late.get());
        self.rig.take(record, told);
        let is_accepted = self.rig.count(|sync| sync.late.get()) == late;
        if is_accepted {
            // Templates have no client port, connections have one.
            let key = (record.protocol, record.client, record.virtual_end);
            self.known.insert(key, (record.real, now.after_seconds(record.timeout_s)));
        }
    }

    /// Whether it knows a connection that leads where it leads at the master.
    fn knows(&self, now: Tick, key: &Key, real: (IpAddr, u16)) -> bool {
        self.known.get(key).is_some_and(|&(known, end)| known == real && !now.reached(end))
    }
}

/// Something happens at the master.
fn step(master: &mut Rig, random: &mut Random) {
    let (kind, vip, method, _) = SERVICES[random.below(SERVICES.len() as u32) as usize];
    let client = client(vip, random.below(CLIENTS));
    let flags = [SYN, ACK, ACK, ACK, ACK, ACK, FIN_ACK, 4][random.below(8) as usize];
    let kind = if kind == Kind::Udp { kind } else { Kind::Tcp(flags) };
    let sent = master.request(kind, &client, vip);
    if let Some(sent) = sent.filter(|_| method == Method::Nat && random.below(2) == 0) {
        let kind = match kind {
            Kind::Tcp(SYN) => Kind::Tcp(SYN | ACK),
            Kind::Tcp(_) if random.below(8) == 0 => Kind::Tcp(FIN_ACK),
            other => other,
        };
        master.reply(kind, &sent.destination.to_string(), &client).expect("it is translated");
    }
    if random.below(6) == 0 {
        master.wait(random.below(3));
    }
}

/// Every connection of the master's, and where it leads.
fn connections(master: &Rig) -> Vec<(Key, (IpAddr, u16), Method)> {
    let mut all = Vec::new();
    for shard in &master.shards {
        let (v4, v6) = (&shard.v4.connections, &shard.v6.connections);
        all.extend((0..v4.touched()).filter_map(|n| v4.at(n)).map(|(_, it)| {
            let ends = [it.client, it.virtual_address, it.real].map(IpAddr::from);
            let ports = [it.client_port, it.virtual_port, it.real_port];
            entry(it.protocol, ends, ports, it.flags.method())
        }));
        all.extend((0..v6.touched()).filter_map(|n| v6.at(n)).map(|(_, it)| {
            let ends = [it.client, it.virtual_address, it.real].map(IpAddr::from);
            let ports = [it.client_port, it.virtual_port, it.real_port];
            entry(it.protocol, ends, ports, it.flags.method())
        }));
    }
    all
}

fn entry(
    protocol: u8,
    [client, vip, real]: [IpAddr; 3],
    ports: [u16; 3],
    method: Method,
) -> (Key, (IpAddr, u16), Method) {
    ((protocol, (client, ports[0]), (vip, ports[1])), (real, ports[2]), method)
}

/// Sends a packet each way on every connection that the backup knows, through both; says how many
/// there were.
fn go_on(master: &mut Rig, backup: &mut Backup) -> usize {
    let now = master.now;
    backup.rig.now = now;
    let mut gone_on = 0;
    for (key, real, method) in connections(master) {
        if !backup.knows(now, &key, real) {
            continue;
        }
        let text = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port).to_string();
        let (client, vip, real) = (text(key.1), text(key.2), text(real));
        let kind = if key.0 == 17 { Kind::Udp } else { TCP };
        let both =
            |packet: &dyn Fn(&mut Rig) -> Option<Sent>, backup: &mut Backup, rig: &mut Rig| {
                let (ours, theirs) = (packet(&mut backup.rig), packet(rig));
                assert!(theirs.is_some(), "the master forwards it");
                assert_eq!(ours, theirs, "{client} {vip} {real}");
            };
        // Replies first: a request might as well have made the connection.
        if method == Method::Nat {
            both(&|rig| rig.reply(kind, &real, &client), backup, master);
        }
        both(&|rig| rig.request(kind, &client, &vip), backup, master);
        gone_on += 1;
    }
    gone_on
}

/// Every client that has a template at both comes again, from another port; says how many there
/// are, and how many have one only at the master. Such may be: of a template that connections
/// hold beyond its time only these tell.
fn come_again(master: &mut Rig, backup: &mut Backup) -> (usize, usize) {
    let mut templates = Vec::new();
    master.templates.records(master.now, |record| templates.push(record));
    let all = templates.len();
    let now = master.now;
    templates.retain(|it| backup.knows(now, &(it.protocol, it.client, it.virtual_end), it.real));
    for record in &templates {
        let client = SocketAddr::new(record.client.0, 60_000).to_string();
        let vip = SocketAddr::new(record.virtual_end.0, record.virtual_end.1).to_string();
        let sent = [&mut *master, &mut backup.rig]
            .map(|rig| rig.request(Kind::Tcp(SYN), &client, &vip).expect("it is scheduled").to);
        assert_eq!(sent[0], sent[1], "{client} {vip}");
    }
    (templates.len(), all - templates.len())
}

fn page(master: &mut Rig, shard: usize, from: Option<Place>) -> RecordPage {
    let page = RecordPage { from, records: Vec::with_capacity(5) };
    let now = master.now;
    let Reply::Records(page) = master.shards[shard].apply(now, Command::Records(page)) else {
        unreachable!("a question is answered")
    };
    page
}

/// Gives a backup all that the master knows, with a step of traffic before each page if it is to
/// be told of that, too.
fn copy(master: &mut Rig, random: &mut Random, backup: &mut Backup, is_busy: bool) {
    for shard in 0..master.shards.len() {
        let mut from = None;
        loop {
            // The page is older than what is told before it arrives.
            let page = page(master, shard, from);
            let read_at = master.now;
            if is_busy {
                step(master, random);
                let told = master.told();
                told.iter().for_each(|record| backup.take(master.now, record, Told::Live));
            }
            let age = master.now.since(read_at).div_ceil(100);
            for record in page.records.iter().filter(|record| record.timeout_s > age) {
                backup.take(master.now, record, Told::Whole);
            }
            from = page.from;
            if from.is_none() {
                break;
            }
        }
    }
    let mut templates = Vec::new();
    master.templates.records(master.now, |record| templates.push(record));
    templates.iter().for_each(|record| backup.take(master.now, record, Told::Whole));
}

#[test]
fn told_connections_go_on_at_a_backup() {
    for seed in 1..=12 {
        let mut random = Random(0x9e37_79b9_u32.wrapping_mul(seed));
        let mut master = director(2);
        master.roles(true, false);
        let backup = |shards| {
            let mut rig = director(shards);
            rig.roles(false, true);
            Backup { rig, known: BTreeMap::new() }
        };
        let (mut live, mut whole, mut busy) = (backup(3), backup(1), backup(2));
        for n in 0..STEPS {
            step(&mut master, &mut random);
            let told = master.told();
            let now = master.now;
            told.iter().for_each(|record| live.take(now, record, Told::Live));
            if n % 100 == 0 {
                live.rig.sweep();
                live.rig.check();
            }
        }
        copy(&mut master, &mut random, &mut busy, true);
        copy(&mut master, &mut random, &mut whole, false);
        // What has happened during the busy copy the first backup was not told.
        let told = [go_on(&mut master, &mut busy), go_on(&mut master, &mut whole)];
        assert!(told.iter().all(|&told| told > 20), "{seed}: {told:?}");
        let (again, unknown) = come_again(&mut master, &mut whole);
        assert!(again > 10 && unknown == 0, "{seed}: {again} {unknown}");
        live.rig.end();
        whole.rig.end();
        busy.rig.end();

        let mut master = director(2);
        master.roles(true, false);
        let mut live = backup(3);
        for _ in 0..STEPS {
            step(&mut master, &mut random);
            let (told, now) = (master.told(), master.now);
            told.iter().for_each(|record| live.take(now, record, Told::Live));
        }
        let told = (go_on(&mut master, &mut live), come_again(&mut master, &mut live).0);
        assert!(told.0 > 20 && told.1 > 5, "{seed}: {told:?}");
        live.rig.check();
        live.rig.end();
        master.end();
    }
}
