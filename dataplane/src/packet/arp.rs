//! ARP for IPv4 over Ethernet (RFC 826).

use super::ethernet::Mac;
use super::{read_u16, write_u16};
use crate::verdict::DropReason;
use core::net::Ipv4Addr;
use etherparse::ArpPacketSlice;

/// Length of a packet for IPv4 over Ethernet.
pub const LENGTH: usize = 28;

const OPERATION: usize = 6;
const SENDER_MAC: usize = 8;
const SENDER: usize = 14;
const TARGET_MAC: usize = 18;
const TARGET: usize = 24;

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// A request, or else a reply.
    pub is_request: bool,
    /// Who sent it.
    pub sender_mac: Mac,
    /// The sender's address; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// Whom it asks for, or tells.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the packet behind a link header.
    ///
    /// # Errors
    /// When it is short, of another kind of network, or its sender is a group or no address.
    pub fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let slice = ArpPacketSlice::from_slice(packet).map_err(|_| DropReason::ArpMalformed)?;
        let ethernet_ipv4 = (slice.hw_addr_type().0, slice.proto_addr_type().0) == (1, 0x0800)
            && (slice.hw_addr_size(), slice.proto_addr_size()) == (6, 4);
        let is_request = match slice.operation().0 {
            1 => true,
            2 => false,
            _ => return Err(DropReason::ArpMalformed),
        };
        let fixed: &[u8; LENGTH] = packet.first_chunk().ok_or(DropReason::ArpMalformed)?;
        let mut sender_mac = Mac::default();
        sender_mac.0.copy_from_slice(&fixed[SENDER_MAC..SENDER]);
        if !ethernet_ipv4 || sender_mac.is_group() || sender_mac == Mac::default() {
            return Err(DropReason::ArpMalformed);
        }
        let address = |at| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        Ok(Self { is_request, sender_mac, sender: address(SENDER), target: address(TARGET) })
    }
}

/// Writes a packet; `target_mac` is zero in a request.
pub fn write(
    packet: &mut [u8],
    is_request: bool,
    (sender_mac, sender): (Mac, Ipv4Addr),
    (target_mac, target): (Mac, Ipv4Addr),
) {
    packet[..OPERATION].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    write_u16(packet, OPERATION, if is_request { 1 } else { 2 });
    packet[SENDER_MAC..SENDER].copy_from_slice(&sender_mac.0);
    packet[SENDER..TARGET_MAC].copy_from_slice(&sender.octets());
    packet[TARGET_MAC..TARGET].copy_from_slice(&target_mac.0);
    packet[TARGET..LENGTH].copy_from_slice(&target.octets());
    debug_assert_eq!(read_u16(packet, 2), 0x0800);
}
