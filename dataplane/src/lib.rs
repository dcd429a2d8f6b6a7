//! Pure packet processing of the pollvs director: a burst of frames in, a verdict for each out.
//!
//! No I/O, no clock, no thread, no `unsafe`: the host hands in frames and the time. Read
//! [`process`](shard::Shard::process) first; it is the packet path from top to bottom.
//!
//! | module | holds |
//! |---|---|
//! | [`shard`], `common`, `lane`, `server` | what one worker owns |
//! | `process`, `carry` | the packet path |
//! | `open`, [`template`] | connections made, replaced, kept with their server |
//! | `answer`, `control`, `resolve` | what the director says itself; ICMP; ARP and NDP |
//! | [`packet`] | headers: checked, read, rewritten |
//! | [`connection`] | the record, the table, the states |
//! | [`schedule`], [`roster`] | choosing a real server |
//! | [`forward`] | NAT, tunnelling, direct routing |
//! | [`interface`], [`neighbour`] | where the director stands, and its next hops |
//! | [`settings`], [`mark`] | what else may be tuned; firewall marks |
//! | [`director`], [`service`], [`command`] | what control says, and how shards hear of it |
//! | [`estimator`] | traffic per second |
//! | [`vrrp`] | which director holds the virtual addresses |
//! | [`explain`], [`trace`] | what becomes of packets, and why, told to people |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod reasons;

pub mod address;
mod address_set;
mod answer;
mod carry;
pub mod command;
mod common;
pub mod connection;
mod control;
pub mod counters;
pub mod director;
pub mod estimator;
pub mod explain;
pub mod float;
pub mod forward;
pub mod frame;
pub mod hash;
pub mod interface;
mod lane;
mod limit;
pub mod mark;
pub mod neighbour;
mod open;
pub mod packet;
mod page;
mod process;
pub mod refusal;
mod resolve;
pub mod roster;
pub mod schedule;
mod server;
pub mod service;
pub mod settings;
pub mod shard;
pub mod sync;
pub mod template;
pub mod time;
pub mod trace;
pub mod verdict;
pub mod vrrp;

pub use lane::BURST;
