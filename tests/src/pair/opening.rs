//! The master is killed while very many connections are being opened.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::herd::Herd;
use super::probe::Probe;
use super::scene::{Act, Outcome, carry_out};
use super::{NAT_ECHO, Pair, Who};

/// Connections that were established so long before the kill have to survive it: they are told
/// as soon as they are established, in messages that wait for 20 ms.
const OLD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of them.
#[derive(Debug)]
pub struct Opened {
    /// Connections a second until the kill.
    pub rate: u64,
    /// Of connections that were old enough at the kill.
    pub old: Outcome,
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
    let killed = carry_out(pair, Act::Kill, &probe)?;
    herd.stop_opening()?;
    let gap = probe.longest_gap(killed).context("no answers to the probe")?;
    let young = herd.split(killed - OLD)?;
    let broken = herd.exchange()?;
    let young_broken = herd.exchange_young()?;
    let seconds = (killed - started).as_secs_f64();
    Ok(Opened {
        rate: (herd.len() as f64 / seconds) as u64,
        old: Outcome {
            connections: herd.len(),
            broken,
            outage: gap.length,
            until: gap.end - killed,
        },
        losses,
        young: (young, young_broken),
    })
}
