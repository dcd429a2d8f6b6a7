//! What holds for any packets at all.
//!
//! Failing cases are kept in `proptest-regressions` and run first ever after.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../common/mod.rs"]
mod common;

mod any_bytes;
mod frames;
mod parser;
mod shards;
mod translation;
