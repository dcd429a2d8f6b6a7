//! Many shards decide as one: the same packets leave as the same frames, whoever takes them in.

use dataplane::service::Method;
use proptest::prelude::*;

use crate::common::build::{ACK, FIN, Packet, RST, SYN, Transport, reply, request};
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{server, service, tcp, udp};
use Transport::{Tcp, Udp};

const VIRTUAL_END: &str = "10.9.0.100:80";
const METHODS: [Method; 3] = [Method::Nat, Method::Direct, Method::Tunnel];

/// A packet of a client or of a server, after a pause; or a change of a server's weight.
#[derive(Clone, Debug)]
enum Event {
    Request(u16, Transport),
    Reply(u16, u8, Transport),
    Weigh(u8, i64),
    /// Seconds pass.
    Wait(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0_u16..24;
    let transport = prop::sample::select(vec![
        Tcp(SYN),
        Tcp(SYN),
        Tcp(ACK),
        Tcp(FIN | ACK),
        Tcp(RST),
        Udp(true),
        Udp(false),
    ]);
    prop_oneof![
        12 => (client.clone(), transport.clone()).prop_map(|(n, how)| Event::Request(n, how)),
        6 => (client, 1_u8..=4, transport).prop_map(|(n, from, how)| Event::Reply(n, from, how)),
        1 => (1_u8..=4, 0_i64..5).prop_map(|(n, weight)| Event::Weigh(n, weight)),
        2 => (0_u32..100).prop_map(Event::Wait),
    ]
}

fn client(n: u16) -> String {
    format!("100.64.{}.1:{}", n % 5, 1000 + n)
}

fn server_end(n: u8) -> String {
    format!("10.1.0.{n}:80")
}

/// What became of every packet, and the loads at the end.
fn run(
    shards: u16,
    scheduler: &str,
    methods: [Method; 4],
    events: &[(usize, Event)],
) -> (Vec<Outcome>, Vec<(u32, u32)>) {
    let mut lab = Lab::new(Size { shards, connections: 200, ..SIZE });
    let keys = [tcp(VIRTUAL_END), udp(VIRTUAL_END)];
    for key in keys {
        lab.add_service(service(key, scheduler));
        for n in 1..=4 {
            let method = methods[usize::from(n) - 1];
            lab.add_server(&key, server(&server_end(n), method, i64::from(n)));
        }
    }
    let mut outcomes = Vec::new();
    for (at, event) in events {
        let packet: Packet = match *event {
            Event::Request(n, transport) => request(transport, &client(n), VIRTUAL_END),
            Event::Reply(n, from, transport) => reply(transport, &server_end(from), &client(n)),
            Event::Weigh(n, weight) => {
                let method = methods[usize::from(n) - 1];
                lab.edit_server(&keys[0], server(&server_end(n), method, weight));
                continue;
            }
            Event::Wait(seconds) => {
                lab.wait(seconds);
                // Sweeps come sooner or later; here at once, so that loads are the same.
                lab.sweep_all();
                continue;
            }
        };
        outcomes.extend(lab.offer(at % usize::from(shards), vec![packet.frame()]));
    }
    let loads = |lab: &Lab| -> Vec<_> {
        let ends = keys.iter().flat_map(|key| (1..=4).map(move |n| (key, n)));
        ends.map(|(key, n)| lab.load(key, &server_end(n))).collect()
    };
    let end = loads(&lab);
    lab.wait(900);
    lab.sweep_all();
    assert_eq!(loads(&lab), vec![(0, 0); 8], "nothing is left when all has expired");
    assert_eq!(lab.connection_count(), 0);
    (outcomes, end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn n_shards_decide_as_one(
        scheduler in prop::sample::select(vec!["rr", "wrr", "lc", "wlc"]),
        methods in prop::array::uniform4(prop::sample::select(METHODS.to_vec())),
        events in prop::collection::vec((0_usize..4, event()), 1..150),
    ) {
        let alone = run(1, scheduler, methods, &events);
        for shards in [2, 4] {
            prop_assert_eq!(&run(shards, scheduler, methods, &events), &alone);
        }
    }
}
