//! Sync messages: what the kernel as a master said of recorded traffic, and what the kernel as a
//! backup made of it.
//!
//! Of traffic, ours must say the same, connection by connection, in the same order, but for two
//! rules. The kernel says with the next request what a reply has changed, ours at once; and the
//! kernel repeats a template with every packet under it, ours does not always: consecutive entries
//! of a template that are equal count as one.

use dataplane::command::{Command, SyncRoles};
use dataplane::packet::ethernet::Mac;
use dataplane::sync::wire::{self, Entry, Writer};
use dataplane::sync::{Record, RecordFlags, Told, Unsent};
use dataplane::verdict::PortId;
use serde_json::Value;

use crate::Tally;
use crate::compare;
use crate::world::{CLIENTS, SERVERS, Scene, World};

/// The group of the recordings.
const SYNC_ID: u8 = 7;
/// The port of its first thread, and of a backup that has only one.
const PORT: u64 = 8848;
/// Least time in ticks between two messages of which the first was sent because it was old.
const OLD: u32 = 190;

const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// What the kernel as a master said.
pub(crate) fn replay_master(text: &str, tally: &mut Tally) {
    for scenario in scenarios(text) {
        let name = name_of(&scenario);
        tally.count("sync messages", name, &repack(&scenario));
        if !tally.waits(name) {
            tally.count("sync master", name, &play(&scenario));
        }
    }
}

/// What the kernel as a backup made of the messages of `master`.
pub(crate) fn replay_backup(text: &str, master: &str, tally: &mut Tally) {
    let masters: Vec<_> = scenarios(master).collect();
    for outcome in scenarios(text) {
        let name = name_of(&outcome);
        let scenario = masters.iter().find(|scenario| name_of(scenario) == name);
        let scenario = scenario.expect("what was fed is recorded");
        let has_services = outcome["services_configured"] == true;
        let title = format!("{name}, {} services", if has_services { "with" } else { "without" });
        tally.count("sync backup", &title, &take(scenario, &outcome, has_services));
    }
}

fn scenarios(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a recorded scenario"))
}

fn name_of(scenario: &Value) -> &str {
    scenario["name"].as_str().expect("it has a name")
}

fn events(scenario: &Value) -> impl Iterator<Item = (u32, &str, &str)> {
    let events = scenario["events"].as_array().expect("it has events").iter();
    events.map(|event| {
        let text = |n: usize| event[n].as_str().expect("text");
        (event[0].as_u64().expect("a time") as u32, text(1), text(2))
    })
}

/// A recorded message, and when and to which port it was sent.
struct Message {
    at: u32,
    port: u64,
    bytes: Vec<u8>,
}

fn messages(scenario: &Value) -> impl Iterator<Item = Message> {
    let events = scenario["events"].as_array().expect("it has events").iter();
    events.filter(|event| event[1] == "sync").map(|event| Message {
        at: event[0].as_u64().expect("a time") as u32,
        port: event[3].as_u64().expect("a port"),
        bytes: bytes_of(event[2].as_str().expect("hexadecimal")),
    })
}

fn entries(message: &Message) -> Vec<Entry<'_>> {
    let entries = wire::read(&message.bytes, SYNC_ID).expect("the kernel's messages are sound");
    assert!(entries.trailer().is_empty());
    entries.collect::<Result<_, _>>().expect("and their entries")
}

fn bytes_of(text: &str) -> Vec<u8> {
    let bytes = (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16));
    bytes.collect::<Result<_, _>>().expect("hexadecimal")
}

/// The director of a scenario, with its services and settings unless it is to have none.
fn world(scenario: &Value, has_services: bool) -> World {
    let (client_mac, server_mac) = (CLIENT_MAC, SERVER_MAC);
    let mut world = World::new(Scene { client_mac, server_mac, server_mtu: 1500 });
    let pre = scenario["pre"].as_str().expect("text").replace('"', "");
    for line in pre.split(';').filter(|line| !line.is_empty()) {
        world.run(line).unwrap_or_else(|| panic!("cannot do {line:?}"));
    }
    // The first command starts the daemon.
    let commands = scenario["cmds"].as_array().expect("it has commands").iter().skip(1);
    for command in commands.filter(|_| has_services) {
        let reply = world.ipvsadm(&format!("ipvsadm {}", command.as_str().expect("text")));
        assert_eq!(reply.status, 0, "{command}: {}", String::from_utf8_lossy(&reply.stderr));
    }
    if let Some(mark) = scenario["mark"].as_u64() {
        world.mark_all(mark as u32);
    }
    world
}

