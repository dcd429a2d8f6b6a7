//! An unmodified ldirectord that believes our command to be `/sbin/ipvsadm`.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests::daemon::{Control, Daemon};
use tests::drop_in::DropIn;
use tests::lab::{Lab, Method, SERVICE};
use tests::process::Service;
use tests::requirements::{Binaries, LDIRECTORD};
use tests::server::RealServer;
use tests::traffic::{Span, Traffic};

use crate::Case;
use crate::table::{await_table, await_table_without, print_calls, server, service};

/// Answers when both real servers are down.
const SORRY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);

/// The calls that ldirectord makes over its life with such a configuration, in the order of its
/// options. A service, a server, a method, a scheduler and numbers are given by their kinds.
const SHAPES: [&str; 9] = [
    "-A SERVICE -s SCHEDULER",
    "-D SERVICE",
    "-E SERVICE -s SCHEDULER",
    "-L -n",
    "-L -n --thresholds",
    "-a SERVICE -x N -y N -r SERVER METHOD -w N",
    "-d SERVICE -r SERVER",
    "-e SERVICE -r SERVER METHOD -w 0",
    "-e SERVICE -x N -y N -r SERVER METHOD -w N",
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in Method::ALL {
        let name = format!("ldirectord-{method}");
        let case = Case::new(name.clone(), move |lab, binaries| life(lab, binaries, method, &name));
        cases.push(case.needing(LDIRECTORD));
    }
    cases
}

/// A running ldirectord with its configuration file.
struct Ldirectord {
    service: Service,
    config: PathBuf,
}

impl Ldirectord {
    fn start(lab: &Lab, drop_in: &DropIn<'_>, config: &str) -> Result<Self> {
        let path = lab.directory().join("ldirectord.cf");
        fs::write(&path, config)?;
        // `supervised` keeps it in the foreground, with its log on standard output.
        let mut command = drop_in.command("ldirectord");
        command.arg(&path).arg("start");
        let service = Service::start("ldirectord", &mut command, &lab.logs())?;
        Ok(Self { service, config: path })
    }

    fn reload(&mut self, config: &str) -> Result<()> {
        fs::write(&self.config, config)?;
        self.service.reload()
    }

    /// SIGTERM; then what it wrote must have no complaint.
    fn stop(mut self) -> Result<()> {
        let status = self.service.stop()?;
        ensure!(status.success(), "ldirectord ended with {status}");
        let log = self.service.out();
        ensure!(!log.contains("failed:"), "ldirectord complains:\n{log}");
        Ok(())
    }
}

/// A service of both real servers, checked by fetching a page every second.
fn config(method: Method, scheduler: &str, quiescent: bool, first_weight: u32) -> String {
    let word = match method {
        Method::Nat => "masq",
        Method::Tunnel => "ipip",
        Method::Direct => "gate",
    };
    let quiescent = if quiescent { "yes" } else { "no" };
    format!(
        "supervised = yes
checktimeout = 2
negotiatetimeout = 2
checkinterval = 1
quiescent = {quiescent}
virtual = {SERVICE}
        real = 10.1.0.1:80 {word} {first_weight}
        real = 10.1.0.2:80 {word} 1
        fallback = {SORRY}:80 {word}
        service = http
        checktype = negotiate
        request = \"/\"
        receive = \"rs\"
        scheduler = {scheduler}
        protocol = tcp
"
    )
}

