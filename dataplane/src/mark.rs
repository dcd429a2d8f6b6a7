//! Firewall marks: rules that give packets a number, by which services can be keyed.

use core::net::IpAddr;

use crate::address::Prefix;

/// What a packet must be like to get a mark. `None` fits every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRule {
    /// Transport protocol number.
    pub protocol: Option<u8>,
    /// Network of the source.
    pub source: Option<Prefix>,
    /// Network of the destination.
    pub destination: Option<Prefix>,
    /// Source port, first and last that fit.
    pub source_ports: Option<(u16, u16)>,
    /// Destination port, first and last that fit.
    pub destination_ports: Option<(u16, u16)>,
    /// The mark.
    pub mark: u32,
}

impl MarkRule {
    fn fits(&self, protocol: u8, source: (IpAddr, u16), destination: (IpAddr, u16)) -> bool {
        let in_network = |network: Option<Prefix>, address| {
            network.is_none_or(|network| network.contains(address))
        };
        let in_range = |ports: Option<(u16, u16)>, port| {
            ports.is_none_or(|(first, last)| (first..=last).contains(&port))
        };
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && in_range(self.destination_ports, destination.1)
            && in_range(self.source_ports, source.1)
            && in_network(self.destination, destination.0)
            && in_network(self.source, source.0)
    }
}

/// The mark of a packet, 0 for none. As with the `MARK` target of iptables every rule is met in
/// order, and the last one that fits decides.
#[must_use]
pub fn mark_of(
    rules: &[MarkRule],
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
) -> u32 {
    let last = rules.iter().rev().find(|rule| rule.fits(protocol, source, destination));
    last.map_or(0, |rule| rule.mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: MarkRule = MarkRule {
        protocol: None,
        source: None,
        destination: None,
        source_ports: None,
        destination_ports: None,
        mark: 0,
    };

    fn end(text: &str, port: u16) -> (IpAddr, u16) {
        (text.parse().unwrap(), port)
    }

    #[test]
    fn every_part_of_a_rule_must_fit() {
        let rule = MarkRule {
            protocol: Some(6),
            source: "10.0.0.0/8".parse().ok(),
            destination: "207.175.44.110/31".parse().ok(),
            source_ports: Some((1024, 65_535)),
            destination_ports: Some((80, 443)),
            mark: 7,
        };
        let (client, vip) = (end("10.9.0.7", 1024), end("207.175.44.111", 80));
        assert_eq!(mark_of(&[rule], 6, client, vip), 7);
        assert_eq!(mark_of(&[rule], 6, end("10.255.0.1", 65_535), end("207.175.44.110", 443)), 7);
        for (protocol, source, destination) in [
            (17, client, vip),
            (6, end("11.0.0.1", 1024), vip),
            (6, end("10.9.0.7", 1023), vip),
            (6, client, end("207.175.44.112", 80)),
            (6, client, end("207.175.44.110", 79)),
            (6, client, end("207.175.44.110", 444)),
            (6, end("2001:db8::1", 1024), end("2001:db8::2", 80)),
        ] {
            assert_eq!(mark_of(&[rule], protocol, source, destination), 0, "{source:?}");
        }
        assert_eq!(mark_of(&[], 6, client, vip), 0);
    }

    #[test]
    fn the_last_rule_that_fits_decides() {
        let (one, two) =
            (MarkRule { mark: 1, ..ANY }, MarkRule { protocol: Some(6), mark: 2, ..ANY });
        let mark = |rules: &[MarkRule]| mark_of(rules, 6, end("::1", 1), end("::2", 2));
        assert_eq!((mark(&[one, two]), mark(&[two, one])), (2, 1));
        assert_eq!(mark(&[two, ANY]), 0, "a mark can be taken back");
        assert_eq!(mark_of(&[one, two], 17, end("::1", 1), end("::2", 2)), 1);
    }
}
