//! The daemon's configuration: a TOML file, flags, or both; flags win.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use dataplane::address::Prefix;
use dataplane::packet::ethernet::Mac;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::worker::Idle;

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
    /// Virtual services, at most.
    pub services: usize,
    /// Real servers, at most.
    pub servers: usize,
    /// Next hops, at most.
    pub neighbours: u16,
    /// The control socket.
    pub socket: PathBuf,
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
    /// Commands in ipvsadm's grammar, carried out before the first packet.
    pub rules: Vec<String>,
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
            services: 4096,
            servers: 16_384,
            neighbours: 4096,
            socket: PathBuf::from(ctl::client::DEFAULT_SOCKET),
            memory: None,
            hugepages: None,
            idle: None,
            ports: Vec::new(),
            routes: Vec::new(),
            static_neighbours: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is not what is expected, with line and column.
    Malformed(PathBuf, toml::de::Error),
    /// A number is out of its range.
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// Least it may be.
        least: u64,
        /// Most it may be.
        most: u64,
    },
    /// No port is named.
    NoPorts,
    /// Two ports are the same device.
    DuplicatePort(String),
    /// More workers than cores to run them on.
    TooManyWorkers {
        /// Workers asked for.
        workers: u16,
        /// Cores there are.
        cores: usize,
    },
    /// A core that the machine does not have, or not for us.
    NoSuchCore(usize),
    /// The list of cores is not as long as there are workers, or names one twice.
    CoresMismatch,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Malformed(file, error) => write!(f, "{}: {error}", file.display()),
            Self::OutOfRange { name, value, least, most } => {
                write!(f, "{name} is {value}, but must be {least} to {most}")
            }
            Self::NoPorts => write!(
                f,
                "no ports: name at least one, with --port DEVICE or [[port]] in the config file"
            ),
            Self::DuplicatePort(device) => write!(f, "port {device} is named twice"),
            Self::TooManyWorkers { workers, cores } => write!(
                f,
                "{workers} workers need a core each, but there are only {cores}: lower --workers"
            ),
            Self::NoSuchCore(core) => {
                write!(f, "core {core} is not there, or not for this process: see 'taskset -p $$'")
            }
            Self::CoresMismatch => {
                write!(f, "the list of cores must name a different core for each worker")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a configuration.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable(file.to_owned(), error))?;
        toml::from_str(&text).map_err(|error| ConfigError::Malformed(file.to_owned(), error))
    }

    /// Checks what a single value does not show.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("workers", u64::from(self.workers), 1, 128),
            ("connections", u64::from(self.connections), 1, 1 << 30),
            ("services", self.services as u64, 1, 1 << 20),
            ("servers", self.servers as u64, 1, 1 << 22),
            ("neighbours", u64::from(self.neighbours), 1, 65_535),
            ("memory", self.memory.map_or(1, u64::from), 1, 1 << 20),
        ];
        for (name, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::OutOfRange { name, value, least, most });
            }
        }
        for port in &self.ports {
            if let Some(mtu) = port.mtu.filter(|mtu| !(68..=9_216).contains(mtu)) {
                let value = u64::from(mtu);
                return Err(ConfigError::OutOfRange { name: "mtu", value, least: 68, most: 9_216 });
            }
        }
        if self.ports.is_empty() {
            return Err(ConfigError::NoPorts);
        }
        for (n, port) in self.ports.iter().enumerate() {
            if self.ports[..n].iter().any(|other| other.device == port.device) {
                return Err(ConfigError::DuplicatePort(port.device.clone()));
            }
        }
        Ok(())
    }

    /// Connections that each worker's table holds. Clients spread over workers by hash, so a
    /// table has an eighth of room to spare.
    #[must_use]
    pub fn connections_per_worker(&self) -> u32 {
        let share = self.connections.div_ceil(u32::from(self.workers));
        if self.workers == 1 { share } else { share + share / 8 }
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

/// Reads a link-layer address of six hexadecimal bytes.
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
    (parts.next().is_none() && !mac.is_group()).then_some(mac)
}

fn idle<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Idle>, D::Error> {
    let text = String::deserialize(from)?;
    parse_idle(&text).map(Some).ok_or_else(|| D::Error::custom("expected \"spin\" or \"yield\""))
}

fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<Prefix, D::Error> {
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
