//! A small network laboratory for the tests: frames in vectors, a host that remembers, shards that
//! share a director, and packets built and checked by etherparse instead of by the code under test.
#![allow(dead_code, reason = "each test crate uses a part of it")]

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod frame;
pub(crate) mod lab;
pub(crate) mod names;
mod questions;
