//! A connection or persistence template as sync messages carry it.

use core::net::IpAddr;

use crate::hash::{HashKey, owner_of};
use crate::service::Method;
use crate::verdict::ShardId;

/// A connection or persistence template as sync messages carry it. All three addresses are of one
/// family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Transport protocol number; 0 for the template of a firewall mark.
    pub protocol: u8,
    /// Method and class.
    pub flags: RecordFlags,
    /// State, by the number that the kernel gives it within its protocol.
    pub state: u16,
    /// How long it lasts without a packet, in seconds; 0 is not said, as in version 0.
    pub timeout_s: u32,
    /// Firewall mark of its service, or 0.
    pub mark: u32,
    /// The client's end; a template's address is masked, and its port 0.
    pub client: (IpAddr, u16),
    /// The virtual end; the mark as an address in the template of a mark.
    pub virtual_end: (IpAddr, u16),
    /// The real server's end.
    pub real: (IpAddr, u16),
    /// How far sequence numbers are shifted, if they are: of requests, then of replies.
    pub sequence: Option<[Sequence; 2]>,
}

impl Record {
    /// The share, out of `shares`, that its client's connections belong to: the shard that owns
    /// them, if there are as many shards.
    #[must_use]
    pub fn owner(&self, key: &HashKey, shares: u16) -> ShardId {
        match self.client {
            (IpAddr::V4(address), port) => owner_of(key, address, port, shares),
            (IpAddr::V6(address), port) => owner_of(key, address, port, shares),
        }
    }
}

/// How far TCP sequence numbers of one direction are shifted, because a helper has changed the
/// length of what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Numbers after this one are shifted by `delta`, others by `previous_delta`.
    pub initial: u32,
    /// Shift since the latest change.
    pub delta: u32,
    /// Shift before it.
    pub previous_delta: u32,
}

/// Flags of a record, with the bits that they have on the wire (sync protocol reference §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordFlags(pub u16);

impl RecordFlags {
    /// Method: 0 NAT, 1 local, 2 tunnel, 3 direct routing, 4 bypass.
    pub const METHOD: u16 = 0x0007;
    /// No reply has been seen, or will be.
    pub const NO_OUTPUT: u16 = 0x0080;
    /// Counts as inactive at its server.
    pub const INACTIVE: u16 = 0x0100;
    /// Sequence numbers of replies, or requests, are shifted.
    pub const SEQUENCE: u16 = 0x0600;
    /// The client's port is not known yet.
    pub const NO_CLIENT_PORT: u16 = 0x0800;
    /// A persistence template.
    pub const TEMPLATE: u16 = 0x1000;
    /// A connection for one packet; never sent.
    pub const ONE_PACKET: u16 = 0x2000;
    /// What a receiver takes over; all else means something to the sender only.
    pub const TAKEN: u16 = 0x1f87;

    /// Flags of a method, as it is sent.
    #[must_use]
    pub fn of_method(method: Method) -> Self {
        Self(match method {
            Method::Nat => 0,
            Method::Tunnel => 2,
            Method::Direct => 3,
        })
    }

    /// The method; a server that is the director itself, or none, is reached like a NAT server.
    #[must_use]
    pub fn method(self) -> Method {
        match self.0 & Self::METHOD {
            2 => Method::Tunnel,
            3 => Method::Direct,
            _ => Method::Nat,
        }
    }

    /// Whether any of `bits` is set.
    #[must_use]
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// The same with `bits` set or cleared.
    #[must_use]
    pub fn with(self, bits: u16, set: bool) -> Self {
        Self(if set { self.0 | bits } else { self.0 & !bits })
    }
}
