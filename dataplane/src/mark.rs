//! Firewall marks: rules that give packets a number, by which services take them.

use core::net::IpAddr;

use crate::address::Prefix;

/// A rule; what is `None` fits every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MarkRule {
    /// Transport protocol number.
    pub protocol: Option<u8>,
    /// Where packets come from.
    pub source: Option<Prefix>,
    /// Where they go.
    pub destination: Option<Prefix>,
    /// First and last source port.
    pub source_ports: Option<(u16, u16)>,
    /// First and last destination port.
    pub destination_ports: Option<(u16, u16)>,
    /// The mark that they get.
    pub mark: u32,
}

impl MarkRule {
    fn fits(&self, protocol: u8, source: (IpAddr, u16), destination: (IpAddr, u16)) -> bool {
        let has = |prefix: Option<Prefix>, address| prefix.is_none_or(|p| p.contains(address));
        let spans = |ports: Option<(u16, u16)>, port| {
            ports.is_none_or(|(first, last)| (first..=last).contains(&port))
        };
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && has(self.source, source.0)
            && has(self.destination, destination.0)
            && spans(self.source_ports, source.1)
            && spans(self.destination_ports, destination.1)
    }
}

/// The mark of a packet: that of the last rule that fits, 0 without one.
#[must_use]
pub fn mark_of(
    rules: &[MarkRule],
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
) -> u32 {
    let fitting = rules.iter().rev().find(|rule| rule.fits(protocol, source, destination));
    fitting.map_or(0, |rule| rule.mark)
}
