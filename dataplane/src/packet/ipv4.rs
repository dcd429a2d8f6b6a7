//! The IPv4 header (RFC 791): checked, read, and rewritten in place.

use super::checksum::{self, Delta, TTL_DECREMENT};
use super::{Header, Network, protocol, read_u16, write_u16};
use crate::frame::Checksum;
use crate::verdict::DropReason;
use core::net::Ipv4Addr;

/// Length of a header without options.
pub const HEADER_LENGTH: usize = 20;

const TOS: usize = 1;
const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FRAGMENT: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;

impl Network for Ipv4Addr {
    const ETHER_TYPE: u16 = 0x0800;
    const OUTER_LENGTH: usize = HEADER_LENGTH;

    #[inline]
    fn parse(l3: &[u8], port_says: Checksum) -> Result<Header<Self>, DropReason> {
        let fixed: &[u8; HEADER_LENGTH] = l3.first_chunk().ok_or(DropReason::Ipv4Short)?;
        if fixed[0] >> 4 != 4 {
            return Err(DropReason::Ipv4Version);
        }
        let header_length = usize::from(fixed[0] & 0x0f) * 4;
        if header_length < HEADER_LENGTH || header_length > l3.len() {
            return Err(DropReason::Ipv4HeaderLength);
        }
        let total_length = read_u16(fixed, TOTAL_LENGTH);
        if usize::from(total_length) < header_length || usize::from(total_length) > l3.len() {
            return Err(DropReason::Ipv4TotalLength);
        }
        let sound = match port_says {
            Checksum::Good => true,
            Checksum::Bad => false,
            Checksum::Unknown if header_length == HEADER_LENGTH => checksum::is_correct(fixed),
            Checksum::Unknown => checksum::of(&l3[..header_length]) == 0,
        };
        if !sound {
            return Err(DropReason::Ipv4Checksum);
        }
        if header_length > HEADER_LENGTH {
            refuse_source_route(&l3[HEADER_LENGTH..header_length])?;
        }
        if read_u16(fixed, FRAGMENT) & MORE_FRAGMENTS_AND_OFFSET != 0 {
            return Err(DropReason::Fragment);
        }
        Ok(Header {
            source: address_at(fixed, SOURCE),
            destination: address_at(fixed, DESTINATION),
            protocol: fixed[PROTOCOL],
            ttl: fixed[TTL],
            header_length: header_length as u16,
            total_length,
        })
    }

    #[inline]
    fn hop(l3: &mut [u8], delta: Delta) {
        let header = fixed(l3);
        let patched = TTL_DECREMENT.and(delta).patch(read_u16(header, CHECKSUM));
        header[TTL] -= 1;
        write_u16(header, CHECKSUM, patched);
    }

    #[inline]
    fn set_source(l3: &mut [u8], source: Self) {
        fixed(l3)[SOURCE..SOURCE + 4].copy_from_slice(&source.octets());
    }

    #[inline]
    fn set_destination(l3: &mut [u8], destination: Self) {
        fixed(l3)[DESTINATION..DESTINATION + 4].copy_from_slice(&destination.octets());
    }

    #[inline]
    fn sum(self) -> u64 {
        u64::from(u32::from(self))
    }

    fn is_martian(self) -> bool {
        matches!(self.octets()[0], 0 | 127 | 224..)
    }
}

/// The part of a header that is always there; one check of the length for all fields.
#[inline]
fn fixed(l3: &mut [u8]) -> &mut [u8; HEADER_LENGTH] {
    l3.first_chunk_mut().expect("a header is rewritten after it has been accepted")
}

/// Loose and strict source routes let a sender choose the way around us (RFC 791 section 3.1).
#[cold]
fn refuse_source_route(mut options: &[u8]) -> Result<(), DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    loop {
        match *options {
            [] | [END, ..] => return Ok(()),
            [NO_OPERATION, ref rest @ ..] => options = rest,
            [LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, ..] => {
                return Err(DropReason::Ipv4SourceRoute);
            }
            [_, length, ..] if length >= 2 => {
                options = options.get(usize::from(length)..).ok_or(DropReason::Ipv4HeaderLength)?;
            }
            _ => return Err(DropReason::Ipv4HeaderLength),
        }
    }
}

#[inline]
fn address_at(header: &[u8; HEADER_LENGTH], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

/// An outer header towards one tunnel server, all but the fields that vary by packet filled in.
#[derive(Clone, Copy, Debug, Default)]
pub struct OuterTemplate {
    bytes: [u8; HEADER_LENGTH],
    sum: u32,
}

impl OuterTemplate {
    /// A template for IPv4-in-IPv4 packets (RFC 2003 section 3.1).
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0] = 0x45;
        bytes[PROTOCOL] = protocol::IPIP;
        Ipv4Addr::set_source(&mut bytes, source);
        Ipv4Addr::set_destination(&mut bytes, destination);
        Self { bytes, sum: u32::from(checksum::fold(checksum::sum(&bytes))) }
    }

    /// Writes the outer header into the first 20 bytes of `l3`, which the inner packet follows,
    /// already hopped. `identification` numbers the packets that may be fragmented.
    #[inline]
    pub fn write(&self, l3: &mut [u8], inner_length: u16, identification: u16) {
        let both: &mut [u8; 2 * HEADER_LENGTH] =
            l3.first_chunk_mut().expect("there is an inner header behind the outer one");
        let inner = &both[HEADER_LENGTH..];
        let dont_fragment = read_u16(inner, FRAGMENT) & DONT_FRAGMENT;
        let identification = if dont_fragment == 0 { identification } else { 0 };
        let total_length = inner_length + HEADER_LENGTH as u16;
        let (tos, ttl) = (outer_tos(inner[TOS]), inner[TTL]);
        let sum = u64::from(self.sum)
            + u64::from(tos)
            + u64::from(total_length)
            + u64::from(identification)
            + u64::from(dont_fragment)
            + (u64::from(ttl) << 8);
        both[..HEADER_LENGTH].copy_from_slice(&self.bytes);
        both[TOS] = tos;
        both[TTL] = ttl;
        write_u16(both, TOTAL_LENGTH, total_length);
        write_u16(both, IDENTIFICATION, identification);
        write_u16(both, FRAGMENT, dont_fragment);
        write_u16(both, CHECKSUM, !checksum::fold(sum));
    }
}

/// The inner DSCP, and ECN except that "congestion experienced" starts anew as ECT(0)
/// (RFC 3168 section 9.1.1, full functionality).
#[inline]
fn outer_tos(inner: u8) -> u8 {
    if inner & 0b11 == 0b11 { inner & !0b11 | 0b10 } else { inner }
}

/// Turns a packet to us around: source and destination change places, the time to live is fresh.
pub(super) fn turn_around(l3: &mut [u8], header_length: usize) {
    for n in 0..4 {
        l3.swap(SOURCE + n, DESTINATION + n);
    }
    l3[TTL] = 64;
    write_u16(l3, CHECKSUM, 0);
    let sum = checksum::of(&l3[..header_length]);
    write_u16(l3, CHECKSUM, sum);
}
