//! One virtual router: who is master, and when that changes (RFC 9568 section 6, RFC 3768 section
//! 6).
//!
//! Time is handed in, in microseconds since any start. A time before one that has been handed in
//! counts as that one: nothing has passed. After a jump ahead, as when the host was suspended, the
//! caller hands in everything that has been received meanwhile **before** it calls
//! [`Router::poll`]; a backup that is called more than an interval after its deadline listens for
//! one interval more before it believes that the master is gone.

use core::mem;
use core::net::IpAddr;

use super::codec::{Advertisement, Version};
use super::config::{Config, ConfigError};
use super::state::{Action, Reason, Sink, State};
use super::{Counters, OWNER, RESIGNED, Rejection};

/// Skew of version 2 is in these, whatever the interval (RFC 3768 section 6.1).
const SECOND_US: u64 = 1_000_000;
/// Intervals without an advertisement after which a master is gone.
const INTERVALS_TO_SILENCE: u64 = 3;
/// Priority of a released router: the lowest, so that it is master only when nobody else is.
const LOWEST: u8 = 1;
/// Highest priority of a router that does not own the addresses.
const HIGHEST: u8 = OWNER - 1;

/// A master as a backup has heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its own address.
    pub source: IpAddr,
    /// Its priority.
    pub priority: u8,
}

/// One virtual router.
#[derive(Debug)]
pub struct Router {
    config: Config,
    state: State,
    /// Latest time handed in.
    now: u64,
    /// Since when it has its state.
    since: u64,
    /// When [`Router::poll`] is due: end of the initial delay, of the wait for the master, or of
    /// the interval.
    timer: Option<u64>,
    /// End of the initial delay.
    ready_at: u64,
    is_started: bool,
    is_released: bool,
    has_fault: bool,
    /// Whether a group decides when it becomes master.
    is_member: bool,
    /// Why it would be master, if its group were.
    claim: Option<Reason>,
    /// As tracking has left it.
    priority: u8,
    /// The master that it follows.
    master: Option<Heard>,
    /// That master's interval.
    master_interval_us: u64,
    /// The master has resigned, so the timer is short.
    has_resigned: bool,
    /// A master of lower priority has been heard and not accepted.
    is_outranking: bool,
    /// When a master of lower priority is no longer put up with.
    preempt_at: Option<u64>,
    /// It was late, and has listened for an interval more.
    has_listened_again: bool,
    /// When it last answered an advertisement.
    answered_at: Option<u64>,
    counters: Counters,
}

