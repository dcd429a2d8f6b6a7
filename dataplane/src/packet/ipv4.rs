//! The IPv4 header (RFC 791): checked, read, and rewritten in place.

use super::checksum::{self, Delta, TTL_DECREMENT};
use super::icmp::Complaint;
use super::{Header, Inner, Network, Packet, USUAL_L3, read_u16, transport, write_u16};
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

pub(super) const DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
const MORE_FRAGMENTS_AND_OFFSET: u16 = 0x3fff;

impl Network for Ipv4Addr {
    const ETHER_TYPE: u16 = 0x0800;
    const ICMP: u8 = 1;
    const IN_IP: u8 = 4;
    const HEADER_LENGTH: usize = HEADER_LENGTH;
    const MOST_ERROR: usize = 576;
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const CHECKS_ICMP: bool = true;
    const MARTIAN: DropReason = DropReason::Ipv4Source;

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

    #[inline(always)]
    fn parse_usual(frame: &[u8], port_says: Checksum) -> Option<Packet<Self>> {
        const HEADERS: usize = USUAL_L3 + HEADER_LENGTH + transport::LOOKED_AT;
        let headers: &[u8; HEADERS] = frame.first_chunk()?;
        let ip: &[u8; HEADER_LENGTH] = headers[USUAL_L3..].first_chunk()?;
        let segment = headers[USUAL_L3 + HEADER_LENGTH..].first_chunk()?;
        let total_length = read_u16(ip, TOTAL_LENGTH);
        let is_sound = match port_says {
            Checksum::Good => true,
            Checksum::Bad => false,
            Checksum::Unknown => checksum::is_correct(ip),
        };
        // A length under the header's wraps around and is too long.
        let segment_length = usize::from(total_length).wrapping_sub(HEADER_LENGTH);
        let fragment = u16::from_ne_bytes([ip[FRAGMENT], ip[FRAGMENT + 1]]);
        let is_usual = (fragment & MORE_FRAGMENTS_AND_OFFSET.to_be() == 0)
            & (segment_length <= frame.len() - (USUAL_L3 + HEADER_LENGTH))
            & is_sound;
        let ports = transport::usual(ip[PROTOCOL], segment, segment_length)?;
        if !is_usual {
            return None;
        }
        let header = Header {
            source: address_at(ip, SOURCE),
            destination: address_at(ip, DESTINATION),
            protocol: ip[PROTOCOL],
            ttl: ip[TTL],
            header_length: HEADER_LENGTH as u16,
            total_length,
        };
        Some(Packet::new(header, USUAL_L3, ports))
    }

    #[inline(always)]
    fn hop(l3: &mut [u8], delta: Delta) {
        let header = fixed(l3);
        patch(header, TTL_DECREMENT.and(delta));
        header[TTL] -= 1;
    }

    #[inline(always)]
    fn set_source(l3: &mut [u8], source: Self) {
        fixed(l3)[SOURCE..SOURCE + 4].copy_from_slice(&source.octets());
    }

    #[inline(always)]
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

    fn may_fragment(l3: &[u8]) -> bool {
        read_u16(l3, FRAGMENT) & DONT_FRAGMENT == 0
    }

    #[inline(always)]
    fn inner(l3: &[u8]) -> Inner {
        let header: &[u8; HEADER_LENGTH] =
            l3.first_chunk().expect("an accepted header has its length");
        Inner {
            tos: header[TOS],
            ttl: header[TTL],
            dont_fragment: read_u16(header, FRAGMENT) & DONT_FRAGMENT != 0,
        }
    }

    fn patch(l3: &mut [u8], delta: Delta) {
        patch(fixed(l3), delta);
    }

    fn write_header(
        l3: &mut [u8],
        (source, destination): (Self, Self),
        protocol: u8,
        tos: u8,
        identification: u16,
    ) {
        let total_length = l3.len() as u16;
        let header = fixed(l3);
        header.fill(0);
        header[0] = 0x45;
        header[TOS] = tos;
        write_u16(header, TOTAL_LENGTH, total_length);
        write_u16(header, IDENTIFICATION, identification);
        write_u16(header, FRAGMENT, if identification == 0 { DONT_FRAGMENT } else { 0 });
        header[TTL] = OWN_TTL;
        header[PROTOCOL] = protocol;
        Self::set_source(header, source);
        Self::set_destination(header, destination);
        let sum = checksum::of(header);
        write_u16(header, CHECKSUM, sum);
    }

    fn turn_around(l3: &mut [u8], header_length: usize, identification: u16) {
        for n in 0..4 {
            l3.swap(SOURCE + n, DESTINATION + n);
        }
        l3[TTL] = OWN_TTL;
        write_u16(l3, IDENTIFICATION, identification);
        write_u16(l3, FRAGMENT, 0);
        write_u16(l3, CHECKSUM, 0);
        let sum = checksum::of(&l3[..header_length]);
        write_u16(l3, CHECKSUM, sum);
    }

    fn parse_quoted(quoted: &[u8]) -> Option<(Self, Self, u8, usize, bool)> {
        let fixed: &[u8; HEADER_LENGTH] = quoted.first_chunk()?;
        let length = usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] >> 4 != 4 || length < HEADER_LENGTH || length > quoted.len() {
            return None;
        }
        let is_later_fragment = read_u16(fixed, FRAGMENT) & FRAGMENT_OFFSET != 0;
        let ends = (address_at(fixed, SOURCE), address_at(fixed, DESTINATION));
        Some((ends.0, ends.1, fixed[PROTOCOL], length, is_later_fragment))
    }

    fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED)
    }

    fn is_other_error(kind: u8) -> bool {
        matches!(kind, REDIRECT | PARAMETER_PROBLEM)
    }

    fn complaint(complaint: Complaint) -> (u8, u8, u32) {
        match complaint {
            Complaint::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Complaint::PortUnreachable => (UNREACHABLE, PORT_UNREACHABLE, 0),
            Complaint::TooBig(mtu) => (UNREACHABLE, FRAGMENTATION_NEEDED, mtu.into()),
        }
    }

    /// Internetwork control (RFC 1812 section 4.3.2.5), with the packet's type of service.
    fn complaint_tos(quoted: &[u8]) -> u8 {
        quoted[TOS] & 0x1e | 0xc0
    }

    fn too_big(kind: u8, code: u8, rest: u32) -> Option<u16> {
        ((kind, code) == (UNREACHABLE, FRAGMENTATION_NEEDED)).then_some(rest as u16)
    }

    /// ICMP for IPv4 has none.
    fn icmp_pseudo_header(_: (Self, Self), _: usize) -> u64 {
        0
    }
}

const UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// Time to live of packets of our own.
const OWN_TTL: u8 = 64;

/// The part of a header that is always there; one check of the length for all fields.
#[inline]
fn fixed(l3: &mut [u8]) -> &mut [u8; HEADER_LENGTH] {
    l3.first_chunk_mut().expect("a header is rewritten after it has been accepted")
}

#[inline(always)]
fn patch(header: &mut [u8; HEADER_LENGTH], delta: Delta) {
    let patched = delta.patch([header[CHECKSUM], header[CHECKSUM + 1]]);
    header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&patched);
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
