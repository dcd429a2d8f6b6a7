use super::*;
use crate::vrrp::Auth;
use alloc::vec::Vec;

const SECOND: u64 = SECOND_US;
const LOW: [u8; 4] = [192, 0, 2, 1];
const OWN: [u8; 4] = [192, 0, 2, 2];
const HIGH: [u8; 4] = [192, 0, 2, 3];

pub(crate) fn config(priority: u8) -> Config {
    Config {
        vrid: 51,
        version: Version::V3,
        source: OWN.into(),
        addresses: [[192, 0, 2, 10].into()].into(),
        priority,
        interval_cs: 100,
        preempt: true,
        preempt_delay_us: 0,
        initial_delay_us: 0,
        auth: Auth::None,
        pseudo_header: true,
    }
}

/// A router, and what it has been doing.
struct Bench {
    router: Router,
    actions: Vec<Action>,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { router: Router::new(config).unwrap(), actions: Vec::new() }
    }

    /// Started at 0.
    fn started(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.router.start(0, &mut |action| bench.actions.push(action));
        bench
    }

    /// Master since its first deadline, its actions taken.
    fn master(config: Config) -> Self {
        let mut bench = Self::started(config);
        bench.poll(bench.deadline());
        assert_eq!(bench.router.state(), State::Master);
        bench.actions.clear();
        bench
    }

    fn poll(&mut self, now: u64) {
        self.router.poll(now, &mut |action| self.actions.push(action));
    }

    fn hear(&mut self, now: u64, priority: u8, source: [u8; 4]) {
        let advertisement = self.router.config().advertisement(priority);
        self.hear_this(now, &advertisement, source).unwrap();
    }

    fn hear_this(
        &mut self,
        now: u64,
        advertisement: &Advertisement,
        source: [u8; 4],
    ) -> Result<(), Rejection> {
        let Self { router, actions } = self;
        router.receive(now, advertisement, source.into(), &mut |action| actions.push(action))
    }

    fn deadline(&self) -> u64 {
        self.router.next_deadline().unwrap()
    }

    fn took(&mut self) -> Vec<Action> {
        mem::take(&mut self.actions)
    }

    fn send(&self, priority: u8) -> Action {
        Action::Send(self.router.config().advertisement(priority))
    }
}

fn became(state: State, reason: Reason) -> Action {
    Action::Became(state, reason)
}

#[test]
fn a_router_alone_becomes_master_and_advertises() {
    let mut bench = Bench::started(config(100));
    assert_eq!(bench.took(), [became(State::Backup, Reason::Started)]);
    // Three intervals and 156/256 of one.
    assert_eq!(bench.deadline(), 3 * SECOND + 609_375);
    bench.poll(bench.deadline() - 1);
    assert_eq!(bench.took(), []);
    let start = bench.deadline();
    bench.poll(start);
    assert_eq!(bench.took(), [bench.send(100), became(State::Master, Reason::MasterSilent)]);
    // A late call does not shift the next one.
    assert_eq!(bench.deadline(), start + SECOND);
    bench.poll(start + SECOND + 300);
    assert_eq!((bench.took(), bench.deadline()), ([bench.send(100)].into(), start + 2 * SECOND));
    bench.router.stop(start + 2 * SECOND, &mut |action| bench.actions.push(action));
    assert_eq!(bench.took(), [became(State::Initialize, Reason::Stopped), bench.send(0)]);
    assert_eq!(bench.router.next_deadline(), None);
    let counters = bench.router.counters();
    assert_eq!((counters.sent, counters.zero_sent, counters.became_master), (3, 1, 1));
}

#[test]
fn skew_is_of_the_interval_in_version_3_and_of_a_second_in_version_2() {
    let mut with = config(100);
    with.interval_cs = 1;
    // Silence of an advertiser at 100 a second is known within 40 ms.
    assert_eq!(Bench::started(with.clone()).deadline(), 30_000 + 6_093);
    with.interval_cs = 200;
    assert_eq!(Bench::started(with.clone()).deadline(), 6 * SECOND + 1_218_750);
    with.version = Version::V2;
    assert_eq!(Bench::started(with).deadline(), 6 * SECOND + 609_375);
}

