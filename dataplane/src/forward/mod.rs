//! The three ways to a real server, as changes to a frame's bytes.

pub mod nat;

use crate::frame::Frame;
use crate::neighbour::{Hop, NeighbourId};
use crate::packet::Network;
use crate::packet::checksum::Delta;
use crate::packet::ipv4::OuterTemplate;
use crate::packet::{Packet, ipv4};
use crate::verdict::{DropReason, Verdict};

/// Direct routing: the packet stays as it is but for the hop it takes.
#[inline]
pub fn direct<A: Network>(frame: &mut [u8], packet: &Packet<A>) {
    A::hop(&mut frame[usize::from(packet.l3)..], Delta::NONE);
}

/// Whether an IP packet fits the link of its next hop.
///
/// # Errors
/// [`DropReason::TooBig`].
#[inline]
pub fn check_size(length: u16, hop: &Hop) -> Result<(), DropReason> {
    if length > hop.mtu { Err(DropReason::TooBig) } else { Ok(()) }
}

/// Puts the link header in front of the IP header at `l3` and sends the frame, or keeps it when
/// the next hop's address is still unknown.
///
/// # Errors
/// [`DropReason::NoHeadroom`].
#[inline]
pub fn emit<F: Frame>(
    frame: &mut F,
    l3: usize,
    hop: &Hop,
    id: NeighbourId,
) -> Result<Verdict, DropReason> {
    let distance = l3 as isize - hop.header.length() as isize;
    if distance != 0 && !frame.move_start(distance) {
        return Err(DropReason::NoHeadroom);
    }
    hop.header.write(frame.bytes_mut());
    Ok(if hop.is_resolved { Verdict::Transmit(hop.port) } else { Verdict::Hold(id) })
}

/// IP tunnelling: wraps the packet in an outer header and sends it as [`emit`] does.
///
/// # Errors
/// [`DropReason::TooBig`] and [`DropReason::NoHeadroom`].
#[inline]
pub fn tunnel<F: Frame, A: Network>(
    frame: &mut F,
    packet: &Packet<A>,
    outer: &OuterTemplate,
    identification: u16,
    hop: &Hop,
    id: NeighbourId,
) -> Result<Verdict, DropReason> {
    let inner_length = packet.ip.total_length;
    check_size(inner_length.saturating_add(ipv4::HEADER_LENGTH as u16), hop)?;
    let l3 = usize::from(packet.l3);
    // Ethernet pads short frames: what is not packet must not end up inside the tunnel.
    frame.truncate(l3 + usize::from(inner_length));
    A::hop(&mut frame.bytes_mut()[l3..], Delta::NONE);
    if !frame.move_start(-(ipv4::HEADER_LENGTH as isize)) {
        return Err(DropReason::NoHeadroom);
    }
    outer.write(&mut frame.bytes_mut()[l3..], inner_length, identification);
    emit(frame, l3, hop, id)
}
