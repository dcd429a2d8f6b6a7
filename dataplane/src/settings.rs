//! What an administrator may tune at run time: the kernel's `net.ipv4.vs` names, and timeouts.

use crate::connection::state::Timeouts;

/// Every setting. Switches keep the number they were given: anything but 0 is on.
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            conn_reuse_mode: 1,
            expire_nodest_conn: 0,
            expire_quiescent_template: 0,
            sloppy_tcp: 0,
            schedule_icmp: 0,
            nat_icmp_send: 0,
            pmtu_disc: 1,
            secure_tcp: 0,
            cache_bypass: 0,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
        }
    }
}
