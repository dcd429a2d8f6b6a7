//! The loop of a worker: poll every port, judge, send, and in between a little of everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{mem, process, thread};

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use dataplane::BURST;
use dataplane::command::{Command, Reply};
use dataplane::counters::Counters;
use dataplane::float::{Outgoing, Punted};
use dataplane::frame::Host;
use dataplane::neighbour::Learned;
use dataplane::shard::Shard;
use dataplane::sync::{Record, Told};
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId, Verdict};
use nix::sys::prctl::set_timerslack;
use rtrb::Producer;

use crate::clock::Clock;
use crate::handoff::Handoff;
use crate::load::{Depths, Load, Meter};
use crate::port::prefetch::prefetch;
use crate::port::{Burst, Ports};

/// Turns between two looks at the clock, commands and the wish to stop.
const TURNS_PER_LOOK: u32 = 32;
/// Records of other directors taken in one look around.
const TAKEN: usize = 4 * BURST;
/// Turns without a frame after which an idle worker gives way.
const IDLE_TURNS: u32 = 64;
/// For how long it does. Under a steady `sched_yield` Linux 6.18 was seen to run nothing else for
/// seconds, not even its own threads, when the daemon was in a scheduling group (as of a session).
const IDLE_PAUSE: Duration = Duration::from_micros(20);
/// Tries to send a burst before what is left of it is dropped.
const SEND_TRIES: u32 = 16;

/// Between two looks at the commands before the first packet.
const WAITING_PAUSE: Duration = Duration::from_micros(200);

/// What a worker does when nothing comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: the core is its own.
    Spin,
    /// Sleeps for moments, so that others of the core run.
    Yield,
}

/// A command with the way for its reply.
pub struct Envelope {
    /// What to do.
    pub command: Command,
    /// Where the worker answers.
    pub reply: Sender<Reply>,
}

/// A worker's ways to its peers and to control.
pub struct Links<F> {
    /// Rings for frames.
    pub handoff: Handoff<F>,
    /// Commands of control.
    pub commands: Receiver<Envelope>,
    /// Link-layer addresses that peers have heard of.
    pub learned: Receiver<Learned>,
    /// The peers' ends of the same.
    pub peers: Vec<Sender<Learned>>,
    /// What backups are to be told.
    pub told: Producer<Record>,
    /// What other directors have told.
    pub taken: Receiver<(Record, Told)>,
    /// Packets for whoever speaks VRRP.
    pub punted: Sender<Punted>,
    /// Packets of that one, at one of the workers.
    pub outgoing: Option<Receiver<Outgoing>>,
    /// Set when the daemon stops.
    pub stop: Arc<AtomicBool>,
    /// What the worker shows of itself.
    pub load: Arc<Load>,
}

/// A worker: a shard, its ports and its links.
pub struct Worker<P: Ports> {
    shard: Shard<P::Frame>,
    outbox: Outbox<P>,
    links: Links<P::Frame>,
    counters: Arc<Counters>,
    clock: Clock,
    idle: Idle,
    /// Bursts since the last look at the clock.
    bursts: u64,
    depths: Depths,
}

impl<P: Ports> Worker<P> {
    /// Puts a worker together; it runs on the thread that calls [`Worker::run`].
    pub fn new(
        shard: Shard<P::Frame>,
        ports: P,
        links: Links<P::Frame>,
        counters: Arc<Counters>,
        clock: Clock,
        idle: Idle,
    ) -> Self {
        let outbox = Outbox::new(ports, Arc::clone(&counters), Arc::clone(&links.load));
        let depths = Depths::default();
        Self { shard, outbox, links, counters, clock, idle, bursts: 0, depths }
    }

    /// Carries out commands, but leaves frames at the ports, until `go` is set or the daemon stops.
    pub fn wait_for(&mut self, go: &AtomicBool) {
        let _guard = AbortOnPanic;
        while !go.load(Ordering::Acquire) && !self.links.stop.load(Ordering::Relaxed) {
            self.look_around(self.clock.now());
            thread::sleep(WAITING_PAUSE);
        }
    }

