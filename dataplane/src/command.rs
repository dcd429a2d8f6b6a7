//! All that control may ask of a shard.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::connection::state::State;
use crate::explain::{Outcome, Question, Steps};
use crate::mark::MarkRule;
use crate::roster::{Roster, ServerId};
use crate::service::{Family, ServiceKey};
use crate::settings::Settings;
use crate::sync::RecordPage;
use crate::trace::Trace;

/// A change or a question. Control makes sure beforehand that a change cannot fail, so it is
/// applied by every shard or by none.
#[derive(Clone, Debug)]
pub enum Command {
    /// Adds a service, or replaces its roster.
    PutService(Arc<Roster>),
    /// Removes a service; its connections stay, their servers count as deleted.
    RemoveService(ServiceKey),
    /// Frees the slot of a deleted server that no connection refers to any more.
    ReleaseServer(ServerId),
    /// Nothing: the change is part of a batch, whose commands come at its end.
    Deferred,
    /// Puts settings in force.
    PutSettings(Settings),
    /// Replaces the rules for firewall marks.
    PutMarks(Arc<[MarkRule]>),
    /// Asks what would become of a packet, with room for the answer.
    Explain(Question, Box<Steps>),
    /// Starts a watch over packets, or ends it.
    Watch(Option<Box<Trace>>),
    /// Asks for connections.
    Connections(ConnectionPage),
    /// Says which sync daemons run.
    PutSync(SyncRoles),
    /// Holds addresses that move between directors, or gives them up.
    Hold(Arc<[IpAddr]>, bool),
    /// Announces those of them that are held.
    Announce(Arc<[IpAddr]>),
    /// Asks for connections as backups are told of them.
    Records(RecordPage),
}

/// Which sync daemons run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncRoles {
    /// Backups are told of connections.
    pub is_master: bool,
    /// Others tell of theirs.
    pub is_backup: bool,
}

/// What a shard answers. Replaced values go back, so that control frees them, not the worker.
#[derive(Debug)]
pub enum Reply {
    /// Done; what was replaced or removed.
    Done(Option<Arc<Roster>>),
    /// Done; the rules that were in force.
    Marks(Arc<[MarkRule]>),
    /// What would become of it, and why.
    Explained(Outcome, Box<Steps>),
    /// Done; the watch that was on, with what it saw.
    Watched(Option<Box<Trace>>),
    /// The page asked for.
    Connections(ConnectionPage),
    /// Done; the addresses that it was about.
    Held(Arc<[IpAddr]>),
    /// The page asked for.
    Records(RecordPage),
}

/// Part of a shard's connections: a table is read page by page, so that no read holds up packets.
#[derive(Clone, Debug, Default)]
pub struct ConnectionPage {
    /// Where to go on, `None` from the start; in a reply, where the next page begins, or `None` at
    /// the end.
    pub from: Option<Place>,
    /// Filled by the shard, at most to the capacity it comes with.
    pub connections: Vec<ConnectionInfo>,
}

/// Where a page of connections begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Family of the table.
    pub(crate) family: Family,
    /// Record in it.
    pub(crate) record: u32,
}

/// A connection as listings show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Transport protocol number.
    pub protocol: u8,
    /// Whether it was learned of another director.
    pub is_synced: bool,
    /// State.
    pub state: State,
    /// Seconds until it ends.
    pub expires_s: u32,
    /// The client's end.
    pub client: (IpAddr, u16),
    /// The virtual end.
    pub virtual_end: (IpAddr, u16),
    /// The real server's end.
    pub real: (IpAddr, u16),
}
