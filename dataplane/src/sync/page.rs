//! All connections of a shard as another director is told of them, page by page.

use alloc::vec::Vec;

use super::record::Record;
use super::tell::record_of;
use crate::command::Place;
use crate::common::Common;
use crate::connection::Table;
use crate::frame::Frame;
use crate::packet::Network;
use crate::service::Family;
use crate::shard::Shard;
use crate::template::TemplateId;
use crate::time::Tick;

/// Records looked at for one page, so that no reading holds up packets.
const LOOKED_AT: u32 = 1024;

/// Part of a shard's connections, as records.
#[derive(Clone, Debug, Default)]
pub struct RecordPage {
    /// Where to go on, `None` from the start; in a reply, where the next page begins, or `None` at
    /// the end.
    pub from: Option<Place>,
    /// Filled by the shard, at most to the capacity it comes with.
    pub records: Vec<Record>,
}

impl<F: Frame> Shard<F> {
    /// Fills a page with the connections that backups are told of, with the seconds they have left.
    pub(crate) fn fill_records(&self, now: Tick, page: &mut RecordPage) {
        page.records.clear();
        let from = page.from.unwrap_or(Place { family: Family::V4, record: 0 });
        page.from = match from.family {
            Family::V4 => fill(&self.common, &self.v4.connections, now, from.record, page)
                .map(|record| Place { family: Family::V4, record })
                .or(Some(Place { family: Family::V6, record: 0 })),
            Family::V6 => fill(&self.common, &self.v6.connections, now, from.record, page)
                .map(|record| Place { family: Family::V6, record }),
        };
    }
}

fn fill<A: Network>(
    common: &Common,
    connections: &Table<A>,
    now: Tick,
    mut index: u32,
    page: &mut RecordPage,
) -> Option<u32> {
    let end = connections.touched().min(index.saturating_add(LOOKED_AT));
    while index < end && page.records.len() < page.records.capacity() {
        if let Some((_, connection)) = connections.at(index)
            && !now.reached(connection.expires)
            && connection.state.is_told()
            && !(connection.template != TemplateId::NONE && common.teller.policy.only_templates)
        {
            let mark = common.servers[connection.server.index()].mark;
            // Rounded up: 0 would mean that nothing is said.
            let left = now.seconds_until(connection.expires) + 1;
            page.records.push(record_of(connection, mark, left));
        }
        index += 1;
    }
    (index < connections.touched()).then_some(index)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
