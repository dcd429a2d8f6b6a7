//! The files like those of `/proc`, and changes at full speed while packets pass.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::client;
use tests::daemon::{Control, Daemon, add_null_port, add_ports, command, refused};
use tests::interrupt;
use tests::lab::{Lab, Method, SERVICE, VIP};
use tests::model::Random;
use tests::process::Service;
use tests::requirements::Binaries;
use tests::session::Session;

use crate::Case;

/// Files are a second old at most; the rest is for a busy machine.
const FRESH: Duration = Duration::from_secs(5);
const NAMES: [&str; 5] =
    ["ip_vs", "ip_vs_stats", "ip_vs_stats_percpu", "ip_vs_conn", "ip_vs_conn_sync"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("files-equal", equal),
        Case::new("files-whole", whole),
        Case::new("files-end", end),
        Case::new("files-two-daemons", two_daemons),
        Case::new("changes-amid-traffic", changes_amid_traffic),
    ]
}

/// A daemon with the lab's ports that writes files below `run`.
fn start<'l>(lab: &'l Lab, binaries: &Binaries, run: &Path) -> Result<Daemon<'l>> {
    let socket = lab.directory().join("control.sock");
    let mut command = command(lab, binaries, &socket, 1);
    Daemon::start_by(lab, binaries, &socket, add_ports(&mut command).arg("--run").arg(run))
}

fn start_alone<'l>(lab: &'l Lab, binaries: &Binaries, run: &Path) -> Result<Daemon<'l>> {
    Daemon::start_alone(lab, binaries, [OsString::from("--run"), run.into()])
}

fn net(run: &Path) -> PathBuf {
    run.join("proc/net")
}

/// Waits until two views are the same, and tells how long that took.
fn await_same<T: PartialEq + Display>(
    what: &str,
    views: impl Fn() -> Result<(T, T)>,
) -> Result<Duration> {
    let started = Instant::now();
    loop {
        interrupt::check()?;
        let (file, listing) = views()?;
        if file == listing {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < FRESH, "{what} has\n{file}\nbut there is\n{listing}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// `0A09FF01` or `[2001:0db8:...]` with a hexadecimal port, as listings write it.
fn end_of(text: &str) -> Result<String> {
    let (address, port) = text.rsplit_once(':').context("no port")?;
    end_of_words(address, port)
}

fn end_of_words(address: &str, port: &str) -> Result<String> {
    let port = u16::from_str_radix(port, 16)?;
    if address.contains(':') {
        let address: Ipv6Addr = address.trim_matches(['[', ']']).parse()?;
        return Ok(format!("[{address}]:{port}"));
    }
    let address = Ipv4Addr::from(u32::from_str_radix(address, 16)?);
    Ok(format!("{address}:{port}"))
}

/// The rows of `ip_vs` in the words of `-Ln`.
fn table_of(file: &str) -> Result<String> {
    let mut rows = Vec::new();
    for line in file.lines().skip(3) {
        let words: Vec<_> = line.split_whitespace().collect();
        let row = match words[..] {
            ["->", server, ref rest @ ..] => format!("-> {} {}", end_of(server)?, rest.join(" ")),
            // Listings have marks with a sign.
            ["FWM", mark, ref rest @ ..] => {
                format!("FWM {} {}", u32::from_str_radix(mark, 16)? as i32, flags(rest)?)
            }
            [protocol, service, ref rest @ ..] => {
                format!("{protocol} {} {}", end_of(service)?, flags(rest)?)
            }
            _ => bail!("a line {line:?}"),
        };
        rows.push(row);
    }
    Ok(sorted_by_service(&rows))
}

/// Scheduler and flags; here times are in ticks of 10 ms, and the mask is always there.
fn flags(words: &[&str]) -> Result<String> {
    let mut text = Vec::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        text.push(word.to_owned());
        if word == "persistent" {
            let ticks: u64 = words.next().context("no time")?.parse()?;
            text.push((ticks / 100).to_string());
            let mask = u32::from_str_radix(words.next().context("no mask")?, 16)?;
            if mask != u32::MAX {
                text.push(format!("mask {}", Ipv4Addr::from(mask)));
            }
        }
    }
    Ok(text.join(" "))
}

/// The rows of `-Ln`.
fn table_in(control: &Control<'_>) -> Result<String> {
    let listing = control.must("-Ln")?;
    let rows: Vec<_> = listing
        .lines()
        .skip(3)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        // Not in the kernel's file.
        .map(|line| line.replace(" (mh-port)", "").replace("FWM 7 IPv6", "FWM 7"))
        .collect();
    Ok(sorted_by_service(&rows))
}

/// Sorted, each server with the service above it.
fn sorted_by_service(rows: &[String]) -> String {
    let mut service = "";
    let mut all = Vec::new();
    for row in rows {
        if row.starts_with("->") {
            all.push(format!("{service} {row}"));
        } else {
            service = row;
            all.push(row.clone());
        }
    }
    all.sort();
    all.join("\n")
}

/// The rows of `ip_vs_conn` or `ip_vs_conn_sync` in the words of `-Lnc`, without the time left.
fn connections_of(file: &str) -> Result<String> {
    let mut rows = Vec::new();
    for line in file.lines().skip(1) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [protocol, from, from_port, to, to_port, at, at_port, state, ..] = words[..] else {
            bail!("a line {line:?}");
        };
        let [from, to, at] = [
            end_of_words(from, from_port)?,
            end_of_words(to, to_port)?,
            end_of_words(at, at_port)?,
        ];
        rows.push(format!("{protocol} {state} {from} {to} {at}"));
    }
    rows.sort();
    Ok(rows.join("\n"))
}

fn connections_in(control: &Control<'_>) -> Result<String> {
    let listing = control.must("-Lnc")?;
    let mut rows: Vec<_> = listing
        .lines()
        .skip(2)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            [&words[..1], &words[2..6]].concat().join(" ")
        })
        .collect();
    rows.sort();
    Ok(rows.join("\n"))
}

