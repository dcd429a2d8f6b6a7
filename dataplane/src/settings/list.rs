//! Every setting, in the words of an operator: what documents and messages are made from.

use alloc::string::String;

use super::Settings;
use super::value::Kind;

/// What all names begin with that belong to IPVS.
pub const PREFIX: &str = "net.ipv4.vs.";

/// Longest expiry in seconds: what the kernel's clock can count to in 31 bits.
const LONGEST_S: i32 = i32::MAX / 100;

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in full.
    pub name: &'static str,
    /// What it does.
    pub text: &'static str,
    /// Whether it does so here. If not, its value is kept and read back, and that is all.
    pub acts: bool,
    kind: Kind,
}

impl Setting {
    /// The setting of a name, which may lack [`PREFIX`] and may have slashes for dots.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        let is = |full: &str| {
            full.len() == name.len()
                && full
                    .bytes()
                    .zip(name.bytes())
                    .all(|(a, b)| a == if b == b'/' { b'.' } else { b })
        };
        ALL.iter()
            .find(|setting| is(setting.name) || setting.name.strip_prefix(PREFIX).is_some_and(is))
    }

    /// What values it takes, for messages.
    #[must_use]
    pub fn expected(&self) -> String {
        self.kind.expected()
    }

    /// Its value as it reads back.
    #[must_use]
    pub fn read(&self, settings: &Settings) -> String {
        self.kind.read(settings)
    }

    /// Changes it; `None` when it does not take the value.
    pub(super) fn write(&self, settings: &mut Settings, value: &str) -> Option<()> {
        self.kind.write(settings, value)
    }
}

const fn setting(name: &'static str, acts: bool, kind: Kind, text: &'static str) -> Setting {
    Setting { name, text, acts, kind }
}

/// A setting that takes any integer.
const fn any(field: fn(&mut Settings) -> &mut i32) -> Kind {
    Kind::Integer { least: i32::MIN, most: i32::MAX, field }
}

macro_rules! vs {
    ($name:literal) => {
        concat!("net.ipv4.vs.", $name)
    };
}

