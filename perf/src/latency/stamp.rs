//! Frames that carry when they were due, so that their latency is known when they are back.

use dataplane::packet::checksum;

use crate::frames::{self, DUT_MAC};
use crate::port::FLOWS;

/// Ethernet, IPv4 and UDP headers.
const PAYLOAD: usize = 14 + 20 + 8;
/// Where UDP has its checksum.
const CHECKSUM: usize = 14 + 20 + 6;
/// What the payload holds: number of the trial, number of the frame, due time.
const LENGTH: usize = 2 + 8 + 8;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// A late frame does not count in the next trial.
    pub(super) trial: u16,
    /// From 0 in each trial; it also chooses the flow.
    pub(super) sequence: u64,
    /// When it was to be sent, in ns since the trial began.
    pub(super) due_ns: u64,
}

/// A frame of each flow.
pub(super) struct Frames(Vec<Vec<u8>>);

impl Frames {
    pub(super) fn new() -> Self {
        Self(frames::udp(DUT_MAC, FLOWS))
    }

    /// Bytes of a frame.
    pub(super) const LENGTH: usize = PAYLOAD + LENGTH;

    /// Writes a frame of [`Self::LENGTH`] bytes, its checksums correct.
    pub(super) fn write(&self, stamp: Stamp, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[(stamp.sequence % u64::from(FLOWS)) as usize]);
        let payload = &mut bytes[PAYLOAD..];
        payload[..2].copy_from_slice(&stamp.trial.to_be_bytes());
        payload[2..10].copy_from_slice(&stamp.sequence.to_be_bytes());
        payload[10..].copy_from_slice(&stamp.due_ns.to_be_bytes());
        // The payload was zero when the checksum was made.
        let added = checksum::sum(payload);
        let field = &mut bytes[CHECKSUM..PAYLOAD];
        let old = u16::from_be_bytes([field[0], field[1]]);
        let new = !checksum::fold(u64::from(!old) + added);
        // Zero says that there is none (RFC 768).
        field.copy_from_slice(&if new == 0 { 0xffff } else { new }.to_be_bytes());
    }
}

/// Reads the stamp at the end of a frame, whatever is in front of it now.
pub(super) fn read(bytes: &[u8]) -> Option<Stamp> {
    let payload: &[u8; LENGTH] = bytes.get(PAYLOAD..)?.last_chunk()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    Some(Stamp {
        trial: number(&payload[..2]) as u16,
        sequence: number(&payload[2..10]),
        due_ns: number(&payload[10..]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_checksum_holds() {
        let frames = Frames::new();
        for sequence in [0, 1, 1023, 0xffff_ffff_ffff] {
            let stamp = Stamp { trial: 0xfffe, sequence, due_ns: sequence * 97 };
            let mut bytes = vec![0; Frames::LENGTH];
            frames.write(stamp, &mut bytes);
            assert_eq!(read(&bytes), Some(stamp));
            let sliced = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
            let Some(etherparse::NetSlice::Ipv4(ip)) = sliced.net else { panic!("no IPv4") };
            let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("no UDP")
            };
            let header = udp.to_header();
            let expected = header.calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
            assert_eq!(expected.unwrap(), header.checksum, "{sequence}");
        }
        assert_eq!(read(&[0; 59]), None);
    }
}
