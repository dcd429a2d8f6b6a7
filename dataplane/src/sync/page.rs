//! All connections of a shard as another director is told of them, page by page.

use alloc::vec::Vec;

use super::record::Record;
use super::tell::record_of;
use crate::command::Place;
use crate::common::Common;
use crate::connection::Connection;
use crate::packet::Network;
use crate::page::OnPage;
use crate::template::TemplateId;
use crate::time::Tick;

/// Part of a shard's connections, as records.
#[derive(Clone, Debug, Default)]
pub struct RecordPage {
    /// Where to go on, `None` from the start; in a reply, where the next page begins, or `None` at
    /// the end.
    pub from: Option<Place>,
    /// Filled by the shard, at most to the capacity it comes with.
    pub records: Vec<Record>,
}

impl OnPage for Record {
    const LOOKED_AT: u32 = 1024;

    /// What backups are told of, with the seconds it has left.
    fn of<A: Network>(common: &Common, now: Tick, connection: &Connection<A>) -> Option<Self> {
        let is_left_to_template =
            connection.template != TemplateId::NONE && common.teller.policy.only_templates;
        (connection.state.is_told() && !is_left_to_template).then(|| {
            let mark = common.servers[connection.server.index()].mark;
            // Rounded up: 0 would mean that nothing is said.
            record_of(connection, mark, now.seconds_until(connection.expires) + 1)
        })
    }
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
