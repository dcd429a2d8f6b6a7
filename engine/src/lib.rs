//! The daemon of pollvs: everything that touches the outside.
//!
//! | module | holds |
//! |---|---|
//! | [`args`], [`config`], [`placement`] | what was asked for |
//! | `daemon` | start, wait, stop |
//! | [`worker`], [`handoff`] | the poll loop, and the rings between workers |
//! | [`port`] | where frames come from; `port/dpdk` has all `unsafe` of the project |
//! | [`control`] | the control thread and its socket |

#[cfg(feature = "dpdk")]
pub mod args;
pub mod clock;
pub mod config;
pub mod control;
#[cfg(feature = "dpdk")]
pub mod daemon;
pub mod handoff;
pub mod placement;
pub mod port;
pub mod worker;
