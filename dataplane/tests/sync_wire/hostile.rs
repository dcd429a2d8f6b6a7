//! Bytes that no kernel sends: nothing panics, every drop has its name, and what is taken keeps the
//! rules. [`property::check`] asserts these for each.

use std::collections::BTreeSet;

use dataplane::sync::Reject;
use dataplane::sync::wire::read;
use proptest::prelude::*;

use crate::{property, recorded_messages};

#[test]
fn every_truncation_of_every_recorded_message() {
    for (name, message) in recorded_messages() {
        for length in 0..message.len() {
            let cut = &message[..length];
            let expected = if length < 4 { Reject::Short } else { Reject::Size };
            assert_eq!(read(cut, 7).err(), Some(expected), "{name} {length}");
            property::check(cut);
            // And with a size field that hides it: what is whole is taken, what is not has a name.
            property::v0(cut);
            property::v1(cut);
        }
    }
}

#[test]
fn a_message_with_its_end_cut_off_gives_the_entries_before_it() {
    for (name, message) in recorded_messages() {
        let whole: Vec<_> = read(&message, 7).expect(name).collect();
        for length in 8..message.len() {
            let mut cut = message[..length].to_vec();
            cut[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            let entries: Vec<_> = read(&cut, 7).expect(name).collect();
            let (last, before) = entries.split_last().expect("one is missing");
            assert_eq!(*last, Err(Reject::EntryCut), "{name} {length}");
            assert_eq!(before, &whole[..before.len()], "{name} {length}");
        }
    }
}

#[test]
fn a_stray_byte_drops_the_message_unless_it_is_counted() {
    for (name, mut message) in recorded_messages() {
        message.push(0xaa);
        assert_eq!(read(&message, 7).err(), Some(Reject::Size), "{name}");
        let length = message.len() as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        let mut entries = read(&message, 7).expect(name);
        assert!(entries.all(|entry| entry.is_ok()), "{name}");
    }
}

#[test]
fn every_change_of_a_byte_of_a_message_of_each_scenario() {
    let mut seen = BTreeSet::new();
    let mut rejects = BTreeSet::new();
    for (name, message) in recorded_messages() {
        if !seen.insert(name) {
            continue;
        }
        // Of long messages the header and what of the first entries differs.
        for at in 0..message.len().min(120) {
            for value in 0..=u8::MAX {
                let mut changed = message.clone();
                changed[at] = value;
                property::check(&changed);
                match read(&changed, 7) {
                    Ok(entries) => {
                        rejects.extend(entries.filter_map(Result::err).map(Reject::name));
                    }
                    Err(reason) => drop(rejects.insert(reason.name())),
                }
            }
        }
    }
    // All but what takes a shorter message, and what the caller finds.
    let absent = ["engine_unknown", "short"];
    let expected: BTreeSet<_> = Reject::ALL.iter().map(|reason| reason.name()).collect();
    let expected = &expected - &absent.into();
    assert_eq!(rejects, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        property::v0(&bytes);
        property::v1(&bytes);
    }

    #[test]
    fn entries_of_random_bytes_and_plausible_sizes(
        entries in proptest::collection::vec(
            (0_u8..4, 0_u16..120, proptest::collection::vec(any::<u8>(), 120)),
            0..12,
        ),
    ) {
        let mut message = vec![0, 7, 0, 0, entries.len() as u8, 1, 0, 0];
        for (kind, size, bytes) in entries {
            let start = message.len();
            message.extend(&bytes[..usize::from(size.next_multiple_of(4))]);
            let head = [kind, 6, 0, size as u8];
            let end = message.len().min(start + 4);
            message[start..end].copy_from_slice(&head[..end - start]);
        }
        property::v1(&message);
    }
}
