//! Honest clients: pages, a big download, many connections, ping.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::client;
use tests::daemon::Daemon;
use tests::lab::{DIRECTOR_OUTSIDE, Lab, Method, SERVICE, VIP};
use tests::requirements::Binaries;
use tests::server::write_big_file;

use crate::{Case, from_environment};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in Method::ALL {
        for workers in [1, 2] {
            cases.push(Case::new(format!("http-{method}-{workers}"), move |lab, binaries| {
                http(lab, binaries, method, workers)
            }));
        }
    }
    for method in [Method::Nat, Method::Direct] {
        cases.push(Case::new(format!("download-{method}"), move |lab, binaries| {
            download(lab, binaries, method)
        }));
        cases.push(Case::new(format!("connections-{method}"), move |lab, binaries| {
            connections(lab, binaries, method)
        }));
    }
    cases.push(Case::new("af-packet", af_packet));
    cases.push(Case::new("methods-in-turn", methods_in_turn));
    cases.push(Case::new("ping", ping));
    for workers in [1, 2] {
        cases.push(Case::new(format!("many-queues-{workers}"), move |lab, binaries| {
            many_queues(lab, binaries, workers)
        }));
    }
    cases
}

fn http(lab: &Lab, binaries: &Binaries, method: Method, workers: usize) -> Result<()> {
    lab.set_method(method)?;
    let daemon = Daemon::start(lab, binaries, workers)?;
    daemon.control().balance(method)?;
    let tally = client::fetch(lab, 20)?;
    tally.check(lab)?;
    // `rr` is exact however many workers there are: the counters are shared.
    ensure!(tally.of("rs1") == 10, "rr gave {:?}", tally.by_server);
    let connections = daemon.control().must("-Lnc")?;
    ensure!(connections.contains(SERVICE), "no connection is listed:\n{connections}");
    Ok(())
}

/// The same by packet sockets, each worker with its own, which the kernel spreads flows over.
fn af_packet(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let devices = ["net_af_packet0,iface=d0,qpairs=2", "net_af_packet1,iface=d1,qpairs=2"];
    lab.set_method(Method::Nat)?;
    let daemon = Daemon::start_on(lab, binaries, 2, devices)?;
    daemon.control().balance(Method::Nat)?;
    client::fetch(lab, 20)?.check(lab)
}

/// One daemon, one table, three methods: a change of method is no reason to restart.
fn methods_in_turn(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    for method in Method::ALL {
        lab.set_method(method)?;
        daemon.control().balance(method)?;
        client::fetch(lab, 10)?.check(lab).with_context(|| method.to_string())?;
    }
    Ok(())
}

fn download(lab: &Lab, binaries: &Binaries, method: Method) -> Result<()> {
    let mebibytes = from_environment("POLLVS_E2E_BIG_MIB", 64)?;
    let expected = write_big_file(lab.directory(), mebibytes)?;
    lab.set_method(method)?;
    let daemon = Daemon::start(lab, binaries, 1)?;
    daemon.control().balance(method)?;
    let sum = client::download_sum(lab, Duration::from_secs(30 + mebibytes))?;
    ensure!(sum == expected, "SHA-256 {sum}, sent was {expected}");
    Ok(())
}

fn connections(lab: &Lab, binaries: &Binaries, method: Method) -> Result<()> {
    let number = usize::try_from(from_environment("POLLVS_E2E_CONNECTIONS", 2000)?)?;
    lab.set_method(method)?;
    let mut daemon = Daemon::start(lab, binaries, 1)?;
    daemon.control().balance(method)?;
    client::many_connections(lab, number)?;
    ensure!(daemon.is_running(), "the daemon is gone");
    Ok(())
}

/// The director itself answers for its addresses and for the VIP, which no kernel owns.
fn ping(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    daemon.control().balance(Method::Nat)?;
    for target in [VIP, DIRECTOR_OUTSIDE] {
        for sequence in 0..5 {
            client::ping(lab, target, sequence).with_context(|| format!("ping {sequence}"))?;
        }
    }
    Ok(())
}

/// An interface with more queues than there are workers: whichever queue the kernel puts a client
/// on, it is answered.
fn many_queues(lab: &Lab, binaries: &Binaries, workers: usize) -> Result<()> {
    const QUEUES: &str = "numrxqueues 4 numtxqueues 4";
    let far = lab.director().name();
    // In the place of the link that the lab has.
    lab.client().ip("addr flush dev c0")?;
    lab.client()
        .ip(&format!("link add q0 {QUEUES} type veth peer name q1 netns {far} {QUEUES}"))?;
    for (namespace, link) in [(lab.client(), "q0"), (lab.director(), "q1")] {
        namespace.plain_frames(link)?;
        namespace.ip(&format!("link set {link} up"))?;
    }
    let clients: Vec<_> = (1..=32).map(|n| Ipv4Addr::new(10, 9, 1, n)).collect();
    for client in &clients {
        lab.client().ip(&format!("addr add {client}/16 dev q0"))?;
    }
    let _daemon = Daemon::start_on(lab, binaries, workers, ["q1", "d1"])?;
    for &client in &clients {
        client::ping_from(lab, client, DIRECTOR_OUTSIDE).with_context(|| client.to_string())?;
    }
    Ok(())
}