impl Router {
    /// A router that has not started.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            state: State::Initialize,
            now: 0,
            since: 0,
            timer: None,
            ready_at: 0,
            is_started: false,
            is_released: false,
            has_fault: false,
            is_member: false,
            claim: None,
            priority: config.priority,
            master: None,
            master_interval_us: config.interval_us(),
            has_resigned: false,
            is_outranking: false,
            preempt_at: None,
            has_listened_again: false,
            answered_at: None,
            counters: Counters::default(),
            config,
        })
    }

    /// Starts it, after its initial delay. Nothing happens if it has started.
    pub fn start(&mut self, now: u64, sink: Sink<'_>) {
        let now = self.advance(now);
        if !mem::replace(&mut self.is_started, true) {
            self.ready_at = now.saturating_add(self.config.initial_delay_us);
            self.enter(Reason::Started, sink);
        }
    }

    /// Stops it; a master resigns.
    pub fn stop(&mut self, now: u64, sink: Sink<'_>) {
        self.advance(now);
        if mem::replace(&mut self.is_started, false) {
            self.leave(State::Initialize, Reason::Stopped, sink);
        }
    }

    /// Takes an advertisement that came from `source`.
    ///
    /// # Errors
    /// Why it was rejected, which has been counted.
    pub fn receive(
        &mut self,
        now: u64,
        advertisement: &Advertisement,
        source: IpAddr,
        sink: Sink<'_>,
    ) -> Result<(), Rejection> {
        self.advance(now);
        if let Err(reason) = self.accept(advertisement, source) {
            self.counters.rejected.count(reason);
            return Err(reason);
        }
        self.counters.received += 1;
        if advertisement.priority == RESIGNED {
            self.counters.zero_received += 1;
        }
        match self.state {
            State::Master => self.hear_as_master(advertisement, source, sink),
            _ => self.hear_as_backup(advertisement, source),
        }
        Ok(())
    }

    /// Does what is due. What had been received until then has to be handed in before.
    pub fn poll(&mut self, now: u64, sink: Sink<'_>) {
        let now = self.advance(now);
        let Some(due) = self.timer.filter(|&due| due <= now) else { return };
        match self.state {
            State::Initialize => self.enter(Reason::Started, sink),
            State::Backup => self.master_is_gone(now - due, sink),
            State::Master => {
                self.advertise(self.effective_priority(), sink);
                // From one due time to the next, so that intervals do not grow.
                let next = due.saturating_add(self.config.interval_us());
                match next > now {
                    true => self.timer = Some(next),
                    false => self.wait(self.config.interval_us()),
                }
            }
            State::Fault => self.timer = None,
        }
    }

    /// When [`Router::poll`] is to be called next; never, if nothing is awaited.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timer
    }

    /// Sets the priority, as tracking has lowered or raised it; at least 1 and at most 254. It is
    /// in force from the next advertisement on. An owner's never changes.
    pub fn set_priority(&mut self, now: u64, priority: u8) {
        self.advance(now);
        if self.config.is_owner() {
            return;
        }
        let was = mem::replace(&mut self.priority, priority.clamp(LOWEST, HIGHEST));
        if self.priority < was {
            self.judge_again();
        }
    }

    /// Says whether there is a fault. With one, a master resigns and nothing is heard.
    pub fn set_fault(&mut self, now: u64, fault: bool, sink: Sink<'_>) {
        let reason = if fault { Reason::FaultFound } else { Reason::FaultGone };
        self.change_fault(now, fault, reason, sink);
    }

    /// Hands the addresses over: a master resigns. From then on the router ranks lowest, so that
    /// it is master only when no other is left, until [`Router::reclaim`].
    pub fn release(&mut self, now: u64, sink: Sink<'_>) {
        self.advance(now);
        self.is_released = true;
        match self.state {
            State::Master => self.resign(Reason::Released, sink),
            _ => self.judge_again(),
        }
    }

    /// Ranks as configured again.
    pub fn reclaim(&mut self, now: u64) {
        self.advance(now);
        self.is_released = false;
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When it took its state.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The master that it follows, when it is a backup and has heard one.
    #[must_use]
    pub fn master(&self) -> Option<Heard> {
        self.master
    }

    /// The priority that it advertises, or would.
    #[must_use]
    pub fn effective_priority(&self) -> u8 {
        if self.is_released { LOWEST } else { self.priority }
    }

    /// Whether it has been released and not reclaimed.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.is_released
    }

    /// How long a master may be silent, in microseconds (`Active_Down_Interval`).
    #[must_use]
    pub fn down_us(&self) -> u64 {
        INTERVALS_TO_SILENCE * self.master_interval_us + self.skew_us()
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Leaves it to a group when it becomes master.
    pub(super) fn join(&mut self) {
        self.is_member = true;
    }

    /// Why it would be master, if its group were.
    pub(super) fn claim(&self) -> Option<Reason> {
        self.claim
    }

    /// Becomes master, as its group does.
    pub(super) fn promote(&mut self, now: u64, reason: Reason, sink: Sink<'_>) {
        self.advance(now);
        if self.state == State::Backup {
            self.take_over(reason, sink);
        }
    }

    /// Resigns, as its group does.
    pub(super) fn demote(&mut self, now: u64, sink: Sink<'_>) {
        self.advance(now);
        if self.state == State::Master {
            self.resign(Reason::Group, sink);
        }
    }

    /// Says whether there is a fault, and why the state changes by it.
    pub(super) fn change_fault(&mut self, now: u64, fault: bool, reason: Reason, sink: Sink<'_>) {
        self.advance(now);
        self.has_fault = fault;
        if !self.is_started {
            return;
        }
        match (fault, self.state) {
            (true, State::Fault) => {}
            (true, _) => self.leave(State::Fault, reason, sink),
            (false, State::Fault) => self.enter(reason, sink),
            (false, _) => {}
        }
    }

    fn advance(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    /// `Skew_Time`: the higher the priority, the sooner.
    fn skew_us(&self) -> u64 {
        let unit = match self.config.version {
            Version::V2 => SECOND_US,
            Version::V3 => self.master_interval_us,
        };
        (256 - u64::from(self.effective_priority())) * unit / 256
    }

    /// Whether an advertisement is about this virtual router, and may be listened to.
    ///
    /// Another list of addresses is rejected, whoever sent it, as keepalived does: then two
    /// masters hold addresses that differ, of which one may be held by both; but the identifier
    /// may just as well have been used twice by mistake. RFC 3768 would have us listen to an
    /// owner, RFC 9568 leaves it open.
    fn accept(&self, advertisement: &Advertisement, source: IpAddr) -> Result<(), Rejection> {
        let config = &self.config;
        if advertisement.vrid != config.vrid {
            return Err(Rejection::UnknownVrid);
        }
        if source.is_ipv4() != config.source.is_ipv4() {
            return Err(Rejection::Family);
        }
        if source == config.source {
            return Err(Rejection::OwnSource);
        }
        if advertisement.version != config.version {
            return Err(Rejection::Version);
        }
        if mem::discriminant(&advertisement.auth) != mem::discriminant(&config.auth) {
            return Err(Rejection::AuthType);
        }
        if advertisement.auth != config.auth {
            return Err(Rejection::AuthData);
        }
        let must_match = config.version == Version::V2;
        let interval = advertisement.interval_cs;
        if interval == 0 || must_match && interval != config.interval_cs {
            return Err(Rejection::Interval);
        }
        if advertisement.addresses.len() != config.addresses.len() {
            return Err(Rejection::AddressCount);
        }
        if !config.has_addresses(&advertisement.addresses) {
            return Err(Rejection::AddressList);
        }
        match self.state {
            State::Initialize | State::Fault => Err(Rejection::Idle),
            State::Backup | State::Master => Ok(()),
        }
    }

    fn hear_as_backup(&mut self, advertisement: &Advertisement, source: IpAddr) {
        if advertisement.priority == RESIGNED {
            // One of two masters that resigns does not mean the one that is followed.
            if self.master.is_none_or(|master| master.source == source) {
                let soon = self.now.saturating_add(self.skew_us());
                self.timer = self.timer.map(|timer| timer.min(soon));
                self.has_resigned = true;
                self.master = None;
            }
            return;
        }
        let is_lower = advertisement.priority < self.effective_priority();
        if is_lower && self.preempts() {
            self.is_outranking = true;
            return;
        }
        if !is_lower {
            self.preempt_at = None;
        }
        // Of two masters, the one with the longer interval may be the one that stays.
        let is_another = self.master.is_some_and(|master| master.source != source);
        let until = self.timer.filter(|_| is_another);
        self.listen(advertisement.interval_us());
        self.timer = self.timer.max(until);
        self.master = Some(Heard { source, priority: advertisement.priority });
    }

    fn hear_as_master(&mut self, advertisement: &Advertisement, source: IpAddr, sink: Sink<'_>) {
        let (theirs, ours) = (advertisement.priority, self.effective_priority());
        let reason = if theirs == RESIGNED {
            self.answer(false, sink);
            return;
        } else if theirs > ours {
            Reason::HigherPriority
        } else if theirs == ours && source > self.config.source {
            Reason::HigherAddress
        } else {
            // Told at once, it yields before clients have learnt its address.
            self.counters.contested += 1;
            self.answer(true, sink);
            return;
        };
        self.turn(State::Backup, reason, sink);
        self.listen(advertisement.interval_us());
        self.master = Some(Heard { source, priority: theirs });
    }

    /// Advertises at once, unless it has just done so: then soon, so that a flood is not answered
    /// by another.
    fn answer(&mut self, announce: bool, sink: Sink<'_>) {
        let interval = self.config.interval_us();
        let again_at = self.answered_at.map_or(0, |at| at.saturating_add(interval / 4));
        if self.now < again_at {
            self.timer = self.timer.map(|timer| timer.min(again_at));
            return;
        }
        self.answered_at = Some(self.now);
        self.advertise(self.effective_priority(), sink);
        self.wait(interval);
        if announce {
            sink(Action::Announce);
        }
    }

    /// Whether a master of lower priority is to be replaced.
    fn preempts(&mut self) -> bool {
        if self.config.is_owner() {
            return true;
        }
        let due = self.now.saturating_add(self.config.preempt_delay_us);
        self.config.preempt && *self.preempt_at.get_or_insert(due) <= self.now
    }

    /// Listens anew to a master that it was about to preempt, for it ranks lower than it did.
    fn judge_again(&mut self) {
        if self.state == State::Backup && self.is_outranking {
            self.listen(self.master_interval_us);
        }
    }

    fn resign(&mut self, reason: Reason, sink: Sink<'_>) {
        self.leave(State::Backup, reason, sink);
        self.listen(self.config.interval_us());
    }

    fn wait(&mut self, us: u64) {
        self.timer = Some(self.now.saturating_add(us));
    }

    /// Waits for a master that advertises at some interval.
    fn listen(&mut self, interval_us: u64) {
        self.master_interval_us = interval_us;
        self.wait(self.down_us());
        self.claim = None;
        self.has_resigned = false;
        self.is_outranking = false;
        self.has_listened_again = false;
    }

    fn master_is_gone(&mut self, late_us: u64, sink: Sink<'_>) {
        // The host slept: its queues may have overflowed, so silence means nothing. Only once:
        // a host that always is late must be able to take over, too.
        if late_us > self.master_interval_us && !mem::replace(&mut self.has_listened_again, true) {
            self.counters.late += 1;
            self.wait(self.master_interval_us + self.skew_us());
            return;
        }
        let reason = if self.has_resigned {
            Reason::MasterResigned
        } else if self.is_outranking {
            Reason::Preempted
        } else {
            Reason::MasterSilent
        };
        self.claim_or_take_over(reason, sink);
    }

    fn claim_or_take_over(&mut self, reason: Reason, sink: Sink<'_>) {
        if self.is_member {
            self.timer = None;
            self.claim = Some(reason);
        } else {
            self.take_over(reason, sink);
        }
    }

    /// Goes where it belongs after a start or a fault.
    fn enter(&mut self, reason: Reason, sink: Sink<'_>) {
        if self.has_fault {
            self.timer = None;
            self.turn(State::Fault, Reason::FaultFound, sink);
        } else if self.now < self.ready_at {
            if self.state != State::Initialize {
                self.turn(State::Initialize, reason, sink);
            }
            self.timer = Some(self.ready_at);
        } else if self.config.is_owner() && !self.is_released {
            if self.is_member {
                self.turn(State::Backup, reason, sink);
                self.listen(self.config.interval_us());
            }
            self.claim_or_take_over(Reason::Owner, sink);
        } else {
            self.turn(State::Backup, reason, sink);
            self.listen(self.config.interval_us());
        }
    }

    fn take_over(&mut self, reason: Reason, sink: Sink<'_>) {
        self.counters.became_master += 1;
        self.advertise(self.effective_priority(), sink);
        self.turn(State::Master, reason, sink);
        self.wait(self.config.interval_us());
    }

    /// Goes to a state other than master. The addresses are given up before others are told to
    /// take them.
    fn leave(&mut self, state: State, reason: Reason, sink: Sink<'_>) {
        let was_master = self.state == State::Master;
        if self.state != state {
            self.turn(state, reason, sink);
        }
        self.timer = None;
        if was_master {
            self.advertise(RESIGNED, sink);
        }
    }

    fn turn(&mut self, state: State, reason: Reason, sink: Sink<'_>) {
        self.state = state;
        self.since = self.now;
        self.claim = None;
        self.master = None;
        self.preempt_at = None;
        self.answered_at = None;
        sink(Action::Became(state, reason));
    }

    fn advertise(&mut self, priority: u8, sink: Sink<'_>) {
        self.counters.sent += 1;
        if priority == RESIGNED {
            self.counters.zero_sent += 1;
        }
        sink(Action::Send(self.config.advertisement(priority)));
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
pub(crate) mod tests;
