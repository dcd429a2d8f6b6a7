//! Which server each of a sequence of clients got.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use dataplane::packet::ethernet::Mac;
use etherparse::PacketBuilder;
use serde_json::Value;

use crate::Tally;
use crate::compare;
use crate::world::{CLIENTS, SERVERS, Scene, World};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0x0c, 1];
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

const SYN: &[Flag] = &[Flag::Syn];
const ACK: &[Flag] = &[Flag::Ack];
const FIN: &[Flag] = &[Flag::Fin, Flag::Ack];

#[derive(Clone, Copy, PartialEq)]
enum Flag {
    Syn,
    Ack,
    Fin,
}

pub(crate) fn replay(text: &str, tally: &mut Tally) {
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a recorded case");
        let name = case["case"].as_str().expect("it has a name");
        let scheduler = name.split('/').next().expect("it begins with the scheduler");
        let (chosen, mut world) = play(&case);
        let recorded: Vec<Option<u64>> =
            case["dest"].as_array().expect("choices").iter().map(Value::as_u64).collect();
        let mut differences = Vec::new();
        if let Some(n) = (0..recorded.len()).find(|&n| recorded[n] != chosen[n]) {
            let client = &case["clients"][n];
            let (wanted, came) = (recorded[n], chosen[n]);
            differences.push(format!("choice {n} ({client}): recorded {wanted:?}, ours {came:?}"));
        }
        let recorded = case["proc"].as_str().expect("a listing");
        world.wait(0);
        let ours = world.run("cat /proc/net/ip_vs").expect("there is such a file");
        differences.extend(compare::listings("ip_vs", recorded, &ours));
        tally.count(&format!("sched/{scheduler}"), name, &differences);
    }
}

/// `twos` draws at random, so only the shares are compared: each server's within five standard
/// deviations of the recorded one, both being samples of the same size. Under persistence there
/// are a handful of draws, of which only the set of possible servers is sure.
pub(crate) fn replay_twos(text: &str, tally: &mut Tally) {
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a recorded case");
        let name = case["case"].as_str().expect("it has a name");
        let (chosen, _) = play(&case);
        let recorded = case["dest"].as_array().expect("choices").iter().map(Value::as_u64);
        let (recorded, ours) = (shares(recorded), shares(chosen.iter().copied()));
        let mut differences = Vec::new();
        let few = name.contains("persist");
        for server in recorded.keys().filter(|_| !few).chain(ours.keys()) {
            let count = |of: &BTreeMap<_, f64>| of.get(server).copied().unwrap_or(0.0);
            let (wanted, came) = (count(&recorded), count(&ours));
            if (wanted - came).abs() > 5.0 * (wanted + came).sqrt() {
                differences.push(format!("{server:?}: recorded {wanted} times, ours {came}"));
            }
        }
        // Whoever never takes a connection does not by chance either.
        let is_possible = |server: &&Option<u64>| matches!(server, Some(1..=4));
        let same = recorded.keys().eq(ours.keys());
        if if few { !ours.keys().all(|server| is_possible(&server)) } else { !same } {
            differences.push(format!("recorded {recorded:?}, ours {ours:?}"));
        }
        tally.count("sched/twos", name, &differences);
    }
}

fn shares(chosen: impl Iterator<Item = Option<u64>>) -> BTreeMap<Option<u64>, f64> {
    let mut shares = BTreeMap::new();
    chosen.for_each(|server| *shares.entry(server).or_default() += 1.0);
    shares
}

/// Plays a case: the last byte of each chosen server's address, and the director afterwards.
fn play(case: &Value) -> (Vec<Option<u64>>, World) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let mut world = World::new(Scene {
        client_mac: Mac(OUR_MAC),
        server_mac: Mac([2, 0, 0, 0, 0, 2]),
        server_mtu: 1500,
    });
    for command in case["cmds"].as_array().expect("commands") {
        let line = text(command);
        let reply = world.ipvsadm(&format!("ipvsadm {line}"));
        assert_eq!(reply.status, 0, "{line}: {}", String::from_utf8_lossy(&reply.stderr));
        if let Some((_, rest)) = line.split_once("-A -f ") {
            let mark = rest.split(' ').next().expect("a mark");
            world.mark_all(mark.parse().expect("a number"));
        }
    }
    let virtual_addresses: Vec<Ipv4Addr> = case["vips"]
        .as_array()
        .expect("virtual addresses")
        .iter()
        .map(|address| text(address).parse().expect("an address"))
        .collect();
    let mode = text(&case["mode"]);
    let mut chosen = Vec::new();
    for (n, client) in case["clients"].as_array().expect("clients").iter().enumerate() {
        let client: SocketAddrV4 = text(client).parse().expect("an end");
        let to = virtual_addresses[n % virtual_addresses.len()];
        let mut frames = Vec::new();
        match mode.as_str() {
            "udp" => frames.push(udp(client, to)),
            "syn" => frames.push(tcp(client, to, SYN)),
            "half" if n % 2 == 1 => frames.push(tcp(client, to, SYN)),
            "est" | "half" => frames.extend([SYN, ACK].map(|flags| tcp(client, to, flags))),
            "fin" => frames.extend([SYN, ACK, FIN].map(|flags| tcp(client, to, flags))),
            other => panic!("a mode that is not known: {other}"),
        }
        let out: Vec<_> = frames.iter().flat_map(|frame| world.frame(CLIENTS, frame)).collect();
        let to_server = out.iter().find(|(port, _)| *port == SERVERS);
        chosen.push(to_server.map(|(_, bytes)| u64::from(bytes[5])));
    }
    (chosen, world)
}

fn tcp(client: SocketAddrV4, to: Ipv4Addr, flags: &[Flag]) -> Vec<u8> {
    let sequence = if flags == SYN { 1000 } else { 1001 };
    let mut builder = PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC)
        .ipv4(client.ip().octets(), to.octets(), 64)
        .tcp(client.port(), 80, sequence, 64240);
    for flag in flags {
        builder = match flag {
            Flag::Syn => builder.syn(),
            Flag::Ack => builder.ack(1),
            Flag::Fin => builder.fin(),
        };
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("a small packet can be written");
    frame
}

fn udp(client: SocketAddrV4, to: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, OUR_MAC)
        .ipv4(client.ip().octets(), to.octets(), 64)
        .udp(client.port(), 80)
        .write(&mut frame, b"x")
        .expect("a small packet can be written");
    frame
}
