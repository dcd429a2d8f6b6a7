//! Connection synchronisation: what a director tells its backups of its connections, in the kernel's
//! wire format, and what it makes of what it is told.

mod page;
mod policy;
mod record;
mod reject;
mod take;
mod tell;
pub mod wire;

pub use page::RecordPage;
pub(crate) use policy::Policy;
pub use record::{Record, RecordFlags, Sequence};
pub use reject::{Reject, Unsent};
pub use take::Told;
pub(crate) use tell::{Cause, Teller};

#[cfg(test)]
mod failover_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod rig_tests;
