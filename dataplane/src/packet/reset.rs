//! The TCP reset with which a host answers where nothing listens (RFC 9293 section 3.10.7.1).

use super::{Header, Network, checksum, protocol, read_u16, write_u16};
use crate::connection::state::tcp_flag::{ACK, FIN, RST, SYN};

const LENGTH: usize = 20;

/// Makes the TCP packet in `l3`, whose headers have been accepted, the reset that answers it, and
/// returns the reset's length; nothing, and nothing has changed, if it is a reset itself.
pub fn write_reset<A: Network>(l3: &mut [u8], ip: &Header<A>) -> Option<usize> {
    let segment = &l3[usize::from(ip.header_length)..usize::from(ip.total_length)];
    let flags = segment[13];
    if flags & RST != 0 {
        return None;
    }
    let mut reset = [0; LENGTH];
    reset[..2].copy_from_slice(&segment[2..4]);
    reset[2..4].copy_from_slice(&segment[..2]);
    if flags & ACK != 0 {
        reset[4..8].copy_from_slice(&segment[8..12]);
        reset[13] = RST;
    } else {
        let data = segment.len() - usize::from(segment[12] >> 4) * 4;
        let sequence = u32::from(read_u16(segment, 4)) << 16 | u32::from(read_u16(segment, 6));
        let ends = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let next = sequence.wrapping_add(data as u32).wrapping_add(ends);
        reset[8..12].copy_from_slice(&next.to_be_bytes());
        reset[13] = RST | ACK;
    }
    reset[12] = 0x50;
    let (source, destination) = (ip.destination, ip.source);
    let pseudo_header = source.sum() + destination.sum() + u64::from(protocol::TCP) + LENGTH as u64;
    let sum = !checksum::fold(pseudo_header + checksum::sum(&reset));
    write_u16(&mut reset, 16, sum);
    // The DSCP only: what congestion the packet met is none of the answer's.
    let tos = A::inner(l3).tos & !0b11;
    let length = A::HEADER_LENGTH + LENGTH;
    // A reset is never fragmented, so its identification is 0 (RFC 6864 section 4.1).
    A::write_header(&mut l3[..length], (source, destination), protocol::TCP, tos, 0);
    l3[A::HEADER_LENGTH..length].copy_from_slice(&reset);
    Some(length)
}
