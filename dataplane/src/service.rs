//! What an administrator says of virtual services and real servers: plain values, no behaviour.
//!
//! The control grammar (`ctl`) makes these, the [`crate::director`] judges them, listings show them.

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Transport protocol of a virtual service, numbered as in the IP header (RFC 1700).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// Transmission Control Protocol.
    Tcp = 6,
    /// User Datagram Protocol.
    Udp = 17,
    /// Stream Control Transmission Protocol.
    Sctp = 132,
}

impl Protocol {
    /// The protocol of an IP header's number, if a service can have it.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The name that listings print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// Address family of a service whose packets are chosen by a firewall mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The address that stands for a firewall mark in a persistence template.
    #[must_use]
    pub fn address_of(self, mark: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(mark).into(),
            // The kernel keeps the mark in the first of the address's four words.
            Self::V6 => Ipv6Addr::from(u128::from(mark) << 96).into(),
        }
    }
}

/// What names a virtual service; no two services share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceKey {
    /// Packets to a virtual address and port; port 0 takes every port not defined otherwise.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address (VIP).
        address: IpAddr,
        /// Virtual port.
        port: u16,
    },
    /// Packets that carry a firewall mark, whatever their protocol and address.
    Mark {
        /// Family of the packets.
        family: Family,
        /// The mark, never 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// Address family of the service's packets.
    #[must_use]
    pub fn family(&self) -> Family {
        match *self {
            Self::Address { address, .. } => Family::of(address),
            Self::Mark { family, .. } => family,
        }
    }
}

/// A virtual service as configured (`-A`, `-E`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// What packets it takes.
    pub key: ServiceKey,
    /// Scheduler by name, such as `wlc`; the director knows which exist.
    pub scheduler: String,
    /// The scheduler's flag bits, 0x08, 0x10 and 0x20 as on the kernel's control interface.
    pub scheduler_flags: u32,
    /// How long a client stays with its server after its last new connection, in seconds.
    pub persistence_s: Option<u32>,
    /// How persistence groups clients.
    pub client_mask: ClientMask,
    /// Persistence engine by name, such as `sip`.
    pub persistence_engine: Option<String>,
    /// Schedule every datagram by itself (`-o`, UDP only).
    pub one_packet: bool,
}

/// How persistence groups clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMask {
    /// IPv4 netmask as a number, most significant byte first. Its ones need not be contiguous.
    V4(u32),
    /// IPv6 prefix length in bits, 1 to 128.
    V6(u8),
}

impl ClientMask {
    /// The mask that keeps every client apart.
    #[must_use]
    pub fn each_client(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(u32::MAX),
            Family::V6 => Self::V6(128),
        }
    }
}

/// How requests reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Rewritten to the server's address; replies come back through the director (`-m`).
    Nat,
    /// Wrapped in an outer IP header; the server answers the client itself (`-i`).
    Tunnel,
    /// Sent to the server's link-layer address; the server answers the client itself (`-g`).
    Direct,
}

/// Encapsulation of a tunnel server (`--tun-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TunnelKind {
    /// IP in IP (RFC 2003).
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation (RFC 2784).
    Gre,
}

/// Checksum of a tunnel's own header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TunnelChecksum {
    /// None (`--tun-nocsum`).
    #[default]
    None,
    /// Computed (`--tun-csum`).
    Full,
    /// Remote checksum offload (`--tun-remcsum`).
    Remote,
}

/// Tunnel options of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TunnelSpec {
    /// Encapsulation.
    pub kind: TunnelKind,
    /// UDP port of a GUE server, else 0.
    pub port: u16,
    /// Checksum of the tunnel header.
    pub checksum: TunnelChecksum,
}

/// A real server as configured (`-a`, `-e`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Real address (RIP).
    pub address: IpAddr,
    /// Real port; 0 keeps the packet's port.
    pub port: u16,
    /// Forwarding method.
    pub method: Method,
    /// Share of new connections; 0 takes none. At most `i32::MAX`.
    pub weight: i64,
    /// Connections at which the server counts as overloaded; 0 is no limit.
    pub upper_threshold: u32,
    /// Connections below which it counts as free again; 0 is three quarters of the upper one.
    pub lower_threshold: u32,
    /// Tunnel options, when the method is [`Method::Tunnel`].
    pub tunnel: TunnelSpec,
}

/// Traffic counted for a server, a service or the whole director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections made by scheduling.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from servers.
    pub out_packets: u64,
    /// IP bytes from clients.
    pub in_bytes: u64,
    /// IP bytes from servers.
    pub out_bytes: u64,
}

impl core::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.in_packets += other.in_packets;
        self.out_packets += other.out_packets;
        self.in_bytes += other.in_bytes;
        self.out_bytes += other.out_bytes;
    }
}

impl core::ops::Sub for Traffic {
    type Output = Self;

    /// What has come since `base`, an earlier state of the same counters.
    fn sub(self, base: Self) -> Self {
        Self {
            connections: self.connections - base.connections,
            in_packets: self.in_packets - base.in_packets,
            out_packets: self.out_packets - base.out_packets,
            in_bytes: self.in_bytes - base.in_bytes,
            out_bytes: self.out_bytes - base.out_bytes,
        }
    }
}
