//! A virtual service as the shards see it: an immutable roster of real servers, replaced whole
//! when control changes it, and the loads that all shards share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::schedule::Scheduler;
use crate::service::{Method, ServiceKey};

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

/// Connections of one server, counted over all shards.
///
/// Touched when a connection is made, ends or changes class, never for a packet alone; a cache
/// line of its own, so that servers do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Load {
    active: AtomicU32,
    inactive: AtomicU32,
}

impl Load {
    /// Connections that are open or opening.
    #[inline]
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// All other connections: closing, closed but remembered, and every UDP one.
    #[inline]
    #[must_use]
    pub fn inactive(&self) -> u32 {
        self.inactive.load(Relaxed)
    }

    /// Counts a new connection in its class.
    pub(crate) fn bind(&self, active: bool) {
        self.class(active).fetch_add(1, Relaxed);
    }

    /// Counts a connection out of its class.
    pub(crate) fn unbind(&self, active: bool) {
        let before = self.class(active).fetch_sub(1, Relaxed);
        assert!(before > 0, "a connection is counted in before it is counted out");
    }

    /// Moves a connection to the other class.
    pub(crate) fn reclassify(&self, active: bool) {
        self.bind(active);
        self.unbind(!active);
    }

    fn class(&self, active: bool) -> &AtomicU32 {
        if active { &self.active } else { &self.inactive }
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
    /// Share of new connections; 0 takes none.
    pub weight: u32,
    /// How requests reach it.
    pub method: Method,
    /// Real address.
    pub address: IpAddr,
    /// Real port; 0 keeps the packet's port.
    pub port: u16,
    /// Its connections.
    pub load: Arc<Load>,
}

/// A virtual service and its real servers at one moment.
#[derive(Debug)]
pub struct Roster {
    /// What packets the service takes.
    pub key: ServiceKey,
    /// Chooses servers; shared by all shards and by successive rosters of the service.
    pub scheduler: Arc<Scheduler>,
    /// The servers, newest first.
    pub members: Box<[Member]>,
}
