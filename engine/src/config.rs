//! The daemon's configuration: a TOML file, flags, or both. Where both give a single value the flag
//! wins; ports, routes and neighbours add up.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dataplane::address::Prefix;
use dataplane::mark::MarkRule;
use dataplane::packet::ethernet::Mac;
use dataplane::settings::Settings;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use crate::config_error::ConfigError;
use crate::origin::Origin;
use crate::redundancy::SyncSection;
use crate::tuning::{self, MarkConfig, TimeoutConfig};
use crate::vrrp::section::VrrpSection;
use crate::worker::Idle;

/// Largest IP packet that a buffer of 2048 bytes has room for behind a tagged link header.
pub const MTU_MAX: u16 = 2048 - 18;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Worker threads, each on a core of its own.
    pub workers: u16,
    /// Cores of the workers; the machine's last ones when not given.
    pub cores: Option<Vec<usize>>,
    /// Connections that can be kept, over all workers.
    pub connections: u32,
    /// IPv6 connections that can be kept, over all workers; a quarter of `connections` when not
    /// given.
    pub connections_ipv6: Option<u32>,
    /// Persistence templates that can be kept, over all workers.
    pub templates: u32,
    /// Virtual services, at most.
    pub services: usize,
    /// Real servers, at most.
    pub servers: usize,
    /// Next hops, at most.
    pub neighbours: u16,
    /// The control socket.
    pub socket: PathBuf,
    /// Group that may use the control socket, by name or number; nobody but its owner unless given.
    pub socket_group: Option<String>,
    /// A second socket, for those who may list only.
    pub read_only_socket: Option<PathBuf>,
    /// Group that may use it.
    pub read_only_group: Option<String>,
    /// Where the table is saved at every change; `None` for nowhere.
    #[serde(deserialize_with = "path_or_none")]
    pub state: Option<PathBuf>,
    /// Folder of the files laid out like `/proc`; `None` for none.
    #[serde(deserialize_with = "path_or_none")]
    pub run: Option<PathBuf>,
    /// Memory for frames in MiB; computed from ports and workers when not given.
    pub memory: Option<u32>,
    /// Whether frames lie in hugepages: when there are free ones, unless said.
    pub hugepages: Option<bool>,
    /// What an idle worker does; yields on a machine without a core to spare, unless said.
    #[serde(deserialize_with = "idle")]
    pub idle: Option<Idle>,
    /// Ports.
    #[serde(rename = "port")]
    pub ports: Vec<PortConfig>,
    /// Static routes.
    #[serde(rename = "route")]
    pub routes: Vec<RouteConfig>,
    /// Next hops whose link-layer address is fixed.
    #[serde(rename = "neighbour")]
    pub static_neighbours: Vec<NeighbourConfig>,
    /// Settings under the kernel's names.
    #[serde(deserialize_with = "tuning::sysctl")]
    pub sysctl: Settings,
    /// Timeouts of connections.
    pub timeouts: TimeoutConfig,
    /// Rules that give packets firewall marks, in order.
    #[serde(rename = "mark")]
    pub marks: Vec<MarkConfig>,
    /// Connection sync beyond the kernel's settings.
    pub sync: SyncSection,
    /// Virtual routers.
    pub vrrp: Vec<VrrpSection>,
    /// Commands in ipvsadm's grammar, carried out before the first packet when no table is saved.
    pub rules: Vec<String>,
    /// Where the values come from.
    #[serde(skip)]
    pub origin: Origin,
}

/// A port and the director's addresses there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Linux interface, PCI address or EAL device string.
    pub device: String,
    /// Addresses with their on-link networks, untagged.
    #[serde(default, deserialize_with = "prefixes")]
    pub addresses: Vec<Prefix>,
    /// Largest IP packet, when it is not what the device says.
    pub mtu: Option<u16>,
    /// VLANs.
    #[serde(default, rename = "vlan")]
    pub vlans: Vec<VlanConfig>,
}

/// A VLAN of a port and the director's addresses there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanConfig {
    /// 802.1Q identifier, 1 to 4094.
    #[serde(deserialize_with = "vlan_id")]
    pub id: u16,
    /// Addresses with their on-link networks.
    #[serde(deserialize_with = "prefixes")]
    pub addresses: Vec<Prefix>,
}

/// A static route.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Where it leads.
    #[serde(deserialize_with = "prefix")]
    pub to: Prefix,
    /// The next hop, which must be on-link.
    pub via: IpAddr,
}

