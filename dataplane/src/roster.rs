//! A virtual service as the shards see it: an immutable roster of real servers, replaced whole
//! when control changes it, and the loads that all shards share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::schedule::{Plan, Query, Scheduler};
use crate::service::{ClientMask, Method, ServiceKey};

/// Slot of a real server in the tables of every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub u32);

impl ServerId {
    /// The slot as an index.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Connections of one server, counted over all shards, and whether it counts as overloaded.
///
/// Touched when a connection is made, ends or changes class, never for a packet alone; a cache
/// line of its own, so that servers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    /// Active connections in the upper half, inactive ones in the lower, so that their sum is
    /// known at every change.
    connections: AtomicU64,
    templates: AtomicU32,
    upper_threshold: AtomicU32,
    lower_threshold: AtomicU32,
    overloaded: AtomicBool,
}

const ONE_ACTIVE: u64 = 1 << 32;
const ONE_INACTIVE: u64 = 1;

/// The sum of both halves of a count.
fn total(connections: u64) -> u64 {
    (connections >> 32) + (connections & 0xffff_ffff)
}

fn one(active: bool) -> u64 {
    if active { ONE_ACTIVE } else { ONE_INACTIVE }
}

impl Load {
    /// Connections that are open or opening.
    #[inline]
    #[must_use]
    pub fn active(&self) -> u32 {
        (self.connections.load(Relaxed) >> 32) as u32
    }

    /// All other connections: closing, closed but remembered, and every UDP one.
    #[inline]
    #[must_use]
    pub fn inactive(&self) -> u32 {
        self.connections.load(Relaxed) as u32
    }

    /// Active and inactive connections at one moment.
    #[inline]
    #[must_use]
    pub fn both(&self) -> (u32, u32) {
        let connections = self.connections.load(Relaxed);
        ((connections >> 32) as u32, connections as u32)
    }

    /// Persistence templates.
    #[must_use]
    pub fn templates(&self) -> u32 {
        self.templates.load(Relaxed)
    }

    /// Whether schedulers pass the server over because of its thresholds.
    #[inline]
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.overloaded.load(Relaxed)
    }

    /// Whether no connection and no template refers to the server.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.load(Relaxed) == 0 && self.templates() == 0
    }

    /// Counts a new connection in its class.
    pub(crate) fn bind(&self, active: bool) {
        let before = self.connections.fetch_add(one(active), Relaxed);
        self.filled(total(before) + 1);
    }

    /// Counts a connection out of its class.
    pub(crate) fn unbind(&self, active: bool) {
        let before = self.connections.fetch_sub(one(active), Relaxed);
        let class = if active { before >> 32 } else { before & 0xffff_ffff };
        assert!(class > 0, "a connection is counted in before it is counted out");
        self.emptied(total(before) - 1);
    }

    /// Moves a connection to the other class.
    pub(crate) fn reclassify(&self, active: bool) {
        let change = one(active).wrapping_sub(one(!active));
        self.connections.fetch_add(change, Relaxed);
    }

    /// Counts a new template.
    pub(crate) fn bind_template(&self) {
        self.templates.fetch_add(1, Relaxed);
        self.filled(total(self.connections.load(Relaxed)));
    }

    /// Counts a template out.
    pub(crate) fn unbind_template(&self) {
        let before = self.templates.fetch_sub(1, Relaxed);
        assert!(before > 0, "a template is counted in before it is counted out");
        self.emptied(total(self.connections.load(Relaxed)));
    }

    /// Sets the thresholds, of a new server or of one that is edited or comes back. Only a higher
    /// upper threshold, or none, clears the mark of overload.
    pub(crate) fn set_thresholds(&self, upper: u32, lower: u32) {
        let before = self.upper_threshold.swap(upper, Relaxed);
        self.lower_threshold.store(lower, Relaxed);
        if upper == 0 || upper > before {
            self.overloaded.store(false, Relaxed);
        }
    }

    /// The server is overloaded once it has as many connections as its upper threshold says.
    fn filled(&self, total: u64) {
        let upper = u64::from(self.upper_threshold.load(Relaxed));
        if upper != 0 && total >= upper {
            self.overloaded.store(true, Relaxed);
        }
    }

    /// It is free again below the lower threshold, or else below three quarters of the upper one.
    fn emptied(&self, total: u64) {
        if !self.is_overloaded() {
            return;
        }
        let upper = u64::from(self.upper_threshold.load(Relaxed));
        let is_free = match u64::from(self.lower_threshold.load(Relaxed)) {
            0 => upper == 0 || total * 4 < upper * 3,
            lower => total < lower,
        };
        if is_free {
            self.overloaded.store(false, Relaxed);
        }
    }
}

