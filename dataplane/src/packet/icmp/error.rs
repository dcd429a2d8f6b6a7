//! Errors of our own, and those passed on from routers inside a tunnel.

use super::{HEADER_LENGTH, Header, Network, Quote, write_checksum};
use crate::packet::checksum::Delta;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// Its time to live, or hop limit, is used up.
    TimeExceeded,
    /// Nobody listens where it goes.
    PortUnreachable,
    /// It is larger than this many bytes, and must not be fragmented.
    TooBig(u16),
}

/// Bytes in front of the quoted packet: the headers of IP and ICMP.
#[must_use]
pub const fn error_room<A: Network>() -> usize {
    A::HEADER_LENGTH + HEADER_LENGTH
}

/// Writes the error about a packet in front of it: `l3` is [`error_room`] bytes of anything, and
/// then as much of the packet as is to be quoted.
pub fn write_error<A: Network>(
    l3: &mut [u8],
    source: A,
    destination: A,
    complaint: Complaint,
    identification: u16,
) {
    let quoted = &mut l3[error_room::<A>()..];
    let tos = A::complaint_tos(quoted);
    if matches!(complaint, Complaint::TooBig(_)) {
        // Found out behind the hop.
        A::hop(quoted, Delta::NONE);
    }
    let (kind, code, rest) = A::complaint(complaint);
    write_message(l3, (source, destination), (kind, code, rest), tos, identification);
}

/// Makes an error about our own tunnel packet one about the client's packet inside, in place:
/// from the virtual address to the client. Returns where the new packet begins in `l3`; it ends
/// where the old one does. `mtu` replaces the router's word on it.
pub fn relay<A: Network>(
    l3: &mut [u8],
    ip: &Header<A>,
    inner: &Quote<A>,
    ends: (A, A),
    mtu: Option<u16>,
    identification: u16,
) -> u16 {
    let start = usize::from(inner.at) - error_room::<A>();
    let rest = mtu.map_or(inner.rest, u32::from);
    let packet = &mut l3[start..usize::from(ip.total_length)];
    let tos = A::complaint_tos(&packet[error_room::<A>()..]);
    write_message(packet, ends, (inner.kind, inner.code, rest), tos, identification);
    start as u16
}

fn write_message<A: Network>(
    l3: &mut [u8],
    ends: (A, A),
    (kind, code, rest): (u8, u8, u32),
    tos: u8,
    identification: u16,
) {
    A::write_header(l3, ends, A::ICMP, tos, identification);
    let message = &mut l3[A::HEADER_LENGTH..];
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&rest.to_be_bytes());
    write_checksum(message, ends);
}
