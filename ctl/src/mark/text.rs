//! Rules as the command lines that make them.

use std::fmt::Write;

use dataplane::mark::MarkRule;

use super::canonical;

/// Protocols with a name on command lines.
pub(super) const PROTOCOLS: [(&str, u8); 4] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1)];

/// The command line that adds a rule, without the program's name: `mark -A …`. It loses nothing but the host bits of
/// networks.
#[must_use]
pub fn command(rule: &MarkRule) -> String {
    let MarkRule { protocol, source, destination, source_ports, destination_ports, mark } =
        canonical(*rule);
    let mut out = String::from("mark -A");
    // Writing to a `String` cannot fail.
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, " {name} {value}");
    };
    if let Some(network) = source {
        add("-s", &network);
    }
    if let Some(network) = destination {
        add("-d", &network);
    }
    if let Some(number) = protocol {
        add("-p", &protocol_name(number));
    }
    if let Some(range) = source_ports {
        add("--sport", &ports(range));
    }
    if let Some(range) = destination_ports {
        add("--dport", &ports(range));
    }
    add("--set-mark", &mark);
    out
}

/// The word for a protocol: its name, or its number.
pub(crate) fn protocol_name(number: u8) -> String {
    let named = PROTOCOLS.iter().find(|(_, other)| *other == number);
    named.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

fn ports((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}

/// `mark -L`: a line for each rule, with its number in front if asked for.
pub(super) fn list(rules: &[MarkRule], numbers: bool) -> String {
    let mut out = String::new();
    for (number, rule) in (1..).zip(rules) {
        if numbers {
            let _ = write!(out, "{number} ");
        }
        out.push_str(&command(rule));
        out.push('\n');
    }
    out
}