/// A real server in a roster.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its slot.
    pub id: ServerId,
    /// Rises with every server added to the service: the roster is in descending order, newest
    /// first as in the kernel, and a scheduler's cursor stays meaningful when the roster changes.
    pub order: u32,
    /// Tells the server apart from all others there ever were, which its slot does not.
    pub serial: u64,
    /// Share of new connections; 0 takes none.
    pub weight: u32,
    /// The last weight that was not 0, or 0 if there never was one.
    pub last_weight: u32,
    /// How requests reach it.
    pub method: Method,
    /// Whether it is behind a tunnel that packets can be wrapped for: IP in IP of the same family.
    pub is_plain_tunnel: bool,
    /// Real address.
    pub address: IpAddr,
    /// Real port; 0 keeps the packet's port.
    pub port: u16,
    /// Its connections.
    pub load: Arc<Load>,
}

impl Member {
    /// Whether schedulers may choose it: it has a weight and is not overloaded.
    #[inline]
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.weight > 0 && !self.load.is_overloaded()
    }
}

/// How a service keeps clients with their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// How long after its last new connection, in seconds.
    pub timeout_s: u32,
    /// Which clients count as one.
    pub mask: ClientMask,
}

/// A virtual service and its real servers at one moment.
#[derive(Debug)]
pub struct Roster {
    /// What packets the service takes.
    pub key: ServiceKey,
    /// Chooses servers; shared by all shards and by successive rosters of the service.
    pub scheduler: Arc<Scheduler>,
    /// The scheduler's flag bits.
    pub flags: u32,
    /// What the scheduler has worked out for these members.
    pub plan: Arc<Plan>,
    /// Whether clients stay with their servers.
    pub persistence: Option<Persistence>,
    /// Whether every datagram is scheduled by itself.
    pub one_packet: bool,
    /// The servers, newest first.
    pub members: Box<[Member]>,
}

impl Roster {
    /// The server for a new connection, or `None` when none takes any.
    #[inline]
    #[must_use]
    pub fn pick(&self, query: &Query) -> Option<&Member> {
        self.scheduler.pick(self, query).map(|place| &self.members[place])
    }

    /// The server that [`Roster::pick`] would choose now; nothing moves on by it.
    #[must_use]
    pub fn peek(&self, query: &Query) -> Option<&Member> {
        self.scheduler.peek(self, query).map(|place| &self.members[place])
    }

    /// Tells the plan that a member's load has changed.
    #[inline]
    pub(crate) fn load_changed(&self, place: u32) {
        if let Plan::Tournament(tournament) = &*self.plan {
            tournament.load_changed(&self.members, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(count: u32) -> Load {
        let load = Load::default();
        (0..count).for_each(|_| load.bind(true));
        load
    }

    /// Recorded of Linux 6.1: full at the upper threshold, free again below three quarters of it.
    #[test]
    fn a_server_is_overloaded_between_its_thresholds() {
        let load = Load::default();
        load.set_thresholds(4, 0);
        (0..3).for_each(|_| load.bind(true));
        assert!(!load.is_overloaded());
        load.bind(false);
        assert!(load.is_overloaded(), "4 of 4");
        load.unbind(false);
        assert!(load.is_overloaded(), "3 are not less than three quarters of 4");
        load.unbind(true);
        assert!(!load.is_overloaded(), "2 are");
        load.set_thresholds(3, 2);
        load.bind(true);
        load.unbind(true);
        assert!(load.is_overloaded(), "2 are not less than the lower threshold");
        load.unbind(true);
        assert!(!load.is_overloaded(), "1 is");
    }

    /// An edit never marks a server, and only a higher threshold or none clears the mark.
    #[test]
    fn edits_of_thresholds_follow_the_kernels_rule() {
        let load = with(5);
        load.set_thresholds(3, 0);
        assert!(!load.is_overloaded(), "one more gets in");
        load.bind(true);
        assert!(load.is_overloaded());
        load.set_thresholds(3, 1);
        load.set_thresholds(2, 1);
        assert!(load.is_overloaded());
        load.set_thresholds(4, 1);
        assert!(!load.is_overloaded());
        load.bind_template();
        assert!(load.is_overloaded(), "a template is not counted, but looked at");
        load.set_thresholds(0, 0);
        assert!(!load.is_overloaded());
    }
}
