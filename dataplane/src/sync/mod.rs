//! Connection synchronisation: what a director tells its backups of its connections, in the kernel's
//! wire format, and what it makes of what it is told.

mod record;
mod reject;
pub mod wire;

pub use record::{Record, RecordFlags, Sequence};
pub use reject::{Reject, Unsent};
