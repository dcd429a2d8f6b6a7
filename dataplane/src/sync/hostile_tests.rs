//! Anything at all may be told, in any order, among packets and changes: nothing breaks, counts
//! stay what the tables hold, and everything ends.

use super::rig_tests::{ACK, FIN_ACK, Kind, Rig, SYN};
use super::{Record, RecordFlags, Sequence, Told};
use crate::service::Method;
use core::net::IpAddr;
use proptest::prelude::*;

const TCP: Kind = Kind::Tcp(ACK);
const SERVICES: [(&str, Option<u32>); 4] = [
    ("10.0.0.1:80", None),
    ("10.0.0.2:80", Some(60)),
    ("10.0.0.3:0", Some(60)),
    ("[2001:db8::1]:80", Some(60)),
];
const SERVERS: [(&str, Method); 4] = [
    ("10.1.0.1:80", Method::Nat),
    ("10.1.0.2:80", Method::Direct),
    ("10.1.0.3:0", Method::Tunnel),
    ("10.1.0.4:8080", Method::Nat),
];
const SERVER6: &str = "[2001:db8:1::1]:80";

#[derive(Clone, Debug)]
enum Event {
    Take(Record, bool),
    /// A client's packet to a service.
    Request(u8, usize, u8),
    /// A server's packet.
    Reply(u8, usize, u8),
    /// A server goes, or comes back.
    Toggle(usize, usize),
    Wait(u32),
    Sweep,
}

