//! Capsule's buffer as a frame of the dataplane.

#![allow(unsafe_code)] // capsule lends a packet's bytes as a pointer only

use std::ptr::NonNull;

use capsule::Mbuf;
use dataplane::frame::Frame;
use dataplane::verdict::PortId;

/// A frame in a buffer of capsule's.
pub(crate) struct CapsuleFrame(pub(crate) Mbuf);

impl CapsuleFrame {
    #[inline]
    fn all(&self) -> Option<NonNull<[u8]>> {
        self.0.read_data_slice(0, self.0.data_len()).ok()
    }
}

impl Frame for CapsuleFrame {
    #[inline]
    fn port(&self) -> PortId {
        PortId(0)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the bytes belong to the buffer, which is ours alone and borrowed as long as they.
        self.all().map_or(&[], |bytes| unsafe { bytes.as_ref() })
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        self.all().map_or(&mut [], |mut bytes| unsafe { bytes.as_mut() })
    }

    #[inline]
    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        let end = self.0.data_len().checked_add_signed(-distance)?;
        if length > end {
            return None;
        }
        // Capsule moves the packet instead of its start: it knows no room in front.
        if distance != 0 {
            self.0.resize(0, -distance).ok()?;
        }
        if length < end {
            self.0.truncate(length).ok()?;
        }
        Some(self.bytes_mut())
    }
}

/// Asks the processor to bring a value's first cache line closer, as our engine does.
#[inline]
pub(crate) fn prefetch<T>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches, whatever the address; this is a reference's.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
