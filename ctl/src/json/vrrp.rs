//! Virtual routers.

use std::net::IpAddr;

use serde::Serialize;

use super::sync::Count;
use crate::sync::VrrpRow;

/// `vrrp`.
#[derive(Serialize)]
pub(super) struct Routers<'a> {
    schema: &'static str,
    routers: Vec<Router<'a>>,
}

impl<'a> Routers<'a> {
    pub(super) fn new(rows: &'a [VrrpRow]) -> Self {
        Self { schema: "pollvs/vrrp/1", routers: rows.iter().map(Router::new).collect() }
    }
}

#[derive(Serialize)]
struct Router<'a> {
    name: &'a str,
    vrid: u8,
    version: u8,
    interface: &'a str,
    state: &'static str,
    reason: &'static str,
    since_s: u64,
    priority: u8,
    configured_priority: u8,
    interval_ms: u64,
    master: Option<IpAddr>,
    released: bool,
    group: Option<&'a str>,
    addresses: &'a [IpAddr],
    became_master: u64,
    sent: u64,
    received: u64,
    announced: u64,
    rejects: Vec<Count>,
}

impl<'a> Router<'a> {
    fn new(row: &'a VrrpRow) -> Self {
        Self {
            name: &row.name,
            vrid: row.vrid,
            version: row.version,
            interface: &row.interface,
            state: row.state,
            reason: row.reason,
            since_s: row.since_s,
            priority: row.priority,
            configured_priority: row.configured_priority,
            interval_ms: row.interval_ms,
            master: row.master,
            released: row.is_released,
            group: row.group.as_deref(),
            addresses: &row.addresses,
            became_master: row.became_master,
            sent: row.sent,
            received: row.received,
            announced: row.announced,
            rejects: row.rejects.iter().map(Count::new).collect(),
        }
    }
}