/// The five counts of a line, in hexadecimal.
fn counts(line: &str) -> Result<Vec<u64>> {
    line.split_whitespace()
        .map(|word| u64::from_str_radix(word, 16).with_context(|| format!("{line:?}")))
        .collect()
}

/// The counts of all services together, as `-Ln --stats` has them.
fn totals_in(control: &Control<'_>) -> Result<Vec<u64>> {
    let listing = control.must("-Ln --stats --exact")?;
    let mut totals = vec![0; 5];
    for line in listing.lines().skip(3).filter(|line| !line.trim_start().starts_with("->")) {
        for (total, word) in totals.iter_mut().zip(line.split_whitespace().skip(2)) {
            *total += word.parse::<u64>().with_context(|| line.to_owned())?;
        }
    }
    Ok(totals)
}

/// Every file against a listing of the same, with connections that clients made.
fn equal(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let run = lab.directory().join("run");
    lab.set_method(Method::Nat)?;
    let daemon = start(lab, binaries, &run)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    for words in [
        "-A -t 10.9.255.2:443 -s mh -b mh-port -p 300 -M 255.255.0.0",
        "-a -t 10.9.255.2:443 -r 10.1.0.1:443 -i -w 2147483647",
        "-A -u 10.9.255.2:53 -s rr -o",
        "-a -u 10.9.255.2:53 -r 10.1.0.2:53 -g -w 0",
        "-A --sctp-service 10.9.255.2:90 -s wlc -p",
        "-A -f 4294967295 -s lc",
        "-a -f 4294967295 -r 10.1.0.2 -g",
        "-A -t [2001:db8::1]:80 -s wrr",
        "-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:8080 -m -w 7",
    ] {
        control.must(words)?;
    }
    client::fetch(lab, 6)?.check(lab)?;
    // Open and silent ones.
    let open = "for fd in 5 6 7; do eval \"exec $fd<>/dev/tcp/$0/80\"; done; sleep 20";
    let mut command = lab.client().lasting_command("bash");
    command.args(["-c", open, &VIP.to_string()]);
    let mut silent = Service::start("silent", &mut command, &lab.logs())?;
    silent.wait_until(FRESH, |_| {
        control.must("-Lnc").is_ok_and(|list| list.matches(" ESTABLISHED ").count() == 3)
    })?;
    let net = net(&run);
    let read = |name: &str| fs::read_to_string(net.join(name)).with_context(|| name.to_owned());
    await_same("ip_vs", || Ok((table_of(&read("ip_vs")?)?, table_in(control)?)))?;
    let file = read("ip_vs")?;
    let listing = control.must("-Ln")?;
    ensure!(
        file.lines().next() == listing.lines().next(),
        "the first line is {:?}, of -Ln {:?}",
        file.lines().next(),
        listing.lines().next()
    );
    for name in ["ip_vs_conn", "ip_vs_conn_sync"] {
        await_same(name, || Ok((connections_of(&read(name)?)?, connections_in(control)?)))?;
    }
    ensure!(connections_in(control)?.lines().count() >= 9, "not the connections that were made");
    let text = |counts: Vec<u64>| format!("{counts:?}");
    await_same("ip_vs_stats", || {
        let file = read("ip_vs_stats")?;
        Ok((text(counts(file.lines().nth(2).context("no counts")?)?), text(totals_in(control)?)))
    })?;
    ensure!(totals_in(control)?[0] >= 9, "not all connections are counted");
    await_same("ip_vs_stats_percpu", || {
        let file = read("ip_vs_stats_percpu")?;
        let mut rows = Vec::new();
        for line in file.lines().skip(2).take_while(|line| !line.is_empty()) {
            let (_, line) = line.trim_start().split_once(' ').context("no counts")?;
            rows.push(counts(line)?);
        }
        ensure!(rows.len() == 2, "not one worker and the total:\n{file}");
        ensure!(rows[0] == rows[1], "one worker and the total differ:\n{file}");
        Ok((text(rows.remove(0)), text(totals_in(control)?)))
    })?;
    // How old files are, at most.
    let mut ages = Vec::new();
    for weight in 10..16 {
        control.must(&format!("-e -t {SERVICE} -r 10.1.0.1:80 -m -w {weight}"))?;
        let age = await_same("ip_vs", || Ok((table_of(&read("ip_vs")?)?, table_in(control)?)))?;
        ages.push(format!("{:.2}", age.as_secs_f32()));
    }
    println!("  changes are in the file after (s): {}", ages.join(" "));
    Ok(())
}

