//! What goes on while the addresses move: connections, and acts that move the addresses.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::crowd::Crowd;
use super::download::{Download, Session};
use super::herd::Herd;
use super::probe::Probe;
use super::{DIRECT_ECHO, LOGIN, NAT_ECHO, Pair, Who};
use crate::lab::Lab;

/// Answers after a move that show that it is over.
const SOME: usize = 200;
/// For a move of the addresses, with a director's start.
const PATIENCE: Duration = Duration::from_secs(30);
/// For neighbours to hear of a move.
const SOON: Duration = Duration::from_secs(2);
/// Between two rounds of those that talk all the time.
const PAUSE: Duration = Duration::from_millis(20);

/// How the addresses move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL for the master.
    Kill,
    /// The director of higher priority is started again.
    Failback,
    /// The master is told to hand over.
    Handover,
    /// It is told to take part again.
    Back,
    /// The master stands still until the other one has taken over, and then goes on as before: for
    /// a moment there are two.
    Stall,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Kill, Self::Failback, Self::Handover, Self::Back, Self::Stall];

    /// What makes it possible once more.
    #[must_use]
    pub fn reverse(self) -> Option<Self> {
        match self {
            Self::Kill => Some(Self::Failback),
            Self::Handover => Some(Self::Back),
            Self::Failback | Self::Back | Self::Stall => None,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kill => "kill",
            Self::Failback => "failback",
            Self::Handover => "handover",
            Self::Back => "back",
            Self::Stall => "stall",
        })
    }
}

/// How much goes on.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections that say nothing while the addresses move.
    pub quiet: usize,
    /// Connections that talk all the time.
    pub busy: usize,
    /// Length of the download in MiB.
    pub mebibytes: u64,
    /// Whether half of the connections are by direct routing.
    pub direct: bool,
}

/// What became of the connections in an act.
#[derive(Debug)]
pub struct Outcome {
    /// Connections that there were.
    pub connections: usize,
    /// Why some are broken.
    pub broken: Vec<String>,
    /// The longest time without an answer to the probe.
    pub outage: Duration,
    /// From the beginning of the act to the answer that ended it.
    pub until: Duration,
}

impl Outcome {
    /// One line.
    #[must_use]
    pub fn line(&self, act: &dyn fmt::Display) -> String {
        let Self { connections, broken, outage, .. } = self;
        let (broken, outage_ms) = (broken.len(), outage.as_millis());
        format!("demo-ha: {act} connections={connections} broken={broken} outage_ms={outage_ms}")
    }
}

/// Connections through the directors.
#[derive(Debug)]
pub struct Scene {
    probe: Probe,
    busy: Crowd,
    quiet: Herd,
    session: Session,
    download: Download,
}

impl Scene {
    /// Opens everything and waits until the other director knows of it.
    ///
    /// # Errors
    /// When something does not work before anything has moved.
    pub fn open(lab: &Lab, pair: &Pair<'_>, size: Size) -> Result<Self> {
        let client = lab.client();
        let probe = Probe::start(client, NAT_ECHO)?;
        let mut session = Session::open(client, LOGIN).context("the session")?;
        session.say()?;
        let download = Download::start(lab, size.mebibytes, 1 << 20)?;
        let targets = if size.direct { &[NAT_ECHO, DIRECT_ECHO][..] } else { &[NAT_ECHO][..] };
        let sources = pair.sources();
        let (own, others) = sources.split_first().context("no source")?;
        let mut busy = Crowd::open(client, &[*own], targets, size.busy)?;
        let mut quiet = Herd::begin(client, others, targets, size.quiet, &lab.logs())?;
        quiet.opened()?;
        busy.exchange()?;
        let mut broken = quiet.exchange()?;
        broken.extend(busy.take_broken());
        ensure!(broken.is_empty(), "{} do not work: {}", broken.len(), broken[0]);
        let scene = Self { probe, busy, quiet, session, download };
        ensure!(scene.probe.answers_since(Instant::now() - PATIENCE) > 0, "no answer to the probe");
        Ok(scene)
    }

