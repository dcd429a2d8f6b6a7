//! Sync daemons as they are configured; [`crate::sync`] runs them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};

use ctl::backend::DaemonRow;
use ctl::command::{DaemonSpec, Role};
use dataplane::command::SyncRoles;
use dataplane::refusal::Refusal;

use crate::sync::GROUP;

/// Port and time to live of messages unless something else is said (sync protocol reference §1).
const PORT: u16 = 8848;
const TTL: u8 = 1;
/// Bytes in front of a message: IPv4 or IPv6, and UDP.
const HEADERS_4: u16 = 28;
const HEADERS_6: u16 = 48;
/// MTU by which a master's messages are sized, and the least of a backup's.
const ETHERNET_MTU: u16 = 1500;
/// A backup's buffer is no smaller, whatever is asked for.
const BACKUP_LEAST: u16 = 1024;

/// The sync daemons, master first.
#[derive(Clone, Debug, Default)]
pub(super) struct SyncDaemons(Vec<DaemonRow>);

impl SyncDaemons {
    pub(super) fn rows(&self) -> &[DaemonRow] {
        &self.0
    }

    /// What the workers are to know of them.
    pub(super) fn roles(&self) -> SyncRoles {
        let runs = |role| self.0.iter().any(|row| row.role == role);
        SyncRoles { is_master: runs(Role::Master), is_backup: runs(Role::Backup) }
    }

    /// Starts one, in the kernel's order of tests.
    pub(super) fn start(&mut self, spec: DaemonSpec) -> Result<(), Refusal> {
        let interface = Interface::find(&spec.interface).ok_or(Refusal::NoDevice)?;
        if self.0.iter().any(|row| row.role == spec.role) {
            return Err(Refusal::DaemonRuns);
        }
        let group = spec.group.unwrap_or(GROUP.into());
        let port = spec.port.unwrap_or(PORT);
        let headers = match group {
            IpAddr::V4(_) => HEADERS_4,
            IpAddr::V6(group) => {
                interface.reach(group, port).map_err(|_| Refusal::NetworkUnreachable)?;
                HEADERS_6
            }
        };
        let most = u16::MAX - headers;
        let max_length = match (spec.role, spec.max_length) {
            (Role::Master, length) => length.unwrap_or(ETHERNET_MTU - headers).min(most),
            (Role::Backup, Some(length)) => length.clamp(BACKUP_LEAST, most),
            (Role::Backup, None) => interface.mtu.max(ETHERNET_MTU) - headers,
        };
        self.0.push(DaemonRow {
            role: spec.role,
            interface: spec.interface,
            sync_id: spec.sync_id,
            max_length,
            group: Some(group),
            port,
            ttl: spec.ttl.unwrap_or(TTL),
        });
        self.0.sort_by_key(|row| row.role);
        Ok(())
    }

    /// Stops one. As in the kernel its sync id does not matter.
    pub(super) fn stop(&mut self, role: Role) -> Result<(), Refusal> {
        let place = self.0.iter().position(|row| row.role == role);
        self.0.remove(place.ok_or(Refusal::NoDaemon)?);
        Ok(())
    }
}

/// An interface of the kernel's.
struct Interface {
    index: u32,
    /// At most 65535.
    mtu: u16,
}

impl Interface {
    fn find(name: &str) -> Option<Self> {
        if name.is_empty() || name == "." || name == ".." || name.contains('/') {
            return None;
        }
        let number = |file: &str| {
            let text = fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok()?;
            text.trim().parse::<u32>().ok()
        };
        let mtu = number("mtu").and_then(|mtu| u16::try_from(mtu).ok()).unwrap_or(u16::MAX);
        Some(Self { index: number("ifindex")?, mtu })
    }

    /// Whether the kernel knows a way to an IPv6 group by this interface.
    fn reach(&self, group: Ipv6Addr, port: u16) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect(SocketAddrV6::new(group, port, 0, self.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(role: Role) -> DaemonSpec {
        DaemonSpec {
            role,
            interface: "lo".into(),
            sync_id: 0,
            max_length: None,
            group: None,
            port: None,
            ttl: None,
        }
    }

    /// As recorded of Linux 6.1 on `lo`.
    #[test]
    fn defaults_and_limits_are_the_kernels() {
        let mut daemons = SyncDaemons::default();
        daemons.start(spec(Role::Backup)).unwrap();
        daemons.start(spec(Role::Master)).unwrap();
        assert_eq!(daemons.start(spec(Role::Master)), Err(Refusal::DaemonRuns));
        let lengths: Vec<_> = daemons.rows().iter().map(|row| (row.role, row.max_length)).collect();
        assert_eq!(lengths, [(Role::Master, 1472), (Role::Backup, 65_507)]);
        daemons.stop(Role::Backup).unwrap();
        assert_eq!(daemons.stop(Role::Backup), Err(Refusal::NoDaemon));
        daemons.start(DaemonSpec { max_length: Some(100), ..spec(Role::Backup) }).unwrap();
        assert_eq!(daemons.rows()[1].max_length, BACKUP_LEAST);
        for name in ["nosuchif", "", "..", "../net/lo"] {
            let wrong = DaemonSpec { interface: name.into(), ..spec(Role::Master) };
            assert_eq!(daemons.start(wrong), Err(Refusal::NoDevice), "{name:?}");
        }
    }
}
