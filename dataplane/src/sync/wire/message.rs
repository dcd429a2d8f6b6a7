//! A received message: its header, and the way from entry to entry.

use core::iter::FusedIterator;

use super::{Entry, Fields, Version, v0, v1};
use crate::sync::Reject;

/// Judges a datagram by its header, and gives its entries.
///
/// `own_id` is the receiver's sync id; with 0 it listens to every group.
///
/// # Errors
/// When nothing of it can be used: it is short, its size field is not its length, it belongs to
/// another group, or is of no known version.
pub fn read(bytes: &[u8], own_id: u8) -> Result<Entries<'_>, Reject> {
    let mut header = Fields(bytes.get(..Version::V0.header_length()).ok_or(Reject::Short)?);
    let [_, sync_id] = header.bytes();
    if usize::from(header.u16()) != bytes.len() {
        return Err(Reject::Size);
    }
    if own_id != 0 && own_id != sync_id {
        return Err(Reject::SyncId);
    }
    let (version, remaining) = version_and_count(bytes).ok_or(Reject::Version)?;
    Ok(Entries { bytes, at: version.header_length(), remaining, version, sync_id })
}

/// How many entries a message claims to have; 0 when it is no message.
#[must_use]
pub fn entry_count(bytes: &[u8]) -> u8 {
    version_and_count(bytes).map_or(0, |(_, count)| count)
}

/// In version 1 the first byte, the count of version 0, is zero. Without a count there it is
/// neither, and a receiver of version 0 would see nothing in it.
fn version_and_count(bytes: &[u8]) -> Option<(Version, u8)> {
    match *bytes {
        [0, _, _, _, count, 1, 0, 0, ..] => Some((Version::V1, count)),
        [0, ..] | [] => None,
        [count, ..] => Some((Version::V0, count)),
    }
}

/// The entries of a message, one after the other.
///
/// An error that [ends the message](Reject::ends_message) is the last item; after another the next
/// entry follows. Entries beyond the count are not looked at; missing ones are an error.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    /// Where the next entry begins; may be past the end by what would be padding.
    at: usize,
    remaining: u8,
    version: Version,
    sync_id: u8,
}

impl<'a> Entries<'a> {
    /// The message's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The sender's group.
    #[must_use]
    pub fn sync_id(&self) -> u8 {
        self.sync_id
    }

    /// What follows the last entry, from the next multiple of four bytes on; receivers of the
    /// kernel's ignore it. Found by the entries' sizes alone, so it can be asked for before they
    /// are read; empty when those do not lead there.
    #[must_use]
    pub fn trailer(&self) -> &'a [u8] {
        let mut rest = self.clone();
        while rest.remaining > 0 {
            if rest.cut().is_err() {
                return &[];
            }
        }
        rest.bytes.get(rest.at..).unwrap_or_default()
    }

    /// The bytes of the next entry, without padding: no fewer than it needs without options.
    fn cut(&mut self) -> Result<&'a [u8], Reject> {
        self.remaining -= 1;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = match self.version {
            Version::V0 => v0::length(rest)?,
            Version::V1 => v1::length(rest)?,
        };
        // Headers and version 0's entries are multiples of four: only version 1 has padding.
        self.at += length.next_multiple_of(4);
        rest.get(..length).ok_or(Reject::EntryCut)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        let entry = self.cut().and_then(|entry| match self.version {
            Version::V0 => v0::read(entry),
            Version::V1 => v1::read(entry),
        });
        if entry.is_err_and(Reject::ends_message) {
            self.remaining = 0;
            self.at = self.bytes.len();
        }
        Some(entry)
    }
}

impl FusedIterator for Entries<'_> {}
