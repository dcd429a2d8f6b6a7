//! What a command line asks for, as values.

use std::net::IpAddr;

use dataplane::service::{ServerSpec, ServiceKey, ServiceSpec};
use dataplane::settings::Settings;

use crate::refusal::{Operation, Refusal};

/// One command of the grammar, complete with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Changes something.
    Change(Change),
    /// `-L`, or no words at all.
    List(ListOptions),
    /// `-S`: print the table as commands.
    Save {
        /// Addresses and ports as numbers.
        numeric: bool,
    },
    /// `-R`: read commands from standard input.
    Restore,
    /// `-h`.
    Help,
    /// `-v`.
    Version,
}

impl From<Change> for Command {
    fn from(change: Change) -> Self {
        Self::Change(change)
    }
}

/// A change of what can be configured: done wholly or refused wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `-A`: add a virtual service.
    AddService(ServiceSpec),
    /// `-E`: replace the attributes of a virtual service.
    EditService(ServiceSpec),
    /// `-D`: delete a virtual service and its real servers.
    DeleteService(ServiceKey),
    /// `-C`: delete every virtual service.
    Flush,
    /// `-a`: add a real server to a virtual service.
    AddServer {
        /// The service that gets the server.
        service: ServiceKey,
        /// The server.
        server: ServerSpec,
    },
    /// `-e`: replace the attributes of a real server.
    EditServer {
        /// The service that has the server.
        service: ServiceKey,
        /// The server.
        server: ServerSpec,
    },
    /// `-d`: take a real server out of a virtual service.
    DeleteServer {
        /// The service that has the server.
        service: ServiceKey,
        /// Real address.
        address: IpAddr,
        /// Real port.
        port: u16,
    },
    /// `-Z`: set the counters of one service with its servers to zero, or all of them and the
    /// totals.
    Zero(Option<ServiceKey>),
    /// `--set`: change the timeouts of connections; a 0 keeps the present value.
    SetTimeouts(Timeouts),
    /// `--start-daemon`.
    StartDaemon(DaemonSpec),
    /// `--stop-daemon`.
    StopDaemon {
        /// Which daemon.
        role: Role,
        /// `--syncid`, 0 unless given.
        sync_id: u8,
    },
    /// `--sysctl`: change settings, in order.
    Settings(Vec<SettingChange>),
}

impl Change {
    /// What kind of operation it is, for the words of a refusal.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self {
            Self::AddServer { .. } | Self::EditServer { .. } | Self::DeleteServer { .. } => {
                Operation::Server
            }
            Self::StartDaemon(_) | Self::StopDaemon { .. } => Operation::Daemon,
            _ => Operation::Service,
        }
    }
}

/// A setting to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// Its name without `net.ipv4.vs.`.
    pub name: &'static str,
    /// Its new value, as written.
    pub value: String,
}

impl SettingChange {
    /// Makes all of the changes, or none.
    ///
    /// # Errors
    /// When a setting does not take its value.
    pub fn apply(changes: &[Self], settings: &mut Settings) -> Result<(), Refusal> {
        let mut changed = *settings;
        for Self { name, value } in changes {
            changed.set(name, value).map_err(|_| Refusal::InvalidOperation)?;
        }
        *settings = changed;
        Ok(())
    }
}

/// What `-L` shows, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// Which list.
    pub listing: Listing,
    /// Layout of the lines.
    pub format: Format,
    /// Only this service.
    pub service: Option<ServiceKey>,
    /// Addresses and ports as numbers (`-n`).
    pub numeric: bool,
    /// In ipvsadm's order, else in the back end's (`--nosort`).
    pub sorted: bool,
    /// Large numbers in full (`--exact`).
    pub exact: bool,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            listing: Listing::Services,
            format: Format::Plain,
            service: None,
            numeric: false,
            sorted: true,
            exact: false,
        }
    }
}

/// Which list `-L` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Virtual services with their real servers.
    Services,
    /// Connections (`-c`).
    Connections,
    /// Timeouts of connections (`--timeout`).
    Timeouts,
    /// Sync daemons (`--daemon`).
    Daemons,
}

/// Layout of a list of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Method, weight and connections.
    Plain,
    /// Counters (`--stats`).
    Stats,
    /// Counters per second (`--rate`).
    Rate,
    /// Thresholds of servers (`--thresholds`).
    Thresholds,
    /// Persistent connections (`--persistent-conn`).
    PersistentConn,
    /// Tunnel options of servers (`--tun-info`).
    TunInfo,
}

/// Timeouts of connections in seconds. In `--set`, 0 keeps the present value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp_s: u32,
    /// TCP connections after a FIN.
    pub tcp_fin_s: u32,
    /// UDP.
    pub udp_s: u32,
}

/// The part that a sync daemon plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Sends connections.
    Master,
    /// Receives connections.
    Backup,
}

impl Role {
    /// The word of command lines and listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// A sync daemon to start. What is `None` was not given: the back end has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSpec {
    /// Master or backup.
    pub role: Role,
    /// Interface of the multicast group, `eth0` unless given.
    pub interface: String,
    /// Sync id, 0 unless given.
    pub sync_id: u8,
    /// Longest message, 1 to 65507 bytes.
    pub max_length: Option<u16>,
    /// Multicast group.
    pub group: Option<IpAddr>,
    /// UDP port, never 0.
    pub port: Option<u16>,
    /// Time to live of the messages, never 0.
    pub ttl: Option<u8>,
}