#[test]
fn the_owner_is_master_at_once() {
    let mut bench = Bench::started(config(OWNER));
    assert_eq!(bench.took(), [bench.send(OWNER), became(State::Master, Reason::Owner)]);
    bench.router.set_priority(1, 10);
    assert_eq!(bench.router.effective_priority(), OWNER);
}

#[test]
fn an_initial_delay_is_waited_for() {
    let mut bench = Bench::started(Config { initial_delay_us: 5 * SECOND, ..config(100) });
    assert_eq!((bench.took(), bench.deadline()), ([].into(), 5 * SECOND));
    let advertisement = bench.router.config().advertisement(200);
    assert_eq!(bench.hear_this(SECOND, &advertisement, HIGH), Err(Rejection::Idle));
    bench.poll(5 * SECOND);
    assert_eq!(bench.took(), [became(State::Backup, Reason::Started)]);
}

#[test]
fn a_backup_follows_the_masters_interval() {
    let mut bench = Bench::started(config(100));
    let mut advertisement = bench.router.config().advertisement(100);
    advertisement.interval_cs = 400;
    bench.hear_this(SECOND, &advertisement, LOW).unwrap();
    assert_eq!(bench.deadline(), SECOND + 12 * SECOND + 2_437_500);
    assert_eq!(bench.router.master(), Some(Heard { source: LOW.into(), priority: 100 }));
    // Its own interval is its own again as master.
    let due = bench.deadline();
    bench.poll(due);
    assert_eq!(bench.deadline(), due + SECOND);
}

/// Of two masters with two intervals, a backup waits for the one that it may hear less often.
#[test]
fn another_master_does_not_shorten_the_wait() {
    let mut bench = Bench::started(config(100));
    let mut often = bench.router.config().advertisement(150);
    often.interval_cs = 10;
    bench.hear(SECOND, 200, HIGH);
    bench.hear_this(SECOND, &often, LOW).unwrap();
    assert_eq!(bench.deadline(), SECOND + 3_609_375);
    bench.hear_this(SECOND + SECOND / 10, &often, LOW).unwrap();
    assert_eq!(bench.deadline(), SECOND + SECOND / 10 + 360_937);
}

#[test]
fn a_resigned_master_is_followed_after_the_skew() {
    let mut bench = Bench::started(config(100));
    bench.hear(SECOND, 200, HIGH);
    // Another's resignation says nothing about the master.
    bench.hear(SECOND, RESIGNED, LOW);
    assert_eq!(bench.deadline(), SECOND + 3_609_375);
    bench.hear(2 * SECOND, RESIGNED, HIGH);
    assert_eq!(bench.deadline(), 2 * SECOND + 609_375);
    bench.took();
    bench.poll(bench.deadline());
    assert_eq!(bench.took()[1], became(State::Master, Reason::MasterResigned));
    assert_eq!(bench.router.counters().zero_received, 2);
}

#[test]
fn a_lower_master_is_preempted_only_if_configured() {
    let mut bench = Bench::started(config(100));
    let due = bench.deadline();
    bench.hear(SECOND, 99, HIGH);
    assert_eq!(bench.deadline(), due);
    bench.took();
    bench.poll(due);
    assert_eq!(bench.took()[1], became(State::Master, Reason::Preempted));

    let mut bench = Bench::started(Config { preempt: false, ..config(100) });
    bench.hear(SECOND, 99, HIGH);
    assert_eq!(bench.deadline(), due + SECOND);
}

#[test]
fn a_lower_master_is_put_up_with_for_the_preempt_delay() {
    let delay = 10 * SECOND;
    let mut bench = Bench::started(Config { preempt_delay_us: delay, ..config(100) });
    for n in 1..=10 {
        bench.hear(n * SECOND, 99, LOW);
        assert_eq!(bench.deadline(), (n + 3) * SECOND + 609_375);
    }
    bench.hear(11 * SECOND, 99, LOW);
    assert_eq!(bench.deadline(), 13 * SECOND + 609_375);
    // The delay begins anew when a higher master was there in between.
    bench.hear(12 * SECOND, 150, HIGH);
    bench.hear(13 * SECOND, 99, LOW);
    assert_eq!(bench.deadline(), 16 * SECOND + 609_375);
}

