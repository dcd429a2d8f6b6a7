//! What an administrator may tune at run time: the kernel's `net.ipv4.vs` names, a few of its
//! names for routers, and the timeouts of connections.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::connection::state::Timeouts;

/// Why a setting was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// There is no setting of this name.
    Unknown,
    /// The value is no number, or out of range (EINVAL).
    Invalid,
}

/// A setting, for listings and documents.
#[derive(Clone, Copy, Debug)]
pub struct Knob {
    /// Its full name.
    pub name: &'static str,
    /// What it does, in operators' words.
    pub about: &'static str,
    /// Whether anything depends on it yet; otherwise it is only kept and shown.
    pub acts: bool,
}

const ANY: (i32, i32) = (i32::MIN, i32::MAX);
const COUNT: (i32, i32) = (0, i32::MAX);
const MODE: (i32, i32) = (0, 3);

/// Defines [`Settings`] from one list: field, full name, default, range, whether it acts, text.
macro_rules! settings {
    ($($field:ident $name:literal = $default:literal in $range:ident $acts:ident $about:literal)*) => {
        /// Every setting. Switches keep the number that they were given: anything but 0 is on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Settings {
            $(#[doc = $about] pub $field: i32,)*
            /// `net.ipv4.vs.sync_threshold`: packets after which a connection is synced, and the
            /// period after that.
            pub sync_threshold: (i32, i32),
            /// Timeouts of connections by state (`--set`).
            pub timeouts: Timeouts,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    sync_threshold: (3, 50),
                    timeouts: Timeouts::default(),
                }
            }
        }

        impl Settings {
            /// Every setting that has a name, in the order of the names.
            pub const KNOBS: &'static [Knob] = &[
                $(Knob { name: $name, about: $about, acts: settings!(@acts $acts) },)*
                Knob {
                    name: "net.ipv4.vs.sync_threshold",
                    about: "Packets after which a connection is synced, and the period after that.",
                    acts: false,
                },
            ];

            fn field(&mut self, name: &str) -> Option<(&mut i32, (i32, i32))> {
                match name {
                    $($name => Some((&mut self.$field, $range)),)*
                    _ => None,
                }
            }
        }
    };
    (@acts acts) => { true };
    (@acts kept) => { false };
}

