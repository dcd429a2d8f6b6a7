//! Lists of connections.

use std::fmt::Write;

use dataplane::service::Protocol;

use super::{add, text};
use crate::backend::ConnectionRow;
use crate::command::{Format, ListOptions};
use crate::names::Names;

/// Titles and rows. With `--persistent-conn`, rows of a persistence engine show what it says.
pub(crate) fn list(rows: &[ConnectionRow], options: &ListOptions, names: &dyn Names) -> String {
    let with_engine = options.format == Format::PersistentConn;
    let mut out = String::from("IPVS connection entries\n");
    let (state, source, local) = ("state", "source", "virtual");
    add!(out, "pro expire {state:<11} {source:<18} {local:<18} ");
    if with_engine {
        add!(out, "{:<18} {:<16} pe_data\n", "destination", "pe name");
    } else {
        out.push_str("destination\n");
    }
    for row in rows {
        let protocol = match row.protocol {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        };
        let [client, virtual_end, real] = [row.client, row.virtual_end, row.real]
            .map(|end| text::endpoint(end.ip(), end.port(), protocol, names));
        let expire = format!("{:02}:{:02}", row.expires_s / 60, row.expires_s % 60);
        let (name, state) = (row.protocol, &row.state);
        add!(out, "{name:<3} {expire:<6} {state:<11} {client:<18} {virtual_end:<18} ");
        match &row.engine {
            Some(engine) if with_engine => {
                add!(out, "{real:<16} {:<18} {}\n", engine.name, engine.data);
            }
            _ => {
                add!(out, "{real}\n");
            }
        }
    }
    out
}
