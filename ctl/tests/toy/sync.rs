//! Connection sync and virtual routers, in which every field has a value.

use ctl::sync::{BackupState, Follower, MasterState, SenderRow, SyncState, VrrpRow};
use dataplane::sync::{Reject, Unsent};

pub fn state() -> SyncState {
    let master = MasterState {
        records: 9_007_199_254_740_993,
        records_per_second: 2,
        messages: 3,
        bytes: 4,
        overruns: 5,
        queue_full: 6,
        send_errors: 7,
        unsent: vec![(Unsent::Version0Ipv6, 8)],
        waiting: 9,
        lag_us: 10,
        followers: vec![Follower {
            address: "192.0.2.2".parse().expect("an address"),
            records: 11,
            is_in_step: true,
        }],
    };
    let sender = SenderRow {
        address: "2001:db8::1".parse().expect("an address"),
        is_pollvs: true,
        messages: 1,
        lost: 2,
        heard_ms: 3,
        fetched: 4,
        fetched_records: 5,
        failed: 6,
        is_in_step: false,
    };
    let kernel = SenderRow { is_pollvs: false, ..sender.clone() };
    let backup = BackupState {
        records: 1,
        records_per_second: 2,
        messages: 3,
        bytes: 4,
        rejects: vec![(Reject::Short, 5)],
        seal_rejects: vec![("replayed", "Seen before.", 6)],
        overruns: 7,
        waiting: 8,
        made: 9,
        unbound: 10,
        updated: 11,
        late: 12,
        no_room: 13,
        unfit: 14,
        senders: vec![sender, kernel],
        crowd: 15,
    };
    SyncState { master: Some(master), backup: Some(backup) }
}

/// One that is in a group and knows its master, and one that is neither.
pub fn routers() -> Vec<VrrpRow> {
    let first = VrrpRow {
        name: "web".into(),
        vrid: 51,
        version: 3,
        interface: "eth0".into(),
        state: "BACKUP",
        reason: "another director has a higher priority",
        since_s: 1,
        priority: 100,
        configured_priority: 150,
        interval_ms: 1000,
        master: Some("192.0.2.2".parse().expect("an address")),
        is_released: true,
        group: Some("all".into()),
        addresses: vec!["192.0.2.10".parse().expect("an address")],
        became_master: 2,
        sent: 3,
        received: 4,
        announced: 5,
        rejects: vec![("ttl", "Time to live is not 255.", 6)],
    };
    vec![first.clone(), VrrpRow { master: None, group: None, ..first }]
}