/// A next hop whose link-layer address is fixed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeighbourConfig {
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address.
    #[serde(deserialize_with = "mac")]
    pub mac: Mac,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 1,
            cores: None,
            connections: 1 << 20,
            connections_ipv6: None,
            templates: 1 << 16,
            services: 4096,
            servers: 16_384,
            neighbours: 4096,
            socket: PathBuf::from(ctl::client::DEFAULT_SOCKET),
            socket_group: None,
            read_only_socket: None,
            read_only_group: None,
            state: Some(PathBuf::from("/var/lib/pollvs/table")),
            run: Some(PathBuf::from("/run/pollvs")),
            memory: None,
            hugepages: None,
            idle: None,
            ports: Vec::new(),
            routes: Vec::new(),
            static_neighbours: Vec::new(),
            sysctl: Settings::default(),
            timeouts: TimeoutConfig::default(),
            marks: Vec::new(),
            sync: SyncSection::default(),
            vrrp: Vec::new(),
            rules: Vec::new(),
            origin: Origin::default(),
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a configuration.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable(file.to_owned(), error))?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed(file.to_owned(), Box::new(error)))?;
        config.origin = Origin::of_file(file.to_owned(), text);
        Ok(config)
    }

    /// Connections that each worker's table holds. Clients spread over workers by hash, so a
    /// table has an eighth of room to spare.
    #[must_use]
    pub fn connections_per_worker(&self) -> u32 {
        self.per_worker(self.connections)
    }

    /// IPv6 connections that each worker's table holds.
    #[must_use]
    pub fn connections_ipv6_per_worker(&self) -> u32 {
        self.per_worker(self.connections_ipv6.unwrap_or((self.connections / 4).max(1)))
    }

    fn per_worker(&self, all: u32) -> u32 {
        let share = all.div_ceil(u32::from(self.workers));
        if self.workers == 1 { share } else { share + share / 8 }
    }

    /// Settings to begin with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut settings = self.sysctl;
        self.timeouts.put(&mut settings);
        settings
    }

    /// What gives packets firewall marks.
    #[must_use]
    pub fn mark_rules(&self) -> Vec<MarkRule> {
        self.marks.iter().map(MarkConfig::rule).collect()
    }
}

/// Reads `spin` or `yield`.
#[must_use]
pub fn parse_idle(text: &str) -> Option<Idle> {
    match text {
        "spin" => Some(Idle::Spin),
        "yield" => Some(Idle::Yield),
        _ => None,
    }
}

/// Reads a link-layer address of one machine: six hexadecimal bytes, not all of them zero.
#[must_use]
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = Mac::default();
    let mut parts = text.split(':');
    for byte in &mut mac.0 {
        *byte = parts
            .next()
            .filter(|part| part.len() == 2)
            .and_then(|part| u8::from_str_radix(part, 16).ok())?;
    }
    (parts.next().is_none() && !mac.is_group() && mac != Mac::default()).then_some(mac)
}

/// Reads a path, or `none`.
#[must_use]
pub fn parse_path(text: &str) -> Option<PathBuf> {
    (text != "none").then(|| PathBuf::from(text))
}

fn path_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    String::deserialize(from).map(|text| parse_path(&text))
}

fn idle<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Idle>, D::Error> {
    let text = String::deserialize(from)?;
    parse_idle(&text).map(Some).ok_or_else(|| D::Error::custom("expected \"spin\" or \"yield\""))
}

pub(crate) fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|()| D::Error::custom(format!("expected ADDRESS/LENGTH, not {text:?}")))
}

fn prefixes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Prefix>, D::Error> {
    struct One(Prefix);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            prefix(from).map(One)
        }
    }
    let all = Vec::<One>::deserialize(from)?;
    Ok(all.into_iter().map(|One(prefix)| prefix).collect())
}

fn vlan_id<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let id = u16::deserialize(from)?;
    if (1..=4094).contains(&id) {
        return Ok(id);
    }
    Err(D::Error::custom(format!("expected a VLAN identifier of 1 to 4094, not {id}")))
}

fn mac<'de, D: Deserializer<'de>>(from: D) -> Result<Mac, D::Error> {
    let text = String::deserialize(from)?;
    let expected =
        || D::Error::custom(format!("expected a MAC like 02:00:00:00:00:01, not {text:?}"));
    parse_mac(&text).ok_or_else(expected)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
