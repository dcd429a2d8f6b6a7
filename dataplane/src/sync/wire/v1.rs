//! Entries of version 1 (sync protocol reference §4).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Engine, Entry, Fields, check::check, numbers, with_sequence};
use crate::sync::{Record, RecordFlags, Reject, Sequence, Unsent};

/// Length of an entry up to its options, by address family.
const LENGTH_IPV4: usize = 36;
const LENGTH_IPV6: usize = 72;
/// Bits of the field that holds version and size: the size's.
const SIZE: u16 = 0x0fff;
/// Type of an entry: the bit of IPv6.
const IPV6: u8 = 1;

const SEQUENCE_DATA: u8 = 1;
const ENGINE_DATA: u8 = 2;
const ENGINE_NAME: u8 = 3;
/// In the type of an option: whoever does not know it may skip it.
const OPTIONAL: u8 = 0x40;
/// Length of type and length of an option.
const OPTION_HEADER: usize = 2;
const SEQUENCE_LENGTH: usize = 24;
const LONGEST_NAME: usize = 16;
const LONGEST_DATA: usize = u8::MAX as usize;

/// The longest entry that a writer makes.
pub(super) const LONGEST: usize =
    LENGTH_IPV6 + 3 * OPTION_HEADER + SEQUENCE_LENGTH + LONGEST_NAME + LONGEST_DATA;

/// Length of the entry that `bytes` begin with, with its options.
pub(super) fn length(bytes: &[u8]) -> Result<usize, Reject> {
    let mut fields = Fields(bytes.get(..LENGTH_IPV4).ok_or(Reject::EntryCut)?);
    let [kind, _] = fields.bytes();
    let version_and_size = fields.u16();
    if version_and_size & !SIZE != 0 {
        return Err(Reject::EntryVersion);
    }
    let least = match kind {
        0 => LENGTH_IPV4,
        _ if kind & IPV6 != 0 => LENGTH_IPV6,
        _ => return Err(Reject::EntryType),
    };
    let size = usize::from(version_and_size);
    if size < least { Err(Reject::EntrySize) } else { Ok(size) }
}

/// Reads an entry of the length that [`length`] tells.
pub(super) fn read(entry: &[u8]) -> Result<Entry<'_>, Reject> {
    let mut fields = Fields(entry);
    let [kind, protocol, _, _] = fields.bytes();
    // The upper half means something to the sender only.
    let flags = fields.u32() as u16;
    let state = fields.u16();
    let ports = [(); 3].map(|()| fields.u16());
    let mark = fields.u32();
    let timeout_s = fields.u32();
    let addresses = [(); 3].map(|()| fields.address(kind & IPV6 != 0));
    let options = Options::read(fields.rest())?;
    check(flags, protocol, state)?;
    let (flags, sequence) = with_sequence(flags, options.sequence);
    let engine = match (options.name, options.data) {
        (Some(name), Some(data)) => Some(Engine { name, data }),
        (None, Some(_)) => return Err(Reject::EngineName),
        (_, None) => None,
    };
    Ok(Entry {
        record: Record {
            protocol,
            flags,
            state,
            timeout_s,
            mark,
            client: (addresses[0], ports[0]),
            virtual_end: (addresses[1], ports[1]),
            real: (addresses[2], ports[2]),
            sequence,
        },
        engine,
    })
}

/// The options of an entry that are known.
#[derive(Default)]
struct Options<'a> {
    sequence: Option<[Sequence; 2]>,
    data: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn read(mut bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut options = Self::default();
        while let Some((&kind, rest)) = bytes.split_first() {
            let (&length, rest) = rest.split_first().ok_or(Reject::OptionCut)?;
            if length == 0 {
                return Err(Reject::OptionLength);
            }
            let (data, rest) = rest.split_at_checked(length.into()).ok_or(Reject::OptionCut)?;
            options.take(kind, data)?;
            bytes = rest;
        }
        Ok(options)
    }

    fn take(&mut self, kind: u8, data: &'a [u8]) -> Result<(), Reject> {
        let is_second = match kind & !OPTIONAL {
            SEQUENCE_DATA if data.len() != SEQUENCE_LENGTH => return Err(Reject::OptionLength),
            SEQUENCE_DATA => {
                self.sequence.replace(Fields(data).sequence(u32::from_be_bytes)).is_some()
            }
            ENGINE_DATA => self.data.replace(data).is_some(),
            ENGINE_NAME if data.len() > LONGEST_NAME => return Err(Reject::OptionLength),
            ENGINE_NAME => self.name.replace(data).is_some(),
            _ if kind & OPTIONAL == 0 => return Err(Reject::OptionUnknown),
            _ => false,
        };
        if is_second { Err(Reject::OptionTwice) } else { Ok(()) }
    }
}

/// An entry that can be written.
pub(super) struct Draft<'a> {
    record: &'a Record,
    engine: Option<Engine<'a>>,
    is_ipv6: bool,
    flags: RecordFlags,
    sequence: Option<[Sequence; 2]>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(record: &'a Record, engine: Option<Engine<'a>>) -> Result<Self, Unsent> {
        let is_fit = |engine: Engine<'_>| {
            (1..=LONGEST_NAME).contains(&engine.name.len())
                && (1..=LONGEST_DATA).contains(&engine.data.len())
        };
        if !engine.is_none_or(is_fit) {
            return Err(Unsent::EngineLength);
        }
        let (flags, sequence) = with_sequence(record.flags.0, record.sequence);
        Ok(Self { record, engine, is_ipv6: record.client.0.is_ipv6(), flags, sequence })
    }

    pub(super) fn length(&self) -> usize {
        let fixed = if self.is_ipv6 { LENGTH_IPV6 } else { LENGTH_IPV4 };
        let sequence = self.sequence.map_or(0, |_| OPTION_HEADER + SEQUENCE_LENGTH);
        let engine = self
            .engine
            .map_or(0, |engine| 2 * OPTION_HEADER + engine.name.len() + engine.data.len());
        fixed + sequence + engine
    }

    pub(super) fn write(&self, message: &mut Vec<u8>) {
        let record = self.record;
        let ends = [record.client, record.virtual_end, record.real];
        message.extend([if self.is_ipv6 { IPV6 } else { 0 }, record.protocol]);
        // At most LONGEST: the version, in the upper bits, is 0.
        message.extend((self.length() as u16).to_be_bytes());
        message.extend(u32::from(self.flags.0).to_be_bytes());
        message.extend(record.state.to_be_bytes());
        for (_, port) in ends {
            message.extend(port.to_be_bytes());
        }
        message.extend(record.mark.to_be_bytes());
        message.extend(record.timeout_s.to_be_bytes());
        for (address, _) in ends {
            match address {
                IpAddr::V4(address) => message.extend(address.octets()),
                IpAddr::V6(address) => message.extend(address.octets()),
            }
        }
        if let Some(sequence) = self.sequence {
            message.extend([SEQUENCE_DATA, SEQUENCE_LENGTH as u8]);
            for number in sequence.iter().flat_map(numbers) {
                message.extend(number.to_be_bytes());
            }
        }
        // Data before name, as the kernel has them.
        if let Some(engine) = self.engine {
            for (kind, data) in [(ENGINE_DATA, engine.data), (ENGINE_NAME, engine.name)] {
                message.extend([kind, data.len() as u8]);
                message.extend_from_slice(data);
            }
        }
    }
}