    /// Tells every link which addresses are here from now on.
    pub fn announce(&mut self) {
        self.shard.announce(&mut self.outbox);
        self.outbox.flush();
    }

    /// Runs until the daemon stops. A panic ends the whole process: a daemon that answers its
    /// control socket but forwards nothing would keep a standby from taking over.
    pub fn run(&mut self) {
        let _guard = AbortOnPanic;
        if self.idle == Idle::Yield {
            // Else Linux may make each pause 50 us longer.
            let _ = set_timerslack(1);
        }
        let now_ns = self.clock.now_ns();
        let (mut now, mut meter) = (Clock::tick(now_ns), Meter::start(now_ns));
        let (mut turn, mut idle_turns) = (0_u32, 0_u32);
        loop {
            let busy = self.turn(now);
            meter.turn(busy);
            let mut is_wanted = busy;
            if turn.is_multiple_of(TURNS_PER_LOOK) || !busy {
                let now_ns = self.clock.now_ns();
                now = Clock::tick(now_ns);
                meter.look(now_ns, mem::take(&mut self.bursts), &self.links.load);
                is_wanted |= self.look_around(now);
                if self.links.stop.load(Ordering::Relaxed) {
                    return;
                }
            }
            turn = turn.wrapping_add(1);
            idle_turns = if is_wanted { 0 } else { idle_turns.saturating_add(1) };
            if idle_turns >= IDLE_TURNS && self.idle == Idle::Yield {
                thread::sleep(IDLE_PAUSE);
                meter.pass(self.clock.now_ns(), &self.links.load);
            }
        }
    }

    /// One turn over all ports and rings; says whether a frame was there.
    pub fn turn(&mut self, now: Tick) -> bool {
        let mut burst = Burst::new();
        let mut busy = false;
        for n in 0..self.outbox.ports.ids().len() {
            let port = self.outbox.ports.ids()[n];
            self.outbox.ports.receive(port, &mut burst);
            busy |= self.judge(now, &mut burst);
        }
        for peer in 0..self.links.handoff.peers() {
            self.links.handoff.receive(peer, &mut burst);
            busy |= self.judge(now, &mut burst);
        }
        self.outbox.flush();
        busy
    }

    /// Gives every frame of a burst its verdict, and carries it out.
    fn judge(&mut self, now: Tick, burst: &mut Burst<P::Frame>) -> bool {
        if burst.is_empty() {
            return false;
        }
        self.bursts += 1;
        let mut verdicts = [Verdict::Consumed; BURST];
        self.shard.process(now, &self.outbox, burst, &mut verdicts);
        for (frame, verdict) in burst.drain(..).zip(verdicts) {
            match verdict {
                Verdict::Transmit(port) => self.outbox.send(port, frame),
                Verdict::Drop(_) | Verdict::Consumed => self.outbox.release(frame),
                Verdict::ToOwner(owner) => {
                    self.counters.handed_over.add(1);
                    if let Err(frame) = self.links.handoff.send(owner, frame) {
                        self.counters.count_drop(DropReason::HandoffFull, 1);
                        self.outbox.release(frame);
                    }
                }
                Verdict::Hold(hop) => {
                    if let Err((frame, _)) = self.shard.hold(now, &mut self.outbox, hop, frame) {
                        self.outbox.release(frame);
                    }
                }
            }
        }
        if self.shard.has_told() {
            self.tell();
        }
        while let Some(punted) = self.shard.take_punted() {
            if self.links.punted.try_send(punted).is_err() {
                self.counters.count_drop(DropReason::RoutersQueueFull, 1);
            }
        }
        while let Some(learned) = self.shard.take_learned() {
            self.shard.learn(now, &mut self.outbox, &learned);
            for peer in &self.links.peers {
                // A peer whose queue is full asks for itself.
                let _ = peer.try_send(learned);
            }
        }
        true
    }

