//! Two to five directors on a network that loses, delays and parts: when it is whole again there
//! is one master, the right one, and it stays; and when directors go, another takes over in time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod network;

use dataplane::vrrp::{Auth, Config, State, Version};
use network::{MOST_DELAY, MOST_LATE, Network, Random};

const SEEDS: u64 = 4_000;
const CENTISECOND: u64 = 10_000;
const SECOND: u64 = 1_000_000;

/// One seed's directors, and how long things may take with them.
struct Case {
    network: Network,
    preempts: bool,
    /// Whether directors have intervals of their own. Then, while several take over at once, one
    /// may wait a moment for the wrong one.
    is_mixed: bool,
    version: Version,
    /// Longest interval, in microseconds.
    interval: u64,
    /// Longest preempt delay.
    delay: u64,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let version = if random.chance(25) { Version::V2 } else { Version::V3 };
        let is_six = version == Version::V3 && random.chance(40);
        let (count, links) = (random.below(4) + 2, random.below(2) + 1);
        let preempts = random.chance(65);
        let has_equals = random.chance(30);
        let is_mixed = version == Version::V3 && random.chance(20);
        let common = match version {
            Version::V2 => random.pick(&[100, 200]),
            Version::V3 => random.pick(&[1, 2, 10, 100]),
        };
        let delay = if random.chance(25) { random.below(20) * CENTISECOND } else { 0 };
        let auth = match version {
            Version::V2 if random.chance(50) => Auth::password("secret"),
            _ => Auth::None,
        };
        let mut interval = 0;
        let directors = (0..count).map(|n| {
            let owns = n == 0 && random.chance(10);
            let priority = match () {
                () if owns => 255,
                () if has_equals => random.pick(&[100, 101]),
                () => random.below(253) as u8 + 2,
            };
            let interval_cs = if is_mixed { random.pick(&[1, 5, 20]) } else { common };
            interval = interval.max(u64::from(interval_cs) * CENTISECOND);
            let member = |link: u64| Config {
                vrid: 10 + link as u8,
                version,
                source: address(is_six, link, n),
                addresses: [address(is_six, link, 100), address(is_six, link, 101)].into(),
                priority,
                interval_cs,
                preempt: preempts,
                preempt_delay_us: delay,
                initial_delay_us: 0,
                auth,
                pseudo_header: n % 2 == 0,
            };
            (0..links).map(member).collect()
        });
        let directors = directors.collect();
        Self {
            network: Network::new(random, directors),
            preempts,
            is_mixed,
            version,
            interval,
            delay,
        }
    }

    /// Longest that a master's silence of 3 intervals, and the skew, can take.
    fn longest_silence(&self) -> u64 {
        3 * self.interval + self.interval.max(SECOND * u64::from(self.version == Version::V2))
    }

    /// How long a whole network may take to find its master.
    fn settling(&self) -> u64 {
        3 * self.longest_silence() + self.delay + 20 * (MOST_DELAY + MOST_LATE)
    }

    fn live(&mut self) {
        for n in 0..self.network.directors.len() {
            self.network.start(n);
        }
        self.network.loss_percent = self.network.random.pick(&[0, 5, 30]);
        self.network.damage_percent = self.network.random.pick(&[0, 2]);
        for _ in 0..self.network.random.below(30) {
            let pause = self.network.random.below(6 * self.interval);
            self.network.run(pause);
            self.something_happens();
        }
    }

    fn something_happens(&mut self) {
        let network = &mut self.network;
        let n = network.random.below(network.directors.len() as u64) as usize;
        let link = network.random.below(network.parts.len() as u64) as usize;
        match network.random.below(10) {
            0 => network.kill(n),
            1 | 2 if !network.directors[n].is_alive => network.start(n),
            1 | 2 => network.parts[link][n] = network.random.below(3),
            3 => network.parts[link].fill(0),
            4 => network.release(n),
            5 => network.directors[n].group.reclaim(network.now),
            6 => network.set_fault(n, link, true),
            7 => network.set_fault(n, link, false),
            8 => network.sleep(n, network.random.0 % (10 * self.interval)),
            _ => {
                let priority = network.random.below(253) as u8 + 2;
                for member in 0..network.parts.len() {
                    network.directors[n].group.set_priority(network.now, member, priority);
                }
            }
        }
    }

    /// The one master that there is, if any director may be.
    fn the_master(&self, when: &str) -> Option<usize> {
        let (masters, eligible) = (self.network.masters(), self.network.eligible());
        assert_eq!(masters.len(), eligible.len().min(1), "{when}: {masters:?} of {eligible:?}");
        let master = *masters.first()?;
        let priority = |n: usize| self.network.directors[n].priority();
        let highest = eligible.iter().map(|&n| priority(n)).max();
        assert!(eligible.contains(&master), "{when}");
        if self.preempts {
            assert_eq!(Some(priority(master)), highest, "{when}");
        }
        Some(master)
    }

    /// Nothing changes for a while.
    fn check_calm(&mut self, when: &str) {
        let changes = self.network.changes.len();
        self.network.run(12 * self.interval);
        assert_eq!(self.network.changes[changes..], [], "{when}");
    }

    /// The network is whole again.
    fn heal(&mut self) {
        self.network.heal();
        self.network.run(self.settling());
        self.the_master("after healing");
        self.check_calm("after healing");
        for n in 0..self.network.directors.len() {
            for member in 0..self.network.parts.len() {
                self.network.set_fault(n, member, false);
            }
        }
        self.network.run(self.settling());
        self.the_master("after faults");
        self.check_calm("after faults");
    }

    /// Longest wait until the best of those left takes over from `master`, who says so or not.
    fn takeover(&self, master: usize, intervals: u64) -> u64 {
        let left = self.network.eligible().into_iter().filter(|&n| n != master);
        let best = left.map(|n| self.network.directors[n].priority()).max().unwrap();
        let interval = self.network.directors[master].configs[0].interval_cs;
        let interval = u64::from(interval) * CENTISECOND;
        let unit = if self.version == Version::V2 { SECOND } else { interval };
        let skew = (256 - u64::from(best)) * unit / 256;
        intervals * interval + skew + MOST_DELAY + MOST_LATE
    }

    /// The master hands over, and is master again only when all others are gone.
    fn hand_over(&mut self) {
        let Some(master) = self.network.masters().first().copied() else { return };
        let others: Vec<_> = self.network.eligible().into_iter().filter(|&n| n != master).collect();
        let is_last = others.iter().all(|&n| self.network.directors[n].is_released());
        if others.is_empty() || is_last || self.network.directors[master].is_released() {
            return;
        }
        let end = self.network.now + self.takeover(master, 0);
        self.network.release(master);
        assert!(!self.network.directors[master].is_master());
        let is_taken = self.network.run_until(end, |network| !network.masters().is_empty());
        assert!(is_taken && !self.network.directors[master].is_master(), "handed over");
        let changes = self.network.changes.len();
        self.network.run(self.settling());
        assert!(self.the_master("after the handover").is_some_and(|next| next != master));
        let came_back =
            |&(_, n, _, state, _): &(_, usize, _, State, _)| n == master && state == State::Master;
        let has_come_back = self.network.changes[changes..].iter().any(came_back);
        assert!(!has_come_back || self.is_mixed, "released is released");
    }

    /// One master after the other dies, until one director is left.
    fn die(&mut self) {
        while self.network.eligible().len() > 1 {
            let master = self.the_master("before a death").unwrap();
            let end = self.network.now + self.takeover(master, 3);
            self.network.kill(master);
            let is_taken = self.network.run_until(end, |network| !network.masters().is_empty());
            assert!(is_taken, "taken over in time");
            self.network.run(self.settling());
            self.the_master("after a death");
            self.check_calm("after a death");
        }
    }
}

