//! A shard's connections, page by page, so that no reading holds up packets.

use alloc::vec::Vec;

use crate::command::{ConnectionInfo, Place};
use crate::common::Common;
use crate::connection::{Connection, Flags, Table};
use crate::frame::Frame;
use crate::packet::Network;
use crate::service::Family;
use crate::shard::Shard;
use crate::time::Tick;

/// What a page holds of a connection.
pub(crate) trait OnPage: Sized {
    /// Records looked at for one page.
    const LOOKED_AT: u32;

    /// What it holds of this one, which has not ended; nothing, perhaps.
    fn of<A: Network>(common: &Common, now: Tick, connection: &Connection<A>) -> Option<Self>;
}

impl OnPage for ConnectionInfo {
    const LOOKED_AT: u32 = 4096;

    fn of<A: Network>(_: &Common, now: Tick, connection: &Connection<A>) -> Option<Self> {
        Some(Self {
            protocol: connection.protocol,
            is_synced: connection.flags.has(Flags::SYNCED),
            state: connection.state,
            expires_s: now.seconds_until(connection.expires),
            client: (connection.client.into(), connection.client_port),
            virtual_end: (connection.virtual_address.into(), connection.virtual_port),
            real: (connection.real.into(), connection.real_port),
        })
    }
}

impl<F: Frame> Shard<F> {
    /// Fills a page, at most to its capacity, with connections from a place on; says where the next
    /// page begins, if there is more.
    pub(crate) fn fill_page<T: OnPage>(
        &self,
        now: Tick,
        from: Option<Place>,
        page: &mut Vec<T>,
    ) -> Option<Place> {
        page.clear();
        let from = from.unwrap_or(Place { family: Family::V4, record: 0 });
        let place = |family| move |record| Place { family, record };
        match from.family {
            Family::V4 => fill(&self.common, &self.v4.connections, now, from.record, page)
                .map(place(Family::V4))
                .or(Some(place(Family::V6)(0))),
            Family::V6 => fill(&self.common, &self.v6.connections, now, from.record, page)
                .map(place(Family::V6)),
        }
    }
}

fn fill<A: Network, T: OnPage>(
    common: &Common,
    connections: &Table<A>,
    now: Tick,
    mut index: u32,
    page: &mut Vec<T>,
) -> Option<u32> {
    let end = connections.touched().min(index.saturating_add(T::LOOKED_AT));
    while index < end && page.len() < page.capacity() {
        if let Some((_, connection)) = connections.at(index)
            && !now.reached(connection.expires)
        {
            page.extend(T::of(common, now, connection));
        }
        index += 1;
    }
    (index < connections.touched()).then_some(index)
}
