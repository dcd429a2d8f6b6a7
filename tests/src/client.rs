//! What the client does: fetch pages, download, open many connections, ping.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frames::checksum;
use crate::interrupt;
use crate::lab::{Lab, VIP};
use crate::namespace::Namespace;
use crate::process::{Finished, must, run};
use crate::server::sha256;

/// What came of a number of requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests made.
    pub requests: usize,
    /// Answers by the server that gave them.
    pub by_server: BTreeMap<String, usize>,
    /// What went wrong with the others.
    pub errors: Vec<String>,
}

impl Tally {
    /// Requests that were answered.
    #[must_use]
    pub fn ok(&self) -> usize {
        self.by_server.values().sum()
    }

    /// Requests that `server` answered.
    #[must_use]
    pub fn of(&self, server: &str) -> usize {
        self.by_server.get(server).copied().unwrap_or(0)
    }

    /// Every request answered, and every server used.
    ///
    /// # Errors
    /// What is not so, with the first error of a request.
    pub fn check(&self, lab: &Lab) -> Result<()> {
        let first = self.errors.first().map_or("", String::as_str);
        ensure!(
            self.ok() == self.requests,
            "{} of {} requests answered; {first}",
            self.ok(),
            self.requests
        );
        for server in lab.servers() {
            let name = server.name();
            ensure!(self.of(name) > 0, "{name} answered none of {} requests", self.requests);
        }
        Ok(())
    }
}

/// Fetches `/` of the virtual service `requests` times, each in a connection of its own.
///
/// # Errors
/// On a signal or when curl cannot be run; failed requests are in the tally.
pub fn fetch(lab: &Lab, requests: usize) -> Result<Tally> {
    let mut tally = Tally { requests, ..Tally::default() };
    for _ in 0..requests {
        let finished = page(lab.client())?;
        let name = finished.out().trim().to_owned();
        if finished.status.success() && lab.servers().iter().any(|rs| rs.name() == name) {
            *tally.by_server.entry(name).or_default() += 1;
        } else {
            tally.errors.push(format!("{} {}", finished.err().trim(), name).trim().to_owned());
        }
    }
    Ok(tally)
}

/// Fetches `/` of the virtual service once, for at most 3 s: a page is the server's name.
///
/// # Errors
/// On a signal or when curl cannot be run.
pub fn page(client: &Namespace) -> Result<Finished> {
    run(&mut curl(client, "/", 3), Duration::from_secs(5))
}

fn curl(client: &Namespace, path: &str, limit_s: u64) -> Command {
    let mut command = client.command("curl");
    // `-q`: no settings of whoever runs this; the proxy of the machine is not meant either.
    command.args(["-q", "--silent", "--show-error", "--fail", "--noproxy", "*"]);
    command.args(["--max-time", &limit_s.to_string()]);
    command.arg(format!("http://{VIP}{path}"));
    command
}

/// Downloads `/big` and returns its SHA-256.
///
/// # Errors
/// When the download fails or takes more than `limit`.
pub fn download_sum(lab: &Lab, limit: Duration) -> Result<String> {
    let copy = lab.directory().join("download");
    let mut command = curl(lab.client(), "/big", limit.as_secs());
    must(command.arg("--output").arg(&copy), limit + Duration::from_secs(5))?;
    let sum = sha256(&copy, limit)?;
    fs::remove_file(&copy)?;
    Ok(sum)
}

/// Opens `requests` short connections with `ab`, 32 at a time, all of which have to be answered.
///
/// # Errors
/// When one fails, or `ab` itself.
pub fn many_connections(lab: &Lab, requests: usize) -> Result<()> {
    let mut command = lab.client().command("ab");
    command.args(["-q", "-s", "5", "-c", "32", "-n", &requests.to_string()]);
    command.arg(format!("http://{VIP}/"));
    let report = must(&mut command, Duration::from_secs(30 + requests as u64 / 50))?;
    let figure = |title: &str| -> Option<usize> {
        let line = report.lines().find_map(|line| line.strip_prefix(title))?;
        line.trim().parse().ok()
    };
    let (complete, failed) = (figure("Complete requests:"), figure("Failed requests:"));
    ensure!(complete == Some(requests) && failed == Some(0), "ab reports:\n{report}");
    Ok(())
}

/// Pings `target` once from the client and returns the time to the answer.
///
/// # Errors
/// When no matching answer comes within a second.
pub fn ping(lab: &Lab, target: Ipv4Addr, sequence: u16) -> Result<Duration> {
    lab.client().enter(|| echo(Ipv4Addr::UNSPECIFIED, target, sequence))?
}

/// As [`ping`], from a certain address of the client.
///
/// # Errors
/// As [`ping`].
pub fn ping_from(lab: &Lab, source: Ipv4Addr, target: Ipv4Addr) -> Result<Duration> {
    lab.client().enter(|| echo(source, target, 1))?
}

/// Pings `target` from where the thread is. Our own echo instead of the `ping` program: it also
/// checks that the payload comes back whole.
///
/// # Errors
/// When no matching answer comes within a second.
pub fn echo(source: Ipv4Addr, target: Ipv4Addr, sequence: u16) -> Result<Duration> {
    let socket = icmp_socket()?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    socket.connect(&SocketAddrV4::new(target, 0).into())?;
    let request = echo_request(sequence);
    let started = Instant::now();
    socket.send(&request)?;
    await_echo(&socket, &request).with_context(|| format!("pinging {target}"))?;
    Ok(started.elapsed())
}

/// A raw ICMP socket whose reads return often enough to look at the time.
///
/// # Errors
/// Without root.
pub fn icmp_socket() -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// An ICMP echo request with 56 bytes of payload.
#[must_use]
pub fn echo_request(sequence: u16) -> Vec<u8> {
    let mut request = vec![8, 0, 0, 0, 0x50, 0x56];
    request.extend(sequence.to_be_bytes());
    request.extend((0..56).map(|byte| byte ^ 0x5a));
    let sum = checksum(&request);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    request
}

/// Waits a second for the answer to `request` on a raw ICMP socket.
///
/// # Errors
/// When none comes, or it has a wrong checksum.
pub fn await_echo(mut socket: &Socket, request: &[u8]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        interrupt::check()?;
        let Ok(length) = socket.read(&mut buffer) else { continue };
        let packet = &buffer[..length];
        let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
        let Some(answer) = packet.get(header..) else { continue };
        // Type 0 is the answer; everything but type and checksum is as we sent it.
        if answer.first() == Some(&0) && answer.get(4..) == Some(&request[4..]) {
            ensure!(checksum(answer) == 0, "the answer's checksum is wrong");
            return Ok(());
        }
    }
    bail!("no answer within a second")
}
