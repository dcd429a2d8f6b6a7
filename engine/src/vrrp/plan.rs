//! What is wrong with the `[[vrrp]]` tables, and what they mean once the ports are known.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::interface::{Interface, InterfaceId, Topology};
use dataplane::packet::ethernet::Mac;
use dataplane::vrrp::{Auth, Config as RouterConfig, ConfigError as RouterError, Version};

use super::section::{Track, VrrpSection};
use crate::config::{Config, ConfigError};
use crate::origin::Key;
use crate::say::complain;

/// Milliseconds in the unit of advertised intervals.
const CENTISECOND_MS: u32 = 10;
/// Longest password of version 2.
const LONGEST_PASSWORD: usize = 8;

/// Every virtual router, and which of them move together.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) routers: Vec<RouterPlan>,
    pub(super) groups: Vec<GroupPlan>,
}

/// A virtual router.
#[derive(Clone, Debug)]
pub(super) struct RouterPlan {
    pub(super) section: VrrpSection,
    pub(super) config: RouterConfig,
    /// Where it advertises.
    pub(super) interface: InterfaceId,
    /// The same by name.
    pub(super) shown: String,
    /// Ports whose link it watches: place, name, and weight, which is 0 for those that it needs.
    pub(super) ports: Vec<(usize, String, i16)>,
    /// Where each of its addresses is.
    floating: Vec<(InterfaceId, IpAddr)>,
}

/// Routers that move together.
#[derive(Clone, Debug)]
pub(super) struct GroupPlan {
    /// None for a router alone.
    pub(super) name: Option<String>,
    /// Places of the routers.
    pub(super) members: Vec<usize>,
}

impl Plan {
    /// Reads the tables of a configuration, whose topology is given.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line when it is in the file.
    pub fn new(config: &Config, topology: &Topology) -> Result<Self, ConfigError> {
        let mut plan = Self::default();
        for (place, section) in config.vrrp.iter().enumerate() {
            let router = Reader { config, topology, section, place }.read(&plan)?;
            plan.add(router);
        }
        Ok(plan)
    }

    /// All addresses that move, each with its interface.
    #[must_use]
    pub fn floating(&self) -> Vec<(InterfaceId, IpAddr)> {
        self.routers.iter().flat_map(|router| router.floating.clone()).collect()
    }

    /// Complains about programs that are not there, while there is time to put them there.
    pub(super) fn look_for_programs(&self) {
        for router in &self.routers {
            let name = &router.section.name;
            for (key, command) in router.section.commands() {
                if let Some(program) = command.program().filter(|program| !program.is_file()) {
                    let shown = program.display();
                    complain(format_args!("pollvsd: vrrp {name}: {key}: there is no file {shown}"));
                }
            }
        }
    }

    fn add(&mut self, router: RouterPlan) {
        let name = router.section.group.clone();
        let place = self.routers.len();
        self.routers.push(router);
        let group = self.groups.iter_mut().find(|group| name.is_some() && group.name == name);
        match group {
            Some(group) => group.members.push(place),
            None => self.groups.push(GroupPlan { name, members: vec![place] }),
        }
    }
}

/// Reads one table.
struct Reader<'a> {
    config: &'a Config,
    topology: &'a Topology,
    section: &'a VrrpSection,
    place: usize,
}

