//! Ethernet II frames, with at most one 802.1Q tag.

use super::read_u16;
use crate::verdict::DropReason;

/// A link-layer (MAC) address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names a group of stations, the broadcast address included.
    #[inline]
    #[must_use]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl core::fmt::Display for Mac {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of an 802.1ad service tag.
const SERVICE_VLAN: u16 = 0x88a8;

/// A frame's link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Destination address.
    pub destination: Mac,
    /// Source address.
    pub source: Mac,
    /// VLAN identifier; 0 when untagged or only priority-tagged.
    pub vlan: u16,
    /// What the frame carries.
    pub ether_type: u16,
    /// Length of the header: 14, or 18 with a tag.
    pub length: usize,
}

/// Reads a link header.
///
/// # Errors
/// When the frame is too short, tagged twice, or sent by a group address.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Link, DropReason> {
    let header: &[u8; 14] = frame.first_chunk().ok_or(DropReason::EthernetShort)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *header;
    let mut link = Link {
        destination: Mac([d0, d1, d2, d3, d4, d5]),
        source: Mac([s0, s1, s2, s3, s4, s5]),
        vlan: 0,
        ether_type: read_u16(header, 12),
        length: 14,
    };
    if link.source.is_group() {
        return Err(DropReason::EthernetSource);
    }
    if matches!(link.ether_type, VLAN | SERVICE_VLAN) {
        parse_tag(frame, &mut link)?;
    }
    Ok(link)
}

fn parse_tag(frame: &[u8], link: &mut Link) -> Result<(), DropReason> {
    let tagged: &[u8; 18] = frame.first_chunk().ok_or(DropReason::EthernetShort)?;
    let inner = read_u16(tagged, 16);
    if link.ether_type == SERVICE_VLAN || matches!(inner, VLAN | SERVICE_VLAN) {
        return Err(DropReason::NestedVlan);
    }
    link.vlan = read_u16(tagged, 14) & 0x0fff;
    link.ether_type = inner;
    link.length = 18;
    Ok(())
}

/// A link header ready to be put in front of packets of one EtherType to one station.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkHeader {
    bytes: [u8; 18],
    length: u8,
}

impl LinkHeader {
    /// A header with a tag when `vlan` is given.
    #[must_use]
    pub fn new(destination: Mac, source: Mac, vlan: Option<u16>, ether_type: u16) -> Self {
        let mut bytes = [0; 18];
        bytes[..6].copy_from_slice(&destination.0);
        bytes[6..12].copy_from_slice(&source.0);
        let length = match vlan {
            None => {
                bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
                14
            }
            Some(id) => {
                bytes[12..14].copy_from_slice(&VLAN.to_be_bytes());
                bytes[14..16].copy_from_slice(&id.to_be_bytes());
                bytes[16..18].copy_from_slice(&ether_type.to_be_bytes());
                18
            }
        };
        Self { bytes, length }
    }

    /// Length in bytes.
    #[inline(always)]
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The station it points at.
    #[must_use]
    pub fn destination(&self) -> Mac {
        let mut mac = Mac::default();
        mac.0.copy_from_slice(&self.bytes[..6]);
        mac
    }

    /// Points the header at another station.
    pub fn set_destination(&mut self, to: Mac) {
        self.bytes[..6].copy_from_slice(&to.0);
    }

    /// Writes the header to the start of `frame`, which must be at least that long.
    #[inline(always)]
    pub fn write(&self, frame: &mut [u8]) {
        // Two constant lengths compile to moves where a variable one calls memcpy.
        if self.length == 14 {
            frame[..14].copy_from_slice(&self.bytes[..14]);
        } else {
            frame[..18].copy_from_slice(&self.bytes);
        }
    }
}