    /// The probe.
    #[must_use]
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Connections of all kinds.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.busy.len() + self.quiet.len() + 2
    }

    /// Waits until a director knows of all connections.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_sync(&self, pair: &Pair<'_>, who: Who) -> Result<u64> {
        let wanted = self.connections() as u64;
        let mut has = 0;
        let is_so = |pair: &Pair<'_>| {
            has = pair.connections(who)?;
            Ok(has >= wanted)
        };
        let result = pair.wait("the other director knows all connections", PATIENCE, is_so);
        result.with_context(|| format!("it knows {has} of {wanted}"))?;
        Ok(has)
    }

    /// Plays an act, and sees what has become of every connection.
    ///
    /// # Errors
    /// When the addresses do not move, which is another thing than a broken connection.
    pub fn play(&mut self, pair: &mut Pair<'_>, act: Act) -> Result<Outcome> {
        let connections = self.connections();
        self.session.say().context("before anything moved")?;
        let is_over = AtomicBool::new(false);
        let (busy, probe) = (&mut self.busy, &self.probe);
        let began = thread::scope(|scope| {
            let chatter = scope.spawn(|| -> Result<()> {
                while !is_over.load(Ordering::Relaxed) {
                    busy.exchange()?;
                    thread::sleep(PAUSE);
                }
                Ok(())
            });
            let moved = carry_out(pair, act, probe);
            is_over.store(true, Ordering::Relaxed);
            chatter.join().unwrap_or_else(|_| anyhow::bail!("panic"))?;
            moved
        })?;
        let gap = probe.longest_gap(began).context("no answers to the probe")?;
        let mut broken = Vec::new();
        self.busy.exchange()?;
        broken.extend(self.busy.take_broken());
        broken.extend(self.quiet.exchange()?);
        if let Err(error) = self.session.say() {
            broken.push(format!("the session: {error:#}"));
        }
        if let Err(error) = self.download.goes_on() {
            broken.push(format!("{error:#}"));
        }
        let (outage, until) = (gap.length, gap.end - began);
        Ok(Outcome { connections, broken, outage, until })
    }

    /// Takes the rest of the download and compares it.
    ///
    /// # Errors
    /// When it is not what was sent.
    pub fn finish(&mut self) -> Result<u64> {
        self.download.check()?;
        Ok(self.download.has())
    }
}

/// Moves the addresses and waits until traffic goes on. Returns when that began.
fn carry_out(pair: &mut Pair<'_>, act: Act, probe: &Probe) -> Result<Instant> {
    let mut began = Instant::now();
    let master = match act {
        Act::Kill => {
            began = pair.kill(Who::First)?;
            Who::Second
        }
        Act::Failback => {
            pair.start(Who::First)?;
            Who::First
        }
        Act::Back => {
            pair.admin(Who::First, "handover --back", PATIENCE)?;
            Who::First
        }
        Act::Handover => {
            pair.admin(Who::First, "handover", PATIENCE)?;
            Who::Second
        }
        Act::Stall => {
            pair.daemon(Who::First)?.stand_still(true)?;
            let took_over = pair
                .wait("the other one has taken over", PATIENCE, |pair| pair.is_master(Who::Second));
            pair.daemon(Who::First)?.stand_still(false)?;
            took_over?;
            pair.wait("there is one master", PATIENCE, |pair| Ok(!pair.is_master(Who::Second)?))?;
            pair.wait("all have learnt which", SOON, |pair| pair.is_learnt(Who::First))?;
            Who::First
        }
    };
    await_move(pair, master, probe)?;
    Ok(began)
}

/// Waits until a director is master and answers come.
pub(super) fn await_move(pair: &Pair<'_>, master: Who, probe: &Probe) -> Result<()> {
    pair.wait("the addresses have moved", PATIENCE, |pair| pair.is_master(master))?;
    let moved = Instant::now();
    pair.wait("answers come again", PATIENCE, |_| Ok(probe.answers_since(moved) >= SOME))
}
