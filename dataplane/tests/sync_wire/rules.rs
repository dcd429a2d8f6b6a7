//! Each rule of reading by itself (sync protocol reference §2-§6).

use dataplane::sync::wire::{Engine, Version, entry_count, read};
use dataplane::sync::{Record, RecordFlags, Reject};

use crate::samples::{changed, entry, entry_v0, outcome, outcomes, record, sized, v0, v1};

#[test]
fn the_examples() {
    assert_eq!(outcomes(&v1(&[entry(&[])])), [Ok(record())]);
    assert_eq!(outcomes(&v0(&[entry_v0(0)])), [Ok(Record { timeout_s: 0, ..record() })]);
}

#[test]
fn headers() {
    let message = v1(&[entry(&[])]);
    for length in 0..4 {
        assert_eq!(read(&message[..length], 0).err(), Some(Reject::Short));
        assert_eq!(entry_count(&message[..length]), 0);
    }
    for (at, value) in [(2, 1), (3, 43), (3, 45), (3, 0)] {
        assert_eq!(read(&changed(message.clone(), at, value), 0).err(), Some(Reject::Size));
    }
    // It is the receiver's id that opens it to every group.
    for (own, theirs, expected) in [
        (0, 0, None),
        (0, 9, None),
        (9, 9, None),
        (7, 0, Some(Reject::SyncId)),
        (7, 9, Some(Reject::SyncId)),
    ] {
        let message = changed(message.clone(), 1, theirs);
        assert_eq!(read(&message, own).err(), expected, "{own} {theirs}");
        assert!(expected.is_some() || read(&message, own).expect("entries").sync_id() == theirs);
    }
}

#[test]
fn versions() {
    let message = v1(&[entry(&[])]);
    assert_eq!(read(&message, 7).expect("entries").version(), Version::V1);
    assert_eq!(entry_count(&message), 1);
    // Neither version: no count where version 0 has it.
    for (at, value) in [(5, 0), (5, 2), (5, 255), (6, 1), (7, 1)] {
        let message = changed(message.clone(), at, value);
        assert_eq!(read(&message, 7).err(), Some(Reject::Version), "{at} {value}");
        assert_eq!(entry_count(&message), 0);
    }
    for length in 4..8 {
        assert_eq!(read(&sized(message[..length].to_vec()), 7).err(), Some(Reject::Version));
    }
    // With one, it is version 0 whatever follows.
    let message = changed(message, 0, 3);
    assert_eq!(read(&message, 7).expect("entries").version(), Version::V0);
    assert_eq!(entry_count(&message), 3);
    let none = v1(&[]);
    assert_eq!(outcomes(&none), []);
}

#[test]
fn entries_are_counted() {
    for (message, count_at, length) in [
        (v1(&[entry(&[]), entry(&[]), entry(&[])]), 4, 36),
        (v0(&[entry_v0(0), entry_v0(0), entry_v0(0)]), 0, 24),
    ] {
        let good = outcomes(&message)[0];
        assert!(good.is_ok());
        // Those beyond the count are not looked at.
        let fewer = changed(message.clone(), count_at, 2);
        assert_eq!(outcomes(&fewer), [good, good]);
        assert_eq!(read(&fewer, 7).expect("entries").trailer().len(), length);
        // Missing ones are an error; those before stay.
        for count in [4, 255] {
            let more = changed(message.clone(), count_at, count);
            assert_eq!(outcomes(&more), [good, good, good, Err(Reject::EntryCut)]);
            assert_eq!(read(&more, 7).expect("entries").trailer(), []);
        }
    }
}

#[test]
fn the_trailer_is_found_before_and_after_reading() {
    let mut message = v1(&[entry(&[]), entry(&[0x42, 3, 1, 2, 3, 3, 1, b'x'])]);
    assert_eq!(read(&message, 7).expect("entries").trailer(), []);
    message.extend([9; 11]);
    let message = sized(message);
    let mut entries = read(&message, 7).expect("entries");
    assert_eq!(entries.trailer(), [9; 11]);
    assert_eq!(entries.by_ref().filter(Result::is_ok).count(), 2);
    assert_eq!(entries.trailer(), [9; 11]);
    // After an entry of odd length, from the next multiple of four on.
    let mut message = v1(&[entry(&[0x44, 1, 1])]);
    message.extend([0, 9, 9]);
    assert_eq!(read(&sized(message), 7).expect("entries").trailer(), [9, 9]);
}