/// What a packet made the director say.
struct Said {
    side: PortId,
    /// Whether the packet went on: the kernel says nothing of one that it drops.
    has_passed: bool,
    /// The client's port, which tells the connections of a scenario apart.
    client_port: u16,
    records: Vec<Record>,
}

/// Plays a scenario's packets; what is said that the kernel did not say comes back, and the
/// reverse.
fn play(scenario: &Value) -> Vec<String> {
    let mut world = world(scenario, true);
    world.apply(Command::PutSync(SyncRoles { is_master: true, is_backup: false }));
    let start = world.now;
    let mut said = Vec::new();
    for (at, kind, text) in events(scenario) {
        world.wait(at.saturating_sub(world.now.since(start)));
        match kind {
            "c" | "r" => said.push(packet(&mut world, kind, &bytes_of(text))),
            "run" => {
                world.run(text).unwrap_or_else(|| panic!("cannot do {text:?}"));
            }
            _ => {}
        }
    }
    let told = said.iter().map(|said| said.records.len() as u64).sum();
    let counters = &world.counters.sync;
    assert_eq!((counters.told.get(), counters.untold.get()), (told, 0));
    let messages: Vec<_> = messages(scenario).collect();
    let mut kernels: Vec<Record> =
        messages.iter().flat_map(|message| entries(message).into_iter().map(said_in)).collect();
    let mut ours = as_the_kernel_would(&said);
    let has_threads = messages.iter().any(|message| message.port != messages[0].port);
    if has_threads {
        // A connection stays with its thread; how the threads' messages interleave is chance.
        kernels.sort_by_key(|record| record.client.1);
        ours.sort_by_key(|record| record.client.1);
    }
    if scenario["pre"].as_str().is_some_and(|pre| pre.contains("sync_version=0")) {
        ours.iter_mut().for_each(|record| record.timeout_s = 0);
    }
    let (kernels, ours) = (once_each(&kernels), once_each(&ours));
    let mut differences = Vec::new();
    for n in 0..kernels.len().max(ours.len()) {
        let (kernels, ours) = (kernels.get(n), ours.get(n));
        if kernels != ours {
            differences.push(format!("entry {n}: recorded {kernels:?}\n      ours {ours:?}"));
        }
    }
    differences
}

fn said_in(entry: Entry<'_>) -> Record {
    assert!(entry.engine.is_none(), "scenarios with engines wait");
    entry.record
}

/// One recorded packet, which has no Ethernet header yet.
fn packet(world: &mut World, kind: &str, l3: &[u8]) -> Said {
    let side = if kind == "c" { CLIENTS } else { SERVERS };
    let is_ipv4 = l3[0] >> 4 == 4;
    let mac = if side == CLIENTS { CLIENT_MAC } else { SERVER_MAC };
    let ether_type = if is_ipv4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    let frame = [&mac.0[..], &[2, 0, 0, 0, 0, 9], &ether_type, l3].concat();
    let sent = world.frame(side, &frame);
    let transport = if is_ipv4 { 20 } else { 40 };
    let at = if side == CLIENTS { transport } else { transport + 2 };
    let client_port = u16::from_be_bytes([l3[at], l3[at + 1]]);
    let records = world.shard.fetch_told().collect();
    Said { side, has_passed: !sent.is_empty(), client_port, records }
}

