//! What clients do to the director, and what arrives.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dataplane::packet::ethernet::Mac;
use tests::frames::{mac_of, send_frames};
use tests::lab::Lab;

use super::inside;
use crate::frames::{self, Client, Payload};
use crate::output::progress;
use crate::process::{self, pause};

/// Clients, each a connection of its own, in the traffic of UDP.
const FLOWS: u32 = 1024;
/// Frames of one call: each call enters the namespace again.
const FRAMES: u32 = 16 * FLOWS;
/// Connections at a time: to download, and for short requests.
const DOWNLOADS: usize = 4;
const REQUESTERS: usize = 16;
/// Traffic before the measurement.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a client waits for one connection or answer before it counts it as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sockets that take the servers' UDP packets, so that nobody answers that the port is closed.
pub(super) fn sinks(lab: &Lab) -> Result<Vec<UdpSocket>> {
    lab.servers()
        .iter()
        .map(|server| inside(server.namespace(), || Ok(UdpSocket::bind("0.0.0.0:80")?)))
        .collect()
}

/// Waits until every server has answered a client of these targets.
pub(super) fn reaches_all(lab: &Lab, targets: &[Ipv4Addr], limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let (mut seen, mut last) = (BTreeSet::new(), None);
    while seen.len() < lab.servers().len() {
        for &target in targets {
            match inside(lab.client(), || Ok(request(target)))? {
                Ok(answer) => drop(seen.insert(answer)),
                Err(error) => last = Some(error),
            }
        }
        ensure!(Instant::now() < deadline, "only {seen:?} answered; {last:?}");
        pause(Duration::from_millis(20))?;
    }
    Ok(())
}

/// Millions of packets a second that reach the servers, of all that one sender sends.
pub(super) fn udp(lab: &Lab, targets: &[Ipv4Addr], window: Duration) -> Result<f64> {
    let to = Mac(mac_of(lab.director(), "d0")?);
    let frames: Vec<Vec<u8>> =
        (0..FRAMES).map(|n| frame(to, n % FLOWS, targets[n as usize % targets.len()])).collect();
    let (client, done) = (lab.client(), AtomicBool::new(false));
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                send_frames(client, "c0", &frames)?;
            }
            Ok(())
        });
        let rate = rate(window, || arrived(lab));
        done.store(true, Ordering::Relaxed);
        sender.join().expect("the sender does not panic")?;
        let rate = rate? / 1e6;
        ensure!(rate > 0.0001, "nothing arrived");
        Ok(rate)
    })
}

/// Gigabits a second of payload that clients download.
pub(super) fn bulk(lab: &Lab, targets: &[Ipv4Addr], window: Duration) -> Result<f64> {
    let bytes = counted(lab, DOWNLOADS, window, |n, count| {
        let mut stream = connect(targets[n % targets.len()])?;
        stream.write_all(b"GET /big HTTP/1.0\r\n\r\n")?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(()),
                length => count(length as u64)?,
            }
        }
    })?;
    Ok(bytes * 8.0 / 1e9)
}

/// Requests a second, each on a connection of its own.
pub(super) fn http(lab: &Lab, targets: &[Ipv4Addr], window: Duration) -> Result<f64> {
    counted(lab, REQUESTERS, window, |n, count| {
        request(targets[n % targets.len()])?;
        count(1)
    })
}

/// Runs `work` over and over in so many clients, and returns what it counted, a second. Its
/// counter fails when time is up.
fn counted<W>(lab: &Lab, clients: usize, window: Duration, work: W) -> Result<f64>
where
    W: Fn(usize, &dyn Fn(u64) -> io::Result<()>) -> io::Result<()> + Sync,
{
    let (total, failed, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let count = |amount| {
        total.fetch_add(amount, Ordering::Relaxed);
        if done.load(Ordering::Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    };
    let client = |n: usize| {
        // In turn, where there is more than one target.
        for turn in n.. {
            if done.load(Ordering::Relaxed) {
                return;
            }
            if work(turn, &count).is_err() && !done.load(Ordering::Relaxed) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    inside(lab.client(), || {
        thread::scope(|scope| {
            for n in 0..clients {
                scope.spawn(move || client(n));
            }
            let rate = rate(window, || Ok(total.load(Ordering::Relaxed)));
            done.store(true, Ordering::Relaxed);
            rate
        })
    })
    .and_then(|rate| {
        let failed = failed.load(Ordering::Relaxed);
        ensure!(rate > 0.0, "nothing came through, {failed} attempts failed");
        if failed > 0 {
            progress(&format!("veth: {failed} connections failed"));
        }
        Ok(rate)
    })
}

/// How much a counter grows in a second, once rates have settled.
fn rate(window: Duration, counter: impl Fn() -> Result<u64>) -> Result<f64> {
    pause(SETTLE)?;
    process::rate(window, counter)
}

/// Asks for a server's name on a connection of its own.
fn request(target: Ipv4Addr) -> io::Result<String> {
    let mut stream = connect(target)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    body.filter(|body| !body.is_empty()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn connect(target: Ipv4Addr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((target, 80)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A UDP frame of 60 bytes, 64 with its check sequence.
fn frame(to: Mac, flow: u32, target: Ipv4Addr) -> Vec<u8> {
    let Client { host, port } = Client::numbered(flow);
    let client = Ipv4Addr::from(0x0a09_1000 + host).into();
    frames::small(to, (client, port), (target.into(), 80), Payload::Udp)
}

/// Packets that all servers have received.
fn arrived(lab: &Lab) -> Result<u64> {
    let mut sum = 0;
    for server in lab.servers() {
        // Of the thread, which is in the namespace when the process is not.
        let text =
            inside(server.namespace(), || Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
        let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        sum += packets.context("no count of eth0")?;
    }
    Ok(sum)
}