/// Whoever reads finds a whole file, at any moment.
fn whole(lab: &Lab, binaries: &Binaries) -> Result<()> {
    const SERVERS: usize = 400;
    const LONG: Duration = Duration::from_secs(8);
    let run = lab.directory().join("run");
    let daemon = start_alone(lab, binaries, &run)?;
    let socket = daemon.control().socket();
    let mut lines = "-A -t 10.9.255.1:80 -s rr\n-A -f 1 -s rr\n".to_owned();
    for server in 0..SERVERS {
        let (high, low) = (server / 200, server % 200 + 1);
        lines += &format!("-a -t 10.9.255.1:80 -r 10.1.{high}.{low}:80 -m\n");
    }
    let answer = Session::open(socket)?.restore(&lines)?;
    ensure!(answer.status == 0, "-R: {answer:?}");
    let file = net(&run).join("ip_vs");
    await_same("ip_vs", || {
        let file = fs::read_to_string(&file)?;
        Ok((table_of(&file)?, table_in(daemon.control())?))
    })?;
    let over = AtomicBool::new(false);
    let (reads, files, changes) = thread::scope(|scope| -> Result<_> {
        let end = End(&over);
        let changes = scope.spawn(|| -> Result<usize> {
            let mut session = Session::open(socket)?;
            let mut made = 0;
            while !over.load(Ordering::Relaxed) {
                for change in ["-a -f 1 -r 10.1.0.1 -g", "-d -f 1 -r 10.1.0.1"] {
                    ensure!(session.change(change)?, "the daemon is gone");
                    made += 1;
                }
            }
            Ok(made)
        });
        let (mut reads, mut files) = (0, BTreeSet::new());
        let started = Instant::now();
        while started.elapsed() < LONG {
            let text = fs::read_to_string(&file).context("the file is not there")?;
            let is_whole = text.starts_with("IP Virtual Server version")
                && text.ends_with('\n')
                && text.matches("\nTCP  0A09FF01:0050 rr").count() == 1
                && text.matches("\nFWM  00000001 rr").count() == 1
                && text.matches(" Masq ").count() == SERVERS
                && text.matches(" Route ").count() <= 1;
            ensure!(is_whole, "a file of {} bytes:\n{text}", text.len());
            // Numbers of files are used again.
            let found = fs::metadata(&file)?;
            files.insert((found.ino(), found.mtime(), found.mtime_nsec()));
            reads += 1;
            interrupt::check()?;
        }
        drop(end);
        let changes = changes.join().unwrap_or_else(|_| bail!("a client panicked"))?;
        Ok((reads, files.len(), changes))
    })?;
    println!("  {reads} reads of {files} files in one place, amid {changes} changes");
    ensure!(files >= 2, "the file was never replaced");
    Ok(())
}

struct End<'t>(&'t AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Files are gone with their daemon, if it can, and come back.
fn end(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let run = lab.directory().join("run");
    let mut random = Random::new(1);
    let mut daemon = start_alone(lab, binaries, &run)?;
    for name in NAMES {
        let text = fs::read_to_string(net(&run).join(name))?;
        ensure!(!text.is_empty(), "{name} is empty at the start");
    }
    // A daemon that was killed leaves them, and the next one has them.
    daemon.control().must("-A -t 10.9.255.1:80 -s rr")?;
    daemon.kill();
    ensure!(net(&run).join("ip_vs").exists(), "who has removed the file?");
    drop(daemon);
    // Whenever that is: files are written every second.
    for round in 0..6 {
        let mut daemon = start_alone(lab, binaries, &run)?;
        let shown = fs::read_to_string(net(&run).join("ip_vs"))?;
        ensure!(!shown.contains("0A09FF01"), "round {round}: of another daemon:\n{shown}");
        daemon.control().must("-A -t 10.9.255.1:80 -s rr")?;
        thread::sleep(Duration::from_millis(700 + random.below(500) as u64));
        let status = daemon.stop()?;
        ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
        ensure!(!net(&run).exists(), "round {round}: {} is left", net(&run).display());
    }
    Ok(())
}

