//! Pieces of lines: addresses, numbers, flag names.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::service::{Protocol, ServiceSpec, TunnelChecksum};

use crate::names::Names;

/// An address in the standard numeric form of C's `inet_ntop`.
pub(crate) fn address(address: IpAddr) -> String {
    if let IpAddr::V6(v6) = address
        && let [0, 0, 0, 0, 0, 0, high, low] = v6.segments()
        && high != 0
    {
        // C prints the tail of such an address dotted, Rust does not.
        return format!("::{}", Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    }
    address.to_string()
}

/// `host:port`, by names where there are any. Without a protocol, ports stay numbers.
pub(crate) fn endpoint(
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &dyn Names,
) -> String {
    let host = names.host_name(address).unwrap_or_else(|| self::address(address));
    // Port 0 means "any" and has no name.
    let port = protocol
        .filter(|_| port != 0)
        .and_then(|protocol| names.service_name(port, protocol))
        .unwrap_or_else(|| port.to_string());
    if address.is_ipv4() { format!("{host}:{port}") } else { format!("[{host}]:{port}") }
}

/// A counter, right-justified in a column after a blank.
pub(crate) fn count(value: u64, exact: bool) -> String {
    if exact {
        // Always at least one blank before the number.
        let digits = value.to_string();
        let width = if digits.len() <= 8 { 9 } else { digits.len() + 1 };
        return format!("{digits:>width$}");
    }
    let (value, unit) = match value {
        0..=99_999_999 => return format!("{value:9}"),
        100_000_000..=999_999_999 => (value / 1_000, 'K'),
        1_000_000_000..=99_999_999_999 => (value / 1_000_000, 'M'),
        100_000_000_000..=99_999_999_999_999 => (value / 1_000_000_000, 'G'),
        _ => (value / 1_000_000_000_000, 'T'),
    };
    format!("{value:8}{unit}")
}

/// The names of a service's scheduler flags, or `None` if it has none.
///
/// `sh` and `mh` have no name for the third bit; alone it gives an empty list.
pub(crate) fn scheduler_flags(spec: &ServiceSpec) -> Option<String> {
    let names: [&str; 3] = match spec.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", ""],
        "mh" => ["mh-fallback", "mh-port", ""],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    if spec.scheduler_flags & 0x38 == 0 {
        return None;
    }
    let set: Vec<&str> = [0x08, 0x10, 0x20]
        .iter()
        .zip(names)
        .filter(|&(bit, name)| spec.scheduler_flags & bit != 0 && !name.is_empty())
        .map(|(_, name)| name)
        .collect();
    Some(set.join(","))
}

/// What a checksum is called, out of the three names for none, full and remote.
pub(crate) fn checksum(checksum: TunnelChecksum, names: [&'static str; 3]) -> &'static str {
    match checksum {
        TunnelChecksum::None => names[0],
        TunnelChecksum::Full => names[1],
        TunnelChecksum::Remote => names[2],
    }
}
