//! Schedulers choose a real server for a new connection.
//!
//! One scheduler object serves all shards, so N workers give the distribution of one: what it
//! remembers is atomic and touched only when a connection is made.

mod least_connection;
mod round_robin;

use alloc::boxed::Box;
use core::fmt::Debug;

use crate::roster::Member;
use least_connection::{LeastConnection, Weighting};
use round_robin::{RoundRobin, WeightedRoundRobin};

/// Chooses among the members of a roster, which are newest first.
pub trait Schedule: Debug + Send + Sync {
    /// The place of the chosen server, or `None` when no server takes connections. Runs on the
    /// packet path of every shard: no allocation, no lock.
    fn pick(&self, members: &[Member]) -> Option<usize>;

    /// Called after every change of the members, before any shard sees them.
    fn members_changed(&self, members: &[Member]) {
        let _ = members;
    }
}

/// A scheduler of a service.
pub type Scheduler = Box<dyn Schedule>;

/// A scheduler by ipvsadm's name, in its first state; `None` for a name that does not exist.
#[must_use]
pub fn by_name(name: &str) -> Option<Scheduler> {
    Some(match name {
        "rr" => Box::new(RoundRobin::default()),
        "wrr" => Box::new(WeightedRoundRobin::default()),
        "lc" => Box::new(LeastConnection(Weighting::Ignored)),
        "wlc" => Box::new(LeastConnection(Weighting::Counted)),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
