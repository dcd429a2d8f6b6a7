//! Entries of version 0 (sync protocol reference §3).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::{Engine, Entry, Fields, check::check, numbers, with_sequence};
use crate::sync::{Record, RecordFlags, Reject, Sequence, Unsent};

/// Length of an entry, to which sequence data may be added.
const LENGTH: usize = 24;
const WITH_SEQUENCE: usize = 48;
const FLAGS: usize = 20;

/// Length of the entry that `bytes` begin with.
pub(super) fn length(bytes: &[u8]) -> Result<usize, Reject> {
    let flags = Fields(bytes.get(FLAGS..LENGTH).ok_or(Reject::EntryCut)?).u16();
    Ok(if RecordFlags(flags).has(RecordFlags::SEQUENCE) { WITH_SEQUENCE } else { LENGTH })
}

/// Reads an entry of the length that [`length`] tells.
pub(super) fn read(entry: &[u8]) -> Result<Entry<'static>, Reject> {
    let mut fields = Fields(entry);
    let [_, protocol] = fields.bytes();
    let ports = [(); 3].map(|()| fields.u16());
    let addresses = [(); 3].map(|()| fields.address(false));
    let flags = fields.u16();
    let state = fields.u16();
    check(flags, protocol, state)?;
    let has_sequence = RecordFlags(flags).has(RecordFlags::SEQUENCE);
    let sequence = has_sequence.then(|| fields.sequence(u32::from_le_bytes));
    let (flags, sequence) = with_sequence(flags, sequence);
    Ok(Entry {
        record: Record {
            protocol,
            flags,
            state,
            timeout_s: 0,
            mark: 0,
            client: (addresses[0], ports[0]),
            virtual_end: (addresses[1], ports[1]),
            real: (addresses[2], ports[2]),
            sequence,
        },
        engine: None,
    })
}

/// An entry that can be written.
pub(super) struct Draft<'a> {
    record: &'a Record,
    addresses: [Ipv4Addr; 3],
    flags: RecordFlags,
    sequence: Option<[Sequence; 2]>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(record: &'a Record, engine: Option<Engine<'_>>) -> Result<Self, Unsent> {
        let (IpAddr::V4(client), IpAddr::V4(virtual_address), IpAddr::V4(real)) =
            (record.client.0, record.virtual_end.0, record.real.0)
        else {
            return Err(Unsent::Version0Ipv6);
        };
        if record.mark != 0 {
            return Err(Unsent::Version0Mark);
        }
        if engine.is_some() {
            return Err(Unsent::Version0Engine);
        }
        let (flags, sequence) = with_sequence(record.flags.0, record.sequence);
        Ok(Self { record, addresses: [client, virtual_address, real], flags, sequence })
    }

    pub(super) fn length(&self) -> usize {
        if self.sequence.is_some() { WITH_SEQUENCE } else { LENGTH }
    }

    pub(super) fn write(&self, message: &mut Vec<u8>) {
        let record = self.record;
        message.extend([0, record.protocol]);
        for (_, port) in [record.client, record.virtual_end, record.real] {
            message.extend(port.to_be_bytes());
        }
        for address in self.addresses {
            message.extend(address.octets());
        }
        message.extend(self.flags.0.to_be_bytes());
        message.extend(record.state.to_be_bytes());
        for number in self.sequence.iter().flatten().flat_map(numbers) {
            message.extend(number.to_le_bytes());
        }
    }
}
