//! What must hold of any bytes from the network. The programs beside it try many, and
//! `cargo test -p dataplane` tries those of the corpus.

pub mod sync;
pub mod vrrp;