fn two_daemons(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let run = lab.directory().join("run");
    let mut first = start_alone(lab, binaries, &run)?;
    let socket = lab.directory().join("second.sock");
    let mut command = command(lab, binaries, &socket, 1);
    let second = refused(add_null_port(&mut command).arg("--run").arg(&run))?;
    let message = second.err();
    for part in ["another pollvsd", &*run.to_string_lossy(), "--run"] {
        ensure!(message.contains(part), "no {part:?} in {message}");
    }
    ensure!(
        first.is_running() && !socket.exists(),
        "the first suffers, or the second has left something"
    );
    for name in NAMES {
        ensure!(net(&run).join(name).exists(), "the second has removed {name}");
    }
    Ok(())
}

/// Drops by reason.
fn drops(control: &Control<'_>) -> Result<BTreeMap<String, u64>> {
    let listing: serde_json::Value = serde_json::from_str(&control.must("--json drops")?)?;
    let reasons = listing["reasons"].as_array().context("no reasons")?;
    let pair = |reason: &serde_json::Value| {
        Some((reason["name"].as_str()?.to_owned(), reason["count"].as_u64()?))
    };
    reasons.iter().map(pair).collect::<Option<_>>().context("a reason without a count")
}

/// Requests go on while another client changes the same service and others as fast as it can.
fn changes_amid_traffic(lab: &Lab, binaries: &Binaries) -> Result<()> {
    const LONG: Duration = Duration::from_secs(8);
    lab.set_method(Method::Nat)?;
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    client::fetch(lab, 4)?.check(lab)?;
    let before = (drops(control)?, control.must("-Sn")?);
    let socket = control.socket();
    let (over, mut requests) = (AtomicBool::new(false), 0);
    let (changes, took) = thread::scope(|scope| -> Result<_> {
        let end = End(&over);
        let changes = scope.spawn(|| -> Result<(usize, Duration)> {
            let mut round = vec![];
            for server in 1..=4 {
                round.push(format!("-a -t {SERVICE} -r 10.1.9.{server}:80 -m -w 0"));
                round.push(format!("-A -u 10.9.255.3:{server} -s wlc"));
                round.push(format!("-a -u 10.9.255.3:{server} -r 10.1.0.1:{server} -m"));
                round.push(format!("-e -u 10.9.255.3:{server} -r 10.1.0.1:{server} -m -w 9"));
                round.push(format!("-e -t {SERVICE} -r 10.1.9.{server}:80 -m -w 0 -x 9"));
                round.push(format!("-E -u 10.9.255.3:{server} -s rr"));
            }
            for server in 1..=4 {
                round.push(format!("-d -t {SERVICE} -r 10.1.9.{server}:80"));
                round.push(format!("-d -u 10.9.255.3:{server} -r 10.1.0.1:{server}"));
                round.push(format!("-D -u 10.9.255.3:{server}"));
            }
            let mut session = Session::open(socket)?;
            let (started, mut made) = (Instant::now(), 0);
            while !over.load(Ordering::Relaxed) {
                // A round at a time, so that waiting for each other is not what is measured.
                for line in &round {
                    session.send(line)?;
                }
                for line in &round {
                    let answer = session.answer()?;
                    ensure!(answer.status == 0 && answer.err.is_empty(), "{line}: {answer:?}");
                    made += 1;
                }
            }
            Ok((made, started.elapsed()))
        });
        let started = Instant::now();
        while started.elapsed() < LONG && !changes.is_finished() {
            client::many_connections(lab, 500)?;
            requests += 500;
        }
        drop(end);
        changes.join().unwrap_or_else(|_| bail!("a client panicked"))
    })?;
    println!(
        "  {changes} changes, {:.0} a second, amid {requests} requests",
        changes as f32 / took.as_secs_f32()
    );
    client::fetch(lab, 4)?.check(lab)?;
    ensure!(control.must("-Sn")? == before.1, "the table is not what it was");
    for (reason, count) in drops(control)? {
        let was = before.0.get(&reason).copied().unwrap_or(0);
        if count > was {
            println!("  dropped meanwhile: {} {reason}", count - was);
        }
    }
    Ok(())
}
