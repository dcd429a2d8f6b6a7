//! Listings and the save format, to the byte as ipvsadm 1.31 prints them.

mod connections;
mod frames;
pub(crate) mod order;
mod ports;
pub mod proc;
mod save;
mod services;
mod sync;
pub(crate) mod text;
mod vrrp;
mod workers;

use std::fmt::Write;

use crate::backend::{ConnectionRow, DaemonRow, ServiceRow, Table};
use crate::command::{ListOptions, Timeouts};
use crate::names::{Names, NumericNames};

pub use frames::frames;
pub use ports::ports;
pub use save::change;
pub use sync::sync;
pub use vrrp::vrrp;
pub use workers::workers;

/// The version of IPVS that listings name.
const IPVS_VERSION: &str = "1.2.1";

/// Adds formatted text; a `String` takes all of it.
macro_rules! add {
    ($out:expr, $($arg:tt)*) => {
        // Writing to a `String` cannot fail.
        let _ = write!($out, $($arg)*);
    };
}
use add;

/// The names that a list uses: none with `-n`.
fn names_of(numeric: bool, names: &dyn Names) -> &dyn Names {
    if numeric { &NumericNames } else { names }
}

/// `-L` of everything.
#[must_use]
pub fn table(table: &Table, options: &ListOptions, names: &dyn Names) -> String {
    let mut out = String::new();
    add!(out, "IP Virtual Server version {IPVS_VERSION} (size={})\n", table.size_buckets);
    let names = names_of(options.numeric, names);
    services::titles(&mut out, options.format);
    let mut rows: Vec<&ServiceRow> = table.services.iter().collect();
    if options.sorted {
        rows = order::merge_sort(rows, &|a, b| order::services(&a.spec.key, &b.spec.key));
    }
    for row in rows {
        services::service(&mut out, row, options, names);
    }
    out
}

/// `-L` of one service: no version line.
#[must_use]
pub fn service(row: &ServiceRow, options: &ListOptions, names: &dyn Names) -> String {
    let mut out = String::new();
    services::titles(&mut out, options.format);
    services::service(&mut out, row, options, names_of(options.numeric, names));
    out
}

/// `-S`: the table as commands that make it.
#[must_use]
pub fn save(table: &Table, numeric: bool, names: &dyn Names) -> String {
    let mut out = String::new();
    let names = names_of(numeric, names);
    let rows: Vec<&ServiceRow> = table.services.iter().collect();
    for row in order::merge_sort(rows, &|a, b| order::services(&a.spec.key, &b.spec.key)) {
        save::service(&mut out, row, names);
    }
    out
}

/// Everything that commands can configure, as input of `-R` that makes the same director again: for the daemon's own
/// file. Unlike [`save()`] it loses nothing: it has thresholds, marks above 2³¹, timeouts and sync daemons, and a back
/// end that lists the newest first lists the same order after it.
#[must_use]
pub fn complete(table: &Table, timeouts: Option<&Timeouts>, daemons: &[DaemonRow]) -> String {
    let mut out = String::new();
    if let Some(Timeouts { tcp_s, tcp_fin_s, udp_s }) = timeouts {
        add!(out, "--set {tcp_s} {tcp_fin_s} {udp_s}\n");
    }
    for row in table.services.iter().rev() {
        save::complete_service(&mut out, row);
    }
    for row in daemons {
        save::daemon(&mut out, &row.spec());
    }
    out
}

/// `-L -c`: connections in the back end's order.
#[must_use]
pub fn connections(rows: &[ConnectionRow], options: &ListOptions, names: &dyn Names) -> String {
    connections::list(rows, options, names_of(options.numeric, names))
}

/// `-L --timeout`.
#[must_use]
pub fn timeouts(timeouts: &Timeouts) -> String {
    let Timeouts { tcp_s, tcp_fin_s, udp_s } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}\n")
}

/// `-L --daemon`: nothing if none runs.
#[must_use]
pub fn daemons(rows: &[DaemonRow]) -> String {
    let mut out = String::new();
    for row in rows {
        let (role, interface) = (row.role.name(), &row.interface);
        add!(out, "{role} sync daemon (mcast={interface}, syncid={}", row.sync_id);
        if row.max_length != 0 {
            add!(out, ", maxlen={}", row.max_length);
        }
        if let Some(group) = row.group {
            add!(out, ", group={}", text::address(group));
        }
        if row.port != 0 {
            add!(out, ", port={}", row.port);
        }
        if row.ttl != 0 {
            add!(out, ", ttl={}", row.ttl);
        }
        out.push_str(")\n");
    }
    out
}
