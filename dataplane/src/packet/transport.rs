//! TCP (RFC 9293 section 3.1) and UDP (RFC 768) headers, as far as forwarding needs them.

use super::{protocol, read_u16};
use crate::verdict::DropReason;

#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) source: u16,
    pub(super) destination: u16,
    pub(super) tcp_flags: u8,
}

#[inline]
pub(super) fn tcp(segment: &[u8]) -> Result<Ports, DropReason> {
    let header: &[u8; 20] = segment.first_chunk().ok_or(DropReason::TcpShort)?;
    let header_length = usize::from(header[12] >> 4) * 4;
    if header_length < 20 || header_length > segment.len() {
        return Err(DropReason::TcpHeaderLength);
    }
    Ok(Ports {
        source: read_u16(header, 0),
        destination: read_u16(header, 2),
        tcp_flags: header[13],
    })
}

#[inline]
pub(super) fn udp(segment: &[u8]) -> Result<Ports, DropReason> {
    let header: &[u8; 8] = segment.first_chunk().ok_or(DropReason::UdpShort)?;
    let length = usize::from(read_u16(header, 4));
    if length < 8 || length > segment.len() {
        return Err(DropReason::UdpLength);
    }
    Ok(Ports { source: read_u16(header, 0), destination: read_u16(header, 2), tcp_flags: 0 })
}

/// Bytes of a segment that [`usual`] looks at: TCP's header without options.
pub(super) const LOOKED_AT: usize = 20;

/// Reads a segment of `length` bytes that begins with `header`; `None` for another protocol, or when
/// something is wrong.
#[inline(always)]
pub(super) fn usual(protocol: u8, header: &[u8; LOOKED_AT], length: usize) -> Option<Ports> {
    let (fits, tcp_flags) = match protocol {
        protocol::TCP => {
            let header_length = usize::from(header[12] >> 4) * 4;
            ((header_length >= 20) & (header_length <= length), header[13])
        }
        protocol::UDP => {
            let datagram_length = usize::from(read_u16(header, 4));
            ((datagram_length >= 8) & (datagram_length <= length), 0)
        }
        _ => return None,
    };
    let ports = Ports { source: read_u16(header, 0), destination: read_u16(header, 2), tcp_flags };
    fits.then_some(ports)
}
