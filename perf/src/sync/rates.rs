//! How fast the master daemon sends what a worker tells.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result};
use ctl::backend::DaemonRow;
use ctl::command::Role;
use dataplane::counters::Counters;
use dataplane::hash::HashKey;
use dataplane::settings::Settings;
use dataplane::sync::{Record, RecordFlags};
use dataplane::template::Templates;
use engine::clock::Clock;
use engine::links::links;
use engine::port::memory::MemoryFrame;
use engine::sync::{GROUP, Sync, SyncConfig};

use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::sample::Samples;

const RECORDS: u64 = 1 << 20;
const PORT: u16 = 28_848;

/// The record of an established connection, one of many.
pub(super) fn record(n: u32) -> Record {
    Record {
        protocol: 6,
        flags: RecordFlags(0),
        state: 1,
        timeout_s: 900,
        mark: 0,
        client: (
            IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | n >> 15 & 0xffff)),
            1024 + (n & 0x7fff) as u16,
        ),
        virtual_end: (Ipv4Addr::new(192, 0, 2, 1).into(), 80),
        real: (Ipv4Addr::new(10, 200, 0, 1).into(), 8080),
        sequence: None,
    }
}

pub(super) fn measure(options: &Options, output: &mut Output) -> Result<()> {
    progress("sync: master sends");
    let key = HashKey::new([1, 2, 3]);
    let (ways, mut ends) = links::<MemoryFrame>(1, 1, &Arc::new(AtomicBool::new(false)));
    let mut told = ends.remove(0).told;
    let mut sync = Sync::new(
        SyncConfig::default(),
        key,
        Clock::start(),
        Arc::new(Templates::new(64, key)),
        vec![Arc::new(Counters::new(1))],
        ways.commands,
        ways.told,
        ways.taken,
    );
    sync.put_settings(&Settings::default());
    sync.follow(&[DaemonRow {
        role: Role::Master,
        interface: "lo".into(),
        sync_id: 1,
        max_length: 1472,
        group: Some(GROUP.into()),
        port: PORT,
        ttl: 1,
    }]);
    let sent = |sync: &Sync| sync.state().master.map_or(0, |master| master.records);
    let mut rate = Samples::default();
    for _ in 0..options.repeats {
        let (before, start) = (sent(&sync), Instant::now());
        let mut next = 0;
        while sent(&sync) - before < RECORDS {
            while next < RECORDS && told.push(record(next as u32)).is_ok() {
                next += 1;
            }
        }
        rate.push(RECORDS as f64 / start.elapsed().as_secs_f64());
    }
    let master = sync.state().master.context("the master daemon runs")?;
    anyhow::ensure!(master.send_errors == 0 && master.queue_full == 0, "{master:?}");
    sync.follow(&[]);
    output.row(
        &Row {
            bench: "sync",
            case: Some("master sends".into()),
            per_second: Some(rate.median()),
            ..Row::default()
        }
        .spread(&rate),
    )
}
