//! A frame in an mbuf.

use core::ptr::NonNull;
use core::slice;

use dataplane::frame::{Checksum, Frame};
use dataplane::verdict::PortId;

use super::ffi::{RX_IP_CKSUM_BAD, RX_IP_CKSUM_GOOD, RawMbuf};

/// An mbuf that this value owns alone.
///
/// It is not freed when dropped: a worker frees in bulk. Losing one loses a buffer, nothing worse.
#[repr(transparent)]
pub struct Mbuf(NonNull<RawMbuf>);

// SAFETY: an mbuf is plain memory of a pool that any registered thread may use; ownership moves
// with the value.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over an mbuf that DPDK has handed out.
    ///
    /// # Safety
    /// `mbuf` must come from an allocation or a receive burst and be owned by nobody else.
    pub(super) unsafe fn from_raw(mbuf: NonNull<RawMbuf>) -> Self {
        Self(mbuf)
    }

    fn raw(&self) -> &RawMbuf {
        // SAFETY: the value owns the mbuf, so nobody else changes it, and it is initialised.
        unsafe { self.0.as_ref() }
    }

    fn raw_mut(&mut self) -> &mut RawMbuf {
        // SAFETY: as `raw`, and the borrow is exclusive.
        unsafe { self.0.as_mut() }
    }

    /// Makes an empty mbuf's data `length` bytes of zeros.
    ///
    /// # Panics
    /// When the buffer is smaller; frames of our own making are small.
    pub(super) fn fill(&mut self, length: usize) {
        let raw = self.raw_mut();
        assert!(usize::from(raw.data_off) + length <= usize::from(raw.buf_len));
        raw.data_len = length as u16;
        raw.pkt_len = length as u32;
        self.bytes_mut().fill(0);
    }
}

impl Frame for Mbuf {
    #[inline]
    fn port(&self) -> PortId {
        PortId(self.raw().port)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: data_off + data_len <= buf_len holds for every mbuf of DPDK's and is kept by
        // `reframe` and `fill`; the buffer belongs to this mbuf alone.
        unsafe {
            let start = raw.buf_addr.add(usize::from(raw.data_off));
            slice::from_raw_parts(start, usize::from(raw.data_len))
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: as `bytes`, and the borrow is exclusive.
        unsafe {
            let start = raw.buf_addr.add(usize::from(raw.data_off));
            slice::from_raw_parts_mut(start, usize::from(raw.data_len))
        }
    }

    #[inline]
    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        let raw = self.raw_mut();
        let old_start = usize::from(raw.data_off);
        let start = old_start.checked_add_signed(distance)?;
        if start + length > old_start + usize::from(raw.data_len) {
            return None;
        }
        // Neither is more than before the old end, which fits.
        raw.data_off = start as u16;
        raw.data_len = length as u16;
        raw.pkt_len = length as u32;
        Some(self.bytes_mut())
    }

    #[inline]
    fn header_checksum(&self) -> Checksum {
        match self.raw().ol_flags & (RX_IP_CKSUM_BAD | RX_IP_CKSUM_GOOD) {
            RX_IP_CKSUM_GOOD => Checksum::Good,
            RX_IP_CKSUM_BAD => Checksum::Bad,
            _ => Checksum::Unknown,
        }
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        self.raw().nb_segs == 1
    }
}
