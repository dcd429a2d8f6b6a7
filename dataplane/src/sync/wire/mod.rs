//! Sync messages as bytes, in both versions of the kernel's format (sync protocol reference §2-§6).
//!
//! A message is a header and up to 255 entries, each a connection or template. [`read`] judges a
//! datagram and hands out its entries; [`Writer`] makes one. Multi-byte fields are big-endian,
//! except for sequence data in version 0: those are in the sender's own order, which is taken to be
//! little-endian as it is on nearly every machine.

mod check;
mod message;
mod v0;
mod v1;
mod writer;

use core::net::IpAddr;

use super::{Record, RecordFlags, Sequence};

pub(super) use check::check;
pub use message::{Entries, entry_count, read};
pub use writer::Writer;

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// IPv4 only; without timeouts, firewall marks and persistence engines.
    V0,
    /// Since Linux 2.6.39; a receiver of version 0 takes it for an empty message.
    V1,
}

impl Version {
    /// Length of a message's header.
    #[must_use]
    pub const fn header_length(self) -> usize {
        match self {
            Self::V0 => 4,
            Self::V1 => 8,
        }
    }
}

/// What a message says of one connection or template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The connection or template. It has sequence data if, and only if, its flags say so.
    pub record: Record,
    /// What a persistence engine keeps with a template. Whether the engine is known is for the
    /// caller to judge ([`Reject::EngineUnknown`](super::Reject::EngineUnknown)).
    pub engine: Option<Engine<'a>>,
}

/// What a persistence engine, such as SIP's, keeps with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine<'a> {
    /// The engine's name, of 1 to 16 bytes.
    pub name: &'a [u8],
    /// What it goes by, of 1 to 255 bytes: the Call-ID for SIP.
    pub data: &'a [u8],
}

/// A record's flags and sequence data as they travel: only together, for one says nothing without
/// the other, and without what means something to the sender only.
fn with_sequence(
    flags: u16,
    sequence: Option<[Sequence; 2]>,
) -> (RecordFlags, Option<[Sequence; 2]>) {
    let flags = RecordFlags(flags & RecordFlags::TAKEN);
    let sequence = sequence.filter(|_| flags.has(RecordFlags::SEQUENCE));
    let flags = if sequence.is_some() { flags } else { flags.with(RecordFlags::SEQUENCE, false) };
    (flags, sequence)
}

/// The numbers of one direction, as they follow each other.
fn numbers(sequence: &Sequence) -> [u32; 3] {
    [sequence.initial, sequence.delta, sequence.previous_delta]
}

/// Fields read one after the other from bytes whose length has been checked.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes; zeros where there are none.
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let Some((bytes, rest)) = self.0.split_first_chunk() else {
            debug_assert!(false, "lengths are checked first");
            return [0; N];
        };
        self.0 = rest;
        *bytes
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    fn address(&mut self, is_ipv6: bool) -> IpAddr {
        if is_ipv6 { self.bytes::<16>().into() } else { self.bytes::<4>().into() }
    }

    /// Sequence data of both directions, whose fields are in the order that `number` reads.
    fn sequence(&mut self, number: fn([u8; 4]) -> u32) -> [Sequence; 2] {
        [(); 2].map(|()| Sequence {
            initial: number(self.bytes()),
            delta: number(self.bytes()),
            previous_delta: number(self.bytes()),
        })
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}
