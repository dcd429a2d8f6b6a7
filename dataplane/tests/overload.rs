//! More than there is room for: what is too much is dropped by name, all else goes on, and
//! afterwards all is as before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use Transport::{Tcp, Udp};
use common::build::{ACK, Packet, RST, SYN, Transport, echo, is_at, request};
use common::frame::TestFrame;
use common::lab::{Lab, Outcome, SIZE, Size};
use common::names::{CLIENT, CLIENTS, SERVER, SERVERS, VIP, server, service, tcp, udp};
use dataplane::BURST;
use dataplane::service::Method;
use dataplane::verdict::DropReason;

const OTHER: &str = "10.1.0.2:8080";

fn lab(size: Size, servers: &[&str]) -> Lab {
    let mut lab = Lab::new(size);
    for key in [tcp(VIP), udp(VIP)] {
        lab.add_service(service(key, "rr"));
        for text in servers {
            lab.add_server(&key, server(text, Method::Direct, 1));
        }
    }
    lab
}

fn is_sent(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sent(..))
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// A flood of new clients meets a full table: the connections that are there go on, and each that
/// ends makes room for one.
#[test]
fn a_full_table_keeps_what_it_has() {
    let mut lab = lab(Size { connections: 50, ..SIZE }, &[SERVER]);
    let old = |flags, n: u16| request(Tcp(flags), &format!("10.9.0.1:{}", 1000 + n), VIP);
    let new = |n: u16| request(Tcp(SYN), &format!("10.9.0.2:{}", 1000 + n), VIP);
    for n in 0..50 {
        assert!(is_sent(&lab.one(&old(SYN, n))));
    }
    for round in 0..20 {
        let mut packets: Vec<_> = (0..50).map(|n| new(round * 50 + n)).collect();
        packets.extend((0..50).map(|n| old(ACK, n)));
        let outcomes = lab.burst(&packets);
        let (refused, kept) = outcomes.split_at(50);
        let full = Outcome::Dropped(DropReason::TableFull);
        assert!(refused.iter().all(|outcome| *outcome == full), "{refused:?}");
        assert!(kept.iter().all(is_sent), "{kept:?}");
    }
    assert_eq!((lab.dropped(DropReason::TableFull), lab.dropped_in_all()), (1000, 1000));
    assert_eq!((lab.connection_count(), lab.load(&tcp(VIP), SERVER)), (50, (50, 0)));
    // Closed for ten seconds, then gone.
    for n in [7, 19, 33] {
        assert!(is_sent(&lab.one(&old(RST, n))));
    }
    lab.wait(11);
    lab.sweep_all();
    let outcomes = lab.burst(&(0..5).map(new).collect::<Vec<_>>());
    assert_eq!(outcomes.iter().filter(|outcome| is_sent(outcome)).count(), 3);
    assert_eq!(lab.dropped(DropReason::TableFull), 1002);
    assert_eq!(lab.connection_count(), 50);
}

/// Kinds of garbage: random bytes, a good link header before them, packets cut short, and packets
/// with a wrong checksum of IP, of ICMP, or of TCP to the director itself.
fn garbage(random: &mut Random) -> TestFrame {
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let bytes = match random.below(6) {
        0 => {
            let length = random.below(200);
            random.bytes(length)
        }
        1 => {
            let length = random.below(100);
            [syn.bytes()[..14].to_vec(), random.bytes(length)].concat()
        }
        2 => syn.bytes()[..random.below(14 + 20 + 20)].to_vec(),
        3 => {
            let mut bytes = syn.bytes();
            bytes[14 + 8] ^= 1 + random.below(255) as u8;
            bytes
        }
        4 => {
            let mut bytes = echo("10.9.0.1", "10.9.0.100").bytes();
            *bytes.last_mut().unwrap() ^= 1 + random.below(255) as u8;
            bytes
        }
        _ => {
            let mut bytes = syn.to("10.9.0.100:81").bytes();
            *bytes.last_mut().unwrap() ^= 1 + random.below(255) as u8;
            bytes
        }
    };
    TestFrame::new(CLIENTS, &bytes)
}

#[test]
fn nothing_but_garbage_is_dropped_by_name_and_harms_nobody() {
    use DropReason::{
        EthernetShort, IcmpChecksum, Ipv4Checksum, Ipv4Short, Ipv4Version, NotOurMac,
        TransportChecksum,
    };
    let mut lab = lab(SIZE, &[SERVER]);
    let live = [request(Tcp(ACK), CLIENT, VIP), request(Udp(true), CLIENT, VIP)];
    assert!(is_sent(&lab.one(&request(Tcp(SYN), CLIENT, VIP))));
    assert!(lab.burst(&live).iter().all(is_sent));
    let mut random = Random(7);
    for _ in 0..200 {
        let outcomes = lab.offer(0, (0..BURST).map(|_| garbage(&mut random)).collect());
        let is_dropped = |outcome: &Outcome| matches!(outcome, Outcome::Dropped(_));
        assert!(outcomes.iter().all(is_dropped), "{outcomes:?}");
    }
    assert_eq!(lab.dropped_in_all(), 200 * BURST as u64, "each for one reason");
    for reason in [
        EthernetShort,
        NotOurMac,
        Ipv4Short,
        Ipv4Version,
        Ipv4Checksum,
        IcmpChecksum,
        TransportChecksum,
    ] {
        assert!(lab.dropped(reason) > 100, "{reason:?}: {}", lab.dropped(reason));
    }
    assert_eq!((lab.connection_count(), lab.load(&tcp(VIP), SERVER)), (2, (1, 0)));
    assert_eq!((lab.take_sent(), lab.answers.len()), (vec![], 0), "and nobody is told");
    assert!(lab.burst(&live).iter().all(is_sent), "life goes on");
}