#[test]
fn entry_sizes() {
    let with_size = |[kind, size]: [u16; 2]| {
        let [high, low] = size.to_be_bytes();
        let entry = changed(changed(entry(&[0; 36]), 2, high), 3, low);
        changed(entry, 0, kind as u8)
    };
    for size in 0..36 {
        assert_eq!(outcome(with_size([0, size])), (Some(Reject::EntrySize), false), "{size}");
    }
    for size in 36..72 {
        assert_eq!(outcome(with_size([1, size])), (Some(Reject::EntrySize), false), "{size}");
    }
    assert_eq!(outcome(with_size([1, 72])), (None, true));
    // Two entries of 72 and 36 bytes: the first may not be longer than both.
    assert_eq!(outcome(with_size([0, 109])), (Some(Reject::EntryCut), false));
    assert_eq!(outcome(with_size([0, 0x0fff])), (Some(Reject::EntryCut), false));
    for version in 1..16_u16 {
        let entry = with_size([0, version << 12 | 36]);
        assert_eq!(outcome(entry), (Some(Reject::EntryVersion), false));
    }
    // The longest there can be: options that may be skipped.
    let message = v1(&[entry(&skippable(4095 - 36)), entry(&[])]);
    assert_eq!(outcomes(&message), [Ok(record()), Ok(record())]);
}

/// Options that may be skipped, of `length` bytes in all.
fn skippable(mut length: usize) -> Vec<u8> {
    let mut options = Vec::new();
    while length > 0 {
        // Leaves no single byte, which could not hold an option.
        let data = (length - 2).min(if length == 260 { 200 } else { 255 });
        options.extend([0x50, data as u8]);
        options.resize(options.len() + data, 0xee);
        length -= 2 + data;
    }
    options
}

#[test]
fn entry_types() {
    for kind in 0..=u8::MAX {
        let expected = match kind {
            0 => (None, true),
            _ if kind & 1 == 1 => (Some(Reject::EntrySize), false),
            _ => (Some(Reject::EntryType), false),
        };
        assert_eq!(outcome(changed(entry(&[]), 0, kind)), expected, "{kind}");
    }
}

#[test]
fn options() {
    let sequence_of = |length: u8| [vec![1, length], vec![0; length.into()]].concat();
    let long_name = [[3, 17].as_slice(), &[b'x'; 17]].concat();
    let cases: [(&[u8], Option<Reject>); 21] = [
        (&sequence_of(24), None),
        (&[2, 1, 5, 3, 1, 6], None),
        (&[3, 1, 6], None),
        (&[3, 1, 6, 2, 1, 5], None),
        (&[0x42, 1, 5, 0x43, 1, 6], None),
        (&[0x44, 1, 5, 0x44, 1, 6, 0x40, 2, 0, 0], None),
        (&[2, 1, 5], Some(Reject::EngineName)),
        (&[4, 1, 5], Some(Reject::OptionUnknown)),
        (&[0, 1, 5], Some(Reject::OptionUnknown)),
        (&[0x84, 1, 5], Some(Reject::OptionUnknown)),
        (&sequence_of(23), Some(Reject::OptionLength)),
        (&sequence_of(25), Some(Reject::OptionLength)),
        (&[1, 0], Some(Reject::OptionLength)),
        (&[0x44, 0], Some(Reject::OptionLength)),
        (&long_name, Some(Reject::OptionLength)),
        (&[2], Some(Reject::OptionCut)),
        (&[2, 1], Some(Reject::OptionCut)),
        (&[2, 255, 0], Some(Reject::OptionCut)),
        (&[3, 1, 6, 3, 1, 6], Some(Reject::OptionTwice)),
        (&[2, 1, 6, 3, 1, 6, 0x42, 1, 6], Some(Reject::OptionTwice)),
        (&[sequence_of(24), sequence_of(24)].concat(), Some(Reject::OptionTwice)),
    ];
    for (options, expected) in cases {
        let other_is_taken = expected.is_none_or(|reason| !reason.ends_message());
        assert_eq!(outcome(entry(options)), (expected, other_is_taken), "{options:?}");
    }
}

