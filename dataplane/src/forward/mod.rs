//! The three ways to a real server, as changes to a frame's bytes.
//!
//! A frame is opened first, which may fail and then has changed nothing; after that the way is
//! free. What lies behind the IP packet, such as Ethernet's padding, is cut off.

pub mod nat;

use crate::frame::Frame;
use crate::neighbour::{Hop, NeighbourId};
use crate::packet::Header;
use crate::process::Refused;
use crate::verdict::{DropReason, Verdict};

/// Moves a frame's start so that the hop's link header, and `outer` bytes behind it, fit in front
/// of the IP header at `l3`; writes the link header, and returns what follows it.
///
/// # Errors
/// [`DropReason::TooBig`] and [`DropReason::NoHeadroom`]; the frame is as it was.
#[inline(always)]
pub(crate) fn open<'f, F: Frame, A>(
    frame: &'f mut F,
    l3: u16,
    ip: &Header<A>,
    outer: usize,
    hop: &Hop,
) -> Result<&'f mut [u8], Refused> {
    let length = usize::from(ip.total_length) + outer;
    if length > usize::from(hop.mtu) {
        return Err(Refused { reason: DropReason::TooBig, mtu: hop.mtu });
    }
    let in_front = hop.header.length() + outer;
    let distance = l3 as isize - in_front as isize;
    let frame_length = hop.header.length() + length;
    let bytes = frame.reframe(distance, frame_length).ok_or(DropReason::NoHeadroom)?;
    hop.header.write(bytes);
    Ok(&mut bytes[hop.header.length()..])
}

/// Sends a frame, or keeps it while its next hop is unknown.
#[inline(always)]
pub(crate) fn send(hop: &Hop, id: NeighbourId) -> Verdict {
    if hop.is_resolved { Verdict::Transmit(hop.port) } else { hold(id) }
}

#[cold]
fn hold(id: NeighbourId) -> Verdict {
    Verdict::Hold(id.place())
}
