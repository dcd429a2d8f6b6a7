//! VRRP: which of several directors holds the virtual addresses (version 3, RFC 9568; version 2,
//! RFC 3768), as keepalived speaks it.
//!
//! Pure like all here: packets, events and the time are handed in, actions come out.
//!
//! | module | holds |
//! |---|---|
//! | [`codec`] | advertisements: checked, read, written |
//! | [`config`] | one virtual router, as configured |
//! | [`machine`], [`state`] | who is master, when that changes, and why |
//! | [`group`] | routers that change together |
//! | [`counters`], [`rejection`] | what has been counted, and why advertisements were rejected |
//!
//! What the host does: it parses each packet of protocol [`PROTOCOL`] with
//! [`Advertisement::parse`](codec::Advertisement::parse), gives it to the [`Group`] whose member
//! has its interface, identifier and family, and calls [`Group::poll`] when
//! [`Group::next_deadline`] has come, **after** everything that had been received until then.

pub mod codec;
pub mod config;
pub mod counters;
pub mod group;
pub mod machine;
pub mod rejection;
pub mod state;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::ethernet::Mac;

pub use codec::{Advertisement, Auth, Envelope, Version};
pub use config::{Config, ConfigError};
pub use counters::{Counters, Rejections};
pub use group::Group;
pub use machine::{Heard, Router};
pub use rejection::Rejection;
pub use state::{Action, Reason, Sink, State};

/// IP protocol number (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// Time to live, or hop limit, of every advertisement (RFC 9568 section 5.1.1.3).
pub const TTL: u8 = 255;
/// Type of service: internetwork control.
pub const TOS: u8 = 0xc0;
/// Where advertisements about IPv4 addresses are sent (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where advertisements about IPv6 addresses are sent (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Link-layer address of [`GROUP_V4`] (RFC 1112 section 6.4).
pub const GROUP_V4_MAC: Mac = Mac([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
/// Link-layer address of [`GROUP_V6`] (RFC 2464 section 7).
pub const GROUP_V6_MAC: Mac = Mac([0x33, 0x33, 0x00, 0x00, 0x00, 0x12]);
/// Priority of the router that owns the addresses: it is master whenever it runs.
pub const OWNER: u8 = 255;
/// Priority in the last advertisement of a master that resigns.
pub const RESIGNED: u8 = 0;