fn address(is_six: bool, link: u64, n: u64) -> std::net::IpAddr {
    match is_six {
        true => [0xfe80, 0, 0, 0, 0, 0, link as u16, n as u16 + 1].into(),
        false => [10, link as u8, 0, n as u8 + 1].into(),
    }
}

/// Names the seed when it fails.
fn for_seeds(seeds: impl Iterator<Item = u64>, check: impl Fn(&mut Case)) {
    for seed in seeds {
        let mut case = Case::new(seed);
        let run = std::panic::AssertUnwindSafe(|| check(&mut case));
        if let Err(panic) = std::panic::catch_unwind(run) {
            let from = case.network.changes.len().saturating_sub(40);
            eprintln!("seed {seed}, at {} us:", case.network.now);
            for change in &case.network.changes[from..] {
                eprintln!("  {change:?}");
            }
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_happened_one_master_is_found_and_replaced_in_time() {
    for_seeds(0..SEEDS, |case| {
        case.live();
        case.heal();
        case.hand_over();
        case.die();
    });
}

/// Those that only ever start and die, as directors mostly do.
#[test]
fn quiet_lives_end_in_takeovers_in_time() {
    for_seeds(SEEDS..SEEDS + SEEDS / 4, |case| {
        for n in 0..case.network.directors.len() {
            case.network.start(n);
        }
        case.heal();
        case.die();
    });
}

/// As long as half of the links of a group is parted, nothing flaps: at most one side of a link
/// has a master, and no state changes once it has settled.
#[test]
fn a_group_parted_on_one_link_does_not_flap() {
    for_seeds(2 * SEEDS..2 * SEEDS + SEEDS / 4, |case| {
        if case.network.parts.len() < 2 {
            return;
        }
        for n in 0..case.network.directors.len() {
            case.network.start(n);
        }
        if case.network.random.chance(50) {
            case.network.run(case.settling());
        }
        for n in 0..case.network.directors.len() {
            case.network.parts[0][n] = case.network.random.below(3);
        }
        case.network.run(2 * case.settling());
        case.check_calm("parted on one link");
        case.heal();
    });
}

/// With a hundred advertisements a second a death is made good within 40 ms, whatever the
/// priorities.
#[test]
fn the_fastest_take_over_within_40_ms() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let member = |n: u64, priority| Config {
            vrid: 1,
            version: Version::V3,
            source: address(false, 0, n),
            addresses: [address(false, 0, 100)].into(),
            priority,
            interval_cs: 1,
            preempt: true,
            preempt_delay_us: 0,
            initial_delay_us: 0,
            auth: Auth::None,
            pseudo_header: true,
        };
        let next = random.below(100) as u8 + 100;
        let directors = vec![[member(0, 250)].into(), [member(1, next)].into()];
        let mut network = Network::new(random, directors);
        network.start(0);
        network.start(1);
        network.run(SECOND + seed * 77);
        assert_eq!(network.masters(), [0]);
        network.kill(0);
        let end = network.now + 40_000;
        assert!(network.run_until(end, |network| network.masters() == [1]), "seed {seed}");
    }
}
