//! Clients of the control socket that do not behave, and very many that do.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tests::daemon::{Control, Daemon};
use tests::lab::Lab;
use tests::requirements::Binaries;
use tests::session::Session;

use crate::Case;
use crate::sockets::{expect, timed};

/// An ordinary listing, whatever others do.
const PROMPT: Duration = Duration::from_secs(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("socket-hostile", hostile),
        Case::new("socket-hostile-always", hostile_always),
        Case::new("socket-cut-restore", cut_restore),
        Case::new("socket-many-64", |lab, binaries| many(lab, binaries, 64)),
        Case::new("socket-many-400", |lab, binaries| many(lab, binaries, 400)),
    ]
}

/// A table whose listing is larger than what a socket holds.
fn fill_much(control: &Control<'_>) -> Result<()> {
    let mut lines = "-A -t 10.9.255.1:80 -s rr\n".to_owned();
    for server in 0..1000 {
        let (high, low) = (server / 250, server % 250 + 1);
        lines += &format!("-a -t 10.9.255.1:80 -r 10.1.{high}.{low}:80 -m\n");
    }
    let answer = Session::open(control.socket())?.restore(&lines)?;
    ensure!(answer.status == 0 && answer.err.is_empty(), "-R: {answer:?}");
    Ok(())
}

/// Ordinary commands, prompt and right.
fn check_service(control: &Control<'_>, number: u32) -> Result<()> {
    let (listing, took) = timed(control, "-Ln")?;
    ensure!(listing.code() == Some(0), "-Ln: {}", listing.err());
    let lines = listing.out().lines().count();
    ensure!(lines >= 1004, "a listing of {lines} lines");
    ensure!(took < PROMPT, "-Ln takes {} s", took.as_secs_f32());
    for words in [
        format!("-A -f {number} -s rr"),
        format!("-a -f {number} -r 10.1.0.1 -g"),
        format!("-e -f {number} -r 10.1.0.1 -g -w 7"),
    ] {
        expect(&control.run(&words)?, 0, "", "").with_context(|| words.clone())?;
    }
    let listing = control.must("-Sn")?;
    let line = format!("-a -f {number} -r 10.1.0.1:0 -g -w 7\n");
    ensure!(listing.contains(&line), "the change is not there");
    Ok(())
}

/// Clients that do not behave stay for some seconds.
fn hostile(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start_alone::<OsString>(lab, binaries, [])?;
    let control = daemon.control();
    fill_much(control)?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = End(&over);
        let socket = control.socket();
        let connect = || -> Result<UnixStream> {
            let stream = UnixStream::connect(socket)?;
            stream.set_write_timeout(Some(Duration::from_millis(100)))?;
            Ok(stream)
        };
        let mut there = Vec::new();
        for number in 0..20_u8 {
            let mut stream = connect()?;
            let junk: Vec<u8> = (0..4096_u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number)
                .collect();
            drop(stream.write_all(&junk));
            there.push(stream);
            // Replies that nobody reads.
            let mut stream = connect()?;
            drop(stream.write_all(&b"-Ln\n".repeat(100)));
            there.push(stream);
            // Half a line, then silence from a client that still listens.
            let mut stream = connect()?;
            drop(stream.write_all(b"-C"));
            drop(stream.shutdown(Shutdown::Write));
            there.push(stream);
            // A client that will not hear the answer.
            let mut stream = connect()?;
            drop(stream.shutdown(Shutdown::Read));
            drop(stream.write_all(b"-Ln\n"));
            there.push(stream);
        }
        for _ in 0..4 {
            let mut stream = connect()?;
            drop(stream.write_all(&vec![b'A'; 1 << 20]));
            there.push(stream);
            // A restore that never ends.
            let mut stream = connect()?;
            drop(stream.write_all(b"-R\n-C\n-C"));
            there.push(stream);
        }
        let (mut slow, over) = (connect()?, &over);
        scope.spawn(move || {
            let mut bytes = b"-A -t 10.9.255.1:80 -s rr".iter().cycle();
            while !over.load(Ordering::Relaxed) {
                let Some(&byte) = bytes.next() else { break };
                drop(slow.write_all(&[byte]));
                thread::sleep(Duration::from_secs(1));
            }
        });
        for number in 1..=4 {
            check_service(control, number).context("among all kinds of clients")?;
        }
        for _ in 0..300 {
            there.push(connect()?);
        }
        for number in 5..=20 {
            check_service(control, number).context("among 300 silent clients")?;
            thread::sleep(Duration::from_millis(200));
        }
        drop(end);
        Ok::<(), anyhow::Error>(())
    })?;
    ensure!(daemon.is_running(), "the daemon is gone");
    Ok(())
}

