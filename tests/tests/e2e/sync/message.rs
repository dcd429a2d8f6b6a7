//! Sync messages made by hand (sync protocol reference §2 and §4).

use std::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::net::VIP;

/// Flags of a template for direct routing.
const TEMPLATE: u32 = 0x1183;
/// Flags of a connection by direct routing.
const DIRECT: u32 = 0x83;

/// A connection to the service by TCP, whose client has this number; of IPv6 or not.
pub(crate) fn connection(client: u16, is_ipv6: bool) -> Vec<u8> {
    entry(DIRECT, 1, 1024 + client, if is_ipv6 { v6(0x99) } else { [10, 77, 0, 99].into() })
}

/// A persistence template of a client.
pub(crate) fn template(client: u8, is_ipv6: bool) -> Vec<u8> {
    let address = if is_ipv6 { v6(client.into()) } else { [10, 77, 1, client].into() };
    entry(TEMPLATE, 0, 0, address)
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, last).into()
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn entry(flags: u32, state: u16, port: u16, client: IpAddr) -> Vec<u8> {
    let is_ipv6 = client.is_ipv6();
    let (virtual_end, real): (IpAddr, IpAddr) = if is_ipv6 {
        let of = |last| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).into();
        (of(0x200), of(9))
    } else {
        (VIP.into(), [10, 77, 0, 9].into())
    };
    let size: u16 = if is_ipv6 { 72 } else { 36 };
    let mut entry = vec![u8::from(is_ipv6), 6];
    entry.extend(size.to_be_bytes());
    entry.extend(flags.to_be_bytes());
    for word in [state, port, 80, 80] {
        entry.extend(word.to_be_bytes());
    }
    entry.extend([0_u32, 300].map(u32::to_be_bytes).concat());
    for address in [client, virtual_end, real] {
        entry.extend(bytes(address));
    }
    entry
}

/// A message of version 1.
pub(crate) fn message(sync_id: u8, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0, sync_id, 0, 0, entries.len() as u8, 1, 0, 0];
    message.extend(entries.concat());
    set_size(&mut message);
    message
}

fn set_size(message: &mut [u8]) {
    let size = (message.len() as u16).to_be_bytes();
    message[2..4].copy_from_slice(&size);
}

/// Messages of entries, as many in each as fit.
pub(crate) fn messages(sync_id: u8, entries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    entries.chunks(18).map(|few| message(sync_id, few)).collect()
}

/// A message with a trailer by this key.
pub(crate) fn sealed(key: &[u8], epoch: u64, number: u64, mut message: Vec<u8>) -> Vec<u8> {
    message.extend(b"PVSs");
    message.extend([epoch, number].map(u64::to_be_bytes).concat());
    message.extend([0; 16]);
    set_size(&mut message);
    message.truncate(message.len() - 16);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&message);
    message.extend(&mac.finalize().into_bytes()[..16]);
    message
}

/// Whether it is what a master of ours says of itself.
pub(crate) fn is_beacon(message: &[u8]) -> bool {
    message.get(4) == Some(&0) && message.get(8..12) == Some(b"PVSb")
}
