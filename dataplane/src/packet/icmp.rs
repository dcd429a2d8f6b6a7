//! ICMP (RFC 792): echo answered in place, and the client inside an error message.

use super::{Header, ipv4, protocol, read_u16, write_u16};
use crate::packet::checksum::{self, Delta};
use crate::verdict::DropReason;
use core::net::Ipv4Addr;

const HEADER_LENGTH: usize = 8;
const CHECKSUM: usize = 2;

/// What an ICMP message is to a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// Echo request.
    Echo,
    /// An error about a packet of ours, with both ends of that packet.
    Error(Quote),
    /// Anything else.
    Other,
}

/// The packet that an error message quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its transport protocol.
    pub protocol: u8,
    /// Its source.
    pub source: (Ipv4Addr, u16),
    /// Its destination.
    pub destination: (Ipv4Addr, u16),
}

/// Reads the message in `l3`, whose IP header has been accepted.
///
/// # Errors
/// When it is short or its checksum is wrong.
pub fn parse(l3: &[u8], ip: &Header<Ipv4Addr>) -> Result<Icmp, DropReason> {
    const ECHO: u8 = 8;
    const UNREACHABLE: u8 = 3;
    const SOURCE_QUENCH: u8 = 4;
    const TIME_EXCEEDED: u8 = 11;

    let message = l3
        .get(usize::from(ip.header_length)..usize::from(ip.total_length))
        .filter(|message| message.len() >= HEADER_LENGTH)
        .ok_or(DropReason::IcmpShort)?;
    if checksum::of(message) != 0 {
        return Err(DropReason::IcmpChecksum);
    }
    match message[0] {
        ECHO if message[1] == 0 => Ok(Icmp::Echo),
        UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED => {
            let quote = quote(&message[HEADER_LENGTH..]).ok_or(DropReason::IcmpShort)?;
            Ok(Icmp::Error(quote))
        }
        _ => Ok(Icmp::Other),
    }
}

/// The quoted header and the first four bytes after it: all that an error is sure to hold of the
/// transport header is eight.
fn quote(quoted: &[u8]) -> Option<Quote> {
    let fixed: &[u8; ipv4::HEADER_LENGTH] = quoted.first_chunk()?;
    let header_length = usize::from(fixed[0] & 0x0f) * 4;
    if fixed[0] >> 4 != 4 || header_length < ipv4::HEADER_LENGTH {
        return None;
    }
    let protocol = fixed[9];
    let is_later_fragment = read_u16(fixed, 6) & 0x1fff != 0;
    let ports = match protocol {
        protocol::TCP | protocol::UDP if !is_later_fragment => {
            quoted.get(header_length..header_length + 4)?
        }
        _ => &[0; 4],
    };
    let address = |at| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    Some(Quote {
        protocol,
        source: (address(12), read_u16(ports, 0)),
        destination: (address(16), read_u16(ports, 2)),
    })
}

/// Makes the echo request in `l3` the reply to it.
pub fn answer_echo(l3: &mut [u8], ip: &Header<Ipv4Addr>) {
    let at = usize::from(ip.header_length);
    let (request, reply) = (0x0800, 0x0000);
    let checksum = Delta::replacing(request, reply).patch(read_u16(l3, at + CHECKSUM));
    l3[at] = 0;
    write_u16(l3, at + CHECKSUM, checksum);
    ipv4::turn_around(l3, at);
}
