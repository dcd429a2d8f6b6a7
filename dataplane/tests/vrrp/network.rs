//! Directors on a network that delays, loses, damages and parts; nothing but a seed decides.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::frame::Checksum;
use dataplane::vrrp::{Action, Advertisement, Config, Envelope, Group, PROTOCOL, Reason, State};

/// Longest way of a packet, in microseconds.
pub(crate) const MOST_DELAY: u64 = 500;
/// Longest that a director is late, in microseconds, unless it sleeps.
pub(crate) const MOST_LATE: u64 = 200;

/// Random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number under `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

pub(crate) struct Director {
    pub(crate) group: Group,
    pub(crate) configs: Vec<Config>,
    pub(crate) is_alive: bool,
    pub(crate) has_fault: bool,
    /// It does nothing until then.
    sleeps_until: u64,
    /// How late its next call is.
    late: u64,
    /// What came while it slept: link and packet.
    inbox: Vec<(usize, Vec<u8>)>,
}

impl Director {
    fn new(configs: Vec<Config>) -> Self {
        Self {
            group: Group::new(configs.clone()).unwrap(),
            configs,
            is_alive: false,
            has_fault: false,
            sleeps_until: 0,
            late: 0,
            inbox: Vec::new(),
        }
    }

    pub(crate) fn is_eligible(&self) -> bool {
        self.is_alive && !self.has_fault
    }

    pub(crate) fn is_master(&self) -> bool {
        self.is_alive && self.group.state() == State::Master
    }

    pub(crate) fn priority(&self) -> u8 {
        self.group.members()[0].effective_priority()
    }

    pub(crate) fn is_released(&self) -> bool {
        self.group.members()[0].is_released()
    }
}

/// A packet on its way, sorted by the time of its arrival.
type Flight = Reverse<(u64, u64, usize, usize, Vec<u8>)>;

pub(crate) struct Network {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) directors: Vec<Director>,
    pub(crate) loss_percent: u64,
    pub(crate) damage_percent: u64,
    /// Which part of each link a director is on.
    pub(crate) parts: Vec<Vec<u64>>,
    flights: BinaryHeap<Flight>,
    sent: u64,
    /// Latest arrival by link, sender and receiver.
    latest: Vec<Vec<Vec<u64>>>,
    /// Changes of state so far: when, who, which member, what.
    pub(crate) changes: Vec<(u64, usize, usize, State, Reason)>,
}