/// All packets of many bursts belong to one connection, which the first of them opens.
#[test]
fn an_elephant_has_one_connection_and_leaves_others_theirs() {
    for (transport, first) in [(Tcp(ACK), Tcp(SYN)), (Udp(true), Udp(true))] {
        let mut lab = lab(SIZE, &[SERVER, OTHER]);
        let key = if first == Udp(true) { udp(VIP) } else { tcp(VIP) };
        let packet = |n: u16| {
            let transport = if n == 0 { first } else { transport };
            request(transport, CLIENT, VIP).id(n)
        };
        let mut packets: Vec<Packet> = (0..BURST as u16 * 50).map(packet).collect();
        // In the midst of every burst comes another client.
        for burst in (0..50).rev() {
            let mouse = request(first, &format!("10.9.0.2:{}", 1000 + burst), VIP);
            packets.insert(burst * (BURST - 1) + BURST / 2, mouse);
        }
        let outcomes = lab.burst(&packets);
        let link = |outcome: &Outcome| outcome.bytes()[..6].to_vec();
        let elephant = link(&outcomes[0]);
        let mut last = None;
        for (outcome, packet) in outcomes.iter().zip(&packets) {
            assert!(is_sent(outcome));
            if packet.source.0.octets()[3] == 1 {
                assert_eq!(link(outcome), elephant, "to one server");
                assert!(last < Some(packet.id), "in order");
                last = Some(packet.id);
            }
        }
        assert_eq!(lab.connection_count(), 51);
        assert_eq!(lab.dropped_in_all(), 0);
        let traffic = [SERVER, OTHER].map(|text| lab.traffic(&key, text));
        assert_eq!(traffic[0][0] + traffic[1][0], 51, "each counted once");
        assert_eq!(traffic[0][1] + traffic[1][1], BURST as u64 * 50 + 50, "every packet");
        let loads = [SERVER, OTHER].map(|text| lab.load(&key, text));
        assert_eq!(loads.map(|(active, inactive)| active + inactive).iter().sum::<u32>(), 51);
        assert!(loads[0].0.abs_diff(loads[1].0) <= 1, "shared in turn: {loads:?}");
    }
}

/// No buffer for the question who has a next hop: its packets wait, as many as may, those for known
/// next hops are sent, and with buffers all is made up for.
#[test]
fn without_buffers_known_next_hops_are_served() {
    // Of these only the second is known.
    let mut lab = lab(SIZE, &["10.1.0.9:80", SERVER]);
    lab.host.buffers = 0;
    let from = |n: u16| request(Udp(true), &format!("10.9.0.1:{}", 1000 + n), VIP);
    // Newest first: those of even numbers go to the server that is known.
    let outcomes = lab.burst(&(0..200).map(from).collect::<Vec<_>>());
    for (n, outcome) in outcomes.iter().enumerate() {
        match n {
            _ if n % 2 == 0 => assert!(is_sent(outcome), "{n}: {outcome:?}"),
            0..64 => assert_eq!(*outcome, Outcome::Held, "{n}"),
            _ => assert_eq!(*outcome, Outcome::Dropped(DropReason::HoldQueueFull), "{n}"),
        }
    }
    let dropped =
        |lab: &Lab| [DropReason::BufferEmpty, DropReason::HoldQueueFull].map(|r| lab.dropped(r));
    assert_eq!((dropped(&lab), lab.take_sent()), ([1, 68], vec![]));
    lab.idle(1);
    assert_eq!(dropped(&lab), [2, 68], "asked for again");
    lab.host.buffers = 1;
    lab.idle(1);
    assert_eq!(lab.take_sent().len(), 1, "the question");
    assert_eq!(dropped(&lab), [2, 68]);
    let answer = is_at(SERVERS, "10.1.0.9", "10.1.255.254");
    assert_eq!(lab.one_frame(answer.frame()), Outcome::Consumed);
    assert_eq!(lab.take_sent().len(), 32, "all that waited");
    assert!(lab.burst(&(0..200).map(from).collect::<Vec<_>>()).iter().all(is_sent));
    assert_eq!(lab.connection_count(), 200);
}
