//! The ways between workers, and from control to them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::float::{Outgoing, Punted};
use dataplane::neighbour::Learned;
use dataplane::sync::{Record, Told};
use rtrb::{Consumer, RingBuffer};

use crate::handoff::Handoff;
use crate::load::Load;
use crate::worker::{Envelope, Links};

/// Commands that may wait for a worker.
const COMMANDS: usize = 64;
/// Link-layer addresses that may wait for a worker.
const LEARNED: usize = 256;

/// Records that may be under way from a worker to the sync daemons, and from them to a worker.
const RECORDS: usize = 16_384;

/// Packets of VRRP that may be under way.
const PUNTED: usize = 64;

/// What control and the sync daemons have of the ways to workers.
pub struct Ways {
    /// Commands to each.
    pub commands: Vec<Sender<Envelope>>,
    /// What each has to tell backups.
    pub told: Vec<Consumer<Record>>,
    /// To each what other directors have told.
    pub taken: Vec<Sender<(Record, Told)>>,
    /// Packets that came for whoever speaks VRRP.
    pub punted: Receiver<Punted>,
    /// Packets of that one, sent by the first worker.
    pub outgoing: Sender<Outgoing>,
}

/// The ways to each worker, and each worker's ends of everything.
#[must_use]
pub fn links<F>(workers: u16, ports: usize, stop: &Arc<AtomicBool>) -> (Ways, Vec<Links<F>>) {
    let count = usize::from(workers);
    let (senders, receivers): (Vec<Sender<Envelope>>, Vec<Receiver<Envelope>>) =
        (0..count).map(|_| bounded(COMMANDS)).unzip();
    let (tell, hear): (Vec<Sender<Learned>>, Vec<Receiver<Learned>>) =
        (0..count).map(|_| bounded(LEARNED)).unzip();
    let peers_of = |n: usize| {
        let others = tell.iter().enumerate().filter(|(m, _)| *m != n);
        others.map(|(_, tell)| tell.clone()).collect()
    };
    let (told, telling): (Vec<_>, Vec<_>) = (0..count)
        .map(|_| {
            let (producer, consumer) = RingBuffer::new(RECORDS);
            (consumer, producer)
        })
        .unzip();
    let (taken, taking): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(RECORDS)).unzip();
    let (punt, punted) = bounded(PUNTED);
    let (outgoing, send) = bounded(PUNTED);
    let ends = Handoff::mesh(count).into_iter().zip(receivers).zip(hear);
    let ends = ends.zip(telling).zip(taking).enumerate();
    let links = ends.map(|(n, ((((handoff, commands), learned), told), taken))| Links {
        handoff,
        commands,
        learned,
        peers: peers_of(n),
        told,
        taken,
        punted: punt.clone(),
        outgoing: (n == 0).then(|| send.clone()),
        stop: Arc::clone(stop),
        load: Arc::new(Load::new(ports)),
    });
    let links = links.collect();
    (Ways { commands: senders, told, taken, punted, outgoing }, links)
}
