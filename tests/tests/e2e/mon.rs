//! mon and its alert script, which calls `/sbin/ipvsadm`: the calls by themselves, and an
//! unmodified mon that makes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tests::daemon::Daemon;
use tests::drop_in::DropIn;
use tests::interrupt;
use tests::lab::{Lab, Method, SERVICE};
use tests::process::Service;
use tests::requirements::{Binaries, DROP_IN, MON};
use tests::server::RealServer;
use tests::traffic::{Span, Traffic};

use crate::Case;
use crate::table::{PATIENCE, PAUSE, await_table, lines, print_calls, server, service};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("mon-calls", calls).needing(DROP_IN), Case::new("mon-nat", life).needing(MON)]
}

/// A call, its exit status, what is in its message, and the servers of its service afterwards.
type Call = (&'static str, i32, &'static str, &'static [&'static str]);

/// The calls of `lvs.alert` about a TCP service: a server has no port of its own and gets the
/// service's. It repeats them for as long as a server is down.
const TCP: [Call; 19] = [
    ("-d -t 10.9.255.1:80 -r 10.1.0.1", 255, "No such destination", &[]),
    ("-a -t 10.9.255.1:80 -r 10.1.0.1 -w 1 -m", 0, "", &["10.1.0.1:80 Masq 1"]),
    ("-a -t 10.9.255.1:80 -r 10.1.0.1 -w 1 -m", 255, EXISTS, &["10.1.0.1:80 Masq 1"]),
    // As it is, not as the refused call would have it.
    ("-a -t 10.9.255.1:80 -r 10.1.0.1 -w 9 -g", 255, EXISTS, &["10.1.0.1:80 Masq 1"]),
    ("-d -t 10.9.255.1:80 -r 10.1.0.1", 0, "", &[]),
    ("-d -t 10.9.255.1:80 -r 10.1.0.1", 255, "No such destination", &[]),
    ("-a -t 10.9.255.1:80 -r 10.1.0.1 -w 5 -g", 0, "", &["10.1.0.1:80 Route 5"]),
    ("-d -t 10.9.255.1:80 -r 10.1.0.1", 0, "", &[]),
    ("-a -t 10.9.255.1:80 -r 10.1.0.1 -w 0 -i", 0, "", &["10.1.0.1:80 Tunnel 0"]),
    ("-d -t 10.9.255.1:80 -r 10.1.0.1:80", 0, "", &[]),
    // The words after the command in another order.
    ("-a -w 65535 -m -t 10.9.255.1:80 -r 10.1.0.1", 0, "", &["10.1.0.1:80 Masq 65535"]),
    ("-d -r 10.1.0.1 -t 10.9.255.1:80", 255, "No such destination", &["10.1.0.1:80 Masq 65535"]),
    // The variant that changes the weight.
    ("-e -t 10.9.255.1:80 -r 10.1.0.1 -m -w 0", 0, "", &["10.1.0.1:80 Masq 0"]),
    ("-e -t 10.9.255.1:80 -r 10.1.0.1 -m -w 0", 0, "", &["10.1.0.1:80 Masq 0"]),
    ("-e -t 10.9.255.1:80 -r 10.1.0.1 -w 7 -m", 0, "", &["10.1.0.1:80 Masq 7"]),
    (
        "-e -t 10.9.255.1:80 -r 10.1.0.2 -m -w 0",
        255,
        "No such destination",
        &["10.1.0.1:80 Masq 7"],
    ),
    // Without a method it is direct routing, of a server that was there before as well.
    ("-e -t 10.9.255.1:80 -r 10.1.0.1 -w 0", 0, "", &["10.1.0.1:80 Route 0"]),
    // No such service.
    (
        "-a -t 10.9.255.1:81 -r 10.1.0.1 -w 1 -m",
        255,
        "Service not defined",
        &["10.1.0.1:80 Route 0"],
    ),
    ("-d -t 10.9.255.1:81 -r 10.1.0.1", 255, "Service not defined", &["10.1.0.1:80 Route 0"]),
];

/// The same about a UDP service, for which `-P` is not `tcp`.
const UDP: [Call; 6] = [
    ("-a -u 10.9.255.1:53 -r 10.1.0.1 -w 1 -m", 0, "", &["10.1.0.1:53 Masq 1"]),
    ("-a -u 10.9.255.1:53 -r 10.1.0.1 -w 1 -m", 255, EXISTS, &["10.1.0.1:53 Masq 1"]),
    ("-e -u 10.9.255.1:53 -r 10.1.0.1 -m -w 0", 0, "", &["10.1.0.1:53 Masq 0"]),
    ("-d -u 10.9.255.1:53 -r 10.1.0.1", 0, "", &[]),
    ("-d -u 10.9.255.1:53 -r 10.1.0.1", 255, "No such destination", &[]),
    ("-d -t 10.9.255.1:53 -r 10.1.0.1", 255, "Service not defined", &[]),
];

const EXISTS: &str = "Destination already exists";

