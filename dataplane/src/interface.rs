//! The director's place in the network: logical interfaces, their addresses, and static routes.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wide::u8x16;

use crate::address::Prefix;
use crate::packet::Network;
use crate::packet::ethernet::Mac;
use crate::service::Family;
use crate::verdict::PortId;

/// A logical interface, numbered in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct InterfaceId(pub u16);

/// A port, or one VLAN of a port, with its addresses.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The port it is on.
    pub port: PortId,
    /// 802.1Q identifier, 1 to 4094; untagged when absent.
    pub vlan: Option<u16>,
    /// The port's link-layer address.
    pub mac: Mac,
    /// Largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// The director's addresses there, each with its on-link network.
    pub addresses: Vec<Prefix>,
}

/// A static route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: Prefix,
    /// The next hop, an on-link address.
    pub gateway: IpAddr,
}

/// The next hop towards an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The interface it is on.
    pub interface: InterfaceId,
    /// Its address: the gateway's, or the destination's own when that is on-link.
    pub address: IpAddr,
}

/// Interfaces and routes; fixed once the daemon runs.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    interfaces: Vec<Interface>,
    /// What packets need to find their interface, apart from the rest.
    arrivals: Vec<Arrival>,
    /// By port, how frames for its interface without a VLAN begin.
    untagged: Vec<Untagged>,
    /// Longest prefix first.
    routes: Vec<(Prefix, InterfaceId, Option<IpAddr>)>,
    /// Addresses that move between directors, with where they are when they are here.
    pub(crate) floating: Vec<(InterfaceId, IpAddr)>,
}

/// How frames of the usual form begin, as far as the masks show it.
#[derive(Clone, Copy, Debug)]
struct Untagged {
    v4: [u8; 16],
    v6: [u8; 16],
}

/// The destination's link-layer address, the bit of the source's that marks groups, the EtherType,
/// and IPv4's version and header length.
const MASK4: [u8; 16] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0];
/// The same for IPv6, which has a version alone.
const MASK6: [u8; 16] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xf0, 0];

impl Untagged {
    /// What no frame begins with: a bit is set that the masks hide.
    const NONE: Self = Self { v4: [0xff; 16], v6: [0xff; 16] };

    fn new(mac: Mac) -> Self {
        let begin = |ether_type: u16, version: u8| {
            let mut begin = [0; 16];
            begin[..6].copy_from_slice(&mac.0);
            begin[12..14].copy_from_slice(&ether_type.to_be_bytes());
            begin[14] = version;
            begin
        };
        Self { v4: begin(Ipv4Addr::ETHER_TYPE, 0x45), v6: begin(Ipv6Addr::ETHER_TYPE, 0x60) }
    }
}

/// How frames of an interface come in.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// Port and VLAN; no VLAN is 0.
    key: (u16, u16),
    mac: Mac,
}

/// What is wrong with a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyError {
    /// Two interfaces on one port with the same VLAN.
    DuplicateVlan(PortId, Option<u16>),
    /// The gateway of a route is in no interface's network.
    GatewayUnreachable(Route),
}

impl Topology {
    /// Joins interfaces and static routes.
    ///
    /// # Errors
    /// When two interfaces cannot be told apart or a gateway is not on-link.
    pub fn new(interfaces: Vec<Interface>, routes: &[Route]) -> Result<Self, TopologyError> {
        let arrival = |interface: &Interface| Arrival {
            key: (interface.port.0, interface.vlan.unwrap_or(0)),
            mac: interface.mac,
        };
        let arrivals = interfaces.iter().map(arrival).collect();
        let ports = interfaces.iter().map(|interface| usize::from(interface.port.0) + 1).max();
        let mut untagged = vec![Untagged::NONE; ports.unwrap_or(0)];
        for interface in interfaces.iter().filter(|interface| interface.vlan.is_none()) {
            untagged[usize::from(interface.port.0)] = Untagged::new(interface.mac);
        }
        let mut topology =
            Self { interfaces, arrivals, untagged, routes: Vec::new(), floating: Vec::new() };
        for (n, interface) in topology.interfaces.iter().enumerate() {
            let twin =
                |other: &Interface| (other.port, other.vlan) == (interface.port, interface.vlan);
            if topology.interfaces[..n].iter().any(twin) {
                return Err(TopologyError::DuplicateVlan(interface.port, interface.vlan));
            }
            let id = InterfaceId(n as u16);
            topology.routes.extend(interface.addresses.iter().map(|&on_link| (on_link, id, None)));
        }
        for &route in routes {
            let hop = topology
                .next_hop(route.gateway)
                .filter(|hop| hop.address == route.gateway)
                .ok_or(TopologyError::GatewayUnreachable(route))?;
            topology.routes.push((route.to, hop.interface, Some(route.gateway)));
        }
        topology.routes.sort_by_key(|(to, ..)| core::cmp::Reverse(to.length()));
        Ok(topology)
    }

    /// The same with addresses that move between directors, each at an interface.
    #[must_use]
    pub fn with_floating(mut self, floating: Vec<(InterfaceId, IpAddr)>) -> Self {
        self.floating = floating;
        self
    }

    /// Whether directors agree here on who holds addresses.
    #[must_use]
    pub(crate) fn hears_routers(&self) -> bool {
        !self.floating.is_empty()
    }

