//! What must hold of any sync message.

use dataplane::sync::wire::{Engine, Entry, Version, Writer, entry_count, read};
use dataplane::sync::{Record, RecordFlags, Reject, Unsent};

/// Length of the messages that records are written into again, in bytes.
const MAX_LENGTH: usize = 1472;

/// Bytes as they are, and made a message of version 0 by its header.
pub fn v0(bytes: &[u8]) {
    check(bytes);
    if bytes.len() >= 4 {
        let mut message = bytes.to_vec();
        message[0] = message[0].max(1);
        check(&with_size(message));
    }
}

/// Bytes as they are, and made a message of version 1 by its header.
pub fn v1(bytes: &[u8]) {
    check(bytes);
    if bytes.len() >= 8 {
        let mut message = bytes.to_vec();
        message[0] = 0;
        message[5..8].copy_from_slice(&[1, 0, 0]);
        check(&with_size(message));
    }
}

fn with_size(mut message: Vec<u8>) -> Vec<u8> {
    message.truncate(u16::MAX.into());
    let size = (message.len() as u16).to_be_bytes();
    message[2..4].copy_from_slice(&size);
    message
}

/// Any bytes: read without a panic, what is taken keeps the rules, and says the same when it is
/// written and read again.
pub fn check(bytes: &[u8]) {
    let entries = match read(bytes, 0) {
        Ok(entries) => entries,
        Err(reason) => {
            assert!(reason.ends_message(), "{reason:?}");
            assert!(read(bytes, 7).is_err(), "in a group, which hears less");
            return;
        }
    };
    let version = entries.version();
    let own_id = entries.sync_id();
    assert_eq!(read(bytes, own_id ^ 0xff).is_ok(), own_id == 0xff, "only 0 hears every group");
    let early_trailer = entries.trailer();
    assert!(bytes.ends_with(early_trailer));
    let mut entries = entries;
    let mut taken = Vec::new();
    let mut results = 0;
    let mut is_over = false;
    for entry in entries.by_ref() {
        assert!(!is_over, "nothing follows the end of a message");
        results += 1;
        match entry {
            Ok(entry) => {
                keeps_rules(version, &entry);
                taken.push(entry);
            }
            Err(reason) => is_over = reason.ends_message(),
        }
    }
    assert!(entries.next().is_none());
    assert_eq!(entries.trailer(), if is_over { &[] } else { early_trailer });
    assert!(if is_over { results <= entry_count(bytes) } else { results == entry_count(bytes) });
    written_and_read(version, &taken);
    if version == Version::V0 {
        written_and_read(Version::V1, &taken);
    }
}

/// What every entry that is taken keeps to (sync protocol reference §5 and §6).
fn keeps_rules(version: Version, Entry { record, engine }: &Entry<'_>) {
    let flags = record.flags;
    assert!(!flags.has(!RecordFlags::TAKEN), "{record:?}");
    assert_eq!(flags.has(RecordFlags::SEQUENCE), record.sequence.is_some(), "{record:?}");
    let ends = [record.client.0, record.virtual_end.0, record.real.0];
    assert_eq!(as_received(version, *record), *record);
    assert!(ends.iter().all(|end| end.is_ipv4() == ends[0].is_ipv4()), "{record:?}");
    let is_template = flags.has(RecordFlags::TEMPLATE);
    assert!(!(is_template && flags.has(RecordFlags::NO_CLIENT_PORT)), "{record:?}");
    let last_state = match record.protocol {
        _ if is_template => 1,
        6 => 10,
        132 => 13,
        17 | 50 | 51 => 0,
        _ => panic!("{record:?}"),
    };
    assert!(record.state <= last_state, "{record:?}");
    if let Some(Engine { name, data }) = engine {
        assert!((1..=16).contains(&name.len()) && (1..=255).contains(&data.len()), "{engine:?}");
    }
    if version == Version::V0 {
        assert!(ends[0].is_ipv4() && engine.is_none(), "{record:?}");
        assert_eq!((record.mark, record.timeout_s), (0, 0));
    }
}

/// Entries, written and read again, say the same, as far as it is said at all.
pub fn written_and_read(version: Version, entries: &[Entry<'_>]) {
    let mut writer = Writer::new(version, 7, MAX_LENGTH);
    let mut begin = 0;
    for (at, Entry { record, engine }) in entries.iter().enumerate() {
        match writer.push(record, *engine) {
            Ok(()) => {}
            Err(Unsent::Full) => {
                assert!(at > begin, "at least one entry fits");
                says(writer.message(), version, &entries[begin..at]);
                writer.clear();
                begin = at;
                writer.push(record, *engine).expect("room in an empty message");
            }
            Err(reason) => panic!("{reason:?}: {record:?}"),
        }
    }
    says(writer.message(), version, &entries[begin..]);
}

/// A message says this and nothing else.
fn says(message: &[u8], version: Version, entries: &[Entry<'_>]) {
    assert!(message.len() <= MAX_LENGTH && usize::from(entry_count(message)) == entries.len());
    let again = match read(message, 7) {
        Ok(again) => again,
        Err(Reject::Version) if version == Version::V0 && entries.is_empty() => return,
        Err(reason) => panic!("{reason:?}"),
    };
    assert_eq!(again.version(), version);
    assert!(again.trailer().is_empty());
    let expected = entries.iter().map(|&Entry { record, engine }| {
        Ok(Entry { record: as_received(version, record), engine })
    });
    assert!(again.eq(expected), "{message:02x?}: {entries:?}");
}

/// A record as it is after a journey; one that has come is so already.
fn as_received(version: Version, mut record: Record) -> Record {
    record.flags.0 &= RecordFlags::TAKEN;
    if !record.flags.has(RecordFlags::SEQUENCE) {
        record.sequence = None;
    }
    if record.sequence.is_none() {
        record.flags = record.flags.with(RecordFlags::SEQUENCE, false);
    }
    if version == Version::V0 {
        record.timeout_s = 0;
    }
    record
}