fn calls(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    let drop_in = DropIn::new(lab, binaries, control)?;
    for (kind, address, calls) in [("-t", SERVICE, &TCP[..]), ("-u", "10.9.255.1:53", &UDP[..])] {
        control.must("-C")?;
        control.must(&format!("-A {kind} {address} -s wlc"))?;
        let protocol = if kind == "-t" { "TCP" } else { "UDP" };
        let title = service(protocol, address, "wlc");
        for &(words, code, message, servers) in calls {
            let answer = drop_in.ipvsadm(words)?;
            let (out, err) = (answer.out(), answer.err());
            // A success is silent, a failure is one line.
            let said = if code == 0 { err.is_empty() } else { err.trim_end() == message };
            ensure!(
                answer.code() == Some(code) && said && out.is_empty(),
                "`{words}` ends with {}: {out:?}, {err:?}",
                answer.status
            );
            let mut expected = vec![title.clone()];
            expected.extend(servers.iter().map(|server| format!("-> {server}")));
            let lines = lines(control)?;
            ensure!(lines == expected, "after `{words}` the table is {lines:?}");
        }
    }
    let made = drop_in.calls()?;
    ensure!(made.len() == TCP.len() + UDP.len(), "the wrapper noted {made:?}");
    Ok(())
}

/// What the alert script that goes with mon and LVS does, and no more. mon gives it what the
/// configuration says and `-s SERVICE -g GROUP -h HOSTS -t TIME`, and `-u` when a server is back.
const ALERT: &str = r#"#!/bin/sh
up=no
while getopts s:g:h:t:l:uP:V:R:W:F:X: option; do
    case $option in
    u) up=yes ;;
    P) protocol=$OPTARG ;;
    V) service=$OPTARG ;;
    R) server=$OPTARG ;;
    W) weight=$OPTARG ;;
    F) case $OPTARG in nat) method=-m ;; tun) method=-i ;; *) method=-g ;; esac ;;
    esac
done
kind=-u
[ "$protocol" != tcp ] || kind=-t
if [ $up = yes ]; then
    set -- -a $kind "$service" -r "$server" -w "$weight" $method
else
    set -- -d $kind "$service" -r "$server"
fi
# mon drops what an alert says.
said=$(/sbin/ipvsadm "$@" 2>&1)
echo "$? $said" >>"${0%/*}/answers"
"#;

/// Where the script notes exit statuses and messages.
const ANSWERS: &str = "answers";

/// Writes mon's files to `directory`, with the servers watched once a second.
fn write_files(directory: &Path, servers: &[RealServer]) -> Result<()> {
    fs::create_dir(directory)?;
    let alert = directory.join("lvs.alert");
    fs::write(&alert, ALERT)?;
    fs::set_permissions(&alert, Permissions::from_mode(0o755))?;
    fs::write(directory.join("auth.cf"), "command section\nlist: all\n")?;
    let own = directory.display();
    let mut config = format!(
        "alertdir = {own}
mondir = /usr/lib/mon/mon.d
logdir = {own}
statedir = {own}
cfbasedir = {own}
authfile = {own}/auth.cf
randstart = 1s
serverbind = 127.0.0.1
trapbind = 127.0.0.1
"
    );
    for server in servers {
        config += &format!("\nhostgroup {} {}\n", server.name(), server.address());
    }
    for server in servers {
        let (name, address) = (server.name(), server.address());
        let arguments = format!("-P tcp -V {SERVICE} -R {address} -W 2 -F nat");
        config += &format!(
            "
watch {name}
    service http
        interval 1s
        monitor http.monitor -p 80 -t 2
        period wd {{Sun-Sat}}
            alert lvs.alert {arguments}
            upalert lvs.alert {arguments}

"
        );
    }
    fs::write(directory.join("mon.cf"), config)?;
    Ok(())
}

/// A server dies, is taken out again and again, comes back and is taken in, while clients fetch
/// pages.
fn life(lab: &Lab, binaries: &Binaries) -> Result<()> {
    lab.add_management_link()?;
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    let drop_in = DropIn::new(lab, binaries, control)?;
    let [rs1, rs2] = lab.servers() else { unreachable!("the lab has two servers") };
    let line = |rs: &RealServer| server(&format!("{}:80", rs.address()), Method::Nat, 2);
    let one = [service("TCP", SERVICE, "rr"), line(rs2)];
    let both = [service("TCP", SERVICE, "rr"), line(rs1), line(rs2)];
    // mon believes a server to be up until it fails, so the table is there before it.
    control.must(&format!("-A -t {SERVICE} -s rr"))?;
    for rs in lab.servers() {
        control.must(&format!("-a -t {SERVICE} -r {} -m -w 2", rs.address()))?;
    }
    let directory = lab.directory().join("mon");
    write_files(&directory, lab.servers())?;
    let mut command = drop_in.command("mon");
    command.arg("-c").arg(directory.join("mon.cf"));
    let mut mon = Service::start("mon", &mut command, &lab.logs())?;

    let summary = Traffic::during(lab.client(), |traffic| {
        traffic.answered_by(&["rs1", "rs2"]).context("both up")?;
        let from = Instant::now();
        rs1.stop_web()?;
        let changed = await_table(control, &one)?;
        traffic.excuse(Span { from, to: changed.to });
        await_repetition(&directory)?;
        ensure!(lines(control)? == one, "repeating it has changed the table");
        traffic.answered_by(&["rs2"]).context("one taken out")?;
        rs1.start_web()?;
        await_table(control, &both)?;
        traffic.answered_by(&["rs1", "rs2"]).context("taken in again")
    })?;
    mon.stop()?;
    println!("mon-nat: {summary}");
    print_calls("mon-nat", &drop_in.calls()?);
    Ok(())
}

/// Waits until mon has reported a server that was taken out before, and our command refused.
fn await_repetition(directory: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        interrupt::check()?;
        let answers = fs::read_to_string(directory.join(ANSWERS)).unwrap_or_default();
        if answers.lines().any(|line| line == "255 No such destination") {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "mon does not repeat its alert: {answers}");
        thread::sleep(PAUSE);
    }
}