    /// Hands on what backups are to be told; where the way is full it is lost, and counted.
    #[cold]
    fn tell(&mut self) {
        for record in self.shard.fetch_told() {
            if self.links.told.push(record).is_err() {
                self.counters.sync.untold.add(1);
            }
        }
    }

    /// What is due now and then: expiry, next hops, control. Says whether somebody wanted something.
    pub fn look_around(&mut self, now: Tick) -> bool {
        let mut is_wanted = false;
        self.shard.tick(now, &mut self.outbox);
        if self.shard.has_told() {
            self.tell();
        }
        for learned in self.links.learned.try_iter().take(BURST) {
            self.shard.learn(now, &mut self.outbox, &learned);
        }
        for (record, told) in self.links.taken.try_iter().take(TAKEN) {
            self.shard.take(now, &record, told);
            is_wanted = true;
        }
        if let Some(outgoing) = &self.links.outgoing {
            for packet in outgoing.try_iter().take(BURST) {
                self.shard.send_packet(&mut self.outbox, &packet);
            }
        }
        if let Ok(Envelope { command, reply }) = self.links.commands.try_recv() {
            is_wanted = true;
            // Control has gone when nobody takes the reply: the daemon is stopping.
            let _ = reply.send(self.shard.apply(now, command));
        }
        if self.depths.is_due(now) {
            let (rings, queues) = (self.links.handoff.waiting(), self.outbox.ports.waiting());
            self.depths.look(now, rings, queues, &self.links.load);
            self.links.load.connections.set(u64::from(self.shard.connections()));
        }
        self.outbox.flush();
        is_wanted
    }
}

/// Ends the process when its thread panics.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}

/// Frames on their way out of a worker: to ports, or back to their pool.
struct Outbox<P: Ports> {
    ports: P,
    /// One for each port, in the order of their numbers.
    outgoing: Vec<(PortId, Burst<P::Frame>)>,
    released: Burst<P::Frame>,
    counters: Arc<Counters>,
    load: Arc<Load>,
}

impl<P: Ports> Outbox<P> {
    fn new(ports: P, counters: Arc<Counters>, load: Arc<Load>) -> Self {
        let outgoing = ports.ids().iter().map(|&id| (id, Burst::new())).collect();
        Self { ports, outgoing, released: ArrayVec::new(), counters, load }
    }

    fn flush(&mut self) {
        for place in 0..self.outgoing.len() {
            self.flush_port(place);
        }
        if !self.released.is_empty() {
            self.ports.release(&mut self.released);
        }
    }

    fn flush_port(&mut self, place: usize) {
        let (id, burst) = &mut self.outgoing[place];
        if burst.is_empty() {
            return;
        }
        let count = burst.len();
        for _ in 0..SEND_TRIES {
            self.ports.transmit(*id, burst);
            if burst.is_empty() {
                break;
            }
        }
        let lost = burst.len();
        self.counters.transmitted.add((count - lost) as u64);
        if lost > 0 {
            self.counters.count_drop(DropReason::TransmitFull, lost as u64);
            self.load.queue_full[place].add(lost as u64);
            self.ports.release(burst);
        }
    }
}

impl<P: Ports> Host for Outbox<P> {
    type Frame = P::Frame;

    fn allocate(&mut self, length: usize) -> Option<P::Frame> {
        self.ports.allocate(length)
    }

    #[inline]
    fn send(&mut self, port: PortId, frame: P::Frame) {
        let place = self.outgoing.iter().position(|(id, _)| *id == port);
        let place = place.expect("the dataplane names only ports of its topology");
        if self.outgoing[place].1.is_full() {
            self.flush_port(place);
        }
        self.outgoing[place].1.push(frame);
    }

    #[inline]
    fn release(&mut self, frame: P::Frame) {
        if self.released.is_full() {
            self.ports.release(&mut self.released);
        }
        self.released.push(frame);
    }

    #[inline]
    fn prefetch<T>(&self, at: &T) {
        prefetch(at);
    }
}
