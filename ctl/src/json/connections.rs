//! Connections and persistence templates.

use std::net::IpAddr;

use dataplane::service::Protocol;
use serde::{Serialize, Serializer};

use super::services::protocol;
use crate::backend::ConnectionRow;

/// `-L -c`, in the back end's order.
#[derive(Serialize)]
pub(super) struct Connections<'a> {
    schema: &'static str,
    #[serde(serialize_with = "each")]
    connections: &'a [ConnectionRow],
}

impl<'a> Connections<'a> {
    pub(super) fn new(rows: &'a [ConnectionRow]) -> Self {
        Self { schema: "pollvs/connections/1", connections: rows }
    }
}

/// One row after the other: there may be millions, so they are not made all at once.
fn each<S: Serializer>(rows: &&[ConnectionRow], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rows.iter().map(Connection::new))
}

#[derive(Serialize)]
struct Connection<'a> {
    protocol: &'static str,
    state: &'a str,
    expires_s: u64,
    synced: bool,
    client_address: IpAddr,
    client_port: u16,
    fwmark: Option<u32>,
    virtual_address: Option<IpAddr>,
    virtual_port: Option<u16>,
    server_address: IpAddr,
    server_port: u16,
    persistence_engine: Option<&'a str>,
    persistence_data: Option<&'a str>,
}

impl<'a> Connection<'a> {
    fn new(row: &'a ConnectionRow) -> Self {
        let numbers = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
        let known = numbers.into_iter().find(|protocol| protocol.name() == row.protocol);
        // Only the templates of firewall marks have no protocol; there an address stands for the mark.
        let fwmark = known.is_none().then(|| mark(row.virtual_end.ip()));
        let virtual_end = known.map(|_| row.virtual_end);
        Self {
            protocol: known.map_or("ip", protocol),
            state: &row.state,
            expires_s: row.expires_s,
            synced: row.is_synced,
            client_address: row.client.ip(),
            client_port: row.client.port(),
            fwmark,
            virtual_address: virtual_end.map(|end| end.ip()),
            virtual_port: virtual_end.map(|end| end.port()),
            server_address: row.real.ip(),
            server_port: row.real.port(),
            persistence_engine: row.engine.as_ref().map(|engine| engine.name.as_str()),
            persistence_data: row.engine.as_ref().map(|engine| engine.data.as_str()),
        }
    }
}

/// The mark that an address stands for; see [`crate::backend::mark_address`].
fn mark(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}
