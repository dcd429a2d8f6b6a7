//! Frames in, frames out: each scenario is a small director and a few steps.

use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;
use serde_json::Value;

use crate::Tally;
use crate::compare;
use crate::world::{CLIENTS, SERVERS, Scene, World};

/// Ticks that a step of a recording took, about, where it does not say when it was.
const STEP: u32 = 2;

pub(crate) fn replay(text: &str, tally: &mut Tally, group_of: impl Fn(&str) -> String) {
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).expect("a recorded scenario");
        let name = scenario["name"].as_str().expect("it has a name");
        if tally.waits(name) {
            continue;
        }
        tally.count(&group_of(name), name, &play(&scenario));
    }
}

/// The group of a scenario of the fixed recordings.
pub(crate) fn group_of(name: &str) -> String {
    let rows = [
        ("6_", "ipv6"),
        ("nat6", "ipv6"),
        ("nodest6", "ipv6"),
        ("icmp", "icmp"),
        ("mtu", "ttl and mtu"),
        ("ttl", "ttl and mtu"),
        ("states", "states"),
        ("reuse", "reuse"),
        ("deaddest", "reuse"),
        ("persist", "persistence"),
        ("ops", "one packet"),
        ("no", "no service, connection or server"),
        ("zero", "no service, connection or server"),
        ("nat_rs", "no service, connection or server"),
        ("nat", "nat"),
        ("badcsum", "nat"),
        ("dr", "direct routing"),
        ("tun", "tunnel"),
    ];
    let row = rows.iter().find(|(part, _)| name.contains(part));
    row.map_or("other", |(_, group)| group).to_owned()
}

/// Plays a scenario; what is different comes back.
fn play(scenario: &Value) -> Vec<String> {
    let steps = scenario["steps"].as_array().expect("it has steps");
    let pre = scenario["pre"].as_str().unwrap_or_default();
    let mut world = World::new(scene(steps, pre));
    let mut differences = Vec::new();
    for line in pre.lines().flat_map(|line| line.split(';')).filter(|line| line.contains("sysctl"))
    {
        if world.run(line).is_none() {
            differences.push(format!("cannot do {line:?}"));
        }
    }
    for command in scenario["cmds"].as_array().expect("it has commands") {
        let reply = world.ipvsadm(&format!("ipvsadm {}", command.as_str().expect("text")));
        if reply.status != 0 {
            differences.push(format!("{command}: {}", String::from_utf8_lossy(&reply.stderr)));
        }
    }
    let start = world.now;
    for (n, step) in steps.iter().enumerate() {
        world.wait(match step["at"].as_u64() {
            Some(at) => (at as u32).saturating_sub(world.now.since(start)),
            None => STEP,
        });
        if let Some(line) = step["run"].as_str() {
            let recorded = step["output"].as_str().unwrap_or_default();
            match world.run(line) {
                Some(ours) => differences.extend(compare::listings(
                    &format!("step {n}, {line}"),
                    recorded,
                    &ours,
                )),
                None => differences.push(format!("step {n}: cannot do {line:?}")),
            }
        } else {
            if let Some(mark) = step["mark"].as_u64() {
                world.mark_all(mark as u32);
            }
            differences.extend(frame(&mut world, n, step));
        }
    }
    if let Some(at) = scenario["at"].as_u64() {
        world.wait((at as u32).saturating_sub(world.now.since(start)));
    }
    let conns = scenario["conns"].as_str().unwrap_or_default();
    let ours = world.run("cat /proc/net/ip_vs_conn").expect("it can be read");
    differences.extend(compare::listings("connections in the end", conns, &ours));
    if let Some(recorded) = scenario["listing"].as_str() {
        let ours = world.run("ipvsadm -Lnc").expect("it can be run");
        differences.extend(compare::listings("ipvsadm -Lnc in the end", recorded, &ours));
    }
    differences
}

/// One frame in, and what comes out.
fn frame(world: &mut World, n: usize, step: &Value) -> Vec<String> {
    let (port, input) = side_and_bytes(&step["in"]);
    let recorded: Vec<_> =
        step["out"].as_array().expect("what came out").iter().map(side_and_bytes).collect();
    let ours = world.frame(port, &input);
    if recorded.len() != ours.len() {
        let all = |frames: &[(PortId, Vec<u8>)]| {
            frames
                .iter()
                .map(|(port, bytes)| format!(" {}:{}", port.0, compare::hex(bytes)))
                .collect::<String>()
        };
        let (wanted, came) = (all(&recorded), all(&ours));
        return vec![format!(
            "step {n}: recorded{wanted}\n      ours{came}\n      after {}",
            compare::hex(&input)
        )];
    }
    let mut differences = Vec::new();
    for ((side, recorded), (port, ours)) in recorded.iter().zip(&ours) {
        if side != port {
            differences.push(format!("step {n}: recorded on {side:?}, ours on {port:?}"));
        }
        let difference = compare::frames(&input, recorded, ours);
        differences.extend(difference.map(|text| format!("step {n}: {text}")));
    }
    differences
}

fn side_and_bytes(value: &Value) -> (PortId, Vec<u8>) {
    let side = if value[0] == "c" { CLIENTS } else { SERVERS };
    let text = value[1].as_str().expect("hexadecimal");
    let bytes = (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16));
    (side, bytes.collect::<Result<_, _>>().expect("hexadecimal"))
}

/// Where the recorded director stood: its link-layer addresses are in the frames.
fn scene(steps: &[Value], pre: &str) -> Scene {
    let mut scene = Scene {
        client_mac: Mac([2, 0, 0, 0, 0, 1]),
        server_mac: Mac([2, 0, 0, 0, 0, 2]),
        server_mtu: if pre.contains("mtu 1400") { 1400 } else { 1500 },
    };
    let mut note = |frame: &Value, at: usize| {
        let (side, bytes) = side_and_bytes(frame);
        let mac = Mac(bytes[at..at + 6].try_into().expect("a frame has addresses"));
        *(if side == CLIENTS { &mut scene.client_mac } else { &mut scene.server_mac }) = mac;
    };
    for step in steps.iter().filter(|step| step["in"].is_array()) {
        for out in step["out"].as_array().expect("what came out") {
            note(out, 6);
        }
        note(&step["in"], 0);
    }
    scene
}
