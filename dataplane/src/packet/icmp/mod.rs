//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo answered, errors about connections translated, and
//! errors of our own.

mod error;
mod translate;

pub use error::{Complaint, error_room, relay, write_error};
pub use translate::{to_client, to_server};

use super::{Header, Network, read_u16, write_u16};
use crate::packet::checksum;
use crate::packet::protocol;
use crate::verdict::DropReason;

/// Length of the ICMP header.
const HEADER_LENGTH: usize = 8;
const CHECKSUM: usize = 2;

/// What an ICMP message is to a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp<A> {
    /// Echo request.
    Echo,
    /// An error, with the packet that it is about.
    Error(Quote<A>),
    /// Anything else.
    Other,
}

/// The packet that an error message quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<A> {
    /// Where its IP header begins, from the message's own IP header on.
    pub at: u16,
    /// Where its transport header begins.
    pub transport: u16,
    /// Its transport protocol.
    pub protocol: u8,
    /// Its source; port 0 when it has none, or is a later fragment.
    pub source: (A, u16),
    /// Its destination; likewise.
    pub destination: (A, u16),
    /// Whether it is a fragment other than the first, and shows no ports.
    pub is_later_fragment: bool,
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: u8,
    /// The second word of the message's header: the MTU where there is one.
    pub rest: u32,
}

/// Reads the message in `l3`, whose IP header has been accepted. Its checksum is not looked at.
///
/// # Errors
/// When the message, or what it quotes, is short.
pub fn parse<A: Network>(l3: &[u8], ip: &Header<A>) -> Result<Icmp<A>, DropReason> {
    let message = message(l3, ip).ok_or(DropReason::IcmpShort)?;
    let (kind, code) = (message[0], message[1]);
    if A::is_error(kind) {
        let at = ip.header_length + HEADER_LENGTH as u16;
        return quoted(l3, ip, at).map(Icmp::Error).ok_or(DropReason::IcmpShort);
    }
    Ok(if (kind, code) == (A::ECHO_REQUEST, 0) { Icmp::Echo } else { Icmp::Other })
}

/// The packet quoted at an offset of `l3`, which may lie behind another quoted IP header; nothing
/// when header or ports are cut off. An error is sure to quote eight bytes of the transport
/// header, of which the ports are the first four.
pub fn quoted<A: Network>(l3: &[u8], ip: &Header<A>, at: u16) -> Option<Quote<A>> {
    let message = message(l3, ip)?;
    let bytes = l3.get(usize::from(at)..usize::from(ip.total_length))?;
    let (source, destination, transport, length, is_later_fragment) = A::parse_quoted(bytes)?;
    let ports = match transport {
        protocol::TCP | protocol::UDP if !is_later_fragment => bytes.get(length..length + 4)?,
        _ => &[0; 4],
    };
    Some(Quote {
        at,
        transport: at + length as u16,
        protocol: transport,
        source: (source, read_u16(ports, 0)),
        destination: (destination, read_u16(ports, 2)),
        is_later_fragment,
        kind: message[0],
        code: message[1],
        rest: u32::from(read_u16(message, 4)) << 16 | u32::from(read_u16(message, 6)),
    })
}

/// Whether the message's checksum is right.
pub fn is_sound<A: Network>(l3: &[u8], ip: &Header<A>) -> bool {
    message(l3, ip).is_some_and(|message| {
        let pseudo_header = A::icmp_pseudo_header((ip.source, ip.destination), message.len());
        checksum::fold(pseudo_header + checksum::sum(message)) == 0xffff
    })
}

/// Makes the echo request in `l3` the reply to it, from the address it was sent to.
pub fn answer_echo<A: Network>(l3: &mut [u8], ip: &Header<A>, identification: u16) {
    let (at, end) = (usize::from(ip.header_length), usize::from(ip.total_length));
    l3[at] = A::ECHO_REPLY;
    A::turn_around(l3, at, identification);
    write_checksum(&mut l3[at..end], (ip.destination, ip.source));
}

fn message<'p, A>(l3: &'p [u8], ip: &Header<A>) -> Option<&'p [u8]> {
    l3.get(usize::from(ip.header_length)..usize::from(ip.total_length))
        .filter(|message| message.len() >= HEADER_LENGTH)
}

/// Computes a message's checksum anew.
fn write_checksum<A: Network>(message: &mut [u8], ends: (A, A)) {
    write_u16(message, CHECKSUM, 0);
    let sum = A::icmp_pseudo_header(ends, message.len()) + checksum::sum(message);
    write_u16(message, CHECKSUM, !checksum::fold(sum));
}