fn address() -> impl Strategy<Value = IpAddr> {
    let known = ["10.9.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.0.1", "10.1.0.2", "0.0.0.9"];
    let known6 = ["2001:db8:9::1", "2001:db8::1", "2001:db8:1::1"];
    let known = known.into_iter().chain(known6).map(|text| text.parse().expect("an address"));
    prop_oneof![
        6 => prop::sample::select(known.collect::<alloc::vec::Vec<IpAddr>>()),
        1 => any::<[u8; 4]>().prop_map(IpAddr::from),
        1 => any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![6 => prop::sample::select(&[0_u16, 1, 2, 80, 8080][..]), 1 => any::<u16>()]
}

fn record() -> impl Strategy<Value = Record> {
    let protocol = prop_oneof![
        8 => Just(6_u8),
        2 => Just(17),
        1 => Just(132),
        1 => prop::sample::select(&[0_u8, 50, 51][..]),
        1 => any::<u8>(),
    ];
    let flags = prop_oneof![
        3 => prop::sample::select(&[0_u16, 2, 3, 0x83, 0x100, 0x183][..]),
        2 => prop::sample::select(&[0x1000_u16, 0x1100, 0x1183][..]),
        1 => any::<u16>(),
    ];
    let state = prop_oneof![6 => 0_u16..14, 1 => any::<u16>()];
    let timeout_s = prop_oneof![4 => 0_u32..100, 1 => any::<u32>()];
    let mark = prop_oneof![3 => Just(0_u32), 1 => Just(9), 1 => any::<u32>()];
    let end = || (address(), port());
    let sequence = any::<bool>().prop_map(|has| has.then(|| [Sequence::default(); 2]));
    (protocol, flags, state, timeout_s, mark, [end(), end(), end()], sequence).prop_map(
        |(protocol, flags, state, timeout_s, mark, [client, virtual_end, real], sequence)| Record {
            protocol,
            flags: RecordFlags(flags),
            state,
            timeout_s,
            mark,
            client,
            virtual_end,
            real,
            sequence,
        },
    )
}

/// Records of connections and templates that are likely to meet.
fn likely() -> impl Strategy<Value = Record> {
    let flags = prop::sample::select(&[0_u16, 3, 0x100, 0x183, 0x1100, 0x1183][..]);
    (flags, 1_u16..5, 0_u32..60, 0_usize..3, 1_u8..4, 1_u8..4).prop_map(
        |(flags, state, timeout_s, service, client, host)| {
            let is_template = flags & RecordFlags::TEMPLATE != 0;
            let address = |text: &str| text.parse().expect("an address");
            Record {
                protocol: 6,
                flags: RecordFlags(flags),
                state: if is_template { state % 2 } else { state },
                timeout_s,
                mark: 0,
                client: (
                    address(&alloc::format!("10.9.0.{client}")),
                    if is_template { 0 } else { 1 },
                ),
                virtual_end: (
                    address(["10.0.0.1", "10.0.0.2", "10.0.0.3"][service]),
                    if is_template && service == 2 { 0 } else { 80 },
                ),
                real: (address(&alloc::format!("10.1.0.{host}")), 80),
                sequence: None,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let flags = || prop::sample::select(&[SYN, ACK, ACK, FIN_ACK, 4][..]);
    prop_oneof![
        6 => (record(), any::<bool>()).prop_map(|(record, live)| Event::Take(record, live)),
        8 => (likely(), any::<bool>()).prop_map(|(record, live)| Event::Take(record, live)),
        6 => (1_u8..4, 0_usize..4, flags())
            .prop_map(|(client, service, flags)| Event::Request(client, service, flags)),
        3 => (1_u8..4, 0_usize..4, flags())
            .prop_map(|(client, server, flags)| Event::Reply(client, server, flags)),
        2 => (0_usize..4, 0_usize..4).prop_map(|(service, server)| Event::Toggle(service, server)),
        2 => prop_oneof![0_u32..90, 0_u32..3_000_000].prop_map(Event::Wait),
        1 => Just(Event::Sweep),
    ]
}

fn is_six(service: usize) -> bool {
    SERVICES[service].0.starts_with('[')
}

fn toggle(rig: &mut Rig, has: &mut [[bool; 4]; 4], service: usize, server: usize) {
    let (vip, (end, method)) = match is_six(service) {
        true => (SERVICES[service].0, (SERVER6, Method::Nat)),
        false => (SERVICES[service].0, SERVERS[server]),
    };
    let has = &mut has[service][if is_six(service) { 0 } else { server }];
    match *has {
        true => rig.delete_server(TCP, vip, end),
        false => rig.server(TCP, vip, end, method),
    }
    *has = !*has;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn anything_may_be_told(
        shards in 1_u16..4,
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut rig = Rig::new(shards, 40, 200);
        for (vip, persistence_s) in SERVICES {
            rig.service(TCP, vip, persistence_s);
        }
        let mut has = [[false; 4]; 4];
        (0..4).for_each(|n| toggle(&mut rig, &mut has, n, n));
        rig.set("sync_threshold", "0 1");
        rig.roles(true, true);
        for event in &events {
            match *event {
                Event::Take(ref record, true) => rig.take(record, Told::Live),
                Event::Take(ref record, false) => rig.take(record, Told::Whole),
                Event::Request(client, service, flags) => {
                    let client = match is_six(service) {
                        true => alloc::format!("[2001:db8:9::{client}]:1"),
                        false => alloc::format!("10.9.0.{client}:1"),
                    };
                    let vip = SERVICES[service].0.replace("3:0", "3:80");
                    rig.request(Kind::Tcp(flags), &client, &vip);
                }
                Event::Reply(client, server, flags) => {
                    let client = alloc::format!("10.9.0.{client}:1");
                    let end = SERVERS[server].0.replace("3:0", "3:80");
                    rig.reply(Kind::Tcp(flags), &end, &client);
                }
                Event::Toggle(service, server) => toggle(&mut rig, &mut has, service, server),
                Event::Wait(seconds) => rig.wait(seconds),
                Event::Sweep => rig.sweep(),
            }
            rig.check();
        }
        let sync = |read: fn(&crate::counters::SyncCounters) -> u64| rig.count(read);
        let taken = sync(|sync| sync.made.get())
            + sync(|sync| sync.updated.get())
            + sync(|sync| sync.late.get())
            + sync(|sync| sync.unfit.get())
            + sync(|sync| sync.no_room.get());
        let told = events.iter().filter(|event| matches!(event, Event::Take(..))).count();
        prop_assert_eq!(taken, told as u64, "every record is counted once");
        rig.told();
        rig.end();
    }
}
