//! Values of options: numbers, addresses with ports, masks, multicast groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::service::Protocol;

use crate::names::Names;

/// A decimal number within bounds, as C's `strtol` reads it: white space before it and a sign are fine.
pub(crate) fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let text = text.trim_start_matches(is_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Too many digits for an i64 are out of any bounds here.
    let value: i64 = text.parse().ok()?;
    (least..=most).contains(&value).then_some(value)
}

/// The number at the start of a text, else 0, as C's `atoi` reads it.
pub(crate) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start_matches(is_space);
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = digits
        .bytes()
        .take_while(u8::is_ascii_digit)
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -value } else { value }
}

/// The white space of C's locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// An IPv4 address as C's `inet_aton` reads it: one to four parts, each decimal, octal or hexadecimal; the last part
/// fills what the others leave. White space ends it.
pub(crate) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(is_space).next().unwrap_or("");
    let parts: Vec<u32> = text.split('.').map(c_integer).collect::<Option<_>>()?;
    let (&last, front) = parts.split_last()?;
    if front.len() > 3 || front.iter().any(|&part| part > 255) {
        return None;
    }
    let free_bits = 32 - 8 * front.len();
    if u64::from(last) >> free_bits != 0 {
        return None;
    }
    let front = front
        .iter()
        .enumerate()
        .fold(0_u32, |address, (index, part)| address | part << (24 - 8 * index));
    Some(Ipv4Addr::from(front | last))
}

/// An unsigned number of a C program: `0x1f` hexadecimal, `017` octal, else decimal.
fn c_integer(text: &str) -> Option<u32> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// An IPv4 address in numbers or by host name.
pub(crate) fn host_v4(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    if text.is_empty() {
        return None;
    }
    inet_aton(text).or_else(|| names.host_v4(text))
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
}

/// `host[:port]` of a virtual service or real server. Port names need a protocol.
pub(crate) fn endpoint(
    text: &str,
    protocol: Option<Protocol>,
    names: &dyn Names,
) -> Option<Endpoint> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (host, after) = inner.split_once(']')?;
        let port = after.strip_prefix(':')?;
        return match host.parse::<Ipv6Addr>() {
            Ok(address) => Some(Endpoint {
                address: IpAddr::V6(address),
                port: Some(self::port(port, protocol, names)?),
            }),
            // What follows the bracket is lost then; the real tool does so.
            Err(_) => Some(Endpoint { address: IpAddr::V4(host_v4(host, names)?), port: None }),
        };
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(Endpoint { address: IpAddr::V6(address), port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let address = IpAddr::V4(host_v4(host, names)?);
    let port = match port {
        Some(port) => Some(self::port(port, protocol, names)?),
        None => None,
    };
    Some(Endpoint { address, port })
}

/// A port by number, else by name.
fn port(text: &str, protocol: Option<Protocol>, names: &dyn Names) -> Option<u16> {
    if let Some(port) = number(text, 0, 65535) {
        return u16::try_from(port).ok();
    }
    names.service_port(text, protocol?)
}

/// A multicast group; the error is the name of the family that the text was taken for.
pub(crate) fn multicast_group(text: &str) -> Result<IpAddr, &'static str> {
    if text.contains(':') {
        let address = text.parse::<Ipv6Addr>().ok().filter(Ipv6Addr::is_multicast);
        address.map(IpAddr::V6).ok_or("IPv6")
    } else {
        let address = text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_multicast);
        address.map(IpAddr::V4).ok_or("IPv4")
    }
}

/// The longest start of a text that has at most `most` bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
