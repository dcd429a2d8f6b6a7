use super::*;
use crate::vrrp::machine::tests::config;
use crate::vrrp::{OWNER, RESIGNED};

const SECOND: u64 = 1_000_000;
const PEER: [u8; 4] = [192, 0, 2, 3];

struct Bench {
    group: Group,
    actions: Vec<(usize, Action)>,
}

impl Bench {
    fn started(priorities: [u8; 2]) -> Self {
        let group = Group::new(priorities.map(config).to_vec()).unwrap();
        let mut bench = Self { group, actions: Vec::new() };
        bench.with(|group, sink| group.start(0, sink));
        bench
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Group, GroupSink<'_>) -> R) -> R {
        let Self { group, actions } = self;
        f(group, &mut |member, action| actions.push((member, action)))
    }

    fn hear(&mut self, now: u64, member: usize, priority: u8) {
        let advertisement = self.group.members()[member].config().advertisement(priority);
        self.with(|group, sink| group.receive(now, member, &advertisement, PEER.into(), sink))
            .unwrap();
    }

    /// Time passes, and all that is due is done.
    fn run(&mut self, until: u64) {
        while let Some(due) = self.group.next_deadline().filter(|&due| due <= until) {
            self.with(|group, sink| group.poll(due, sink));
        }
    }

    /// The changes of state since it was last asked, and how many advertisements of priority 0.
    fn changes(&mut self) -> (Vec<(usize, State, Reason)>, usize) {
        let actions = core::mem::take(&mut self.actions);
        let is_zero =
            |action: &Action| matches!(action, Action::Send(sent) if sent.priority == RESIGNED);
        let zeros = actions.iter().filter(|(_, action)| is_zero(action)).count();
        let changes = actions.into_iter().filter_map(|(member, action)| match action {
            Action::Became(state, reason) => Some((member, state, reason)),
            _ => None,
        });
        (changes.collect(), zeros)
    }
}

#[test]
fn all_become_master_at_once_and_fall_back_at_once() {
    let mut bench = Bench::started([100, 50]);
    bench.changes();
    // The one that would be first waits for the other, whose skew is longer.
    bench.run(3 * SECOND + 700_000);
    assert_eq!(bench.changes(), ([].into(), 0));
    bench.run(4 * SECOND);
    let both = |state, reason: [Reason; 2]| [(0, state, reason[0]), (1, state, reason[1])].to_vec();
    assert_eq!(bench.changes(), (both(State::Master, [Reason::MasterSilent; 2]), 0));
    assert_eq!(bench.group.state(), State::Master);
    bench.hear(5 * SECOND, 1, 200);
    let fallen = [(1, State::Backup, Reason::HigherPriority), (0, State::Backup, Reason::Group)];
    assert_eq!(bench.changes(), (fallen.to_vec(), 1));
    assert_eq!(bench.group.state(), State::Backup);
}

/// Cut off on one side, a group neither takes over nor flaps; it does when both sides are silent.
#[test]
fn half_a_partition_changes_nothing() {
    let mut bench = Bench::started([100, 100]);
    bench.changes();
    for second in 0..100 {
        bench.run(second * SECOND);
        bench.hear(second * SECOND, 0, 200);
    }
    assert_eq!(bench.changes(), ([].into(), 0));
    bench.run(104 * SECOND);
    assert_eq!(bench.group.state(), State::Master);
}

#[test]
fn a_fault_of_one_is_a_fault_of_all() {
    let mut bench = Bench::started([100, 100]);
    bench.run(5 * SECOND);
    bench.changes();
    bench.with(|group, sink| group.set_fault(6 * SECOND, 1, true, sink));
    let fault = [(0, State::Fault, Reason::Group), (1, State::Fault, Reason::FaultFound)];
    assert_eq!(bench.changes(), (fault.to_vec(), 2));
    bench.with(|group, sink| group.set_fault(6 * SECOND, 0, true, sink));
    bench.with(|group, sink| group.set_fault(7 * SECOND, 1, false, sink));
    assert_eq!((bench.changes(), bench.group.state()), (([].into(), 0), State::Fault));
    bench.with(|group, sink| group.set_fault(8 * SECOND, 0, false, sink));
    let gone = [(0, State::Backup, Reason::FaultGone), (1, State::Backup, Reason::Group)];
    assert_eq!(bench.changes(), (gone.to_vec(), 0));
    bench.run(12 * SECOND);
    assert_eq!(bench.group.state(), State::Master);
}

#[test]
fn all_are_released_and_come_back_when_all_others_are_gone() {
    let mut bench = Bench::started([200, 200]);
    bench.run(5 * SECOND);
    bench.changes();
    bench.with(|group, sink| group.release(6 * SECOND, sink));
    assert_eq!(bench.changes().1, 2);
    bench.hear(7 * SECOND, 0, 2);
    bench.hear(9 * SECOND, 1, 2);
    bench.run(12 * SECOND);
    assert_eq!(bench.group.state(), State::Backup);
    bench.run(13 * SECOND);
    assert_eq!(bench.group.state(), State::Master);
    bench.group.reclaim(14 * SECOND);
    assert!(bench.group.members().iter().all(|router| router.effective_priority() == 200));
}

#[test]
fn owners_are_master_at_once_together() {
    let bench = Bench::started([OWNER, OWNER]);
    assert_eq!(bench.group.state(), State::Master);
    let mut bench = Bench::started([OWNER, 100]);
    assert_eq!(bench.group.state(), State::Backup);
    bench.run(4 * SECOND);
    assert_eq!(bench.group.state(), State::Master);
}

#[test]
fn a_wrong_configuration_is_told_by_its_number() {
    let wrong = Group::new([config(100), config(0)].to_vec());
    assert_eq!(wrong.err(), Some((1, ConfigError::Priority)));
    assert_eq!(Group::new(Vec::new()).unwrap().state(), State::Initialize);
}