struct End<'t>(&'t AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that come again and again and stay, more than the daemon serves at once.
fn hostile_always(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start_alone::<OsString>(lab, binaries, [])?;
    let control = daemon.control();
    fill_much(control)?;
    let (over, knocks) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let end = End(&over);
        let (socket, over, knocks) = (control.socket(), &over, &knocks);
        for _ in 0..2 {
            scope.spawn(move || {
                let mut there = VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    if let Ok(stream) = UnixStream::connect(socket) {
                        there.push_back(stream);
                        knocks.fetch_add(1, Ordering::Relaxed);
                    }
                    if there.len() > 200 {
                        there.pop_front();
                    }
                    thread::sleep(Duration::from_micros(500));
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        for number in 1..=20 {
            check_service(control, number).context("among clients that come again and again")?;
        }
        drop(end);
        Ok::<(), anyhow::Error>(())
    })?;
    println!("  {} silent clients came meanwhile", knocks.load(Ordering::Relaxed));
    ensure!(daemon.is_running(), "the daemon is gone");
    Ok(())
}

/// A client that is killed while it sends what is to be restored: the half that came is not taken
/// for all of it. One that has sent all and waits for the answer only half closes.
fn cut_restore(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start_alone::<OsString>(lab, binaries, [])?;
    let control = daemon.control();
    control.must("-A -t 10.9.255.1:8 -s rr")?;
    let before = control.must("-Sn")?;
    for head in ["-R", "@[\"pollvsadm\", \"--atomic\", \"-R\"]"] {
        let mut input = format!("{head}\n-A -f 1 -s rr\n-A -f 2 -s rr\n");
        for half in ["", "-D -t 10.9.255.1:8"] {
            input += half;
            let mut stream = UnixStream::connect(control.socket())?;
            stream.write_all(input.as_bytes())?;
            drop(stream);
            thread::sleep(Duration::from_millis(300));
            let after = control.must("-Sn")?;
            ensure!(after == before, "{head} of a client that is gone gives\n{after}");
        }
    }
    let answer = Session::open(control.socket())?.restore("-A -f 1 -s rr\n-A -f 2 -s rr")?;
    ensure!(answer.status == 0, "-R: {answer:?}");
    ensure!(control.must("-Sn")?.lines().count() == 3, "a restore is lost");
    Ok(())
}

/// Clients at once, each with a new connection for each of its commands, as `pollvsadm` has.
fn many(lab: &Lab, binaries: &Binaries, clients: usize) -> Result<()> {
    const SERVERS: usize = 10;
    let state = lab.directory().join("table");
    let mut daemon =
        Daemon::start_alone(lab, binaries, [OsString::from("--state"), state.clone().into()])?;
    let socket = daemon.control().socket().to_owned();
    let start = Barrier::new(clients);
    let failures = thread::scope(|scope| {
        let work = |client: usize| {
            let (socket, start) = (&socket, &start);
            move || -> Result<()> {
                let service = format!("-t 10.9.{}.{}:80", client / 250, client % 250 + 1);
                let mut lines = vec![format!("-A {service} -s rr")];
                lines.extend((1..=SERVERS).map(|n| format!("-a {service} -r 10.1.0.{n}:80 -m")));
                lines.push(format!("-d {service} -r 10.1.0.1:80"));
                start.wait();
                for line in lines {
                    let answer = Session::open(socket)?.ask(&line).context(line.clone())?;
                    let is_good = answer.status == 0 && answer.err.is_empty();
                    ensure!(is_good, "{line}: {answer:?}");
                }
                Ok(())
            }
        };
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(work(client))).collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")));
        ends.filter_map(Result::err).collect::<Vec<_>>()
    });
    if let Some(first) = failures.first() {
        bail!("{} of {clients} clients failed; the first: {first:#}", failures.len());
    }
    let saved = daemon.control().must("-Sn")?;
    let wanted = clients * SERVERS;
    ensure!(saved.lines().count() == wanted, "{} of {wanted} lines", saved.lines().count());
    daemon.kill();
    drop(daemon);
    let daemon = Daemon::start_alone(lab, binaries, [OsString::from("--state"), state.into()])?;
    ensure!(daemon.control().must("-Sn")? == saved, "not all of it was saved");
    Ok(())
}
