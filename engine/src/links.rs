//! The ways between workers, and from control to them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataplane::neighbour::Learned;

use crate::handoff::Handoff;
use crate::load::Load;
use crate::worker::{Envelope, Links};

/// Commands that may wait for a worker.
const COMMANDS: usize = 64;
/// Link-layer addresses that may wait for a worker.
const LEARNED: usize = 256;

/// The channels of control to each worker, and each worker's ends of everything.
#[must_use]
pub fn links<F>(
    workers: u16,
    ports: usize,
    stop: &Arc<AtomicBool>,
) -> (Vec<Sender<Envelope>>, Vec<Links<F>>) {
    let count = usize::from(workers);
    let (senders, receivers): (Vec<Sender<Envelope>>, Vec<Receiver<Envelope>>) =
        (0..count).map(|_| bounded(COMMANDS)).unzip();
    let (tell, hear): (Vec<Sender<Learned>>, Vec<Receiver<Learned>>) =
        (0..count).map(|_| bounded(LEARNED)).unzip();
    let peers_of = |n: usize| {
        let others = tell.iter().enumerate().filter(|(m, _)| *m != n);
        others.map(|(_, tell)| tell.clone()).collect()
    };
    let ends = Handoff::mesh(count).into_iter().zip(receivers).zip(hear).enumerate();
    let links = ends.map(|(n, ((handoff, commands), learned))| Links {
        handoff,
        commands,
        learned,
        peers: peers_of(n),
        stop: Arc::clone(stop),
        load: Arc::new(Load::new(ports)),
    });
    (senders, links.collect())
}