#[test]
fn of_two_masters_the_higher_stays() {
    for (priority, source, reason) in [
        (101, LOW, Some(Reason::HigherPriority)),
        (100, HIGH, Some(Reason::HigherAddress)),
        (100, LOW, None),
        (99, HIGH, None),
    ] {
        let mut bench = Bench::master(config(100));
        bench.hear(5 * SECOND, priority, source);
        let expected = match reason {
            Some(reason) => [became(State::Backup, reason)].to_vec(),
            None => [bench.send(100), Action::Announce].to_vec(),
        };
        assert_eq!(bench.took(), expected, "{priority} {source:?}");
        let wait = if reason.is_some() { 3_609_375 } else { SECOND };
        assert_eq!(bench.deadline(), 5 * SECOND + wait);
        assert_eq!(bench.router.counters().contested, u64::from(reason.is_none()));
    }
}

#[test]
fn a_flood_is_answered_four_times_an_interval() {
    let mut bench = Bench::master(config(100));
    let start = 5 * SECOND;
    for n in 0..1_000 {
        let now = start + n * SECOND / 1_000;
        bench.hear(now, if n % 2 == 0 { 1 } else { RESIGNED }, LOW);
        if bench.deadline() <= now {
            bench.poll(now);
        }
    }
    let sent = bench.took().iter().filter(|action| matches!(action, Action::Send(_))).count();
    assert!((4..=8).contains(&sent), "{sent}");
}

#[test]
fn a_fault_ends_it_all() {
    let mut bench = Bench::master(config(100));
    let Bench { router, actions } = &mut bench;
    router.set_fault(5 * SECOND, true, &mut |action| actions.push(action));
    assert_eq!(bench.took(), [became(State::Fault, Reason::FaultFound), bench.send(0)]);
    assert_eq!(bench.router.next_deadline(), None);
    bench.poll(60 * SECOND);
    let advertisement = bench.router.config().advertisement(1);
    assert_eq!(bench.hear_this(60 * SECOND, &advertisement, LOW), Err(Rejection::Idle));
    let Bench { router, actions } = &mut bench;
    router.set_fault(61 * SECOND, false, &mut |action| actions.push(action));
    assert_eq!(bench.took(), [became(State::Backup, Reason::FaultGone)]);
    // A fault before the start is a fault at the start.
    let mut bench = Bench::new(config(OWNER));
    let Bench { router, actions } = &mut bench;
    router.set_fault(0, true, &mut |action| actions.push(action));
    router.start(1, &mut |action| actions.push(action));
    assert_eq!(bench.took(), [became(State::Fault, Reason::FaultFound)]);
}

#[test]
fn a_released_router_ranks_lowest_until_it_is_reclaimed() {
    let mut bench = Bench::master(config(200));
    let Bench { router, actions } = &mut bench;
    router.release(5 * SECOND, &mut |action| actions.push(action));
    assert_eq!(bench.took(), [became(State::Backup, Reason::Released), bench.send(0)]);
    bench.hear(6 * SECOND, 2, LOW);
    assert_eq!(bench.deadline(), 9 * SECOND + 996_093);
    bench.poll(bench.deadline());
    assert_eq!(bench.took(), [bench.send(1), became(State::Master, Reason::MasterSilent)]);
    bench.hear(11 * SECOND, 2, LOW);
    assert_eq!(bench.took(), [became(State::Backup, Reason::HigherPriority)]);
    bench.router.reclaim(12 * SECOND);
    let due = bench.deadline();
    bench.hear(12 * SECOND, 2, LOW);
    assert_eq!(bench.deadline(), due);
}

/// Whoever was about to preempt, and ranks lower now, listens again.
#[test]
fn preemption_is_judged_again() {
    let mut bench = Bench::started(config(100));
    bench.hear(SECOND, 99, LOW);
    bench.router.set_priority(2 * SECOND, 50);
    assert_eq!(bench.deadline(), 5 * SECOND + 804_687);
    let mut bench = Bench::started(config(100));
    bench.hear(SECOND, 99, LOW);
    bench.router.release(2 * SECOND, &mut |_| ());
    assert_eq!(bench.deadline(), 5 * SECOND + 996_093);
}

#[test]
fn tracked_priorities_are_in_the_next_advertisement() {
    let mut bench = Bench::master(config(100));
    for (set, sent) in [(60, 60), (0, 1), (255, 254)] {
        bench.router.set_priority(0, set);
        assert_eq!(bench.took(), []);
        bench.poll(bench.deadline());
        assert_eq!(bench.took(), [bench.send(sent)]);
    }
}

