//! The master is killed while very many connections are being opened.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::herd::Herd;
use super::probe::Probe;
use super::scene::{Outcome, await_move};
use super::{NAT_ECHO, Pair, Who};
use crate::lab::Lab;

/// Connections that were established so long before the kill have to survive it: they are told
/// as soon as they are established, in messages that wait for 20 ms.
const OLD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection's state in `/proc/net/tcp`.
const SYN_RECEIVED: &str = "03";

/// What became of them.
#[derive(Debug)]
pub struct Opened {
    /// Connections a second until the kill.
    pub rate: u64,
    /// Of connections that were old enough at the kill.
    pub old: Outcome,
    /// Broken ones that were established for the client, but not for the server, which the last
    /// packet of the handshake had not reached.
    pub half_open: usize,
    /// What sync had lost shortly before the kill.
    pub losses: String,
    /// Others that were established in the end: how many, and why some are broken.
    pub young: (usize, Vec<String>),
}

/// Opens so many connections, and kills the master when the other director knows half of them.
///
/// # Errors
/// When something does not work that has nothing to do with the kill.
pub fn kill_while_opening(pair: &mut Pair<'_>, number: usize) -> Result<Opened> {
    let (client, sources) = (pair.client(), pair.sources());
    let probe = Probe::start(client, NAT_ECHO)?;
    let started = Instant::now();
    let logs = pair.lab().logs();
    let mut herd = Herd::begin(client, &sources, &[NAT_ECHO], number, &logs)?;
    let half = number as u64 / 2;
    pair.wait("half of the connections are known", PATIENCE, |pair| {
        Ok(pair.connections(Who::Second)? >= half)
    })?;
    let losses = pair.losses(Who::Second)?;
    let killed = pair.kill(Who::First)?;
    let half_open = half_open(pair.lab())?;
    await_move(pair, Who::Second, &probe)?;
    herd.stop_opening()?;
    let gap = probe.longest_gap(killed).context("no answers to the probe")?;
    let young = herd.split(killed - OLD)?;
    let is_half_open =
        |why: &String| why.split_once(' ').is_some_and(|(client, _)| half_open.contains(client));
    let (half_open, broken): (Vec<_>, _) = herd.exchange()?.into_iter().partition(is_half_open);
    let young_broken = herd.exchange_young()?;
    let seconds = (killed - started).as_secs_f64();
    Ok(Opened {
        rate: (herd.len() as f64 / seconds) as u64,
        old: Outcome {
            connections: herd.len() - half_open.len(),
            broken,
            outage: gap.length,
            until: gap.end - killed,
        },
        half_open: half_open.len(),
        losses,
        young: (young, young_broken),
    })
}

/// The clients of connections that the servers have not seen established.
fn half_open(lab: &Lab) -> Result<HashSet<String>> {
    let mut clients = HashSet::new();
    for server in lab.servers() {
        let table =
            server.namespace().enter(|| fs::read_to_string("/proc/thread-self/net/tcp"))??;
        for line in table.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, _, client, SYN_RECEIVED, ..] = words[..] else { continue };
            let (address, port) = client.split_once(':').context("no port")?;
            // The address is as it lies in memory.
            let address = Ipv4Addr::from(u32::from_str_radix(address, 16)?.to_ne_bytes());
            let port = u16::from_str_radix(port, 16)?;
            clients.insert(SocketAddrV4::new(address, port).to_string());
        }
    }
    Ok(clients)
}
