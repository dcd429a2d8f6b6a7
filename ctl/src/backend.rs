//! What commands are put to: the table of virtual services, its connections, timeouts and sync daemons.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use dataplane::estimator::Rates;
use dataplane::explain::Question;
use dataplane::mark::MarkRule;
use dataplane::service::{Family, ServerSpec, ServiceKey, ServiceSpec, Traffic};
use dataplane::settings::Settings;
use dataplane::verdict::DropReason;

use crate::command::{Change, DaemonSpec, Role, Timeouts};
use crate::drain::{self, State};
use crate::explain::Explanation;
use crate::load::{PortRow, Workers};
use crate::mark::{MarkChange, MarkError};
use crate::refusal::Refusal;
use crate::sync::{Handover, HandoverStep, SyncState, VrrpRow};
use crate::trace::{self, Taken, TraceError};

/// A director as seen by commands: changes, each made wholly or refused wholly, and questions.
///
/// Reading takes `&mut self` too, so that an implementation may gather from its workers.
pub trait Backend {
    /// Makes changes one after another, whatever becomes of those before; one result for each.
    fn change_each(&mut self, changes: Vec<Change>) -> Vec<Result<(), Refusal>>;
    /// Makes all of the changes, in order, or none.
    fn change_all(&mut self, changes: Vec<Change>) -> Result<(), Undone>;
    /// Returns when all changes made so far would outlive a crash.
    ///
    /// # Errors
    /// In words for the user, when that cannot be had; the changes are in force all the same.
    fn commit(&mut self) -> Result<(), String>;
    /// Makes a change.
    fn change(&mut self, change: Change) -> Result<(), Refusal> {
        self.change_each(vec![change]).pop().expect("one result for each change")
    }
    /// Every virtual service with its servers, in the back end's own order.
    fn table(&mut self) -> Result<Table, Refusal>;
    /// One virtual service with its servers; only this very key, never a wildcard.
    fn service(&mut self, key: &ServiceKey) -> Result<ServiceRow, Refusal>;
    /// Every connection and template.
    fn connections(&mut self) -> Result<Vec<ConnectionRow>, Refusal>;
    /// The traffic of everything.
    fn totals(&mut self) -> Result<Totals, Refusal>;
    /// The timeouts of connections.
    fn timeouts(&mut self) -> Result<Timeouts, Refusal>;
    /// Every setting as it is in force.
    fn settings(&mut self) -> Result<Settings, Refusal>;
    /// The sync daemons that run, in the order to print.
    fn daemons(&mut self) -> Result<Vec<DaemonRow>, Refusal>;
    /// What became of all frames since the start.
    fn frames(&mut self) -> Result<FrameCounts, Refusal>;
    /// Every port, in the order of the configuration.
    fn ports(&mut self) -> Result<Vec<PortRow>, Refusal>;
    /// Every worker.
    fn workers(&mut self) -> Result<Workers, Refusal>;
    /// The rules that give packets firewall marks, in order.
    fn marks(&mut self) -> Result<Vec<MarkRule>, Refusal>;
    /// Changes these rules, by [`MarkChange::apply`].
    fn change_marks(&mut self, change: MarkChange) -> Result<(), MarkError>;
    /// What would become of a packet; nothing changes.
    fn explain(&mut self, question: &Question) -> Result<Explanation, Refusal>;
    /// Begins, reads or ends the one trace that may run.
    fn trace(&mut self, order: trace::Order) -> Result<Taken, TraceError>;
    /// How connection sync stands.
    fn sync(&mut self) -> Result<SyncState, Refusal> {
        Ok(SyncState::default())
    }
    /// Every virtual router that this director takes part in.
    fn vrrp(&mut self) -> Result<Vec<VrrpRow>, Refusal> {
        Ok(Vec::new())
    }
    /// Does a step of a planned handover.
    fn handover(&mut self, _step: HandoverStep) -> Result<Handover, Refusal> {
        Ok(Handover::NoRouter)
    }
    /// Does a step of draining a server. A back end that others change meanwhile does it as one change, so that none of
    /// theirs is lost.
    fn drain(&mut self, step: &drain::Step) -> Result<State, Refusal> {
        step.take(self, Self::service, Self::settings, Self::change)
    }
}

/// Why changes that belong together were not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The place of the change that was refused.
    pub place: usize,
    /// Why it was.
    pub refusal: Refusal,
    /// Whether others are in force all the same, because the machine has changed in between.
    pub is_partial: bool,
}

