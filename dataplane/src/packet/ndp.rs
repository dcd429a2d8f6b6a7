//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements.

use core::net::Ipv6Addr;

use super::checksum;
use super::ethernet::Mac;
use super::{Header, Network, icmp, write_u16};
use crate::verdict::DropReason;

/// Every node of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Length of a solicitation with its sender's link-layer address, IP header included.
pub const SOLICITATION_LENGTH: usize = 40 + MESSAGE_LENGTH + 8;
/// Length of an advertisement with the target's link-layer address, IP header included.
pub const ADVERTISEMENT_LENGTH: usize = SOLICITATION_LENGTH;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const MESSAGE_LENGTH: usize = 24;
const TARGET: usize = 8;
const FLAGS: usize = 4;
const IS_ROUTER: u8 = 0x80;
const IS_SOLICITED: u8 = 0x40;
const IS_OVERRIDE: u8 = 0x20;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// What no router has passed on (section 3.1).
const HOP_LIMIT: u8 = 255;

/// A message of neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ndp {
    /// Asks who has an address.
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's link-layer address.
        source_mac: Option<Mac>,
    },
    /// Tells who has it.
    Advertisement {
        /// The address told of.
        target: Ipv6Addr,
        /// Its link-layer address.
        mac: Option<Mac>,
        /// Whether it replaces what is known.
        is_override: bool,
        /// Whether it answers a solicitation.
        is_solicited: bool,
    },
}

/// Reads the ICMPv6 message in `l3`, whose IP header has been accepted; nothing when it is of
/// another kind.
///
/// # Errors
/// When it fails a test of sections 7.1.1 and 7.1.2.
pub fn parse(l3: &[u8], ip: &Header<Ipv6Addr>) -> Result<Option<Ndp>, DropReason> {
    let message = &l3[usize::from(ip.header_length)..usize::from(ip.total_length)];
    let Some(&kind @ (SOLICITATION | ADVERTISEMENT)) = message.first() else { return Ok(None) };
    let malformed = DropReason::NdpMalformed;
    if message.len() < MESSAGE_LENGTH || ip.ttl != HOP_LIMIT || message[1] != 0 {
        return Err(malformed);
    }
    if !icmp::is_sound(l3, ip) {
        return Err(DropReason::IcmpChecksum);
    }
    let target = address_at(message, TARGET);
    let (source_mac, target_mac) = link_addresses(&message[MESSAGE_LENGTH..]).ok_or(malformed)?;
    if target.is_multicast() || target.is_unspecified() {
        return Err(malformed);
    }
    if kind == SOLICITATION {
        let is_probe = ip.source.is_unspecified();
        if is_probe && (source_mac.is_some() || ip.destination != solicited_node(target)) {
            return Err(malformed);
        }
        return Ok(Some(Ndp::Solicitation { target, source_mac }));
    }
    let is_solicited = message[FLAGS] & IS_SOLICITED != 0;
    if is_solicited && ip.destination.is_multicast() {
        return Err(malformed);
    }
    let is_override = message[FLAGS] & IS_OVERRIDE != 0;
    Ok(Some(Ndp::Advertisement { target, mac: target_mac, is_override, is_solicited }))
}

/// The source's and the target's link-layer addresses; nothing when an option is malformed.
fn link_addresses(mut options: &[u8]) -> Option<(Option<Mac>, Option<Mac>)> {
    let (mut source, mut target) = (None, None);
    while !options.is_empty() {
        let length = usize::from(*options.get(1)?) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        let place = match option[0] {
            SOURCE_LINK_ADDRESS => Some(&mut source),
            TARGET_LINK_ADDRESS => Some(&mut target),
            _ => None,
        };
        if let Some(place) = place {
            let mac = Mac(option[2..8].try_into().ok()?);
            if mac.is_group() || mac == Mac::default() {
                return None;
            }
            *place = Some(mac);
        }
        options = &options[length..];
    }
    Some((source, target))
}

/// Writes the question who has `target`, to the group that its holder listens to.
pub fn write_solicitation(packet: &mut [u8], source: Ipv6Addr, mac: Mac, target: Ipv6Addr) {
    let ends = (source, solicited_node(target));
    write(packet, ends, (SOLICITATION, 0), target, (SOURCE_LINK_ADDRESS, mac));
}

/// Writes that `target` is at `mac`, replacing what was known.
pub fn write_advertisement(
    packet: &mut [u8],
    source: Ipv6Addr,
    mac: Mac,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    is_solicited: bool,
) {
    let solicited = if is_solicited { IS_SOLICITED } else { 0 };
    let flags = IS_ROUTER | IS_OVERRIDE | solicited;
    let option = (TARGET_LINK_ADDRESS, mac);
    write(packet, (source, destination), (ADVERTISEMENT, flags), target, option);
}

fn write(
    packet: &mut [u8],
    ends: (Ipv6Addr, Ipv6Addr),
    (kind, flags): (u8, u8),
    target: Ipv6Addr,
    (option, mac): (u8, Mac),
) {
    let packet = &mut packet[..SOLICITATION_LENGTH];
    Ipv6Addr::write_header(packet, ends, Ipv6Addr::ICMP, 0, 0);
    packet[7] = HOP_LIMIT;
    let message = &mut packet[40..];
    message.fill(0);
    message[0] = kind;
    message[FLAGS] = flags;
    message[TARGET..MESSAGE_LENGTH].copy_from_slice(&target.octets());
    message[MESSAGE_LENGTH] = option;
    message[MESSAGE_LENGTH + 1] = 1;
    message[MESSAGE_LENGTH + 2..].copy_from_slice(&mac.0);
    let sum = Ipv6Addr::icmp_pseudo_header(ends, message.len()) + checksum::sum(message);
    write_u16(message, 2, !checksum::fold(sum));
}

/// The group that the holder of an address listens to (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = u128::from(address) & 0xff_ffff;
    Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000_u128 | low)
}

/// The link-layer address of a group (RFC 2464 section 7).
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let octets = group.octets();
    Mac([0x33, 0x33, octets[12], octets[13], octets[14], octets[15]])
}

fn address_at(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    octets.into()
}
