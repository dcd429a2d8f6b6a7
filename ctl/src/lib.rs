//! The control side of pollvs: ipvsadm's grammar, its listings, and the protocol between `pollvsadm` and the daemon.
//!
//! One request goes through these, in this order:
//!
//! | step | module |
//! |---|---|
//! | bytes of the socket to words | [`protocol`] |
//! | words to a [`command::Command`], or the message that ipvsadm would give | [`args`] |
//! | the command put to a [`backend::Backend`], which accepts it or gives a [`refusal::Refusal`] | [`session`] |
//! | many commands of one input | `restore` |
//! | `--sysctl`, which ipvsadm lacks | `settings` |
//! | `mark`, which ipvsadm lacks | [`mark`] |
//! | `explain` and `trace`, which ipvsadm lacks | [`explain`], [`trace`] |
//! | `drain` and `handover`, which ipvsadm lacks | [`drain`], `handover` |
//! | rows of the back end, those of ports and workers in [`load`], of connection sync and takeover in [`sync`], to text, or with `--json` to JSON | [`mod@print`], `json` |
//! | status and text to bytes of the socket | [`protocol`] |
//!
//! The daemon implements [`backend::Backend`] and accepts connections; `pollvsadm` is a few lines over [`client`].
#![forbid(unsafe_code)]

pub mod args;
pub mod backend;
pub mod client;
pub mod command;
pub mod drain;
pub mod explain;
mod handover;
pub mod help;
mod json;
pub mod load;
pub mod mark;
pub mod names;
pub mod print;
pub mod protocol;
pub mod read_only;
pub mod refusal;
pub mod restore;
pub mod session;
mod settings;
pub mod sync;
pub mod trace;
mod waiting;
mod words;
