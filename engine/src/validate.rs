//! What is wrong with a configuration, as far as it shows without the machine.

use std::net::{IpAddr, Ipv4Addr};

use ctl::mark::MOST_RULES;
use dataplane::address::Prefix;
use dataplane::interface::{Interface, Route, Topology, TopologyError};
use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;

use crate::config::{Config, ConfigError, MTU_MAX};
use crate::origin::Key;
use crate::vrrp::Plan;

/// DPDK counts threads, the main one among them, up to 128.
const WORKERS_MAX: u64 = 127;

/// What a started port adds to its configuration.
#[derive(Clone, Copy, Debug)]
pub struct PortFacts {
    /// Its number.
    pub id: PortId,
    /// Its link-layer address.
    pub mac: Mac,
    /// Largest IP packet.
    pub mtu: u16,
}

impl Config {
    /// Checks what a single value does not show.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line when it is in the file.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_numbers()?;
        if self.socket.as_os_str().is_empty() {
            let error =
                ConfigError::Wrong("--socket: the path of the control socket is empty".into());
            return Err(self.origin.at(Key::top("socket"), error));
        }
        if self.read_only_socket.as_ref() == Some(&self.socket) {
            let error =
                ConfigError::Wrong("the read-only socket and the control socket are one".into());
            return Err(self.origin.at(Key::top("read_only_socket"), error));
        }
        self.check_ports()?;
        self.check_addresses()?;
        self.check_marks()?;
        // Numbers and link-layer addresses are not known yet and make no difference here.
        let facts = |n| PortFacts { id: PortId(n as u16), mac: Mac::default(), mtu: MTU_MAX };
        let facts: Vec<_> = (0..self.ports.len()).map(facts).collect();
        let topology = self.topology(&facts)?;
        self.check_neighbours(&topology)
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("workers", u64::from(self.workers), 1, WORKERS_MAX),
            ("connections", u64::from(self.connections), 1, 1 << 30),
            ("connections_ipv6", self.connections_ipv6.map_or(1, u64::from), 1, 1 << 30),
            ("templates", u64::from(self.templates), 1, 1 << 30),
            ("services", self.services as u64, 1, 1 << 20),
            ("servers", self.servers as u64, 1, 1 << 22),
            ("neighbours", u64::from(self.neighbours), 1, 65_535),
            ("memory", self.memory.map_or(1, u64::from), 1, 1 << 20),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                let error = ConfigError::OutOfRange { name, value, least, most };
                return Err(self.origin.at(Key::top(name), error));
            }
        }
        for (n, port) in self.ports.iter().enumerate() {
            if let Some(mtu) = port.mtu.filter(|mtu| !(68..=MTU_MAX).contains(mtu)) {
                let (value, most) = (u64::from(mtu), u64::from(MTU_MAX));
                let error = ConfigError::OutOfRange { name: "mtu", value, least: 68, most };
                return Err(self.origin.at(in_table("port", n, "mtu"), error));
            }
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), ConfigError> {
        if self.ports.is_empty() {
            return Err(ConfigError::NoPorts);
        }
        // Arguments behind a comma do not make another device of it.
        let device = |n: usize| self.ports[n].device.split(',').next();
        for n in 0..self.ports.len() {
            if (0..n).any(|other| device(other) == device(n)) {
                let error = ConfigError::DuplicatePort(self.ports[n].device.clone());
                return Err(self.origin.at(in_table("port", n, "device"), error));
            }
        }
        let mut place = 0;
        for port in &self.ports {
            for (n, vlan) in port.vlans.iter().enumerate() {
                if port.vlans[..n].iter().any(|other| other.id == vlan.id) {
                    let text = format!("VLAN {} is configured twice on {}", vlan.id, port.device);
                    let key = in_table("port.vlan", place, "id");
                    return Err(self.origin.at(key, ConfigError::Wrong(text)));
                }
                place += 1;
            }
        }
        Ok(())
    }

    /// Addresses of the director, of gateways and of neighbours are those of hosts.
    fn check_addresses(&self) -> Result<(), ConfigError> {
        let mut own: Vec<IpAddr> = Vec::new();
        let mut vlans = 0;
        for (n, port) in self.ports.iter().enumerate() {
            let untagged = port.addresses.iter().map(|prefix| (("port", n), prefix));
            let tagged = port.vlans.iter().zip(vlans..).flat_map(|(vlan, place)| {
                vlan.addresses.iter().map(move |prefix| (("port.vlan", place), prefix))
            });
            for ((table, place), prefix) in untagged.chain(tagged) {
                let text = prefix.to_string();
                let wrong = |what: &str| {
                    let key =
                        Key { value: Some(text.as_str()), ..in_table(table, place, "addresses") };
                    self.origin.at(key, ConfigError::Wrong(format!("address {text} {what}")))
                };
                check_own(prefix).map_err(wrong)?;
                if own.contains(&prefix.address()) {
                    return Err(wrong("is given twice"));
                }
                own.push(prefix.address());
            }
            vlans += port.vlans.len();
        }
        for (n, route) in self.routes.iter().enumerate() {
            let wrong = |name, what: &str| {
                let error = ConfigError::Wrong(format!("route {}: {name} {what}", route.to));
                self.origin.at(in_table("route", n, name), error)
            };
            check_host(route.via).map_err(|what| wrong("via", what))?;
            if own.contains(&route.via) {
                return Err(wrong("via", "is an address of the director itself"));
            }
        }
        Ok(())
    }

    fn check_marks(&self) -> Result<(), ConfigError> {
        if let Some(mark) = self.marks.get(MOST_RULES) {
            let what = format!("mark {}: there are {MOST_RULES} rules already", mark.mark);
            let error = ConfigError::Wrong(format!("{what}, and that is the limit"));
            return Err(self.origin.at(in_table("mark", MOST_RULES, "mark"), error));
        }
        for (n, mark) in self.marks.iter().enumerate() {
            if let Some((name, what)) = mark.contradiction() {
                let error = ConfigError::Wrong(format!("mark {}: {name} {what}", mark.mark));
                return Err(self.origin.at(in_table("mark", n, name), error));
            }
        }
        Ok(())
    }

    fn check_neighbours(&self, topology: &Topology) -> Result<(), ConfigError> {
        for (n, fixed) in self.static_neighbours.iter().enumerate() {
            let hop = topology.next_hop(fixed.address);
            let on_link = hop.is_some_and(|hop| hop.address == fixed.address);
            let sound = check_host(fixed.address);
            let sound = sound.and(on_link.then_some(()).ok_or("is in no network of an --address"));
            if let Err(what) = sound {
                let error = ConfigError::Wrong(format!("neighbour {} {what}", fixed.address));
                return Err(self.origin.at(in_table("neighbour", n, "address"), error));
            }
        }
        Ok(())
    }

    /// The director's place in the network.
    ///
    /// # Errors
    /// A VLAN that is configured twice, a gateway that is not on-link, or what is wrong with a
    /// virtual router.
    pub fn topology(&self, ports: &[PortFacts]) -> Result<Topology, ConfigError> {
        let mut interfaces = Vec::new();
        for (port, facts) in self.ports.iter().zip(ports) {
            let interface = |vlan, addresses: &[_]| Interface {
                port: facts.id,
                vlan,
                mac: facts.mac,
                mtu: facts.mtu,
                addresses: addresses.to_vec(),
            };
            interfaces.push(interface(None, &port.addresses));
            interfaces.extend(port.vlans.iter().map(|v| interface(Some(v.id), &v.addresses)));
        }
        let routes: Vec<Route> =
            self.routes.iter().map(|route| Route { to: route.to, gateway: route.via }).collect();
        let topology = Topology::new(interfaces, &routes).map_err(|error| match error {
            TopologyError::DuplicateVlan(_, vlan) => ConfigError::Wrong(format!(
                "VLAN {} is configured twice on a port",
                vlan.unwrap_or(0)
            )),
            TopologyError::GatewayUnreachable(route) => {
                let n = routes.iter().position(|other| *other == route).unwrap_or(0);
                let error = ConfigError::Wrong(format!(
                    "route to {}: gateway {} is in no network of an --address",
                    route.to, route.gateway
                ));
                self.origin.at(in_table("route", n, "via"), error)
            }
        })?;
        let floating = Plan::new(self, &topology)?.floating();
        Ok(topology.with_floating(floating))
    }
}

fn in_table<'a>(table: &'static str, place: usize, name: &'a str) -> Key<'a> {
    Key { table: Some((table, place)), name, value: None }
}

/// An address of one host.
pub(crate) fn check_host(address: IpAddr) -> Result<(), &'static str> {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    match address {
        _ if address.is_unspecified() => Err("is no address of a host"),
        _ if address.is_loopback() => Err("is a loopback address"),
        _ if address.is_multicast() => Err("is a multicast address"),
        _ if is_broadcast => Err("is the broadcast address"),
        _ => Ok(()),
    }
}

/// An address of the director, which must not be its network's own or broadcast address either.
fn check_own(prefix: &Prefix) -> Result<(), &'static str> {
    check_host(prefix.address())?;
    let IpAddr::V4(address) = prefix.address() else { return Ok(()) };
    let host_bits = u32::MAX.checked_shr(u32::from(prefix.length())).unwrap_or(0);
    // Networks of two hosts and of one have neither.
    if prefix.length() <= 30 {
        match address.to_bits() & host_bits {
            0 => return Err("is the address of its network, not of a host there"),
            bits if bits == host_bits => return Err("is its network's broadcast address"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
