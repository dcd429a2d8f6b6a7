//! An unmodified ldirectord that believes our command to be `/sbin/ipvsadm`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::daemon::{Control, Daemon};
use tests::drop_in::DropIn;
use tests::interrupt;
use tests::lab::{Lab, Method, SERVICE};
use tests::ldirectord::{Ldirectord, shape};
use tests::requirements::{Binaries, LDIRECTORD};
use tests::server::RealServer;
use tests::traffic::{Span, Traffic};

use crate::Case;
use crate::table::{PATIENCE, await_table, await_table_without, print_calls, server, service};

/// Between two calls of one round it takes less, and between two rounds there is nothing to say.
const QUIET: Duration = Duration::from_millis(700);

/// Answers when both real servers are down.
const SORRY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);

/// The shapes of the calls that ldirectord makes over its life with such a configuration, in the order of its
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
    cases.push(Case::new("ldirectord-forms", forms).needing(LDIRECTORD));
    cases
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
    let complaints = ldirectord.stop()?;
    ensure!(complaints.is_empty(), "it complains: {complaints:#?}");
    ensure!(control.must("-Sn")?.is_empty(), "left in the table: {}", control.must("-Ln")?);
    println!("{name}: {summary}");
    check_calls(name, &drop_in.calls()?, &SHAPES)
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

/// Prints the calls and compares their shapes, which are given in order.
fn check_calls(name: &str, calls: &[String], expected: &[&str]) -> Result<()> {
    print_calls(name, calls);
    let shapes: BTreeSet<_> = calls.iter().map(|call| shape(call)).collect();
    ensure!(shapes.iter().eq(expected), "the calls have the shapes {shapes:#?}");
    // Both readings of the table, or none.
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| *call == "-L -n") {
        let next = calls.get(at + 1).map_or("", String::as_str);
        ensure!(next == "-L -n --thresholds", "`{call}` is followed by `{next}`");
    }
    Ok(())
}

/// Services of every kind that its configuration knows, with servers that it takes to be up.
const FORMS: &str = "supervised = yes
checkinterval = 1
virtual = 10.9.255.1:443
        real = 10.1.0.1:443 gate 10 l:50 u:100
        real = 10.1.0.2:8443 ipip 20
        checktype = on
        scheduler = sh
        schedflags = sh-fallback,sh-port
        persistent = 300
        netmask = 255.255.255.0
virtual = 10.9.255.2:53
        real = 10.1.0.1->10.1.0.2:53 masq
        checktype = on
        scheduler = rr
        protocol = udp
        ops = yes
virtual = 11
        real = 10.1.0.1 gate 3
        checktype = on
        scheduler = wlc
        persistent = 360
virtual6 = 12
        real6 = [2001:db8:1::1] gate 4
        checktype = on
        scheduler = lblcr
virtual6 = [2001:db8:9:0:0::0:A]:80
        real6 = [2001:0db8:1::1]:8080 masq 5
        real6 = [2001:db8:1::2]:8080 masq
        checktype = on
        scheduler = mh
        persistent = 50
        netmask = 64
";

/// The table that comes of it.
const FORMS_TABLE: [&str; 13] = [
    "TCP 10.9.255.1:443 sh (sh-fallback,sh-port) persistent 300 mask 255.255.255.0",
    "-> 10.1.0.1:443 Route 10",
    // No port of its own under this method.
    "-> 10.1.0.2:443 Tunnel 20",
    "UDP 10.9.255.2:53 rr ops",
    "-> 10.1.0.1:53 Masq 1",
    "-> 10.1.0.2:53 Masq 1",
    "TCP [2001:db8:9::a]:80 mh persistent 50 mask 64",
    "-> [2001:db8:1::1]:8080 Masq 5",
    "-> [2001:db8:1::2]:8080 Masq 1",
    "FWM 11 wlc persistent 360",
    "-> 10.1.0.1:0 Route 3",
    "FWM 12 IPv6 lblcr",
    "-> [2001:db8:1::1]:0 Route 4",
];

