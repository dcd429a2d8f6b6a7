//! Schedulers choose a real server for a new connection.
//!
//! One scheduler object serves all shards, so N workers give the distribution of one: what it
//! remembers is atomic and touched only when a connection is made.

mod by_weight;
mod hashing;
mod least_connection;
mod locality;
mod maglev;
mod round_robin;
mod tournament;

use alloc::boxed::Box;
use core::fmt::Debug;

use core::net::IpAddr;

use crate::roster::{Member, Roster};
use crate::time::Tick;
use by_weight::{FailOver, Nobody, Overflow};
use hashing::{DestinationHash, SourceHash};
use least_connection::{Least, Twos};
use locality::Locality;
use maglev::Maglev;
use round_robin::{RoundRobin, WeightedRoundRobin};
pub use tournament::Tournament;

/// Flag bit of `sh` and `mh`: try further when the hashed server takes no connections.
pub const FALLBACK: u32 = 0x08;
/// Flag bit of `sh` and `mh`: the client's port counts too.
pub const WITH_PORT: u32 = 0x10;

/// What a scheduler may look at: the packet that opens a connection, and the moment.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// The client's address.
    pub client: IpAddr,
    /// The client's port; 0 for a protocol without ports.
    pub client_port: u16,
    /// Where the packet goes: the virtual address, or any behind a firewall mark.
    pub destination: IpAddr,
    /// Now.
    pub now: Tick,
    /// Idle time, in seconds, after which `lblc` forgets a destination (`lblc_expiration`).
    pub lblc_expiration_s: u32,
    /// The same for `lblcr` (`lblcr_expiration`).
    pub lblcr_expiration_s: u32,
}

/// What a scheduler works out for one roster, beforehand and once.
#[derive(Debug, Default)]
pub enum Plan {
    /// Nothing.
    #[default]
    None,
    /// Places of members: by hash, or heaviest first.
    Table(Box<[u16]>),
    /// Who is least loaded, kept up as loads change.
    Tournament(Tournament),
    /// Levels of weight: the highest, and the step between them.
    Levels {
        /// The highest level.
        top: u32,
        /// The weights' greatest common divisor.
        step: u32,
    },
}

/// Chooses among the members of a roster, which are newest first.
pub trait Schedule: Debug + Send + Sync {
    /// The place of the chosen server, or `None` when no server takes connections. Runs on the
    /// packet path of every shard: no allocation and no lock, but for a destination that is new to
    /// `lblc` or `lblcr`.
    fn pick(&self, roster: &Roster, query: &Query) -> Option<usize>;

    /// The place that [`Schedule::pick`] would choose now. Nothing moves on by it.
    fn peek(&self, roster: &Roster, query: &Query) -> Option<usize> {
        self.pick(roster, query)
    }

    /// What to work out for new members, after every change of them and before any shard sees
    /// them.
    fn plan(&self, members: &[Member]) -> Plan {
        let _ = members;
        Plan::None
    }

    /// Servers that a service may have at most: plans hold places of 16 bits.
    fn most_servers(&self) -> usize {
        usize::from(u16::MAX)
    }

    /// Forgets what has not been used for long; called about once a second, by control.
    fn tick(&self, now: Tick, lblc_expiration_s: u32, lblcr_expiration_s: u32) {
        let _ = (now, lblc_expiration_s, lblcr_expiration_s);
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
        "lc" => Box::new(Least::Connections),
        "wlc" => Box::new(Least::WeightedConnections),
        "sed" => Box::new(Least::ExpectedDelay),
        "nq" => Box::new(Least::NeverQueue),
        "lblc" => Box::new(Locality::new(false)),
        "lblcr" => Box::new(Locality::new(true)),
        "dh" => Box::new(DestinationHash),
        "sh" => Box::new(SourceHash),
        "mh" => Box::new(Maglev),
        "fo" => Box::new(FailOver),
        "ovf" => Box::new(Overflow),
        "twos" => Box::new(Twos::default()),
        "none" => Box::new(Nobody),
        _ => return None,
    })
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
