//! Who is where on the links: ARP and neighbour discovery, answered and listened to.

use core::net::Ipv6Addr;

use crate::frame::Frame;
use crate::interface::InterfaceId;
use crate::neighbour::Learned;
use crate::packet::Header;
use crate::packet::Network;
use crate::packet::arp::{self, Arp};
use crate::packet::ethernet::{Link, LinkHeader, Mac};
use crate::packet::ndp::{self, Ndp};
use crate::shard::Shard;
use crate::verdict::{DropReason, Verdict};

impl<F: Frame> Shard<F> {
    /// Answers requests for our addresses and notes who is where.
    #[cold]
    pub(crate) fn arp(
        &mut self,
        frame: &mut F,
        link: &Link,
        interface: InterfaceId,
        mac: Mac,
    ) -> Result<Verdict, DropReason> {
        let arp = Arp::parse(&frame.bytes()[link.length..])?;
        if link.destination != mac && !link.destination.is_group() {
            return Err(DropReason::NotOurMac);
        }
        if self.v4.addresses.role(arp.sender).is_here() || arp.sender_mac == mac {
            return Err(DropReason::SourceIsOurs);
        }
        if !arp.sender.is_unspecified() {
            let learned = Learned { interface, address: arp.sender.into(), mac: arp.sender_mac };
            self.note(learned);
        }
        if !arp.is_request {
            return Ok(Verdict::Consumed);
        }
        if !self.v4.addresses.role(arp.target).is_here() {
            return Err(DropReason::ArpNotForUs);
        }
        let bytes = frame.bytes_mut();
        bytes[..6].copy_from_slice(&arp.sender_mac.0);
        bytes[6..12].copy_from_slice(&mac.0);
        let packet = &mut bytes[link.length..];
        arp::write(packet, false, (mac, arp.target), (arp.sender_mac, arp.sender));
        Ok(Verdict::Transmit(frame.port()))
    }

    /// The same for IPv6 (RFC 4861): a solicitation or an advertisement, already checked.
    #[cold]
    pub(crate) fn ndp(
        &mut self,
        frame: &mut F,
        link: &Link,
        ip: &Header<Ipv6Addr>,
        ndp: &Ndp,
        interface: InterfaceId,
        mac: Mac,
    ) -> Result<Verdict, DropReason> {
        let (claimed, claimed_mac) = match *ndp {
            Ndp::Solicitation { source_mac, .. } => (ip.source, source_mac),
            Ndp::Advertisement { target, mac, .. } => (target, mac),
        };
        let is_probe = claimed.is_unspecified();
        if self.v6.addresses.role(claimed).is_here() || claimed_mac == Some(mac) {
            return Err(DropReason::SourceIsOurs);
        }
        if let (false, Some(mac)) = (is_probe || claimed.is_multicast(), claimed_mac) {
            self.note(Learned { interface, address: claimed.into(), mac });
        }
        let Ndp::Solicitation { target, source_mac } = *ndp else { return Ok(Verdict::Consumed) };
        if !self.v6.addresses.role(target).is_here() {
            return Err(DropReason::NdpNotForUs);
        }
        // Whoever only probes whether the address is free hears it with all others.
        let (to, to_mac) = if is_probe {
            (ndp::ALL_NODES, ndp::multicast_mac(ndp::ALL_NODES))
        } else {
            (ip.source, source_mac.unwrap_or(link.source))
        };
        let vlan = (link.vlan != 0).then_some(link.vlan);
        let header = LinkHeader::new(to_mac, mac, vlan, Ipv6Addr::ETHER_TYPE);
        let length = header.length() + ndp::ADVERTISEMENT_LENGTH;
        // The answer may be longer than the question; it is made to end where that ends.
        let distance = (frame.bytes().len() as isize - length as isize).min(0);
        let bytes = frame.reframe(distance, length).ok_or(DropReason::NoHeadroom)?;
        header.write(bytes);
        let packet = &mut bytes[header.length()..];
        ndp::write_advertisement(packet, target, mac, to, target, !is_probe);
        Ok(Verdict::Transmit(frame.port()))
    }
}
