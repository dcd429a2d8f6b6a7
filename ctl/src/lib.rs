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
//! | rows of the back end to text | [`mod@print`] |
//! | status and text to bytes of the socket | [`protocol`] |
//!
//! The daemon implements [`backend::Backend`] and accepts connections; `pollvsadm` is a few lines over [`client`].
#![forbid(unsafe_code)]

pub mod args;
pub mod backend;
pub mod client;
pub mod command;
pub mod help;
pub mod names;
pub mod print;
pub mod protocol;
pub mod refusal;
mod restore;
pub mod session;
mod settings;