#[test]
fn persistence_engines_need_name_and_data() {
    let engine = |options| {
        let message = v1(&[entry(options)]);
        let mut entries = read(&message, 7).expect("entries");
        let engine = entries.next().expect("one").expect("taken").engine;
        engine.map(|Engine { name, data }| (name.to_vec(), data.to_vec()))
    };
    let expected = Some((b"sip".to_vec(), b"id".to_vec()));
    assert_eq!(engine(b"\x02\x02id\x03\x03sip"), expected);
    assert_eq!(engine(b"\x03\x03sip\x02\x02id"), expected);
    assert_eq!(engine(b"\x03\x03sip"), None);
}

#[test]
fn protocols_and_states() {
    let judged = |flags: u16, protocol: u8, state: u16| {
        let mut first = changed(entry(&[]), 1, protocol);
        first[6..8].copy_from_slice(&flags.to_be_bytes());
        first[8..10].copy_from_slice(&state.to_be_bytes());
        let mut first_v0 = changed(entry_v0(flags), 1, protocol);
        first_v0[22..24].copy_from_slice(&state.to_be_bytes());
        let outcomes = outcomes(&v1(&[first, entry(&[])]));
        let outcomes_v0 = self::outcomes(&v0(&[first_v0, entry_v0(0)]));
        assert_eq!(outcomes[0].err(), outcomes_v0[0].err());
        // The entry behind it is taken in any case.
        assert!(outcomes[1].is_ok() && outcomes_v0[1].is_ok());
        outcomes[0].err()
    };
    let states = |protocol| match protocol {
        6 => 11,
        17 | 50 | 51 => 1,
        132 => 14,
        _ => 0,
    };
    for protocol in 0..=u8::MAX {
        for state in [0, 1, 2, 10, 11, 13, 14, 255, 256, u16::MAX] {
            let expected = match states(protocol) {
                0 => Some(Reject::Protocol),
                states if state < states => None,
                _ => Some(Reject::State),
            };
            assert_eq!(judged(0, protocol, state), expected, "{protocol} {state}");
            // A template may be of any, as a firewall mark's is of none.
            let expected = if state < 2 { None } else { Some(Reject::State) };
            assert_eq!(judged(RecordFlags::TEMPLATE, protocol, state), expected);
        }
    }
}

#[test]
fn flags() {
    for flags in (0..16).map(|bit| 1 << bit).chain([0x1800, 0x3000, 0x2800, 0x0060, 0x1f87]) {
        let expected = match flags {
            _ if flags & 0x2000 != 0 => Err(Reject::OnePacket),
            _ if flags & 0x1800 == 0x1800 => Err(Reject::TemplatePort),
            // Those of sequence data are dropped, for there are none.
            _ => Ok(RecordFlags(flags & 0x1987)),
        };
        let [high, low] = flags.to_be_bytes();
        // The upper half, here all ones, is the sender's own.
        let mut first = entry(&[]);
        first[4..8].copy_from_slice(&[0xff, 0xff, high, low]);
        let outcomes = outcomes(&v1(&[first, entry(&[])]));
        assert_eq!(outcomes[0].map(|record| record.flags), expected, "{flags:04x}");
        assert!(outcomes[1].is_ok());
        if flags & 0x0600 == 0 {
            let outcomes = self::outcomes(&v0(&[entry_v0(flags), entry_v0(0)]));
            assert_eq!(outcomes[0].map(|record| record.flags), expected, "{flags:04x}");
            assert!(outcomes[1].is_ok());
        }
    }
}
