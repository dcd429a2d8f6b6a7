//! What must hold of any VRRP advertisement.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::packet::checksum;
use dataplane::vrrp::{
    Advertisement, Auth, Envelope, GROUP_V4, GROUP_V6, PROTOCOL, Rejection, TTL, Version,
};

/// Bits of an input's first byte: the family, and what is put right or wrong.
const IPV6: u8 = 0x01;
const SEALED: u8 = 0x02;
const PSEUDO_HEADER: u8 = 0x04;
const OTHER_TTL: u8 = 0x08;
const OTHER_DESTINATION: u8 = 0x10;
const OTHER_FAMILY: u8 = 0x20;

const CHECKSUM: usize = 6;

/// A byte of bits, the source address, and what follows the IP header.
pub fn advertisement(bytes: &[u8]) {
    let Some((&bits, bytes)) = bytes.split_first() else { return };
    let is = |bit| bits & bit != 0;
    let (source, payload) = if is(IPV6) {
        let Some((source, payload)) = bytes.split_first_chunk::<16>() else { return };
        (IpAddr::from(*source), payload)
    } else {
        let Some((source, payload)) = bytes.split_first_chunk::<4>() else { return };
        (IpAddr::from(*source), payload)
    };
    let group = if is(IPV6) != is(OTHER_FAMILY) { GROUP_V6.into() } else { GROUP_V4.into() };
    let destination = if is(OTHER_DESTINATION) { source } else { group };
    let ttl = if is(OTHER_TTL) { bits } else { TTL };
    let mut payload = payload.to_vec();
    if is(SEALED) && payload.len() >= CHECKSUM + 2 {
        seal(source, group, is(PSEUDO_HEADER), &mut payload);
    }
    check(Envelope { source, destination, ttl }, &payload);
}

/// Puts the checksum right.
fn seal(source: IpAddr, group: IpAddr, pseudo_header: bool, payload: &mut [u8]) {
    payload[CHECKSUM..CHECKSUM + 2].fill(0);
    let mut sum = checksum::sum(payload);
    if pseudo_header {
        for address in [source, group] {
            sum += match address {
                IpAddr::V4(address) => checksum::sum(&address.octets()),
                IpAddr::V6(address) => checksum::sum(&address.octets()),
            };
        }
        sum += u64::from(PROTOCOL) + payload.len() as u64;
    }
    let value = !checksum::fold(sum);
    payload[CHECKSUM..CHECKSUM + 2].copy_from_slice(&value.to_be_bytes());
}

/// Any packet: read without a panic, what is taken keeps the rules, and says the same when it is
/// written and read again.
fn check(envelope: Envelope, payload: &[u8]) {
    let Envelope { source, destination, ttl } = envelope;
    let taken = match Advertisement::parse(&envelope, payload) {
        Ok(taken) => taken,
        Err(reason) => {
            // What only a virtual router can tell.
            let of_a_router = [
                Rejection::AddressList,
                Rejection::AuthData,
                Rejection::UnknownVrid,
                Rejection::OwnSource,
                Rejection::Idle,
            ];
            assert!(!of_a_router.contains(&reason), "{reason:?}");
            return;
        }
    };
    assert_eq!(ttl, TTL);
    assert!(!source.is_multicast() && !source.is_unspecified() && !source.is_loopback());
    assert_eq!(destination, if source.is_ipv4() { GROUP_V4.into() } else { IpAddr::V6(GROUP_V6) });
    let (addresses, width) = (&taken.addresses, if source.is_ipv4() { 4 } else { 16 });
    assert!((1..=255).contains(&addresses.len()), "{taken:?}");
    assert!(addresses.iter().all(|address| address.is_ipv4() == source.is_ipv4()), "{taken:?}");
    let length = 8 + addresses.len() * width;
    match taken.version {
        Version::V2 => {
            assert!(source.is_ipv4() && payload.len() == length + 8, "{taken:?}");
            assert!((100..=25_500).contains(&taken.interval_cs), "{taken:?}");
            assert!(taken.interval_cs.is_multiple_of(100), "{taken:?}");
        }
        Version::V3 => {
            assert!(taken.auth == Auth::None && payload.len() == length, "{taken:?}");
            assert!((1..=4095).contains(&taken.interval_cs), "{taken:?}");
        }
    }
    // Without a pseudo-header only over IPv4; over IPv6 it is there whatever one asks for.
    for pseudo_header in [false, true] {
        let mut packet = Vec::new();
        taken.append_packet(source, pseudo_header, &mut packet);
        let (again, payload) = opened(&packet);
        assert_eq!(again, envelope);
        assert_eq!(Advertisement::parse(&again, payload).as_ref(), Ok(&taken));
    }
}

/// Takes an IP packet apart.
fn opened(packet: &[u8]) -> (Envelope, &[u8]) {
    let field = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if packet[0] >> 4 == 4 {
        assert_eq!((packet[0], usize::from(field(2))), (0x45, packet.len()));
        assert_eq!((packet[9], checksum::of(&packet[..20])), (PROTOCOL, 0));
        let address = |at: usize| {
            IpAddr::V4(Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]))
        };
        let (source, destination) = (address(12), address(16));
        (Envelope { source, destination, ttl: packet[8] }, &packet[20..])
    } else {
        assert_eq!((packet[0] >> 4, usize::from(field(4))), (6, packet.len() - 40));
        assert_eq!(packet[6], PROTOCOL);
        let address = |at: usize| {
            let octets: &[u8; 16] = packet[at..].first_chunk().expect("a whole header");
            IpAddr::V6(Ipv6Addr::from(*octets))
        };
        let (source, destination) = (address(8), address(24));
        (Envelope { source, destination, ttl: packet[7] }, &packet[40..])
    }
}