    /// The interface of frames that come in on `port` with this VLAN identifier, or 0 for none,
    /// and its link-layer address.
    #[inline]
    #[must_use]
    pub fn arrival(&self, port: PortId, vlan: u16) -> Option<(InterfaceId, Mac)> {
        // A handful of interfaces: a search is as fast as a table.
        let place = self.arrivals.iter().position(|arrival| arrival.key == (port.0, vlan))?;
        Some((InterfaceId(place as u16), self.arrivals[place].mac))
    }

    /// The family of a frame, whose first bytes are `start`, if it has the usual form: for the
    /// interface that a port has without a VLAN, not from a group of stations, and IPv4 without
    /// options or IPv6.
    #[inline(always)]
    #[must_use]
    pub fn usual(&self, port: PortId, start: &[u8; 16]) -> Option<Family> {
        let own = self.untagged.get(usize::from(port.0))?;
        let start = u8x16::from(*start);
        // One comparison for all of it.
        if (start & u8x16::from(MASK4)).simd_eq(u8x16::from(own.v4)).all() {
            Some(Family::V4)
        } else if (start & u8x16::from(MASK6)).simd_eq(u8x16::from(own.v6)).all() {
            Some(Family::V6)
        } else {
            None
        }
    }

    /// An interface.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[usize::from(id.0)]
    }

    /// All interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Broadcast addresses of the networks that the director stands in.
    #[must_use]
    pub fn broadcasts(&self) -> Vec<Ipv4Addr> {
        let prefixes = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        let broadcast = |prefix: &Prefix| match prefix.address() {
            IpAddr::V4(address) if prefix.length() < 31 => {
                let hosts = u32::MAX >> prefix.length();
                Some(Ipv4Addr::from(u32::from(address) | hosts))
            }
            _ => None,
        };
        prefixes.filter_map(broadcast).collect()
    }

    /// The next hop towards `address` by the longest matching prefix; none towards ourselves.
    #[must_use]
    pub fn next_hop(&self, address: IpAddr) -> Option<NextHop> {
        let mut own = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        if address.is_loopback() || own.any(|prefix| prefix.address() == address) {
            return None;
        }
        let (_, interface, gateway) = self.routes.iter().find(|(to, ..)| to.contains(address))?;
        Some(NextHop { interface: *interface, address: gateway.unwrap_or(address) })
    }

    /// The director's own address to speak from towards a next hop: one of the same network, or
    /// else the interface's first of that family.
    #[must_use]
    pub fn source_for(&self, hop: NextHop) -> Option<IpAddr> {
        let addresses = &self.interface(hop.interface).addresses;
        let same_family = |p: &&Prefix| p.address().is_ipv4() == hop.address.is_ipv4();
        addresses
            .iter()
            .find(|prefix| prefix.contains(hop.address))
            .or_else(|| addresses.iter().find(same_family))
            .map(Prefix::address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(port: u16, vlan: Option<u16>, address: &str) -> Interface {
        let addresses = vec![address.parse().unwrap()];
        Interface { port: PortId(port), vlan, mac: Mac::default(), mtu: 1500, addresses }
    }

    fn route(to: &str, gateway: &str) -> Route {
        Route { to: to.parse().unwrap(), gateway: gateway.parse().unwrap() }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let interfaces =
            vec![interface(0, None, "10.9.0.1/16"), interface(0, Some(7), "10.1.0.1/16")];
        let routes = [route("0.0.0.0/0", "10.9.0.254"), route("10.2.0.0/16", "10.1.0.9")];
        let topology = Topology::new(interfaces, &routes).unwrap();
        let hop = |to: &str| {
            let hop = topology.next_hop(to.parse().unwrap()).unwrap();
            (hop.interface.0, hop.address)
        };
        assert_eq!(hop("8.8.8.8"), (0, "10.9.0.254".parse().unwrap()));
        assert_eq!(hop("10.2.3.4"), (1, "10.1.0.9".parse().unwrap()));
        assert_eq!(hop("10.1.3.4"), (1, "10.1.3.4".parse().unwrap()));
        assert_eq!(topology.next_hop("2001:db8::1".parse().unwrap()), None);
        let towards = NextHop { interface: InterfaceId(1), address: "10.1.0.9".parse().unwrap() };
        assert_eq!(topology.source_for(towards), Some("10.1.0.1".parse().unwrap()));
    }

    #[test]
    fn nothing_leads_to_ourselves() {
        let interfaces = vec![interface(0, None, "10.9.0.1/16")];
        let topology = Topology::new(interfaces, &[route("0.0.0.0/0", "10.9.0.9")]).unwrap();
        for own in ["10.9.0.1", "127.0.0.1"] {
            assert_eq!(topology.next_hop(own.parse().unwrap()), None, "{own}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let twins = vec![interface(0, None, "10.9.0.1/16"), interface(0, None, "10.1.0.1/16")];
        let error = Topology::new(twins, &[]).unwrap_err();
        assert_eq!(error, TopologyError::DuplicateVlan(PortId(0), None));
        let far = route("0.0.0.0/0", "192.0.2.1");
        let error = Topology::new(vec![interface(0, None, "10.9.0.1/16")], &[far]).unwrap_err();
        assert_eq!(error, TopologyError::GatewayUnreachable(far));
    }
}