impl Undone {
    /// Nothing has changed.
    #[must_use]
    pub fn wholly(place: usize, refusal: Refusal) -> Self {
        Self { place, refusal, is_partial: false }
    }
}

/// What became of all frames since the start, over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames looked at, once by each worker that had them.
    pub received: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames given by one worker to another.
    pub handed_over: u64,
    /// Frames that were dropped, but answered, by a reset or an ICMP error.
    pub answered: u64,
    /// ICMP errors that were not sent, because there had been too many.
    pub limited: u64,
    /// Every reason for a drop, with its count.
    pub drops: Vec<(DropReason, u64)>,
    /// What ports lost by themselves, before or after the workers had it.
    pub ports: Vec<PortLosses>,
}

/// Frames that a port has lost by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortLosses {
    /// The port, as configured.
    pub name: String,
    /// Arrived while the receive queue was full.
    pub missed: u64,
    /// Arrived broken.
    pub receive_errors: u64,
    /// Arrived while there was no buffer.
    pub no_buffer: u64,
    /// Could not be sent.
    pub transmit_errors: u64,
}

/// Every virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Buckets of the connection table, for the version line.
    pub size_buckets: u64,
    /// The services in the back end's order (`--nosort` prints it).
    pub services: Vec<ServiceRow>,
}

/// A virtual service in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// As configured.
    pub spec: ServiceSpec,
    /// Counted so far.
    pub traffic: Traffic,
    /// Counted per second.
    pub rates: Rates,
    /// Its real servers in the back end's order.
    pub servers: Vec<ServerRow>,
}

/// A real server in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerRow {
    /// As configured.
    pub spec: ServerSpec,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Counted so far.
    pub traffic: Traffic,
    /// Counted per second.
    pub rates: Rates,
}

/// The traffic of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Counted since it was zeroed.
    pub traffic: Traffic,
    /// Traffic per second.
    pub rates: Rates,
    /// Counted by each worker since the start.
    pub workers: Vec<Traffic>,
}

/// A connection or a persistence template in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// `TCP`, `UDP`, `SCTP`, or `IP` for the template of a firewall-mark service.
    pub protocol: &'static str,
    /// The client; port 0 in a template.
    pub client: SocketAddr,
    /// The virtual end; [`mark_address`] in the template of a firewall-mark service.
    pub virtual_end: SocketAddr,
    /// The real server.
    pub real: SocketAddr,
    /// Name of the state, such as `ESTABLISHED`.
    pub state: Cow<'static, str>,
    /// Seconds until it expires.
    pub expires_s: u64,
    /// Whether it was learned of another director.
    pub is_synced: bool,
    /// What the persistence engine says of it, if one made it.
    pub engine: Option<EngineData>,
}

/// What a persistence engine says of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineData {
    /// Name of the engine.
    pub name: String,
    /// Its data, such as a SIP call id.
    pub data: String,
}

/// The virtual end that stands for a firewall mark in a template.
#[must_use]
pub fn mark_address(mark: u32, family: Family) -> SocketAddr {
    let address = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(mark)),
        // The kernel keeps the mark in the first of the address's four words.
        Family::V6 => IpAddr::V6(Ipv6Addr::from(u128::from(mark) << 96)),
    };
    SocketAddr::new(address, 0)
}

/// A sync daemon that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonRow {
    /// Master or backup.
    pub role: Role,
    /// Interface of the multicast group.
    pub interface: String,
    /// Sync id.
    pub sync_id: u8,
    /// Longest message in bytes; 0 is not printed.
    pub max_length: u16,
    /// Multicast group, if the back end says it.
    pub group: Option<IpAddr>,
    /// UDP port; 0 is not printed.
    pub port: u16,
    /// Time to live; 0 is not printed.
    pub ttl: u8,
}

impl DaemonRow {
    /// What starts it again.
    #[must_use]
    pub fn spec(&self) -> DaemonSpec {
        DaemonSpec {
            role: self.role,
            interface: self.interface.clone(),
            sync_id: self.sync_id,
            max_length: Some(self.max_length).filter(|&length| length != 0),
            group: self.group,
            port: Some(self.port).filter(|&port| port != 0),
            ttl: Some(self.ttl).filter(|&ttl| ttl != 0),
        }
    }
}
