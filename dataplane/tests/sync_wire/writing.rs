//! Each rule of writing by itself (sync protocol reference §2-§5).

use dataplane::sync::wire::{Engine, Version, Writer, entry_count};
use dataplane::sync::{Record, RecordFlags, Unsent};

use crate::from_hex;
use crate::samples::{SEQUENCE, entry, entry_v0, outcomes, record, v0, v1};

#[test]
fn the_example() {
    let mut writer = Writer::new(Version::V1, 7, 1472);
    writer.push(&record(), None).expect("room");
    assert_eq!(writer.message(), v1(&[entry(&[])]));
}

#[test]
fn sequence_data_have_the_order_of_bytes_of_their_version() {
    let big = from_hex("0102030400000005fffffffa000000078000000000000009");
    let little = from_hex("0403020105000000faffffff070000000000008009000000");
    let record = Record { flags: RecordFlags(0x0600), sequence: Some(SEQUENCE), ..record() };
    let mut first = entry(&[[1, 24].as_slice(), &big].concat());
    first[6] = 0x06;
    let in_v1 = v1(&[first, entry(&[])]);
    assert_eq!(outcomes(&in_v1)[0], Ok(record));
    let in_v0 = v0(&[[entry_v0(0x0600), little].concat(), entry_v0(0)]);
    assert_eq!(outcomes(&in_v0)[0], Ok(Record { timeout_s: 0, ..record }));
    for (version, message) in [(Version::V1, in_v1), (Version::V0, in_v0)] {
        let mut writer = Writer::new(version, 7, 1472);
        writer.push(&record, None).expect("room");
        writer.push(&self::record(), None).expect("room");
        assert_eq!(writer.message(), message);
    }
}

#[test]
fn writers_pad_between_entries_only() {
    let mut writer = Writer::new(Version::V1, 7, 1472);
    let engine = Some(Engine { name: b"sip", data: b"abc123@host" });
    let mut lengths = Vec::new();
    for _ in 0..3 {
        writer.push(&record(), engine).expect("room");
        lengths.push(writer.message().len());
    }
    assert_eq!(lengths, [8 + 54, 8 + 56 + 54, 8 + 2 * 56 + 54]);
    assert_eq!(writer.message()[62..64], [0, 0]);
}

#[test]
fn writers_leave_out_what_is_the_senders_own() {
    for version in [Version::V0, Version::V1] {
        let mut writer = Writer::new(version, 7, 1472);
        // All but ONE_PACKET, with HASHED among them; and sequence data without their flag.
        let flags = RecordFlags(!RecordFlags::ONE_PACKET);
        writer.push(&Record { flags, state: 0, ..record() }, None).expect("room");
        writer.push(&Record { sequence: Some(SEQUENCE), ..record() }, None).expect("room");
        let at = writer.message().len();
        assert_eq!(at, if version == Version::V0 { 4 + 2 * 24 } else { 8 + 2 * 36 });
        let flags_at = if version == Version::V0 { 4 + 20 } else { 8 + 6 };
        assert_eq!(writer.message()[flags_at..flags_at + 2], 0x1987_u16.to_be_bytes());
    }
}

#[test]
fn what_cannot_be_sent_has_a_name_and_leaves_the_message_as_it_was() {
    let plain = record();
    let v6 = |record: Record| Record {
        client: ([1; 16].into(), 1),
        virtual_end: ([2; 16].into(), 2),
        real: ([3; 16].into(), 3),
        ..record
    };
    let one_packet = Record { flags: RecordFlags(RecordFlags::ONE_PACKET), ..plain };
    let mixed = Record { real: ([3; 16].into(), 3), ..plain };
    let mark = Record { mark: 9, ..plain };
    let fit = Engine { name: &[b'n'; 16], data: &[b'd'; 255] };
    let too_long = Engine { name: &[b'n'; 17], ..fit };
    for (version, record, engine, expected) in [
        (Version::V0, plain, None, Ok(())),
        (Version::V0, one_packet, None, Err(Unsent::OnePacket)),
        (Version::V0, mixed, None, Err(Unsent::Families)),
        (Version::V0, v6(plain), None, Err(Unsent::Version0Ipv6)),
        (Version::V0, mark, None, Err(Unsent::Version0Mark)),
        (Version::V0, plain, Some(fit), Err(Unsent::Version0Engine)),
        (Version::V1, plain, None, Ok(())),
        (Version::V1, v6(mark), Some(fit), Ok(())),
        (Version::V1, one_packet, None, Err(Unsent::OnePacket)),
        (Version::V1, mixed, None, Err(Unsent::Families)),
        (Version::V1, plain, Some(too_long), Err(Unsent::EngineLength)),
        (Version::V1, plain, Some(Engine { name: b"", ..fit }), Err(Unsent::EngineLength)),
        (Version::V1, plain, Some(Engine { data: b"", ..fit }), Err(Unsent::EngineLength)),
        (Version::V1, plain, Some(Engine { data: &[0; 256], ..fit }), Err(Unsent::EngineLength)),
    ] {
        let mut writer = Writer::new(version, 7, 1472);
        writer.push(&plain, None).expect("room");
        let before = writer.message().to_vec();
        assert_eq!(writer.push(&record, engine), expected, "{record:?}");
        assert_eq!(writer.message() == before, expected.is_err());
    }
}

#[test]
fn messages_are_full_by_length_and_by_count() {
    let counted = |version, max_length| {
        let mut writer = Writer::new(version, 7, max_length);
        while writer.push(&record(), None).is_ok() {}
        assert_eq!(writer.push(&record(), None), Err(Unsent::Full));
        let count = writer.len();
        let message = writer.message();
        assert_eq!(outcomes(message).len(), count);
        assert_eq!(usize::from(entry_count(message)), count);
        let length = message.len();
        writer.clear();
        assert!(writer.is_empty());
        writer.push(&record(), None).expect("room again");
        (count, length)
    };
    assert_eq!(counted(Version::V1, 1472), (40, 1448));
    assert_eq!(counted(Version::V1, 300), (8, 296));
    assert_eq!(counted(Version::V1, 296), (8, 296));
    assert_eq!(counted(Version::V1, 295), (7, 260));
    assert_eq!(counted(Version::V1, usize::MAX), (255, 8 + 255 * 36));
    assert_eq!(counted(Version::V0, usize::MAX), (255, 4 + 255 * 24));
    // One entry is taken whatever its length.
    assert_eq!(counted(Version::V1, 0), (1, 44));
    assert_eq!(counted(Version::V0, 1), (1, 28));
    // The longest entries meet the limit of the size field before that of the count.
    let mut writer = Writer::new(Version::V1, 7, usize::MAX);
    let longest = Record {
        client: ([1; 16].into(), 1),
        virtual_end: ([2; 16].into(), 2),
        real: ([3; 16].into(), 3),
        flags: RecordFlags(0x0600),
        sequence: Some(SEQUENCE),
        ..record()
    };
    let engine = Some(Engine { name: &[b'n'; 16], data: &[b'd'; 255] });
    while writer.push(&longest, engine).is_ok() {}
    assert_eq!(writer.message().len(), 8 + 173 * 376 + 373);
    assert_eq!(outcomes(writer.message()).len(), 174);
}
