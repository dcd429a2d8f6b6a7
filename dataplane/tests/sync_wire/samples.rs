//! Entries and messages made by hand, and what becomes of them.

use dataplane::sync::wire::read;
use dataplane::sync::{Record, RecordFlags, Reject, Sequence};

use crate::from_hex;

/// A version 1 message of these entries, each put at a multiple of four bytes.
pub(crate) fn v1(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0, 7, 0, 0, entries.len() as u8, 1, 0, 0];
    for entry in entries {
        message.resize(message.len().next_multiple_of(4), 0);
        message.extend(entry);
    }
    sized(message)
}

pub(crate) fn sized(mut message: Vec<u8>) -> Vec<u8> {
    let size = (message.len() as u16).to_be_bytes();
    message[2..4].copy_from_slice(&size);
    message
}

/// An entry of version 1 for TCP over IPv4, established, with these options.
pub(crate) fn entry(options: &[u8]) -> Vec<u8> {
    let mut entry = from_hex(
        "00060024000000000001d5a600500050000000000000038\
        4c0a80a630a000001c0a80a01",
    );
    entry.extend(options);
    let size = (entry.len() as u16).to_be_bytes();
    entry[2..4].copy_from_slice(&size);
    entry
}

/// The same with one byte changed.
pub(crate) fn changed(mut entry: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    entry[at] = value;
    entry
}

/// An entry of version 0 for TCP, established.
pub(crate) fn entry_v0(flags: u16) -> Vec<u8> {
    let mut entry = from_hex("0006d5a600500050c0a80a630a000001c0a80a01");
    entry.extend(flags.to_be_bytes());
    entry.extend([0, 1]);
    entry
}

pub(crate) fn v0(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![entries.len() as u8, 7, 0, 0];
    message.extend(entries.iter().flatten());
    sized(message)
}

/// What becomes of each entry.
pub(crate) fn outcomes(message: &[u8]) -> Vec<Result<Record, Reject>> {
    let entries = read(message, 7).expect("a message");
    entries.map(|entry| entry.map(|entry| entry.record)).collect()
}

/// What becomes of one entry of version 1 with a good one behind it: why it is dropped, if it is,
/// and whether the other is taken.
pub(crate) fn outcome(entry_bytes: Vec<u8>) -> (Option<Reject>, bool) {
    let outcomes = outcomes(&v1(&[entry_bytes, entry(&[])]));
    (outcomes[0].err(), outcomes.get(1).is_some_and(Result::is_ok))
}

/// The connection that [`entry`] is of.
pub(crate) fn record() -> Record {
    Record {
        protocol: 6,
        flags: RecordFlags(0),
        state: 1,
        timeout_s: 900,
        mark: 0,
        client: ([192, 168, 10, 99].into(), 54694),
        virtual_end: ([10, 0, 0, 1].into(), 80),
        real: ([192, 168, 10, 1].into(), 80),
        sequence: None,
    }
}

pub(crate) const SEQUENCE: [Sequence; 2] = [
    Sequence { initial: 0x0102_0304, delta: 5, previous_delta: 0xffff_fffa },
    Sequence { initial: 7, delta: 0x8000_0000, previous_delta: 9 },
];
