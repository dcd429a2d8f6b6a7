//! The record of a connection: everything that a forwarded packet reads or writes.

use core::fmt::{self, Debug};

use crate::address::Address;
use crate::neighbour::NeighbourId;
use crate::packet::Packet;
use crate::packet::checksum::Delta;
use crate::roster::ServerId;
use crate::service::Method;
use crate::template::TemplateId;
use crate::time::Tick;

use super::state::State;

/// Bits that describe a connection.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    const METHOD: u8 = 0b11;
    /// Counted as active at its server.
    const ACTIVE: u8 = 1 << 2;
    /// No reply has been seen, as is usual when the server answers the client itself.
    pub(crate) const NO_OUTPUT: u8 = 1 << 3;
    /// Under a template that is to be told once the connection has proved to be real.
    const VOUCHES: u8 = 1 << 4;
    /// Learned of another director.
    pub const SYNCED: u8 = 1 << 5;
    /// Lasts for one packet.
    pub const ONE_PACKET: u8 = 1 << 6;
    /// Backups have been told of it.
    pub const TOLD: u8 = 1 << 7;

    /// Flags of a new connection: inactive, and blind to replies unless they must pass here.
    #[must_use]
    pub fn new(method: Method) -> Self {
        match method {
            Method::Nat => Self(0),
            Method::Tunnel => Self(1 | Self::NO_OUTPUT),
            Method::Direct => Self(2 | Self::NO_OUTPUT),
        }
    }

    /// Whether a flag is set.
    #[inline]
    #[must_use]
    pub fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Sets or clears a flag.
    #[inline]
    pub fn set(&mut self, flag: u8, is_set: bool) {
        self.0 = self.0 & !flag | if is_set { flag } else { 0 };
    }

    /// How requests reach the server; kept from when the connection was made.
    #[inline]
    #[must_use]
    pub fn method(self) -> Method {
        match self.0 & Self::METHOD {
            0 => Method::Nat,
            1 => Method::Tunnel,
            _ => Method::Direct,
        }
    }

    /// Whether the connection counts as active.
    #[inline]
    #[must_use]
    pub fn is_active(self) -> bool {
        self.has(Self::ACTIVE)
    }

    /// Counts it as active or not.
    #[inline]
    pub fn set_active(&mut self, active: bool) {
        self.set(Self::ACTIVE, active);
    }

    /// Whether no reply has been seen.
    #[inline]
    #[must_use]
    pub fn no_output(self) -> bool {
        self.has(Self::NO_OUTPUT)
    }

    /// Notes that a reply has been seen.
    #[inline]
    pub fn see_output(&mut self) {
        self.0 &= !Self::NO_OUTPUT;
    }

    /// Whether its template waits to hear that the connection is real.
    #[inline]
    #[must_use]
    pub fn vouches(self) -> bool {
        self.has(Self::VOUCHES)
    }

    /// Sets whether the template waits for that.
    #[inline]
    pub fn set_vouches(&mut self, vouches: bool) {
        self.set(Self::VOUCHES, vouches);
    }

    /// Sends by another method, from which it follows whether replies are seen.
    pub(crate) fn set_method(&mut self, method: Method) {
        self.0 = self.0 & !(Self::METHOD | Self::NO_OUTPUT) | Self::new(method).0;
    }
}

impl Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}+{:#x}", self.method(), self.0 & !Self::METHOD)
    }
}

/// A connection: one cache line for IPv4, two for IPv6.
///
/// A free record has protocol 0, and the next free one in place of its server.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Connection<A> {
    /// The client's address.
    pub client: A,
    /// The virtual address (VIP).
    pub virtual_address: A,
    /// The real server's address (RIP).
    pub real: A,
    /// The client's port.
    pub client_port: u16,
    /// The virtual port.
    pub virtual_port: u16,
    /// The real server's port.
    pub real_port: u16,
    /// Transport protocol number.
    pub protocol: u8,
    /// Where it stands in its protocol.
    pub state: State,
    /// When it ends unless a packet comes.
    pub expires: Tick,
    /// The real server's slot.
    pub server: ServerId,
    /// What turning a request into the server's does to the IP header's sum.
    pub header_delta: Delta,
    /// What it does to the transport header's sum; a reply takes the reverse of both.
    pub transport_delta: Delta,
    /// Method and marks.
    pub flags: Flags,
    /// Next hop towards the client, found when the first reply passes.
    pub client_hop: NeighbourId,
    /// Packets from the client.
    pub in_packets: u32,
    /// The persistence template that it is under.
    pub template: TemplateId,
    /// The count of packets at which backups are told of it.
    pub due: u32,
    /// When it would have ended without further packets, as backups were last told.
    pub told_until: Tick,
    /// How often that has been repeated.
    pub retries: u8,
}

impl<A: Address> Connection<A> {
    pub(super) const FREE: Self = Self {
        client: A::UNSPECIFIED,
        virtual_address: A::UNSPECIFIED,
        real: A::UNSPECIFIED,
        client_port: 0,
        virtual_port: 0,
        real_port: 0,
        protocol: 0,
        state: State::None,
        expires: Tick(0),
        server: ServerId(u32::MAX),
        header_delta: Delta::NONE,
        transport_delta: Delta::NONE,
        flags: Flags(0),
        client_hop: NeighbourId::NONE,
        in_packets: 0,
        template: TemplateId::NONE,
        due: 0,
        told_until: Tick(0),
        retries: 0,
    };

    pub(super) fn is_free(&self) -> bool {
        self.protocol == 0
    }

    /// Whether `packet` goes from this connection's client to its virtual end.
    #[inline]
    #[must_use]
    pub fn is_request(&self, packet: &Packet<A>) -> bool {
        let ends = (packet.ip.source, packet.ip.destination);
        let ports = (packet.source_port, packet.destination_port);
        // One branch for all of it.
        let difference = A::difference((self.client, self.virtual_address), ends)
            | differing_ports((self.client_port, self.virtual_port), ports)
            | u64::from(self.protocol ^ packet.ip.protocol);
        difference == 0
    }

    /// Whether `packet` is its server's answer: from the real end under NAT.
    #[inline]
    #[must_use]
    pub fn is_reply(&self, packet: &Packet<A>) -> bool {
        let ends = (packet.ip.destination, packet.ip.source);
        let ports = (packet.destination_port, packet.source_port);
        let difference = A::difference((self.client, self.real), ends)
            | differing_ports((self.client_port, self.real_port), ports)
            | u64::from(self.protocol ^ packet.ip.protocol)
            | u64::from(self.flags.0 & Flags::METHOD); // NAT is 0
        difference == 0
    }
}

/// 0 if both pairs are the same.
#[inline(always)]
fn differing_ports(pair: (u16, u16), other: (u16, u16)) -> u64 {
    let word = |(low, high): (u16, u16)| u64::from(low) | u64::from(high) << 16;
    word(pair) ^ word(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::size_of;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_record_is_one_cache_line_or_two() {
        assert_eq!(size_of::<Connection<Ipv4Addr>>(), 64);
        assert_eq!(size_of::<Connection<Ipv6Addr>>(), 128);
    }
}
