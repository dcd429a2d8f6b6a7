//! Pure packet processing of the pollvs director: a burst of frames in, a verdict for each out.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod service;
