//! The dataplane alone: nanoseconds per packet, with the cost of writing the frames taken off.
//!
//! Frames lie in a pool of 16 MiB, as a NIC's would, and are written anew for every burst, each
//! for a connection drawn at random. The same loop runs with and without the dataplane; the
//! figure is the difference, and the gross time is given too. The limit probe takes turns.

use std::hint::black_box;

use anyhow::Result;
use dataplane::BURST;
use dataplane::service::{Family, Method, Protocol};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::Verdict;

use crate::drops;
use crate::engine_loop;
use crate::frames::Client;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::pool::{Cost, Nowhere, Pool, PoolFrame, Random};
use crate::probe::Probe;
use crate::sample::Samples;
use crate::setup::{self, Setup};
use crate::traffic::{Kind, Traffic};

const CONNECTIONS: [u32; 4] = [1 << 10, 1 << 16, 1 << 20, 1 << 22];
const CONNECTIONS6: [u32; 2] = [1 << 10, 1 << 20];

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let known = ["family", "method", "connections", "packets", "repeats"];
    let options = Options::default().parse(&known, words)?;
    let mut output = Output::start(
        options.is_json,
        "dataplane: one core, no I/O, random connections; writing the frames is taken off",
    )?;
    let mut bench = Bench { pool: Pool::new(), random: Random(1), options: &options };
    for &family in &options.families {
        let usual = if family == Family::V4 { &CONNECTIONS[..] } else { &CONNECTIONS6 };
        for &connections in options.connections.as_deref().unwrap_or(usual) {
            let number = setup::family_number(family);
            progress(&format!("dataplane, IPv{number}, {connections} connections"));
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let is_probed = family == Family::V4;
                let mut probe = is_probed.then(|| bench.probe(protocol, connections));
                for &method in &options.methods {
                    let setup = Setup::one(family, method, protocol, connections);
                    bench.measure(setup, probe.as_mut(), &mut output)?;
                }
            }
        }
    }
    let engine_loop::Allocations { packets, under_load, idle_turns, at_idle } =
        engine_loop::measure();
    for (case, allocations) in [
        (format!("engine loop, {packets} packets"), under_load),
        (format!("engine loop, {idle_turns} idle turns"), at_idle),
    ] {
        output.row(&Row {
            bench: "dataplane",
            case: Some(case),
            allocations: Some(allocations),
            ..Row::default()
        })?;
    }
    Ok(())
}

struct Bench<'a> {
    pool: Pool,
    random: Random,
    options: &'a Options,
}

impl Bench<'_> {
    /// A shard full of established connections: rows for requests, and under NAT for replies.
    fn measure(
        &mut self,
        setup: Setup,
        mut probe: Option<&mut Probe>,
        output: &mut Output,
    ) -> Result<()> {
        let Setup { family, method, protocol, table, .. } = setup;
        let (mut shard, counters) = setup.shard();
        let requests = Traffic::new(family, protocol, Kind::Request);
        let replies = Traffic::new(family, protocol, Kind::Reply);
        self.pool.fill(&mut shard, setup, &(0..table).map(Client::numbered));
        output.row(&self.row(setup, None, &requests, &mut shard, probe.as_deref_mut()))?;
        if method == Method::Nat {
            let clients = (0..table).map(Client::numbered);
            self.pool.visit(&mut shard, &replies, clients);
            output.row(&self.row(setup, Some("reply"), &replies, &mut shard, probe))?;
        }
        drops::check_none(&counters);
        Ok(())
    }

    fn row(
        &mut self,
        setup: Setup,
        case: Option<&str>,
        traffic: &Traffic,
        shard: &mut Shard<PoolFrame>,
        mut probe: Option<&mut Probe>,
    ) -> Row {
        let Setup { family, method, protocol, table, .. } = setup;
        let Options { packets, repeats, .. } = *self.options;
        let requests = Traffic::new(family, protocol, Kind::Request);
        let (mut net, mut gross, mut peer) =
            (Samples::default(), Samples::default(), Samples::default());
        let mut allocations = 0;
        let mut verdicts = [Verdict::Consumed; BURST];
        for _ in 0..repeats {
            let mut cost = Cost::default();
            let allocated = allocation_counter::measure(|| {
                cost = self.pool.sample(packets, traffic, table, &mut self.random, |burst| {
                    shard.process(Tick(2), &Nowhere, burst, &mut verdicts);
                    black_box(&mut verdicts);
                });
            });
            net.push(cost.net);
            gross.push(cost.gross);
            allocations += allocated.count_total;
            if let Some(probe) = &mut probe {
                let mut lost = 0;
                let cost = self.pool.sample(packets, &requests, table, &mut self.random, |burst| {
                    lost += burst.len() - probe.process(2, burst);
                });
                assert_eq!(lost, 0, "the probe forwards every frame");
                peer.push(cost.net);
            }
        }
        let row = Row {
            bench: "dataplane",
            case: case.map(str::to_owned),
            method: Some(setup::method_name(method)),
            family: Some(setup::family_number(family)),
            protocol: Some(setup::protocol_name(protocol)),
            connections: Some(table),
            workers: Some(1),
            ns_per_packet: Some(net.median()),
            ns_gross: Some(gross.median()),
            allocations: Some(allocations),
            ..Row::default()
        }
        .spread(&net);
        if probe.is_some() { row.against("limit probe", &net, &peer) } else { row }
    }

    /// The limit probe with the connections that the shards will have.
    fn probe(&mut self, protocol: Protocol, connections: u32) -> Probe {
        let traffic = Traffic::new(Family::V4, protocol, Kind::Request);
        let mut probe = Probe::new(connections);
        let mut clients = (0..connections).map(Client::numbered);
        self.pool.turn(
            connections,
            |frame| traffic.write(frame, clients.next().expect("one a frame")),
            |burst| probe.open(burst),
        );
        assert_eq!(probe.connections(), connections as usize);
        probe
    }
}