#[test]
fn time_does_not_go_back() {
    let mut bench = Bench::started(config(100));
    bench.hear(10 * SECOND, 200, HIGH);
    let due = bench.deadline();
    bench.hear(4 * SECOND, 200, HIGH);
    assert_eq!(bench.deadline(), due);
    bench.poll(due - 1);
    bench.poll(0);
    assert_eq!(bench.router.state(), State::Backup);
}

#[test]
fn who_has_slept_listens_before_it_takes_over() {
    let mut bench = Bench::started(config(100));
    bench.took();
    bench.poll(100 * SECOND);
    assert_eq!((bench.took(), bench.deadline()), ([].into(), 101 * SECOND + 609_375));
    assert_eq!(bench.router.counters().late, 1);
    // Once only, so that a host that always is late takes over at last.
    bench.poll(200 * SECOND);
    assert_eq!(bench.router.state(), State::Master);
    // And what had been received is handed in first.
    let mut bench = Bench::started(config(100));
    bench.hear(100 * SECOND, 200, HIGH);
    bench.poll(100 * SECOND);
    assert_eq!(bench.deadline(), 103 * SECOND + 609_375);
    // The end of time is no reason to panic.
    bench.poll(u64::MAX);
    bench.poll(u64::MAX);
    bench.hear(u64::MAX, 1, HIGH);
    bench.hear(u64::MAX, 200, HIGH);
}

#[test]
fn rejections_are_named_and_counted() {
    let mut with = config(100);
    with.addresses.push([192, 0, 2, 11].into());
    let mut bench = Bench::started(with);
    let due = bench.deadline();
    let good = bench.router.config().advertisement(200);
    let but = |change: &dyn Fn(&mut Advertisement)| {
        let mut advertisement = good.clone();
        change(&mut advertisement);
        advertisement
    };
    let elsewhere = IpAddr::from([192, 0, 2, 99]);
    for (advertisement, reason) in [
        (but(&|it| it.vrid = 52), Rejection::UnknownVrid),
        (but(&|it| it.version = Version::V2), Rejection::Version),
        (but(&|it| it.auth = Auth::password("x")), Rejection::AuthType),
        (but(&|it| it.interval_cs = 0), Rejection::Interval),
        (but(&|it| it.addresses.truncate(1)), Rejection::AddressCount),
        (but(&|it| it.addresses.push(elsewhere)), Rejection::AddressCount),
        (but(&|it| it.addresses[0] = elsewhere), Rejection::AddressList),
        (but(&|it| it.addresses[0] = it.addresses[1]), Rejection::AddressList),
    ] {
        assert_eq!(bench.hear_this(SECOND, &advertisement, HIGH), Err(reason));
        assert!(bench.router.counters().rejected.of(reason) > 0);
    }
    assert_eq!(bench.hear_this(SECOND, &good, OWN), Err(Rejection::OwnSource));
    let six = "fe80::1".parse().unwrap();
    let rejected = bench.router.receive(SECOND, &good, six, &mut |_| ());
    assert_eq!(rejected, Err(Rejection::Family));
    assert_eq!((bench.deadline(), bench.router.counters().rejected.total()), (due, 10));
    assert_eq!(bench.router.counters().received, 0);
    let turned = but(&|it| it.addresses.reverse());
    assert_eq!(bench.hear_this(SECOND, &turned, HIGH), Ok(()));
    assert_eq!(bench.router.counters().received, 1);
}

#[test]
fn version_2_wants_the_same_password_and_interval() {
    let auth = Auth::password("secret");
    let mut bench = Bench::started(Config { version: Version::V2, auth, ..config(100) });
    let good = bench.router.config().advertisement(200);
    for (advertisement, result) in [
        (Advertisement { auth: Auth::None, ..good.clone() }, Err(Rejection::AuthType)),
        (
            Advertisement { auth: Auth::password("Secret"), ..good.clone() },
            Err(Rejection::AuthData),
        ),
        (Advertisement { interval_cs: 200, ..good.clone() }, Err(Rejection::Interval)),
        (good, Ok(())),
    ] {
        assert_eq!(bench.hear_this(SECOND, &advertisement, HIGH), result);
    }
}
