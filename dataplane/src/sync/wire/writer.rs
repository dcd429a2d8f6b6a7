//! Making a message.

use alloc::vec::Vec;

use super::{Engine, Version, v0, v1};
use crate::sync::{Record, RecordFlags, Unsent};

/// Most entries in a message: the count is one byte.
const MOST_ENTRIES: u8 = u8::MAX;
/// The longest message: its size field is two bytes.
const LONGEST: usize = u16::MAX as usize;

/// Puts records into a message until it is full. Its memory is reserved once.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The header, to be filled in, and the entries.
    message: Vec<u8>,
    version: Version,
    sync_id: u8,
    max_length: usize,
    count: u8,
}

impl Writer {
    /// An empty message of a group. `max_length` is in bytes of UDP payload; a single entry may
    /// exceed it.
    #[must_use]
    pub fn new(version: Version, sync_id: u8, max_length: usize) -> Self {
        let max_length = max_length.min(LONGEST);
        let header = version.header_length();
        let mut message = Vec::with_capacity(max_length.max(header + v1::LONGEST));
        message.resize(header, 0);
        Self { message, version, sync_id, max_length, count: 0 }
    }

    /// Appends a record, with what a persistence engine keeps of it. Flags that mean something to
    /// us only are left out, and so are sequence data without their flag.
    ///
    /// # Errors
    /// [`Unsent::Full`] when it has no room here; another when it has none in any message of this
    /// version. The message stays as it was.
    pub fn push(&mut self, record: &Record, engine: Option<Engine<'_>>) -> Result<(), Unsent> {
        if record.flags.has(RecordFlags::ONE_PACKET) {
            return Err(Unsent::OnePacket);
        }
        let ends = [record.client, record.virtual_end, record.real];
        if ends.iter().any(|(address, _)| address.is_ipv6() != record.client.0.is_ipv6()) {
            return Err(Unsent::Families);
        }
        match self.version {
            Version::V0 => {
                let entry = v0::Draft::new(record, engine)?;
                self.make_room(entry.length())?;
                entry.write(&mut self.message);
            }
            Version::V1 => {
                let entry = v1::Draft::new(record, engine)?;
                self.make_room(entry.length())?;
                entry.write(&mut self.message);
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Pads to where an entry may begin, if one of `length` bytes fits there.
    fn make_room(&mut self, length: usize) -> Result<(), Unsent> {
        let start = self.message.len().next_multiple_of(4);
        let fits = self.is_empty() || start + length <= self.max_length;
        if self.count == MOST_ENTRIES || !fits {
            return Err(Unsent::Full);
        }
        self.message.resize(start, 0);
        Ok(())
    }

    /// The message, ready to be sent.
    pub fn message(&mut self) -> &[u8] {
        let count = self.count;
        // No longer than LONGEST, by make_room.
        let [high, low] = (self.message.len() as u16).to_be_bytes();
        match self.version {
            Version::V0 => self.message[..4].copy_from_slice(&[count, self.sync_id, high, low]),
            Version::V1 => {
                // A count of 0 where version 0 has its own, so that its receivers see no entry.
                let header = [0, self.sync_id, high, low, count, 1, 0, 0];
                self.message[..8].copy_from_slice(&header);
            }
        }
        &self.message
    }

    /// Begins another message.
    pub fn clear(&mut self) {
        self.message.truncate(self.version.header_length());
        self.count = 0;
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.into()
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