/// Every setting, by name.
pub const ALL: &[Setting] = &[
    setting(
        "net.ipv4.icmp_msgs_burst",
        true,
        Kind::Whole { most: i32::MAX as u32, field: |s| &mut s.icmp_msgs_burst },
        "ICMP errors sent at once at most, over all targets",
    ),
    setting(
        "net.ipv4.icmp_msgs_per_sec",
        true,
        Kind::Whole { most: i32::MAX as u32, field: |s| &mut s.icmp_msgs_per_sec },
        "ICMP errors sent per second at most, over all targets",
    ),
    setting(
        "net.ipv4.icmp_ratelimit",
        true,
        Kind::Whole { most: i32::MAX as u32, field: |s| &mut s.icmp_ratelimit_ms },
        "milliseconds between ICMP errors to one target; 0: no limit",
    ),
    setting(
        "net.ipv4.ip_forward",
        true,
        any(|s| &mut s.ip_forward),
        "1: packets that are neither for the director nor for a service are routed; 0: dropped",
    ),
    setting(
        vs!("am_droprate"),
        false,
        any(|s| &mut s.am_droprate),
        "drop_packet in mode 3 drops one of so many packets that would open a connection",
    ),
    setting(
        vs!("amemthresh"),
        false,
        any(|s| &mut s.amemthresh),
        "memory is short below so many pages; here it is taken at the start and never short",
    ),
    setting(
        vs!("backup_only"),
        true,
        any(|s| &mut s.backup_only),
        "1: while the backup sync daemon runs, requests are not scheduled",
    ),
    setting(
        vs!("cache_bypass"),
        false,
        any(|s| &mut s.cache_bypass),
        "1: packets of a firewall-mark service without a server go on to where they were sent",
    ),
    setting(
        vs!("conn_lfactor"),
        false,
        Kind::Integer { least: -8, most: 8, field: |s| &mut s.conn_lfactor },
        "load of the connection table, as a power of two; here its size is configured",
    ),
    setting(
        vs!("conn_max"),
        false,
        Kind::Integer { least: 0, most: 1 << 30, field: |s| &mut s.conn_max },
        "connections at most; here the configured size of the table is the limit",
    ),
    setting(
        vs!("conn_reuse_mode"),
        true,
        any(|s| &mut s.conn_reuse_mode),
        "SYN that meets an old connection: 0 changes nothing, bit 0 schedules closed ones anew, \
         bit 1 also those half closed as far as one side shows",
    ),
    setting(
        vs!("conntrack"),
        false,
        any(|s| &mut s.conntrack),
        "1: the system's connection tracking knows the connections; here there is none",
    ),
    setting(
        vs!("debug_level"),
        false,
        any(|s| &mut s.debug_level),
        "what a debug build of the kernel logs",
    ),
    setting(
        vs!("drop_entry"),
        false,
        Kind::Mode { field: |s| &mut s.drop_entry },
        "dropping of half-open and short connections: 0 never, 1 or 2 while memory is short, 3 \
         always",
    ),
    setting(
        vs!("drop_packet"),
        false,
        Kind::Mode { field: |s| &mut s.drop_packet },
        "dropping of packets that would open a connection: 0 never, 1 or 2 while memory is \
         short, 3 always",
    ),
    setting(
        vs!("est_cpulist"),
        false,
        Kind::Processors { field: |s| &mut s.est_cpulist },
        "processors that compute rates",
    ),
    setting(
        vs!("est_nice"),
        false,
        Kind::Integer { least: -20, most: 19, field: |s| &mut s.est_nice },
        "priority of the threads that compute rates",
    ),
    setting(
        vs!("expire_nodest_conn"),
        true,
        any(|s| &mut s.expire_nodest_conn),
        "connections of a deleted server: 0 lose their packets, 1 end",
    ),
    setting(
        vs!("expire_quiescent_template"),
        true,
        any(|s| &mut s.expire_quiescent_template),
        "1: persistence ends for servers of weight 0",
    ),
    setting(
        vs!("ignore_tunneled"),
        false,
        any(|s| &mut s.ignore_tunneled),
        "1: packets of unknown protocols are not balanced by what they hold",
    ),
    setting(
        vs!("lblc_expiration"),
        true,
        Kind::Integer { least: 0, most: LONGEST_S, field: |s| &mut s.lblc_expiration },
        "seconds after which lblc forgets an idle destination",
    ),
    setting(
        vs!("lblcr_expiration"),
        true,
        Kind::Integer { least: 0, most: LONGEST_S, field: |s| &mut s.lblcr_expiration },
        "seconds after which lblcr forgets an idle destination, or shrinks its set",
    ),
    setting(
        vs!("nat_icmp_send"),
        true,
        any(|s| &mut s.nat_icmp_send),
        "1: packets of NAT servers without a connection are answered with port unreachable and \
         dropped",
    ),
    setting(
        vs!("pmtu_disc"),
        false,
        any(|s| &mut s.pmtu_disc),
        "packets too large on the way to a server: 1 refused if they must not be fragmented, 0 \
         fragmented in tunnels",
    ),
    setting(vs!("run_estimation"), true, any(|s| &mut s.run_estimation), "1: rates are computed"),
    setting(
        vs!("schedule_icmp"),
        true,
        any(|s| &mut s.schedule_icmp),
        "1: ICMP errors without a connection are scheduled by the packet they quote",
    ),
    setting(
        vs!("secure_tcp"),
        true,
        Kind::Mode { field: |s| &mut s.secure_tcp },
        "stricter TCP states: 0 never, 1 or 2 while memory is short, 3 always",
    ),
    setting(
        vs!("sloppy_sctp"),
        false,
        any(|s| &mut s.sloppy_sctp),
        "1: any SCTP packet but an ABORT may open an association",
    ),
    setting(
        vs!("sloppy_tcp"),
        true,
        any(|s| &mut s.sloppy_tcp),
        "1: any TCP packet but a reset may open a connection",
    ),
    setting(
        vs!("snat_reroute"),
        false,
        any(|s| &mut s.snat_reroute),
        "1: rewritten replies are routed as if the director had sent them; here all packets are \
         routed alike",
    ),
    setting(
        vs!("svc_lfactor"),
        false,
        Kind::Integer { least: -8, most: 8, field: |s| &mut s.svc_lfactor },
        "load of the service table, as a power of two; here its size is configured",
    ),
    setting(
        vs!("sync_persist_mode"),
        true,
        any(|s| &mut s.sync_persist_mode),
        "1: of persistent services only the templates are sent to the backup",
    ),
    setting(
        vs!("sync_ports"),
        true,
        Kind::PowerOfTwo { field: |s| &mut s.sync_ports },
        "sync threads and their ports",
    ),
    setting(
        vs!("sync_qlen_max"),
        true,
        Kind::Long { field: |s| &mut s.sync_qlen_max },
        "sync messages that may wait",
    ),
    setting(
        vs!("sync_refresh_period"),
        true,
        any(|s| &mut s.sync_refresh_period),
        "seconds after which an unchanged connection is sent to the backup again",
    ),
    setting(
        vs!("sync_retries"),
        true,
        Kind::Integer { least: 0, most: 3, field: |s| &mut s.sync_retries },
        "times that such a refresh is repeated",
    ),
    setting(
        vs!("sync_sock_size"),
        true,
        any(|s| &mut s.sync_sock_size),
        "buffer of the sync socket in bytes; 0: the system's",
    ),
    setting(
        vs!("sync_threshold"),
        true,
        Kind::Pair { field: |s| &mut s.sync_threshold },
        "packets after which a connection is sent to the backup, and of how many it is then \
         sent again",
    ),
    setting(
        vs!("sync_version"),
        true,
        Kind::Integer { least: 0, most: 1, field: |s| &mut s.sync_version },
        "version of the sync messages sent",
    ),
];