impl Network {
    pub(crate) fn new(random: Random, directors: Vec<Vec<Config>>) -> Self {
        let (links, count) = (directors[0].len(), directors.len());
        Self {
            now: 0,
            random,
            parts: vec![vec![0; count]; links],
            latest: vec![vec![vec![0; count]; count]; links],
            directors: directors.into_iter().map(Director::new).collect(),
            loss_percent: 0,
            damage_percent: 0,
            flights: BinaryHeap::new(),
            sent: 0,
            changes: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, n: usize) {
        let director = &mut self.directors[n];
        *director = Director { is_alive: true, ..Director::new(director.configs.clone()) };
        self.call(n, |group, now, sink| group.start(now, sink));
    }

    pub(crate) fn kill(&mut self, n: usize) {
        self.directors[n].is_alive = false;
    }

    pub(crate) fn set_fault(&mut self, n: usize, member: usize, fault: bool) {
        self.call(n, |group, now, sink| group.set_fault(now, member, fault, sink));
        let director = &mut self.directors[n];
        director.has_fault = director.group.state() == State::Fault;
    }

    pub(crate) fn sleep(&mut self, n: usize, us: u64) {
        self.directors[n].sleeps_until = self.now + us;
    }

    pub(crate) fn release(&mut self, n: usize) {
        self.call(n, |group, now, sink| group.release(now, sink));
    }

    /// Everyone reaches everyone, and nothing is lost.
    pub(crate) fn heal(&mut self) {
        (self.loss_percent, self.damage_percent) = (0, 0);
        for link in &mut self.parts {
            link.fill(0);
        }
        for director in &mut self.directors {
            director.sleeps_until = director.sleeps_until.min(self.now);
        }
    }

    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.directors.len()).filter(|&n| self.directors[n].is_master()).collect()
    }

    pub(crate) fn eligible(&self) -> Vec<usize> {
        (0..self.directors.len()).filter(|&n| self.directors[n].is_eligible()).collect()
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, us: u64) {
        let end = self.now + us;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until `end`, or until something is so, and says whether it is.
    pub(crate) fn run_until(&mut self, end: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        loop {
            if is_so(self) {
                return true;
            }
            let arrival = self.flights.peek().map(|Reverse((at, ..))| *at);
            let due = (0..self.directors.len()).filter_map(|n| Some((self.due(n)?, n))).min();
            let next = arrival.into_iter().chain(due.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|&next| next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            match due {
                Some((at, n)) if at == next => self.wake(n),
                _ => self.land(),
            }
        }
    }

    /// When a director does something by itself.
    fn due(&self, n: usize) -> Option<u64> {
        let director = &self.directors[n];
        if !director.is_alive {
            return None;
        }
        if !director.inbox.is_empty() {
            return Some(director.sleeps_until);
        }
        let deadline = director.group.next_deadline()?;
        Some((deadline + director.late).max(director.sleeps_until))
    }

    fn wake(&mut self, n: usize) {
        for (link, packet) in std::mem::take(&mut self.directors[n].inbox) {
            self.receive(n, link, &packet);
        }
        self.call(n, |group, now, sink| group.poll(now, sink));
        self.directors[n].late = self.random.below(MOST_LATE);
    }

    fn land(&mut self) {
        let Some(Reverse((_, _, to, link, packet))) = self.flights.pop() else { return };
        let director = &mut self.directors[to];
        if !director.is_alive {
            return;
        }
        if director.sleeps_until > self.now {
            director.inbox.push((link, packet));
        } else {
            self.receive(to, link, &packet);
        }
    }

    fn receive(&mut self, n: usize, link: usize, packet: &[u8]) {
        let (envelope, payload) = open(packet);
        let mut payload = payload.to_vec();
        if self.random.chance(self.damage_percent) {
            let bit = self.random.below(payload.len() as u64 * 8) as usize;
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(Advertisement::parse(&envelope, &payload).is_err());
            return;
        }
        let advertisement = Advertisement::parse(&envelope, &payload).unwrap();
        self.call(n, |group, now, sink| {
            // Rejected while it is in fault only: all are configured alike.
            let result = group.receive(now, link, &advertisement, envelope.source, sink);
            assert!(result.is_ok() || matches!(group.state(), State::Fault | State::Initialize));
        });
    }

    fn call(&mut self, n: usize, f: impl FnOnce(&mut Group, u64, &mut dyn FnMut(usize, Action))) {
        // Clocks are not perfect: sometimes one goes back.
        let back = if self.random.chance(10) { self.random.below(5_000) } else { 0 };
        let now = self.now.saturating_sub(back);
        let mut actions = Vec::new();
        let director = &mut self.directors[n];
        let states = |group: &Group| {
            group.members().iter().map(dataplane::vrrp::Router::state).collect::<Vec<_>>()
        };
        let mut before = states(&director.group);
        f(&mut director.group, now, &mut |member, action| actions.push((member, action)));
        let after = states(&director.group);
        // Members are master together or not at all.
        assert!(!after.contains(&State::Master) || after.iter().all(|&one| one == State::Master));
        for (member, action) in actions {
            match action {
                Action::Became(state, reason) => {
                    assert_ne!(before[member], state, "no change is no news");
                    before[member] = state;
                    self.changes.push((self.now, n, member, state, reason));
                }
                Action::Send(advertisement) => self.send(n, member, &advertisement),
                Action::Announce => assert_eq!(after[member], State::Master),
            }
        }
        assert_eq!(before, after, "every change is told");
    }

    fn send(&mut self, from: usize, link: usize, advertisement: &Advertisement) {
        let mut packet = Vec::new();
        let config = &self.directors[from].configs[link];
        advertisement.append_packet(config.source, config.pseudo_header, &mut packet);
        for to in 0..self.directors.len() {
            let is_reached = self.parts[link][from] == self.parts[link][to];
            if to != from && is_reached && !self.random.chance(self.loss_percent) {
                // Links keep the order of what one sends to another.
                let latest = &mut self.latest[link][from][to];
                let arrival = (self.now + self.random.below(MOST_DELAY)).max(*latest);
                *latest = arrival;
                self.sent += 1;
                self.flights.push(Reverse((arrival, self.sent, to, link, packet.clone())));
            }
        }
    }
}

/// Takes a packet apart as the host does.
fn open(packet: &[u8]) -> (Envelope, &[u8]) {
    fn parts<A: dataplane::packet::Network + Into<IpAddr>>(packet: &[u8]) -> (Envelope, &[u8]) {
        let ip = A::parse(packet, Checksum::Unknown).unwrap();
        assert_eq!((ip.protocol, usize::from(ip.total_length)), (PROTOCOL, packet.len()));
        let envelope =
            Envelope { source: ip.source.into(), destination: ip.destination.into(), ttl: ip.ttl };
        (envelope, &packet[usize::from(ip.header_length)..])
    }
    if packet[0] >> 4 == 4 { parts::<Ipv4Addr>(packet) } else { parts::<Ipv6Addr>(packet) }
}
