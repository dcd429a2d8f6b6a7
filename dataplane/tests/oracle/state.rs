//! One director with some of everything, and what every command and file says about it.

use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;
use etherparse::PacketBuilder;

use crate::Tally;
use crate::compare;
use crate::world::{CLIENTS, SERVERS, Scene, World};

/// What the recording shows that is not compared: helpers, sync, the kernel's memory, and names of
/// ports, which depend on the machine.
const NOT_COMPARED: &[&str] = &["ip_vs_app", "--daemon", "slabinfo"];

const SETUP: &[&str] = &[
    "-A -t 10.0.0.1:80 -s wrr -p 300",
    "-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 2",
    "-a -t 10.0.0.1:80 -r 10.1.0.2:80 -g -w 1",
    "-A -u 10.0.0.1:53 -s sh -b sh-port",
    "-a -u 10.0.0.1:53 -r 10.1.0.3 -i",
    "-A -f 9 -s rr",
    "-a -f 9 -r 10.1.0.4 -g",
    "-A -t [2001:db8::1]:80 -s lc",
    "-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:8080 -m",
];

pub(crate) fn replay(text: &str, tally: &mut Tally) {
    let mut world = scene();
    for (command, recorded) in blocks(text) {
        let is_left_out = NOT_COMPARED.iter().any(|part| command.contains(part))
            || command == "ipvsadm -L"
            || command == "ipvsadm -Lc";
        if is_left_out {
            continue;
        }
        let differences = match world.run(&command) {
            Some(ours) => compare::listings(&command, &recorded, &ours),
            None => vec![format!("cannot do {command:?}")],
        };
        tally.count("state", &command, &differences);
        world.wait(4);
    }
}

/// The commands of the recording, with what they printed.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            blocks.push((command.to_owned(), String::new()));
        } else if let (Some((_, output)), false) = (blocks.last_mut(), line.is_empty()) {
            output.push_str(line);
            output.push('\n');
        }
    }
    blocks
}

fn scene() -> World {
    let mut world = World::new(Scene {
        client_mac: Mac([2, 0, 0, 0, 0, 1]),
        server_mac: Mac([2, 0, 0, 0, 0, 2]),
        server_mtu: 1500,
    });
    for line in SETUP {
        let reply = world.ipvsadm(&format!("ipvsadm {line}"));
        assert_eq!(reply.status, 0, "{line}: {}", String::from_utf8_lossy(&reply.stderr));
    }
    let client = |n: u8| [10, 9, 0, n];
    let vip = [10, 0, 0, 1];
    let mut tcp = |port, source, destination, ports: (u16, u16), flags: &str, data: &[u8]| {
        let mut builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], mac(port))
            .ipv4(source, destination, 64)
            .tcp(ports.0, ports.1, 1000, 64240);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(1),
                'P' => builder.psh(),
                'F' => builder.fin(),
                _ => unreachable!("one of these"),
            };
        }
        let mut frame = Vec::new();
        builder.write(&mut frame, data).expect("a small packet can be written");
        world.frame(port, &frame);
    };
    for n in 7..13 {
        tcp(CLIENTS, client(n), vip, (40000, 80), "S", &[]);
    }
    for n in [8, 7] {
        tcp(SERVERS, [10, 1, 0, 1], client(n), (8080, 40000), "SA", &[]);
    }
    for n in 7..11 {
        tcp(CLIENTS, client(n), vip, (40000, 80), "PA", &[b'x'; 100]);
    }
    tcp(CLIENTS, client(7), vip, (40000, 80), "FA", &[]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], mac(CLIENTS))
        .ipv4(client(7), vip, 64)
        .udp(40000, 53)
        .write(&mut frame, &[b'q'; 50])
        .expect("a small packet can be written");
    world.frame(CLIENTS, &frame);
    let mut frame = Vec::new();
    let ends = ["2001:db8:9::7", "2001:db8::1"]
        .map(|text| text.parse::<std::net::Ipv6Addr>().expect("an address").octets());
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], mac(CLIENTS))
        .ipv6(ends[0], ends[1], 64)
        .tcp(40000, 80, 1000, 64240)
        .syn()
        .write(&mut frame, &[])
        .expect("a small packet can be written");
    world.frame(CLIENTS, &frame);
    // Two ticks of the rates fell between the packets and the first listing.
    world.wait(50);
    world.estimate();
    world.wait(200);
    world.estimate();
    world.wait(10);
    world
}

fn mac(port: PortId) -> [u8; 6] {
    [2, 0, 0, 0, 0, if port == CLIENTS { 1 } else { 2 }]
}
