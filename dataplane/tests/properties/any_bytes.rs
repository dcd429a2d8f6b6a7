//! Any bytes at all give a verdict, the counters add up, and nothing is left behind.

use dataplane::frame::Checksum;
use dataplane::service::Method;
use etherparse::{EtherType, Ipv4Slice, SlicedPacket};
use proptest::prelude::*;

use crate::common::check::sum16;
use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{server, service, tcp, udp};
use crate::frames::{SERVER_ENDS, VIRTUAL_ENDS, nearly_right, random};

const METHODS: [Method; 3] = [Method::Nat, Method::Direct, Method::Tunnel];

fn lab(shards: u16, knows_hops: bool) -> Lab {
    let mut lab = Lab::new(Size { shards, knows_hops, connections: 64, neighbours: 16, ..SIZE });
    for ((virtual_end, server_end), method) in
        VIRTUAL_ENDS.into_iter().zip(SERVER_ENDS).zip(METHODS)
    {
        for key in [tcp(virtual_end), udp(virtual_end)] {
            lab.add_service(service(key, "wlc"));
            lab.add_server(&key, server(server_end, method, 1));
        }
    }
    lab
}

/// Sum of the loads of all servers.
fn load(lab: &Lab) -> u32 {
    let read = |id| lab.read(id);
    let loads = lab.director.services(&read).flat_map(|service| service.servers);
    loads.map(|server| server.load.active() + server.load.inactive()).sum()
}

fn check_sent(bytes: &[u8]) {
    let sliced = SlicedPacket::from_ethernet(bytes);
    let packet = match &sliced {
        Ok(sliced) => match &sliced.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => ip.clone(),
            Some(etherparse::NetSlice::Arp(_)) => return,
            other => panic!("sent {other:?}"),
        },
        // A damaged transport header passes where nobody reads it: inside ICMP and tunnels.
        Err(_) => {
            let l3 =
                if bytes[12..14] == EtherType::VLAN_TAGGED_FRAME.0.to_be_bytes() { 18 } else { 14 };
            Ipv4Slice::from_slice(&bytes[l3..]).unwrap()
        }
    };
    let header = packet.header();
    // Summed as it stands: etherparse's own sum leaves out the reserved flag.
    assert_eq!(sum16(&[header.slice()]), 0xffff);
    assert!(header.ttl() > 0);
}

/// Runs bursts of frames with pauses, and checks the books.
fn check(shards: u16, knows_hops: bool, bursts: Vec<(u32, usize, Vec<TestFrame>)>) {
    let mut lab = lab(shards, knows_hops);
    let mut frames = 0;
    let mut dropped = 0;
    for (ticks, at, burst) in bursts {
        lab.wait_ticks(ticks);
        lab.tick();
        frames += burst.len();
        let summed: Vec<_> = burst.iter().map(|frame| frame.checksum != Checksum::Good).collect();
        let outcomes = lab.offer(at % usize::from(shards), burst);
        assert_eq!(outcomes.len(), summed.len(), "a verdict for each");
        for (outcome, is_summed) in outcomes.iter().zip(summed) {
            match outcome {
                // A port's word on a checksum is taken, true or not.
                Outcome::Sent(_, bytes) if is_summed => check_sent(bytes),
                Outcome::Dropped(_) => dropped += 1,
                _ => {}
            }
        }
        assert_eq!(load(&lab), lab.connection_count(), "each connection is counted once");
    }
    assert_eq!(lab.received(), lab.verdicts, "every frame is received");
    assert_eq!(lab.verdicts, frames as u64 + lab.handed_over, "once, or twice if handed over");
    let given_up = lab.take_released().len() as u64 + lab.lost_answers;
    assert_eq!(lab.dropped_in_all(), dropped + given_up, "and every drop is counted once");
    lab.idle(1);
    lab.wait(900);
    lab.sweep_all();
    assert_eq!((lab.connection_count(), load(&lab)), (0, 0), "all has an end");
}

fn bursts(
    frame: impl Strategy<Value = TestFrame>,
) -> impl Strategy<Value = Vec<(u32, usize, Vec<TestFrame>)>> {
    let pause = prop_oneof![3 => 0_u32..50, 1 => 0_u32..20_000];
    prop::collection::vec((pause, 0_usize..4, prop::collection::vec(frame, 1..50)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nearly_right_frames(
        shards in prop::sample::select(vec![1_u16, 2, 4]),
        knows_hops: bool,
        bursts in bursts(nearly_right()),
    ) {
        check(shards, knows_hops, bursts);
    }

    #[test]
    fn random_frames(shards in 1_u16..3, bursts in bursts(random())) {
        check(shards, true, bursts);
    }
}
