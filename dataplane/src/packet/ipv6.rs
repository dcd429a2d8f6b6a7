//! The IPv6 header (RFC 8200): checked, read, and rewritten in place.

use core::net::Ipv6Addr;

use super::checksum::{self, Delta};
use super::icmp::Complaint;
use super::{Header, Inner, Network, Packet, USUAL_L3, read_u16, transport};
use crate::frame::Checksum;
use crate::verdict::DropReason;

/// Length of the fixed header.
pub const HEADER_LENGTH: usize = 40;
/// Extension headers looked through for the transport header.
const MOST_EXTENSIONS: usize = 8;

const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

const UNREACHABLE: u8 = 1;
const PORT_UNREACHABLE: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const REDIRECT: u8 = 137;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

impl Network for Ipv6Addr {
    const ETHER_TYPE: u16 = 0x86dd;
    const ICMP: u8 = 58;
    const IN_IP: u8 = 41;
    const HEADER_LENGTH: usize = HEADER_LENGTH;
    const MOST_ERROR: usize = 1280;
    const ECHO_REQUEST: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    /// A wrong one is forwarded, and put right, as the kernel does.
    const CHECKS_ICMP: bool = false;
    const MARTIAN: DropReason = DropReason::Ipv6Source;

    #[inline]
    fn parse(l3: &[u8], _: Checksum) -> Result<Header<Self>, DropReason> {
        let fixed: &[u8; HEADER_LENGTH] = l3.first_chunk().ok_or(DropReason::Ipv6Short)?;
        if fixed[0] >> 4 != 6 {
            return Err(DropReason::Ipv6Version);
        }
        let total_length = usize::from(read_u16(fixed, PAYLOAD_LENGTH)) + HEADER_LENGTH;
        if total_length > l3.len() || total_length > usize::from(u16::MAX) {
            return Err(DropReason::Ipv6Length);
        }
        let (mut protocol, mut header_length) = (fixed[NEXT_HEADER], HEADER_LENGTH);
        if matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            let (found, at) = skip_extensions(&l3[..total_length], protocol)?;
            (protocol, header_length) = (found, at);
        }
        Ok(Header {
            source: address_at(fixed, SOURCE),
            destination: address_at(fixed, DESTINATION),
            protocol,
            ttl: fixed[HOP_LIMIT],
            header_length: header_length as u16,
            total_length: total_length as u16,
        })
    }

    #[inline(always)]
    fn parse_usual(frame: &[u8], _: Checksum) -> Option<Packet<Self>> {
        const HEADERS: usize = USUAL_L3 + HEADER_LENGTH + transport::LOOKED_AT;
        let headers: &[u8; HEADERS] = frame.first_chunk()?;
        let ip: &[u8; HEADER_LENGTH] = headers[USUAL_L3..].first_chunk()?;
        let segment = headers[USUAL_L3 + HEADER_LENGTH..].first_chunk()?;
        let length = usize::from(read_u16(ip, PAYLOAD_LENGTH));
        let total_length = length + HEADER_LENGTH;
        let is_usual =
            (total_length <= frame.len() - USUAL_L3) & (total_length <= usize::from(u16::MAX));
        let ports = transport::usual(ip[NEXT_HEADER], segment, length)?;
        if !is_usual {
            return None;
        }
        let header = Header {
            source: address_at(ip, SOURCE),
            destination: address_at(ip, DESTINATION),
            protocol: ip[NEXT_HEADER],
            ttl: ip[HOP_LIMIT],
            header_length: HEADER_LENGTH as u16,
            total_length: total_length as u16,
        };
        Some(Packet::new(header, USUAL_L3, ports))
    }

    #[inline(always)]
    fn hop(l3: &mut [u8], _: Delta) {
        l3[HOP_LIMIT] -= 1;
    }

    #[inline(always)]
    fn set_source(l3: &mut [u8], source: Self) {
        l3[SOURCE..SOURCE + 16].copy_from_slice(&source.octets());
    }

    #[inline(always)]
    fn set_destination(l3: &mut [u8], destination: Self) {
        l3[DESTINATION..DESTINATION + 16].copy_from_slice(&destination.octets());
    }

    #[inline]
    fn sum(self) -> u64 {
        checksum::sum(&self.octets())
    }

    fn is_martian(self) -> bool {
        self.is_unspecified()
            || self.is_loopback()
            || self.is_multicast()
            || self.to_ipv4_mapped().is_some()
    }

    fn may_fragment(_: &[u8]) -> bool {
        false
    }

    #[inline(always)]
    fn inner(l3: &[u8]) -> Inner {
        Inner { tos: (read_u16(l3, 0) >> 4) as u8, ttl: l3[HOP_LIMIT], dont_fragment: true }
    }

    fn write_header(
        l3: &mut [u8],
        (source, destination): (Self, Self),
        protocol: u8,
        tos: u8,
        _: u16,
    ) {
        let payload = (l3.len() - HEADER_LENGTH) as u16;
        l3[..8].copy_from_slice(&[0x60 | tos >> 4, tos << 4, 0, 0, 0, 0, protocol, 64]);
        l3[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 2].copy_from_slice(&payload.to_be_bytes());
        Self::set_source(l3, source);
        Self::set_destination(l3, destination);
    }

    fn parse_quoted(quoted: &[u8]) -> Option<(Self, Self, u8, usize, bool)> {
        let fixed: &[u8; HEADER_LENGTH] = quoted.first_chunk()?;
        if fixed[0] >> 4 != 6 {
            return None;
        }
        let (mut protocol, mut at) = (fixed[NEXT_HEADER], HEADER_LENGTH);
        let mut is_later_fragment = false;
        for _ in 0..MOST_EXTENSIONS {
            let next = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    let extension = quoted.get(at..at + 2)?;
                    at += usize::from(extension[1]) * 8 + 8;
                    extension[0]
                }
                FRAGMENT => {
                    let extension = quoted.get(at..at + 8)?;
                    is_later_fragment |= read_u16(extension, 2) & 0xfff8 != 0;
                    at += 8;
                    extension[0]
                }
                _ => break,
            };
            protocol = next;
        }
        let ends = (address_at(fixed, SOURCE), address_at(fixed, DESTINATION));
        Some((ends.0, ends.1, protocol, at, is_later_fragment))
    }

    fn icmp_pseudo_header((source, destination): (Self, Self), length: usize) -> u64 {
        source.sum() + destination.sum() + length as u64 + u64::from(Self::ICMP)
    }

    fn is_error(kind: u8) -> bool {
        kind < 128
    }

    fn is_other_error(kind: u8) -> bool {
        kind == REDIRECT
    }

    fn complaint(complaint: Complaint) -> (u8, u8, u32) {
        match complaint {
            Complaint::TimeExceeded => (TIME_EXCEEDED, 0, 0),
            Complaint::PortUnreachable => (UNREACHABLE, PORT_UNREACHABLE, 0),
            Complaint::TooBig(mtu) => (PACKET_TOO_BIG, 0, mtu.into()),
        }
    }

    fn complaint_tos(_: &[u8]) -> u8 {
        0
    }

    fn patch(_: &mut [u8], _: Delta) {}

    fn turn_around(l3: &mut [u8], _: usize, _: u16) {
        for n in 0..16 {
            l3.swap(SOURCE + n, DESTINATION + n);
        }
        l3[HOP_LIMIT] = 64;
    }

    fn too_big(kind: u8, _: u8, rest: u32) -> Option<u16> {
        (kind == PACKET_TOO_BIG).then(|| rest.min(u32::from(u16::MAX)) as u16)
    }
}

/// The transport protocol behind extension headers, and where its header begins.
#[cold]
fn skip_extensions(packet: &[u8], mut protocol: u8) -> Result<(u8, usize), DropReason> {
    let mut at = HEADER_LENGTH;
    for _ in 0..MOST_EXTENSIONS {
        match protocol {
            HOP_BY_HOP if at != HEADER_LENGTH => return Err(DropReason::Ipv6Extension),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let fixed = packet.get(at..at + 4).ok_or(DropReason::Ipv6Extension)?;
                // Type 0 lets a sender choose the way around us (RFC 5095).
                if protocol == ROUTING && fixed[2] == 0 {
                    return Err(DropReason::Ipv6SourceRoute);
                }
                protocol = fixed[0];
                at += usize::from(fixed[1]) * 8 + 8;
                if at > packet.len() {
                    return Err(DropReason::Ipv6Extension);
                }
            }
            FRAGMENT => return Err(DropReason::Fragment),
            _ => return Ok((protocol, at)),
        }
    }
    Err(DropReason::Ipv6Extension)
}

#[inline]
fn address_at(header: &[u8; HEADER_LENGTH], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    octets.into()
}