impl Reader<'_> {
    fn read(&self, plan: &Plan) -> Result<RouterPlan, ConfigError> {
        let section = self.section;
        if section.name.is_empty() || section.name.contains(char::is_whitespace) {
            return Err(self.wrong("name", "is not a single word; give it one"));
        }
        if plan.routers.iter().any(|other| other.section.name == section.name) {
            return Err(self.wrong("name", "is another one's, too; names must differ"));
        }
        let id = self.interface(&section.port, section.vlan).ok_or_else(|| {
            let what = "is not a device of a [[port]], or has no such vlan; use the same name";
            self.wrong("port", what)
        })?;
        let interface = self.topology.interface(id);
        let floating = self.addresses(id)?;
        if let Some((_, address)) = floating.iter().find(|(_, address)| {
            plan.routers.iter().any(|other| other.config.addresses.contains(address))
        }) {
            return Err(self.address(*address, "is another [[vrrp]]'s, too; leave it to one"));
        }
        let config = self.router(interface, floating.iter().map(|&(_, address)| address))?;
        let twin = |other: &RouterPlan| {
            let is_v4 = other.config.source.is_ipv4();
            (other.interface, other.config.vrid, is_v4)
                == (id, config.vrid, config.source.is_ipv4())
        };
        if plan.routers.iter().any(twin) {
            let what = "is another one's on the same port, too; identifiers must differ there";
            return Err(self.wrong("vrid", what));
        }
        self.check_rest()?;
        Ok(RouterPlan {
            config,
            interface: id,
            shown: match section.vlan {
                Some(vlan) => format!("{}.{vlan}", section.port),
                None => section.port.clone(),
            },
            ports: self.ports(&floating, id)?,
            section: section.clone(),
            floating,
        })
    }

    /// The protocol's own view of it.
    fn router(
        &self,
        interface: &Interface,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<RouterConfig, ConfigError> {
        let section = self.section;
        let version = match section.version {
            2 => Version::V2,
            3 => Version::V3,
            _ => return Err(self.wrong("version", "is neither 2 nor 3")),
        };
        let addresses: Vec<IpAddr> = addresses.collect();
        let first = *addresses.first().ok_or_else(|| self.wrong("addresses", "are none"))?;
        if let Some(other) = addresses.iter().find(|other| other.is_ipv4() != first.is_ipv4()) {
            let what = "is of another family than the first; IPv6 addresses need a [[vrrp]] of \
                        their own, with the same group";
            return Err(self.address(*other, what));
        }
        let source = source(interface, first).ok_or_else(|| {
            let what = "has no IPv4 address to advertise from; give the port one in addresses";
            self.wrong("port", what)
        })?;
        let interval_ms = section.interval_ms();
        if !interval_ms.is_multiple_of(CENTISECOND_MS) {
            return Err(self.wrong("interval_ms", "is no multiple of 10"));
        }
        let password = section.password.as_deref();
        if password.is_some_and(|text| text.is_empty() || text.len() > LONGEST_PASSWORD) {
            return Err(self.wrong("password", "is not 1 to 8 bytes long"));
        }
        let config = RouterConfig {
            vrid: section.vrid,
            version,
            source,
            addresses,
            priority: section.priority,
            interval_cs: u16::try_from(interval_ms / CENTISECOND_MS).unwrap_or(u16::MAX),
            preempt: section.preempt,
            preempt_delay_us: u64::from(section.preempt_delay_s) * 1_000_000,
            initial_delay_us: u64::from(section.initial_delay_s) * 1_000_000,
            auth: password.map_or(Auth::None, Auth::password),
            pseudo_header: true,
        };
        config.check().map_err(|error| {
            let key = match error {
                RouterError::Vrid => "vrid",
                RouterError::Priority => "priority",
                RouterError::Interval => "interval_ms",
                RouterError::VersionFamily => "version",
                RouterError::VersionAuth => "password",
                _ => "addresses",
            };
            self.wrong(key, format!("cannot be: {}", error.text()))
        })?;
        Ok(config)
    }

    /// Each address with its interface.
    fn addresses(&self, router: InterfaceId) -> Result<Vec<(InterfaceId, IpAddr)>, ConfigError> {
        let mut all = Vec::new();
        for text in &self.section.addresses {
            let words: Vec<_> = text.split_whitespace().collect();
            let (address, device) = match words[..] {
                [address] => (address, None),
                [address, "dev", device] => (address, Some(device)),
                _ => return Err(self.value(text, "is no ADDRESS or ADDRESS dev PORT[.VLAN]")),
            };
            let address = address.parse().map_err(|_| {
                self.value(text, "has no address at its beginning; the length is left out")
            })?;
            crate::validate::check_host(address).map_err(|what| self.value(text, what))?;
            let mut own = self.topology.interfaces().iter().flat_map(|other| &other.addresses);
            if own.any(|prefix| prefix.address() == address) {
                let what = "is an address of a [[port]], which cannot move; give the port another";
                return Err(self.value(text, what));
            }
            let interface = match device {
                Some(device) => self
                    .named(device)
                    .ok_or_else(|| self.value(text, "names no PORT[.VLAN] that is configured"))?,
                None => self.containing(address, router).ok_or_else(|| {
                    let what = "is in no network of a [[port]]; say where it is, as \
                                \"ADDRESS dev PORT\"";
                    self.value(text, what)
                })?,
            };
            all.push((interface, address));
        }
        Ok(all)
    }

    /// The interface whose network has an address, the router's own before others.
    fn containing(&self, address: IpAddr, router: InterfaceId) -> Option<InterfaceId> {
        let contains = |interface: &Interface| {
            interface.addresses.iter().any(|prefix| prefix.contains(address))
        };
        let is_link_local = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        if is_link_local || contains(self.topology.interface(router)) {
            return Some(router);
        }
        let place = self.topology.interfaces().iter().position(contains)?;
        Some(InterfaceId(place as u16))
    }

    /// Ports without which the router cannot work, and those that it is told to track.
    fn ports(
        &self,
        floating: &[(InterfaceId, IpAddr)],
        own: InterfaceId,
    ) -> Result<Vec<(usize, String, i16)>, ConfigError> {
        let interfaces = floating.iter().map(|&(interface, _)| interface).chain([own]);
        let port = |interface| usize::from(self.topology.interface(interface).port.0);
        let mut watched: Vec<_> = interfaces.map(|interface| (port(interface), 0)).collect();
        for track in &self.section.track {
            if let Track::Port(track) = track {
                let place = self.port(&track.port).ok_or_else(|| {
                    let what = format!("names {}, which is no device of a [[port]]", track.port);
                    self.wrong("track", what)
                })?;
                watched.push((place, track.weight));
            }
        }
        watched.sort_unstable();
        watched.dedup();
        let named = |(place, weight): (usize, i16)| {
            (place, self.config.ports[place].device.clone(), weight)
        };
        Ok(watched.into_iter().map(named).collect())
    }

    fn check_rest(&self) -> Result<(), ConfigError> {
        let section = self.section;
        for (key, command) in section.commands() {
            if !command.program().is_some_and(std::path::Path::is_absolute) {
                return Err(self.wrong(key, "does not begin with a whole path, as /usr/bin/true"));
            }
        }
        if section.garp_repeat == 0 {
            return Err(self.wrong("garp_repeat", "is 0; others would not learn of a takeover"));
        }
        for track in &section.track {
            if let Track::Script(script) = track
                && [script.interval_s, script.timeout_s, script.rise, script.fall].contains(&0)
            {
                let what = "has a script whose interval_s, timeout_s, rise or fall is 0";
                return Err(self.wrong("track", what));
            }
        }
        Ok(())
    }

    fn named(&self, device: &str) -> Option<InterfaceId> {
        self.interface(device, None).or_else(|| {
            let (port, vlan) = device.rsplit_once('.')?;
            self.interface(port, Some(vlan.parse().ok()?))
        })
    }

    fn interface(&self, port: &str, vlan: Option<u16>) -> Option<InterfaceId> {
        let place = self.port(port)?;
        let before: usize =
            self.config.ports[..place].iter().map(|port| 1 + port.vlans.len()).sum();
        let vlan = vlan.map(|id| self.config.ports[place].vlans.iter().position(|v| v.id == id));
        let offset = match vlan {
            None => 0,
            Some(place) => place? + 1,
        };
        Some(InterfaceId((before + offset) as u16))
    }

    fn port(&self, device: &str) -> Option<usize> {
        let name = |device: &str| device.split(',').next().unwrap_or_default().to_owned();
        self.config.ports.iter().position(|port| name(&port.device) == name(device))
    }

    fn wrong(&self, key: &str, what: impl std::fmt::Display) -> ConfigError {
        let error = ConfigError::Wrong(format!("vrrp {}: {key} {what}", self.section.name));
        let table = Some(("vrrp", self.place));
        self.config.origin.at(Key { table, name: key, value: None }, error)
    }

    fn value(&self, value: &str, what: &str) -> ConfigError {
        let error =
            ConfigError::Wrong(format!("vrrp {}: address {value:?} {what}", self.section.name));
        let table = Some(("vrrp", self.place));
        self.config.origin.at(Key { table, name: "addresses", value: Some(value) }, error)
    }

    fn address(&self, address: IpAddr, what: &str) -> ConfigError {
        self.value(&address.to_string(), what)
    }
}

/// Where advertisements come from: an address of the interface, with IPv6 a link-local one.
fn source(interface: &Interface, first: IpAddr) -> Option<IpAddr> {
    let own = || interface.addresses.iter();
    let address = match first {
        IpAddr::V4(_) => own()
            .find(|prefix| prefix.contains(first))
            .or_else(|| own().find(|prefix| prefix.address().is_ipv4()))?
            .address(),
        IpAddr::V6(_) => own()
            .map(dataplane::address::Prefix::address)
            .find(|address| matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()))
            .unwrap_or_else(|| link_local(interface.mac).into()),
    };
    Some(address)
}

/// The link-local address that a link-layer address gives (RFC 4291 appendix A).
fn link_local(Mac([a, b, c, d, e, f]): Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