/// As [`SHAPES`].
const FORMS_SHAPES: [&str; 15] = [
    "-A SERVICE -o -s SCHEDULER",
    "-A SERVICE -s SCHEDULER",
    "-A SERVICE -s SCHEDULER -p N",
    "-A SERVICE -s SCHEDULER -p N -M MASK",
    "-A SERVICE -s SCHEDULER -p N -M MASK -b FLAGS",
    "-D SERVICE",
    "-E SERVICE -o -s SCHEDULER",
    "-E SERVICE -s SCHEDULER",
    "-E SERVICE -s SCHEDULER -p N",
    "-E SERVICE -s SCHEDULER -p N -M MASK",
    "-E SERVICE -s SCHEDULER -p N -M MASK -b FLAGS",
    "-L -n",
    "-L -n --thresholds",
    "-a SERVICE -x N -y N -r SERVER METHOD -w N",
    "-d SERVICE -r SERVER",
];

/// What an ldirectord writes that finds its table: it sets the services again, and has trouble with
/// just one server, the one whose port is not what it asked for.
const FORMS_AGAIN: [&str; 7] = [
    "-E -f 11 -s wlc -p 360",
    "-E -f 12 -6 -s lblcr",
    "-E -t 10.9.255.1:443 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port",
    "-E -t [2001:db8:9::a]:80 -s mh -p 50 -M 64",
    "-E -u 10.9.255.2:53 -o -s rr",
    "-a -t 10.9.255.1:443 -x 0 -y 0 -r 10.1.0.2:8443 -i -w 20",
    "-d -t 10.9.255.1:443 -r 10.1.0.2:443",
];

/// All kinds of services are made, found by the next ldirectord after a crash of the first, and
/// removed.
fn forms(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    let drop_in = DropIn::new(lab, binaries, control)?;
    let table = FORMS_TABLE.map(str::to_owned);
    let mut first = Ldirectord::start(lab, &drop_in, FORMS)?;
    await_table(control, &table).context("at the start")?;
    let made = settled_calls(&drop_in, 0)?;
    let thresholds = control.must("-Ln --thresholds")?;
    let with_limits = ["->", "10.1.0.1:443", "100", "50", "0", "0"];
    ensure!(
        thresholds.lines().any(|line| line.split_whitespace().eq(with_limits)),
        "no server has limits:\n{thresholds}"
    );
    first.kill();

    let second = Ldirectord::start(lab, &drop_in, FORMS)?;
    let calls = settled_calls(&drop_in, made.len())?;
    let mut written: BTreeSet<_> = calls[made.len()..].iter().map(String::as_str).collect();
    written.retain(|call| !call.starts_with("-L"));
    ensure!(written.iter().eq(&FORMS_AGAIN), "it writes {written:#?}");
    await_table(control, &table).context("after the restart")?;
    ensure!(control.must("-Ln --thresholds")? == thresholds, "the limits have changed");

    let complaints = second.stop()?;
    ensure!(
        complaints.len() == 1 && complaints[0].contains("-d -t 10.9.255.1:443 -r 10.1.0.2:8443"),
        "it complains: {complaints:#?}"
    );
    ensure!(control.must("-Sn")?.is_empty(), "left in the table: {}", control.must("-Ln")?);
    check_calls("ldirectord-forms", &drop_in.calls()?, &FORMS_SHAPES)
}

/// Waits until there are more than `known` calls and no more come.
fn settled_calls(drop_in: &DropIn<'_>, known: usize) -> Result<Vec<String>> {
    let started = Instant::now();
    let mut calls = drop_in.calls()?;
    loop {
        thread::sleep(QUIET);
        interrupt::check()?;
        let now = drop_in.calls()?;
        if now.len() > known && now.len() == calls.len() {
            return Ok(now);
        }
        ensure!(started.elapsed() < PATIENCE, "no end of calls after {} of them", now.len());
        calls = now;
    }
}
