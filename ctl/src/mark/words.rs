//! Values of the words: networks, protocols, ports, marks.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::address::Prefix;
use dataplane::service::Protocol;

use super::network;
use super::text::PROTOCOLS;
use crate::names::Names;

/// `ADDRESS`, `ADDRESS/LENGTH`, `ADDRESS/MASK`, or the name of a host.
pub(super) fn network_of(text: &str, names: &dyn Names) -> Option<Prefix> {
    let prefix = match text.split_once('/') {
        None => match text.parse() {
            Ok(prefix) => prefix,
            Err(()) => Prefix::new(IpAddr::V4(names.host_v4(text)?), 32)?,
        },
        Some((address, mask)) if mask.contains('.') => {
            let address: Ipv4Addr = address.parse().ok()?;
            let mask = mask.parse::<Ipv4Addr>().ok()?.to_bits();
            let length = mask.leading_ones();
            // Its ones must be contiguous.
            let sound = mask.count_ones() == length;
            Prefix::new(IpAddr::V4(address), length as u8).filter(|_| sound)?
        }
        Some((_, length)) => {
            number(length)?;
            text.parse().ok()?
        }
    };
    Some(network(prefix))
}

/// A protocol by name or number; 0 and `all` are every protocol, the inner `None`.
pub(super) fn protocol(text: &str) -> Option<Option<u8>> {
    let name = text.to_ascii_lowercase();
    if let Some((_, number)) = PROTOCOLS.iter().find(|(other, _)| *other == name) {
        return Some(Some(*number));
    }
    let number = if name == "all" { 0 } else { u8::try_from(number(text)?).ok()? };
    Some(Some(number).filter(|&number| number != 0))
}

/// `PORT`, `FIRST:LAST`, `:LAST` or `FIRST:`; ports may have names.
pub(super) fn ports(text: &str, protocol: Protocol, names: &dyn Names) -> Option<(u16, u16)> {
    let port = |text: &str| match number(text) {
        Some(number) => u16::try_from(number).ok(),
        None => names.service_port(text, protocol),
    };
    let range = match text.split_once(':') {
        None => port(text).map(|port| (port, port))?,
        Some((first, last)) => {
            let first = if first.is_empty() { 0 } else { port(first)? };
            (first, if last.is_empty() { u16::MAX } else { port(last)? })
        }
    };
    (range.0 <= range.1).then_some(range)
}

/// What is wrong with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WrongMark {
    /// Not a number of 32 bits.
    Number,
    /// A mask that leaves bits of the old mark.
    Mask,
}

/// `MARK` or `MARK/0xffffffff`, decimal or hexadecimal.
pub(super) fn mark(text: &str) -> Result<u32, WrongMark> {
    let (mark, mask) = match text.split_once('/') {
        Some((mark, mask)) => (mark, Some(mask)),
        None => (text, None),
    };
    let mark = integer(mark).ok_or(WrongMark::Number)?;
    match mask.map(integer) {
        None | Some(Some(u32::MAX)) => Ok(mark),
        Some(Some(_)) => Err(WrongMark::Mask),
        Some(None) => Err(WrongMark::Number),
    }
}

fn integer(text: &str) -> Option<u32> {
    let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return number(text);
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// A decimal number. Leading zeros are refused: iptables takes such a number for octal.
pub(super) fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}