/// Servers fail and come back under either way of taking them out, while clients fetch pages.
fn life(lab: &Lab, binaries: &Binaries, method: Method, name: &str) -> Result<()> {
    lab.set_method(method)?;
    lab.add_management_link()?;
    let _sorry = lab.add_server("sorry", SORRY, method)?;
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    let drop_in = DropIn::new(lab, binaries, control)?;
    let [rs1, rs2] = lab.servers() else { unreachable!("the lab has two servers") };
    let (a, b) = (rs1.address(), rs2.address());
    let rr = |servers: &[(Ipv4Addr, u32)]| table("rr", method, servers);
    let wrr = |servers: &[(Ipv4Addr, u32)]| table("wrr", method, servers);

    let mut ldirectord = Ldirectord::start(lab, &drop_in, &config(method, "rr", true, 1))?;
    await_table(control, &rr(&[(a, 1), (b, 1)])).context("at the start")?;
    let summary = Traffic::during(lab.client(), |traffic| {
        traffic.answered_by(&["rs1", "rs2"]).context("both up")?;

        fail(traffic, control, &[rs1], &rr(&[(a, 0), (b, 1)])).context("quiescing")?;
        traffic.answered_by(&["rs2"]).context("one quiescent")?;
        revive(traffic, control, &[rs1], &rr(&[(a, 1), (b, 1)])).context("weight back")?;
        traffic.answered_by(&["rs1", "rs2"]).context("both up again")?;

        ldirectord.reload(&config(method, "wrr", false, 3))?;
        await_table(control, &wrr(&[(a, 3), (b, 1)])).context("after the reload")?;
        traffic.answered_by(&["rs1", "rs2"]).context("reloaded")?;

        fail(traffic, control, &[rs2], &wrr(&[(a, 3)])).context("removing")?;
        traffic.answered_by(&["rs1"]).context("one removed")?;
        revive(traffic, control, &[rs2], &wrr(&[(a, 3), (b, 1)])).context("adding")?;
        traffic.answered_by(&["rs1", "rs2"]).context("one added")?;

        fail(traffic, control, &[rs1, rs2], &wrr(&[(SORRY, 1)])).context("falling back")?;
        traffic.answered_by(&["sorry"]).context("both down")?;
        revive(traffic, control, &[rs1, rs2], &wrr(&[(a, 3), (b, 1)])).context("recovering")?;
        traffic.answered_by(&["rs1", "rs2"]).context("recovered")
    })?;
    ldirectord.stop()?;
    ensure!(control.must("-Sn")?.is_empty(), "left in the table: {}", control.must("-Ln")?);
    println!("{name}: {summary}");
    check_calls(name, &drop_in.calls()?)
}

fn table(scheduler: &str, method: Method, servers: &[(Ipv4Addr, u32)]) -> Vec<String> {
    let mut lines = vec![service("TCP", SERVICE, scheduler)];
    lines.extend(servers.iter().map(|(ip, weight)| server(&format!("{ip}:80"), method, *weight)));
    lines
}

/// Stops web servers. Until that is in the table, clients are sent to them.
fn fail(
    traffic: &Traffic,
    control: &Control<'_>,
    servers: &[&RealServer],
    then: &[String],
) -> Result<()> {
    let from = Instant::now();
    for server in servers {
        server.stop_web()?;
    }
    let changed = await_table(control, then)?;
    traffic.excuse(Span { from, to: changed.to });
    Ok(())
}

/// Starts web servers again. The removal of the fallback server ends what it has, as in the kernel.
fn revive(
    traffic: &Traffic,
    control: &Control<'_>,
    servers: &[&RealServer],
    then: &[String],
) -> Result<()> {
    let fallback = control.must("-Ln")?.contains(&SORRY.to_string());
    for server in servers {
        server.start_web()?;
    }
    if fallback {
        traffic.excuse(await_table_without(control, &SORRY.to_string())?);
    }
    await_table(control, then)?;
    Ok(())
}

/// Compares the calls with [`SHAPES`], and prints them.
fn check_calls(name: &str, calls: &[String]) -> Result<()> {
    print_calls(name, calls);
    let shapes: BTreeSet<_> = calls.iter().map(|call| shape(call)).collect();
    ensure!(shapes.iter().eq(&SHAPES), "the calls have the shapes {shapes:#?}");
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| *call == "-L -n") {
        let next = calls.get(at + 1).map_or("", String::as_str);
        ensure!(next == "-L -n --thresholds", "`{call}` is followed by `{next}`");
    }
    Ok(())
}

/// A call with the kinds of its words in place of the words.
fn shape(call: &str) -> String {
    let mut words = call.split_whitespace();
    let mut kinds = Vec::new();
    let mut thresholds = false;
    while let Some(word) = words.next() {
        thresholds |= word == "-x";
        match word {
            "-t" | "-u" => {
                words.next();
                kinds.push("SERVICE");
            }
            "-g" | "-i" | "-m" => kinds.push("METHOD"),
            "-r" | "-s" | "-x" | "-y" | "-w" => {
                let value = words.next().unwrap_or("nothing");
                kinds.extend([
                    word,
                    match word {
                        "-r" => "SERVER",
                        "-s" => "SCHEDULER",
                        // Without thresholds it is quiesced, so the weight is part of the shape.
                        "-w" if !thresholds => value,
                        _ => "N",
                    },
                ]);
            }
            other => kinds.push(other),
        }
    }
    kinds.join(" ")
}