/// What the kernel would say in our place: of a connection that a reply has changed, only with its
/// next request, and then as that leaves it.
fn as_the_kernel_would(said: &[Said]) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    let mut changed: Vec<Record> = Vec::new();
    for said in said {
        let is_said = |record: &Record| record.client.1 == said.client_port;
        if said.side == SERVERS {
            changed.retain(|record| !is_said(record));
            changed.extend(&said.records);
            let is_of_it = |record| is_said(record) && !record.flags.has(RecordFlags::TEMPLATE);
            assert!(said.records.iter().all(is_of_it), "no reply assures a template here");
        } else if said.has_passed {
            if !said.records.iter().any(is_said) {
                all.extend(changed.iter().filter(|record| is_said(record)));
            }
            changed.retain(|record| !is_said(record));
            all.extend(&said.records);
        } else {
            assert!(said.records.is_empty(), "nothing is said of a packet that is dropped");
        }
    }
    all
}

/// The same, without templates that repeat the entry before.
fn once_each(records: &[Record]) -> Vec<Record> {
    let mut all = records.to_vec();
    all.dedup_by(|next, before| before.flags.has(RecordFlags::TEMPLATE) && next == before);
    all
}

/// Puts the kernel's entries into messages anew, which must be the kernel's. When an open message
/// is sent because it has become old is not the writer's affair, but that takes its time.
fn repack(scenario: &Value) -> Vec<String> {
    let all: Vec<_> = messages(scenario).collect();
    let mut ports: Vec<_> = all.iter().map(|message| message.port).collect();
    ports.dedup();
    let mut differences = Vec::new();
    for port in ports {
        let messages: Vec<_> = all.iter().filter(|message| message.port == port).collect();
        let mut writer: Option<Writer> = None;
        for (n, message) in messages.iter().enumerate() {
            let entries = entries(message);
            let version = wire::read(&message.bytes, SYNC_ID).expect("it was read").version();
            if let Some(mut before) = writer.take() {
                let is_full = before.push(&entries[0].record, entries[0].engine);
                let has_waited = message.at - messages[n - 1].at >= OLD;
                if is_full != Err(Unsent::Full) && !has_waited {
                    differences.push(format!("message {n} begins before the one before is full"));
                }
            }
            let mut anew = Writer::new(version, SYNC_ID, max_length(scenario));
            for (entry, at) in entries.iter().zip(0..) {
                if let Err(reason) = anew.push(&entry.record, entry.engine) {
                    differences.push(format!("message {n}, entry {at}: {reason:?}"));
                }
            }
            if anew.message() != message.bytes {
                let (wanted, came) = (compare::hex(&message.bytes), compare::hex(anew.message()));
                differences.push(format!("message {n}: recorded {wanted}\n      ours {came}"));
            }
            writer = Some(anew);
        }
    }
    differences
}

/// UDP payload of a message, at most, as the recorded daemon was told.
fn max_length(scenario: &Value) -> usize {
    let start = scenario["cmds"][0].as_str().expect("text");
    let told = start.split_whitespace().skip_while(|&word| word != "--sync-maxlen").nth(1);
    match told {
        Some(length) => length.parse().expect("a number"),
        None if start.contains("ff02::") => 1452,
        None => 1472,
    }
}

/// Takes a scenario's messages as the recorded backup did, and compares what it has then.
fn take(scenario: &Value, outcome: &Value, has_services: bool) -> Vec<String> {
    let mut world = world(scenario, has_services);
    world.apply(Command::PutSync(SyncRoles { is_master: false, is_backup: true }));
    for message in messages(scenario).filter(|message| message.port == PORT) {
        for entry in entries(&message) {
            let (now, record) = (world.now, said_in(entry));
            world.shard.take(now, &record, Told::Live);
        }
        world.wait(3);
    }
    world.wait(10);
    let mut differences = Vec::new();
    for (name, what) in [("ip_vs_conn_sync", "conn_sync"), ("ip_vs_conn", "conn")] {
        let command = format!("cat /proc/net/{name}");
        let recorded = outcome[what].as_str().expect("text");
        let ours = world.run(&command).expect("it can be read");
        differences.extend(compare::listings(&command, recorded, &ours));
    }
    let recorded = outcome["listing"].as_str().expect("text");
    let ours = world.run("ipvsadm -Ln").expect("it can be run");
    if ours != recorded {
        differences.push(format!("ipvsadm -Ln: recorded\n{recorded}      ours\n{ours}"));
    }
    differences
}
