//! What a scheduler's choice costs, by scheduler and number of servers.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use anyhow::Result;
use dataplane::roster::Roster;
use dataplane::schedule::Query;
use dataplane::service::{Family, Method, Protocol};
use dataplane::time::Tick;

use crate::options::Options;
use crate::output::{Output, Row};
use crate::sample::Samples;
use crate::setup::Setup;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"];
const SERVERS: [u32; 3] = [10, 100, 1000];
const PICKS: u32 = 20_000;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::default().parse(&["repeats"], words)?;
    let mut output =
        Output::start(options.is_json, "pick: ns for the choice of a server, for each new flow")?;
    for scheduler in SCHEDULERS {
        for servers in SERVERS {
            let setup = Setup::one(Family::V4, Method::Direct, Protocol::Tcp, 64);
            let roster = Setup { scheduler, servers, ..setup }.roster();
            let mut samples = Samples::default();
            for _ in 0..options.repeats {
                samples.push(sample(&roster));
            }
            let row = Row {
                bench: "pick",
                scheduler: Some(scheduler),
                servers: Some(servers),
                ns_per_packet: Some(samples.median()),
                ..Row::default()
            };
            output.row(&row.spread(&samples))?;
        }
    }
    Ok(())
}

fn sample(roster: &Roster) -> f64 {
    let mut query = Query {
        client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        client_port: 1024,
        destination: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        now: Tick(1),
        lblc_expiration_s: 86_400,
        lblcr_expiration_s: 86_400,
    };
    let start = Instant::now();
    for n in 0..PICKS {
        query.client = IpAddr::V4(Ipv4Addr::from(0x0a0a_0000 + n * 7));
        black_box(roster.pick(&query)).expect("every server takes connections");
    }
    start.elapsed().as_nanos() as f64 / f64::from(PICKS)
}
