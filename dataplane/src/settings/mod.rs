//! What an administrator may tune at run time: the kernel's `net.ipv4.vs` names, and timeouts.

mod list;
mod value;

use alloc::string::String;
use core::fmt;

use crate::connection::state::{Defence, Timeouts};

pub use list::{ALL, PREFIX, Setting};

/// Every setting. Switches keep the number they were given: anything but 0 is on.
///
/// What each means is said once, in [`ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Timeouts of connections by state (`--set`).
    pub timeouts: Timeouts,
    /// 0: a SYN changes nothing; bit 0: closed connections are scheduled anew; bit 1: also those
    /// half closed as far as one side shows.
    pub conn_reuse_mode: i32,
    /// Connections of a deleted server end, instead of losing their packets silently.
    pub expire_nodest_conn: i32,
    /// Templates of a server of weight 0 are not used any more.
    pub expire_quiescent_template: i32,
    /// Any TCP packet but a reset may open a connection.
    pub sloppy_tcp: i32,
    /// Any SCTP packet but an ABORT may open an association.
    pub sloppy_sctp: i32,
    /// ICMP errors without a connection are scheduled by what they quote.
    pub schedule_icmp: i32,
    /// Packets of NAT servers without a connection are answered and dropped.
    pub nat_icmp_send: i32,
    /// Packets too large for a tunnel are refused, not fragmented.
    pub pmtu_disc: i32,
    /// 0: off; 3: the stricter TCP table; 1 and 2 switch by themselves.
    pub secure_tcp: i32,
    /// Marked packets without a server go on to where they were sent.
    pub cache_bypass: i32,
    /// Idle time after which `lblc` forgets a destination, in seconds.
    pub lblc_expiration: i32,
    /// The same for `lblcr`.
    pub lblcr_expiration: i32,
    /// Most connections.
    pub conn_max: i32,
    /// Load factor of the connection table, as a power of two.
    pub conn_lfactor: i32,
    /// Load factor of the service table, as a power of two.
    pub svc_lfactor: i32,
    /// Connections are known to the system's own connection tracking.
    pub conntrack: i32,
    /// Packets of unknown protocols are not balanced again by what they hold.
    pub ignore_tunneled: i32,
    /// Rewritten replies are routed as if the director had sent them.
    pub snat_reroute: i32,
    /// No scheduling while the backup sync daemon runs.
    pub backup_only: i32,
    /// Memory counts as short below this many pages.
    pub amemthresh: i32,
    /// In mode 3 `drop_packet` drops one of so many packets.
    pub am_droprate: i32,
    /// Half-open and short connections are dropped at random: a mode, 0 to 3.
    pub drop_entry: i32,
    /// Packets that would open a connection are dropped: a mode, 0 to 3.
    pub drop_packet: i32,
    /// A connection is sent to the backup after so many packets, and again every so many.
    pub sync_threshold: [i32; 2],
    /// Seconds after which a connection that has not changed is sent again.
    pub sync_refresh_period: i32,
    /// Times that a refresh is sent again.
    pub sync_retries: i32,
    /// Sync threads and ports.
    pub sync_ports: i32,
    /// Sync messages that may wait.
    pub sync_qlen_max: u64,
    /// Size of the sync socket's buffer in bytes.
    pub sync_sock_size: i32,
    /// Only templates of persistent services are sent.
    pub sync_persist_mode: i32,
    /// Version of the sync messages sent.
    pub sync_version: i32,
    /// Rates are computed.
    pub run_estimation: i32,
    /// Processors that compute rates, a bit each.
    pub est_cpulist: u128,
    /// Priority of what computes rates.
    pub est_nice: i32,
    /// What the kernel's debug build would log.
    pub debug_level: i32,
    /// Milliseconds between ICMP errors to one target; 0: no such limit.
    pub icmp_ratelimit_ms: u32,
    /// ICMP errors per second to all targets.
    pub icmp_msgs_per_sec: u32,
    /// Of these, how many at once.
    pub icmp_msgs_burst: u32,
    /// Packets that are neither for the director nor for a service are routed.
    pub ip_forward: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            conn_reuse_mode: 1,
            expire_nodest_conn: 0,
            expire_quiescent_template: 0,
            sloppy_tcp: 0,
            sloppy_sctp: 0,
            schedule_icmp: 0,
            nat_icmp_send: 0,
            pmtu_disc: 1,
            secure_tcp: 0,
            cache_bypass: 0,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
            conn_max: 1 << 30,
            conn_lfactor: -4,
            svc_lfactor: -3,
            conntrack: 0,
            ignore_tunneled: 0,
            snat_reroute: 1,
            backup_only: 0,
            amemthresh: 1024,
            am_droprate: 10,
            drop_entry: 0,
            drop_packet: 0,
            sync_threshold: [3, 50],
            sync_refresh_period: 0,
            sync_retries: 0,
            sync_ports: 1,
            // The kernel's depends on its memory; this is the recorded one.
            sync_qlen_max: 7792,
            sync_sock_size: 0,
            sync_persist_mode: 0,
            sync_version: 1,
            run_estimation: 1,
            est_cpulist: 1,
            est_nice: 0,
            debug_level: 0,
            icmp_ratelimit_ms: 1000,
            icmp_msgs_per_sec: 1000,
            icmp_msgs_burst: 50,
            ip_forward: 1,
        }
    }
}

/// Why a setting was not changed.
#[derive(Clone, Copy, Debug)]
pub enum SettingError {
    /// No setting has the name.
    Unknown,
    /// The setting does not take the value (EINVAL).
    Invalid(&'static Setting),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such setting"),
            Self::Invalid(setting) => write!(f, "expected {}", setting.expected()),
        }
    }
}

impl Settings {
    /// The value of a setting as it reads back; `None` when there is no such setting. The name may
    /// lack `net.ipv4.vs.`, and may have slashes for dots.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        Some(Setting::find(name)?.read(self))
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When there is no such setting or it does not take the value; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let setting = Setting::find(name).ok_or(SettingError::Unknown)?;
        setting.write(self, value).ok_or(SettingError::Invalid(setting))
    }

    /// The TCP table in force. Modes 1 and 2 of `secure_tcp` ask for the stricter one only while
    /// memory is short, and all memory here is taken at the start: it never is.
    #[inline]
    #[must_use]
    pub fn defence(&self) -> Defence {
        if self.secure_tcp == 3 { Defence::Strict } else { Defence::Normal }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
