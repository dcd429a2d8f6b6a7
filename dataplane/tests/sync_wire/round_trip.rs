//! Any record, written and read.

use core::net::IpAddr;

use dataplane::sync::wire::{Engine, Entry, Version};
use dataplane::sync::{Record, RecordFlags, Sequence};
use proptest::prelude::*;

use crate::property;

fn sequences() -> impl Strategy<Value = Option<[Sequence; 2]>> {
    let sequence = any::<[u32; 3]>().prop_map(|[initial, delta, previous_delta]| Sequence {
        initial,
        delta,
        previous_delta,
    });
    proptest::option::of([sequence.clone(), sequence])
}

/// A record that may exist, but for flags of the sender's own and sequence data without flags.
fn records() -> impl Strategy<Value = Record> {
    let protocol_and_state = prop_oneof![
        (Just(6), 0_u16..=10),
        (Just(132), 0_u16..=13),
        (prop_oneof![Just(17), Just(50), Just(51)], Just(0_u16)),
    ];
    let template = (any::<u8>(), 0_u16..=1);
    let v4 = any::<[[u8; 4]; 3]>().prop_map(|ends| ends.map(IpAddr::from));
    let v6 = any::<[[u8; 16]; 3]>().prop_map(|ends| ends.map(IpAddr::from));
    (
        prop_oneof![(Just(false), protocol_and_state.boxed()), (Just(true), template.boxed()),],
        any::<u16>(),
        (any::<u32>(), any::<u32>(), any::<[u16; 3]>()),
        prop_oneof![v4, v6],
        sequences(),
    )
        .prop_map(
            |(
                (is_template, (protocol, state)),
                flags,
                (timeout_s, mark, ports),
                ends,
                sequence,
            )| {
                let forbidden = RecordFlags::ONE_PACKET
                    | if is_template { RecordFlags::NO_CLIENT_PORT } else { 0 };
                let flags = RecordFlags(flags)
                    .with(forbidden, false)
                    .with(RecordFlags::TEMPLATE, is_template);
                Record {
                    protocol,
                    flags,
                    state,
                    timeout_s,
                    mark,
                    client: (ends[0], ports[0]),
                    virtual_end: (ends[1], ports[1]),
                    real: (ends[2], ports[2]),
                    sequence,
                }
            },
        )
}

fn engines() -> impl Strategy<Value = Option<(Vec<u8>, Vec<u8>)>> {
    let bytes = |longest| proptest::collection::vec(any::<u8>(), 1..=longest);
    proptest::option::of((bytes(16), bytes(255)))
}

proptest! {
    #[test]
    fn version_1(records in proptest::collection::vec((records(), engines()), 0..300)) {
        let entries: Vec<_> = records
            .iter()
            .map(|(record, engine)| Entry {
                record: *record,
                engine: engine.as_ref().map(|(name, data)| Engine { name, data }),
            })
            .collect();
        property::written_and_read(Version::V1, &entries);
    }

    #[test]
    fn version_0(records in proptest::collection::vec(records(), 0..300)) {
        let entries: Vec<_> = records
            .into_iter()
            .filter(|record| record.client.0.is_ipv4())
            .map(|record| Entry { record: Record { mark: 0, ..record }, engine: None })
            .collect();
        property::written_and_read(Version::V0, &entries);
    }
}
