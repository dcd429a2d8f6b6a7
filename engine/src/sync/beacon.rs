//! What a master of ours says of itself once a second: a message without entries, which kernels
//! ignore, followed by where its whole table can be asked for and how many messages it has sent.

use dataplane::sync::wire::{Version, Writer};

const MAGIC: &[u8; 4] = b"PVSb";
const VERSION: u8 = 1;
const LENGTH: usize = 4 + 1 + 1 + 2 + 8 + 8;

/// Whether a director forwards now, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// It takes part in no VRRP, so it cannot know.
    #[default]
    Unknown = 0,
    /// It is the master of a virtual router.
    Active = 1,
    /// It is the master of none.
    Passive = 2,
}

impl Activity {
    pub(super) fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Active,
            2 => Self::Passive,
            _ => Self::Unknown,
        }
    }
}

/// What a master says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beacon {
    pub(super) activity: Activity,
    /// TCP port where the whole table can be had.
    pub(super) port: u16,
    /// Drawn at random by each master daemon at its start.
    pub(super) epoch: u64,
    /// Messages sent since then, beacons not counted, and losses before they could be sent.
    pub(super) sent: u64,
}

impl Beacon {
    /// The message.
    pub(super) fn message(&self, sync_id: u8) -> Vec<u8> {
        let mut message = Writer::new(Version::V1, sync_id, 0).message().to_vec();
        message.extend_from_slice(MAGIC);
        message.extend_from_slice(&[VERSION, self.activity as u8]);
        message.extend_from_slice(&self.port.to_be_bytes());
        message.extend_from_slice(&self.epoch.to_be_bytes());
        message.extend_from_slice(&self.sent.to_be_bytes());
        let size = (message.len() as u16).to_be_bytes();
        message[2..4].copy_from_slice(&size);
        message
    }

    /// Reads what follows a message's entries, of which there are none.
    pub(super) fn read(trailer: &[u8]) -> Option<Self> {
        let fields: &[u8; LENGTH] = trailer.first_chunk()?;
        let rest = fields.strip_prefix(MAGIC)?;
        let word = |at: usize| rest[at..].first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        (rest[0] == VERSION).then_some(())?;
        Some(Self {
            activity: Activity::from_number(rest[1]),
            port: u16::from_be_bytes([rest[2], rest[3]]),
            epoch: word(4)?,
            sent: word(12)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::sync::wire;

    #[test]
    fn a_beacon_is_an_empty_message_to_others() {
        let beacon = Beacon { activity: Activity::Active, port: 8848, epoch: 1 << 60, sent: 77 };
        let message = beacon.message(5);
        let mut entries = wire::read(&message, 5).unwrap();
        assert_eq!(entries.next(), None);
        assert_eq!(Beacon::read(entries.trailer()), Some(beacon));
        for length in 0..LENGTH {
            assert_eq!(Beacon::read(&message[8..8 + length]), None);
        }
    }
}