settings! {
    am_droprate "net.ipv4.vs.am_droprate" = 10 in ANY kept "Every so many new connections one is dropped, when drop_packet is 3."
    amemthresh "net.ipv4.vs.amemthresh" = 1024 in ANY kept "Free pages below which memory counts as short."
    backup_only "net.ipv4.vs.backup_only" = 0 in ANY kept "A sync backup neither schedules nor forwards."
    cache_bypass "net.ipv4.vs.cache_bypass" = 0 in ANY kept "Marked packets without a server go on to where they were sent."
    conn_reuse_mode "net.ipv4.vs.conn_reuse_mode" = 1 in ANY acts "0: a SYN never reschedules; otherwise closed connections are scheduled anew, and with bit 1 also those half closed as far as one side shows."
    conntrack "net.ipv4.vs.conntrack" = 0 in ANY kept "Connection tracking of the kernel, which sees none of these packets."
    debug_level "net.ipv4.vs.debug_level" = 0 in ANY kept "Messages of the kernel for its developers."
    drop_entry "net.ipv4.vs.drop_entry" = 0 in MODE kept "Random removal of half-open connections."
    drop_packet "net.ipv4.vs.drop_packet" = 0 in MODE kept "Some new connections are dropped."
    expire_nodest_conn "net.ipv4.vs.expire_nodest_conn" = 0 in ANY acts "Connections of a deleted server end, instead of losing their packets silently."
    expire_quiescent_template "net.ipv4.vs.expire_quiescent_template" = 0 in ANY acts "Persistence templates of a server of weight 0 are not used any more."
    ignore_tunneled "net.ipv4.vs.ignore_tunneled" = 0 in ANY kept "Packets inside tunnels that end here are not balanced."
    lblc_expiration "net.ipv4.vs.lblc_expiration" = 86_400 in ANY acts "Seconds after which lblc forgets a destination."
    lblcr_expiration "net.ipv4.vs.lblcr_expiration" = 86_400 in ANY acts "Seconds after which lblcr forgets a destination."
    nat_icmp_send "net.ipv4.vs.nat_icmp_send" = 0 in ANY acts "Packets of NAT servers without a connection are answered with port unreachable."
    pmtu_disc "net.ipv4.vs.pmtu_disc" = 1 in ANY kept "Packets too large for a tunnel are refused, not fragmented."
    run_estimation "net.ipv4.vs.run_estimation" = 1 in ANY kept "Rates are estimated."
    schedule_icmp "net.ipv4.vs.schedule_icmp" = 0 in ANY acts "ICMP errors without a connection are scheduled by what they quote."
    secure_tcp "net.ipv4.vs.secure_tcp" = 0 in MODE acts "3: the stricter table of TCP states; 1 and 2 switch it on when memory is short, which it never is here."
    sloppy_sctp "net.ipv4.vs.sloppy_sctp" = 0 in ANY kept "Any SCTP packet but an abort may open an association."
    sloppy_tcp "net.ipv4.vs.sloppy_tcp" = 0 in ANY acts "Any TCP packet but a reset may open a connection."
    snat_reroute "net.ipv4.vs.snat_reroute" = 1 in ANY kept "Replies are routed as the director's own packets, as they always are here."
    sync_persist_mode "net.ipv4.vs.sync_persist_mode" = 0 in ANY kept "Under persistence, only templates are synced."
    sync_ports "net.ipv4.vs.sync_ports" = 1 in COUNT kept "UDP ports of the sync daemon, a power of two."
    sync_qlen_max "net.ipv4.vs.sync_qlen_max" = 8192 in COUNT kept "Sync messages that may wait to be sent."
    sync_refresh_period "net.ipv4.vs.sync_refresh_period" = 0 in ANY kept "Seconds between two messages about the same connection."
    sync_retries "net.ipv4.vs.sync_retries" = 0 in MODE kept "How often a sync message is repeated."
    sync_sock_size "net.ipv4.vs.sync_sock_size" = 0 in ANY kept "Bytes of the sync daemon's socket buffer."
    sync_version "net.ipv4.vs.sync_version" = 1 in SWITCH kept "Version of the sync messages sent."
    icmp_msgs_burst "net.ipv4.icmp_msgs_burst" = 50 in COUNT acts "ICMP errors that may be sent at once."
    icmp_msgs_per_sec "net.ipv4.icmp_msgs_per_sec" = 1000 in COUNT acts "ICMP errors a second, to all targets."
    icmp_ratelimit "net.ipv4.icmp_ratelimit" = 1000 in COUNT acts "Milliseconds between ICMP errors to one target; 0 is no limit."
    ip_forward "net.ipv4.ip_forward" = 1 in ANY acts "Packets that are neither to the director nor to a service are routed."
}

const SWITCH: (i32, i32) = (0, 1);

/// What most names begin with, and need not.
const PREFIX: &str = "net.ipv4.vs.";
const SYNC_THRESHOLD: &str = "net.ipv4.vs.sync_threshold";
const SYNC_PORTS: &str = "net.ipv4.vs.sync_ports";

