//! The daemon of pollvs: everything that touches the outside.
//!
//! | module | holds |
//! |---|---|
//! | `args`, [`config`], [`tuning`], [`validate`], `machine`, [`placement`] | what was asked for, and whether it can be |
//! | `daemon` | start, wait, stop |
//! | [`worker`], [`handoff`], [`links`], [`load`] | the poll loop, the ways between workers, how busy they are |
//! | [`port`] | where frames come from; it has all `unsafe` of the project |
//! | [`sync`] | connections told to and by other directors |
//! | [`vrrp`] | addresses that move between directors |
//! | [`control`] | the control thread, its sockets, the saved table, the files like `/proc` |

#[cfg(feature = "dpdk")]
pub mod args;
mod claim;
pub mod clock;
pub mod config;
mod config_error;
pub mod control;
#[cfg(feature = "dpdk")]
pub mod daemon;
pub mod handoff;
pub mod links;
pub mod load;
#[cfg(feature = "dpdk")]
pub mod machine;
pub mod origin;
pub mod placement;
pub mod port;
#[cfg(feature = "dpdk")]
mod privilege;
pub mod redundancy;
pub mod say;
pub mod sync;
pub mod tuning;
pub mod validate;
pub mod vrrp;
pub mod worker;
