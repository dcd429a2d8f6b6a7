//! What telling backups costs the packet path.

use std::hint::black_box;

use anyhow::Result;
use dataplane::BURST;
use dataplane::command::{Command, SyncRoles};
use dataplane::service::{Family, Method, Protocol};
use dataplane::time::Tick;
use dataplane::verdict::Verdict;
use rtrb::RingBuffer;

use crate::drops;
use crate::frames::Client;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::pool::{Nowhere, Pool, Random};
use crate::sample::Samples;
use crate::setup::{self, Setup};
use crate::traffic::{Kind, Traffic};

const CONNECTIONS: [u32; 2] = [1 << 10, 1 << 20];
/// Records that find room before somebody takes them, as between worker and daemon.
const RING: usize = 16_384;

pub(super) fn measure(options: &Options, output: &mut Output) -> Result<()> {
    for connections in CONNECTIONS {
        for method in [Method::Direct, Method::Nat] {
            progress(&format!(
                "sync: cost, {}, {connections} connections",
                setup::method_name(method)
            ));
            output.row(&row(method, connections, options))?;
        }
    }
    Ok(())
}

fn row(method: Method, connections: u32, options: &Options) -> Row {
    let mut pool = Pool::new();
    let mut random = Random(1);
    let setup = Setup::one(Family::V4, method, Protocol::Tcp, connections);
    let (mut shard, counters) = setup.shard();
    let traffic = Traffic::new(Family::V4, Protocol::Tcp, Kind::Request);
    pool.fill(&mut shard, setup, &(0..connections).map(Client::numbered));
    let (mut told, mut taken) = RingBuffer::new(RING);
    let (mut with, mut without) = (Samples::default(), Samples::default());
    let mut verdicts = [Verdict::Consumed; BURST];
    let mut records = 0_u64;
    for sample in 0..2 * options.repeats {
        // Both orders, so that neither always comes second.
        let is_master = sample % 4 == 0 || sample % 4 == 3;
        let roles = SyncRoles { is_master, is_backup: false };
        drop(shard.apply(Tick(2), Command::PutSync(roles)));
        let cost = pool.sample(options.packets, &traffic, connections, &mut random, |burst| {
            shard.process(Tick(2), &Nowhere, burst, &mut verdicts);
            if shard.has_told() {
                for record in shard.fetch_told() {
                    records += u64::from(told.push(record).is_ok());
                }
                // Another core's work, done here for want of one: without looking at what it is.
                while let Ok(record) = taken.pop() {
                    black_box(&record);
                }
            }
            black_box(&mut verdicts);
        });
        if is_master { with.push(cost.net) } else { without.push(cost.net) }
    }
    let packets = u64::from(options.packets) * u64::from(options.repeats);
    assert!(records * 60 > packets, "a record for every 50 packets, about");
    drops::check_none(&counters);
    Row {
        bench: "sync",
        case: Some("cost".into()),
        method: Some(setup::method_name(method)),
        family: Some(4),
        protocol: Some("tcp"),
        connections: Some(connections),
        workers: Some(1),
        ns_per_packet: Some(with.median()),
        ..Row::default()
    }
    .spread(&with)
    .against("without sync", &with, &without)
}