impl Settings {
    /// A setting's full name, when it exists.
    #[must_use]
    pub fn full_name(name: &str) -> Option<&'static str> {
        let is_it =
            |knob: &&Knob| knob.name == name || knob.name.strip_prefix(PREFIX) == Some(name);
        Self::KNOBS.iter().find(is_it).map(|knob| knob.name)
    }

    /// A setting's value as the kernel shows it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let name = Self::full_name(name)?;
        if name == SYNC_THRESHOLD {
            return Some(format!("{}\t{}", self.sync_threshold.0, self.sync_threshold.1));
        }
        let mut copy = *self;
        copy.field(name).map(|(value, _)| value.to_string())
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When it does not exist or the value does not do; nothing has changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let name = Self::full_name(name).ok_or(SettingError::Unknown)?;
        let numbers: Result<Vec<i32>, _> = value.split_whitespace().map(str::parse).collect();
        let numbers = numbers.map_err(|_| SettingError::Invalid)?;
        if name == SYNC_THRESHOLD {
            return match numbers[..] {
                [first, second] if first >= 0 && second >= 0 && (second == 0 || first < second) => {
                    self.sync_threshold = (first, second);
                    Ok(())
                }
                _ => Err(SettingError::Invalid),
            };
        }
        let [number] = numbers[..] else { return Err(SettingError::Invalid) };
        if name == SYNC_PORTS && !(number > 0 && (number as u32).is_power_of_two()) {
            return Err(SettingError::Invalid);
        }
        let (field, range) = self.field(name).ok_or(SettingError::Unknown)?;
        if !(range.0..=range.1).contains(&number) {
            return Err(SettingError::Invalid);
        }
        // The modes of defence that switch by themselves are at rest while there is memory.
        *field = if range == MODE && number == 2 && name != "net.ipv4.vs.sync_retries" {
            1
        } else {
            number
        };
        Ok(())
    }

    /// Whether TCP connections follow the stricter table.
    #[inline]
    #[must_use]
    pub(crate) fn is_secure(&self) -> bool {
        self.secure_tcp == 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../tests/oracle/data/sysctl-net.ipv4.vs.txt");

    #[test]
    fn names_and_defaults_are_the_kernels() {
        let settings = Settings::default();
        let mut recorded = 0;
        for line in RECORDED.lines() {
            let (name, value) = line.split_once(" = ").unwrap();
            recorded += 1;
            // The kernel takes it from the memory that it has.
            if name != "net.ipv4.vs.sync_qlen_max" {
                assert_eq!(settings.get(name).as_deref(), Some(value), "{name}");
            }
        }
        let ours = Settings::KNOBS.iter().filter(|knob| knob.name.starts_with(PREFIX)).count();
        assert_eq!((ours, recorded), (30, 30));
    }

    #[test]
    fn values_are_kept_or_refused_as_the_kernel_does() {
        let rows = [
            ("conn_reuse_mode", "-1", Ok("-1")),
            ("conn_reuse_mode", "4", Ok("4")),
            ("conn_reuse_mode", "x", Err(SettingError::Invalid)),
            ("conn_reuse_mode", "", Err(SettingError::Invalid)),
            ("conn_reuse_mode", "1 2", Err(SettingError::Invalid)),
            ("secure_tcp", "3", Ok("3")),
            ("secure_tcp", "2", Ok("1")),
            ("secure_tcp", "4", Err(SettingError::Invalid)),
            ("drop_packet", "-1", Err(SettingError::Invalid)),
            ("sync_threshold", "5 0", Ok("5\t0")),
            ("sync_threshold", "0 0", Ok("0\t0")),
            ("sync_threshold", "5 5", Err(SettingError::Invalid)),
            ("sync_ports", "128", Ok("128")),
            ("sync_ports", "3", Err(SettingError::Invalid)),
            ("sync_ports", "0", Err(SettingError::Invalid)),
            ("sync_retries", "2", Ok("2")),
            ("sync_retries", "4", Err(SettingError::Invalid)),
            ("sync_version", "2", Err(SettingError::Invalid)),
            ("amemthresh", "-5", Ok("-5")),
            ("net.ipv4.icmp_ratelimit", "0", Ok("0")),
            ("net.ipv4.icmp_ratelimit", "-1", Err(SettingError::Invalid)),
            ("icmp_ratelimit", "0", Err(SettingError::Unknown)),
            ("nothing", "0", Err(SettingError::Unknown)),
        ];
        for (name, value, expected) in rows {
            let mut settings = Settings::default();
            let result = settings.set(name, value);
            let shown = settings.get(name);
            assert_eq!(result.map(|()| shown.as_deref().unwrap()), expected, "{name}={value}");
            if expected.is_err() {
                assert_eq!(settings, Settings::default(), "{name}={value}");
            }
        }
    }
}
