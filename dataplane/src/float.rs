//! Addresses that move between directors, and the advertisements by which directors agree on who
//! holds them (VRRP). The agreement itself is made elsewhere: see [`crate::vrrp`].

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::address_set::Role;
use crate::common::Common;
use crate::frame::{Frame, Host};
use crate::interface::InterfaceId;
use crate::packet::ethernet::{Link, Mac};
use crate::packet::{Header, Network};
use crate::shard::Shard;
use crate::verdict::{DropReason, Verdict};
use crate::vrrp;

/// The longest packet that passes between the link and whoever speaks VRRP.
pub const LONGEST: usize = 1500;
/// Packets that may wait for whoever speaks VRRP.
const WAITING: usize = 32;

/// An IP packet of a protocol that the dataplane itself does not speak, as it came.
#[derive(Clone, Debug)]
pub struct Punted {
    /// Where it came in.
    pub interface: InterfaceId,
    /// What its IP header says.
    pub envelope: vrrp::Envelope,
    /// What follows the IP header.
    pub payload: ArrayVec<u8, LONGEST>,
}

/// An IP packet that is to be sent on a link as it is.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where it goes out.
    pub interface: InterfaceId,
    /// To which station, or group of stations.
    pub to: Mac,
    /// What it is.
    pub ether_type: u16,
    /// From its IP header on.
    pub packet: ArrayVec<u8, LONGEST>,
}

/// An address that moves between directors.
#[derive(Clone, Copy, Debug)]
struct Floating {
    interface: InterfaceId,
    address: IpAddr,
    is_held: bool,
    /// Whether the link is to be told that it is here.
    is_news: bool,
}

/// A shard's part in it.
pub(crate) struct Floats {
    addresses: Vec<Floating>,
    /// Whether any address is to be announced.
    has_news: bool,
    punted: VecDeque<Punted>,
}

impl Floats {
    pub(crate) fn new(floating: &[(InterfaceId, IpAddr)]) -> Self {
        let addresses = floating.iter().map(|&(interface, address)| Floating {
            interface,
            address,
            is_held: false,
            is_news: false,
        });
        let room = if floating.is_empty() { 0 } else { WAITING };
        let punted = VecDeque::with_capacity(room);
        Self { addresses: addresses.collect(), has_news: false, punted }
    }
}

impl<F: Frame> Shard<F> {
    /// Holds floating addresses from now on, or gives them up: who holds one answers for it.
    pub(crate) fn hold_addresses(&mut self, addresses: &[IpAddr], is_held: bool) {
        for floating in &mut self.floats.addresses {
            if floating.is_held != is_held && addresses.contains(&floating.address) {
                floating.is_held = is_held;
                let (from, to) =
                    if is_held { (Role::AWAY, Role::OWN) } else { (Role::OWN, Role::AWAY) };
                match floating.address {
                    IpAddr::V4(address) => self.v4.addresses.change(address, from, to),
                    IpAddr::V6(address) => self.v6.addresses.change(address, from, to),
                }
            }
        }
    }

    /// Announces floating addresses that are held, at the next tick.
    pub(crate) fn announce_addresses(&mut self, addresses: &[IpAddr]) {
        for floating in &mut self.floats.addresses {
            floating.is_news |= floating.is_held && addresses.contains(&floating.address);
            self.floats.has_news |= floating.is_news;
        }
    }

    /// Sends announcements that are due.
    #[inline]
    pub(crate) fn send_announcements<H: Host<Frame = F>>(&mut self, host: &mut H) {
        if self.floats.has_news {
            self.floats.has_news = false;
            for floating in &mut self.floats.addresses {
                if core::mem::take(&mut floating.is_news) && floating.is_held {
                    self.common.announce_twice(host, floating.interface, floating.address);
                }
            }
        }
    }

    /// Sends a packet of somebody who speaks another protocol.
    pub fn send_packet<H: Host<Frame = F>>(&self, host: &mut H, outgoing: &Outgoing) {
        let Outgoing { interface, to, ether_type, ref packet } = *outgoing;
        let write = |bytes: &mut [u8], _| bytes.copy_from_slice(packet);
        self.common.send_own(host, interface, to, ether_type, packet.len(), write);
    }

    /// The next packet that came for whoever speaks VRRP.
    pub fn take_punted(&mut self) -> Option<Punted> {
        self.floats.punted.pop_front()
    }
}

impl Floats {
    /// Keeps a packet for whoever speaks its protocol.
    pub(crate) fn punt<A: Network>(
        &mut self,
        common: &Common,
        frame: &impl Frame,
        link: &Link,
        ip: &Header<A>,
    ) -> Result<Verdict, DropReason> {
        let arrival = common.topology.arrival(frame.port(), link.vlan);
        let (interface, _) = arrival.ok_or(DropReason::UnknownVlan)?;
        let packet = &frame.bytes()[link.length..][..usize::from(ip.total_length)];
        let payload = ArrayVec::try_from(&packet[usize::from(ip.header_length)..]);
        let payload = payload.map_err(|_| DropReason::RoutersQueueFull)?;
        if self.punted.len() == WAITING {
            return Err(DropReason::RoutersQueueFull);
        }
        let envelope = vrrp::Envelope {
            source: ip.source.into(),
            destination: ip.destination.into(),
            ttl: ip.ttl,
        };
        self.punted.push_back(Punted { interface, envelope, payload });
        Ok(Verdict::Consumed)
    }
}
