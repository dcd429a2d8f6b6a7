//! Pages of 2 MiB for memory that is read at random: with pages of 4 KiB nearly every lookup in a
//! large connection table also misses the processor's table of pages.

#![allow(unsafe_code)] // advice to the kernel about memory, which changes nothing in it

use core::ffi::c_void;
use core::ops::Range;
use std::io;

use nix::libc;

/// A large page of x86-64, and of ARM with pages of 4 KiB.
const LARGE: usize = 2 << 20;
/// Puts large pages in place of small ones at once (Linux 6.1; `<linux/mman.h>`).
const MADV_COLLAPSE: libc::c_int = 25;

/// Has the kernel hold memory, which is in use already, in large pages, as far as whole ones fit in.
/// Returns the bytes that now are; fewer than asked for on an older kernel, which only takes a note
/// and does it by and by.
///
/// # Errors
/// The kernel's, when it knows no large pages.
pub fn hold_in_large_pages(memory: impl Iterator<Item = Range<usize>>) -> io::Result<usize> {
    let mut held = 0;
    for range in memory {
        let (start, end) = (range.start.next_multiple_of(LARGE), range.end / LARGE * LARGE);
        if start >= end {
            continue;
        }
        advise(start, end - start, libc::MADV_HUGEPAGE)?;
        // Memory may be short of whole large pages; then it stays as it is.
        held += if advise(start, end - start, MADV_COLLAPSE).is_ok() { end - start } else { 0 };
    }
    Ok(held)
}

fn advise(start: usize, length: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: neither advice changes what the memory holds or whether it is there, whoever uses it;
    // an address that is not mapped is an error.
    match unsafe { libc::madvise(start as *mut c_void, length, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
