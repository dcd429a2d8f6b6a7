//! What a scheduler's choice costs, by scheduler and number of servers.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use dataplane::command::Command;
use dataplane::director::Director;
use dataplane::roster::Roster;
use dataplane::schedule::Query;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::time::Tick;

use crate::options::Options;
use crate::output::{Output, Row};
use crate::sample::Samples;

const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos"];
const SERVERS: [u32; 3] = [10, 100, 1000];
const PICKS: u32 = 20_000;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let options = Options::default().parse(&["repeats"], words)?;
    let mut output =
        Output::start(options.is_json, "pick: ns for the choice of a server, for each new flow");
    for scheduler in SCHEDULERS {
        for servers in SERVERS {
            let roster = roster(scheduler, servers);
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
            output.row(&row.spread(&samples));
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

/// A service with that many servers, of weights from 1 to 8.
fn roster(scheduler: &str, servers: u32) -> Arc<Roster> {
    let mut director = Director::new(1, servers as usize);
    let key = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        port: 80,
    };
    let service = ServiceSpec {
        key,
        scheduler: scheduler.into(),
        scheduler_flags: 0,
        persistence_s: None,
        client_mask: ClientMask::each_client(Family::V4),
        persistence_engine: None,
        one_packet: false,
    };
    let mut last = director.add_service(service).expect("a plain service");
    for n in 1..=servers {
        let server = ServerSpec {
            address: Ipv4Addr::from(0x0a01_0000 + n).into(),
            port: 80,
            method: Method::Direct,
            weight: i64::from(n % 8 + 1),
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: TunnelSpec::default(),
        };
        let read = |_| Traffic::default();
        last = director.add_server(&key, server, &read).expect("a plain server");
    }
    let Command::PutService(roster) = last else { unreachable!("a server changes the roster") };
    roster
}
