//! Sealing: with a key that all directors of a group share, each message carries a number and a
//! keyed code at its end, where the kernel's backups look at nothing. An extension: without a key
//! messages are as the kernel's.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `PVSs` |
//! | 8 | epoch: drawn at random by each master daemon at its start |
//! | 8 | number of the message, rising by one |
//! | 16 | HMAC-SHA-256 of all before it, the first half |
//!
//! A receiver takes numbers of an epoch only after the master has proved over TCP, by a fresh
//! challenge, that the epoch is its present one: old messages, played back to a director that has
//! just started, come to nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a code.
pub(super) const TAG: usize = 16;
const MAGIC: &[u8; 4] = b"PVSs";
/// Length of all that sealing appends.
pub(super) const TRAILER: usize = 4 + 8 + 8 + TAG;
/// Messages that may arrive after later ones.
const WINDOW: u64 = 1024;

/// The key that a group's directors share.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// Prints nothing of the secret.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key out of a secret of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// The code of some bytes.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> [u8; TAG] {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        let whole = mac.finalize().into_bytes();
        *whole.first_chunk().expect("a SHA-256 has 32 bytes")
    }

    /// Whether a code is that of some bytes; takes as long for any code.
    pub(super) fn is_tag(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        let mut mac = self.0.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.verify_truncated_left(tag).is_ok() && tag.len() == TAG
    }

    /// A key for one conversation.
    pub(super) fn derive(&self, parts: &[&[u8]]) -> Self {
        Self::new(&self.tag(parts))
    }
}

/// Numbers and seals a master's messages.
pub(super) struct Sealer {
    key: Key,
    pub(super) epoch: u64,
    /// Messages sealed so far.
    number: AtomicU64,
}

impl Sealer {
    pub(super) fn new(key: Key, epoch: u64) -> Self {
        Self { key, epoch, number: AtomicU64::new(0) }
    }

    /// The last number given.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// Appends the trailer, and counts it into the message's size field.
    pub(super) fn seal(&self, message: &mut Vec<u8>) {
        let number = self.number.fetch_add(1, Relaxed) + 1;
        let size = (message.len() + TRAILER) as u16;
        message[2..4].copy_from_slice(&size.to_be_bytes());
        message.extend_from_slice(MAGIC);
        message.extend_from_slice(&self.epoch.to_be_bytes());
        message.extend_from_slice(&number.to_be_bytes());
        let tag = self.key.tag(&[message]);
        message.extend_from_slice(&tag);
    }
}

dataplane::reasons! {
    /// Why a message was not taken for that of a master with the same key.
    pub(super) SealReject:
    Unsealed "unsealed" "Not sealed, though this director has a key."
    Forged "forged" "Sealed with another key, or changed on its way."
    Epoch "epoch" "Of a master daemon that has not proved itself yet, or of an earlier one."
    Replayed "replayed" "Seen before, or too old to know."
}

/// What a sealed message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) epoch: u64,
    pub(super) number: u64,
}

/// Checks a message's code.
pub(super) fn open(key: &Key, message: &[u8]) -> Result<Sealed, SealReject> {
    let start = message.len().checked_sub(TRAILER).ok_or(SealReject::Unsealed)?;
    let (before, tag) = message.split_at(message.len() - TAG);
    let Some(rest) = message[start..].strip_prefix(MAGIC) else {
        return Err(SealReject::Unsealed);
    };
    if !key.is_tag(&[before], tag) {
        return Err(SealReject::Forged);
    }
    let word = |at: usize| {
        let bytes = rest[at..].first_chunk().expect("the trailer has a fixed length");
        u64::from_be_bytes(*bytes)
    };
    Ok(Sealed { epoch: word(0), number: word(8) })
}

/// Which numbers of an epoch have been seen.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) epoch: u64,
    highest: u64,
    seen: [u64; (WINDOW / 64) as usize],
}

impl Window {
    /// A window for numbers after `highest`, which a master has just proved to be its last.
    pub(super) fn new(epoch: u64, highest: u64) -> Self {
        Self { epoch, highest, seen: [u64::MAX; (WINDOW / 64) as usize] }
    }

    /// Takes a number, once.
    pub(super) fn take(&mut self, sealed: Sealed) -> Result<(), SealReject> {
        if sealed.epoch != self.epoch {
            return Err(SealReject::Epoch);
        }
        let number = sealed.number;
        if number > self.highest {
            let skipped = number - self.highest;
            if skipped >= WINDOW {
                self.seen = [0; (WINDOW / 64) as usize];
            } else {
                (self.highest + 1..=number).for_each(|number| self.set(number, false));
            }
            self.highest = number;
        } else if self.highest - number >= WINDOW || self.is_set(number) {
            return Err(SealReject::Replayed);
        }
        self.set(number, true);
        Ok(())
    }

    fn set(&mut self, number: u64, is_seen: bool) {
        let place = number % WINDOW;
        let bit = 1 << (place % 64);
        let word = &mut self.seen[(place / 64) as usize];
        *word = if is_seen { *word | bit } else { *word & !bit };
    }

    fn is_set(&self, number: u64) -> bool {
        let place = number % WINDOW;
        self.seen[(place / 64) as usize] & 1 << (place % 64) != 0
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
