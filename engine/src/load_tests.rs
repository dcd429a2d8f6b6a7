use super::*;

/// Nanoseconds of an empty turn here.
const EMPTY: u64 = 60;

/// A meter that has seen enough empty turns, and its load.
fn seasoned() -> (Meter, Load, u64) {
    let (mut meter, load, mut now) = (Meter::start(1000), Load::new(0), 1000);
    for n in 0..1000 {
        meter.turn(false);
        // Now and then the core is taken away.
        now += if n % 20 == 19 { 4_000_000 } else { EMPTY };
        meter.look(now, 0, &load);
    }
    (meter, load, now)
}

#[test]
fn empty_turns_are_not_busy() {
    let (meter, load, now) = seasoned();
    assert!(meter.empty_ns.abs_diff(EMPTY) < 4, "{}", meter.empty_ns);
    assert_eq!((load.busy_ns.get(), load.busy_polls.get(), load.bursts.get()), (0, 0, 0));
    assert_eq!((load.polls.get(), load.run_ns.get()), (1000, now - 1000));
}

#[test]
fn turns_with_frames_are_busy_without_the_empty_one_behind_them() {
    let (mut meter, load, now) = seasoned();
    for _ in 0..3 {
        meter.turn(true);
    }
    meter.turn(false);
    meter.look(now + 3 * 500 + meter.empty_ns, 5, &load);
    assert_eq!((load.busy_ns.get(), load.busy_polls.get(), load.bursts.get()), (1500, 3, 5));
    assert_eq!(load.polls.get(), 1004);
    // Under full load there is no empty one.
    (0..32).for_each(|_| meter.turn(true));
    let busy = load.run_ns.get();
    meter.look(meter.since_ns + 32 * 3000, 32, &load);
    assert_eq!((load.busy_ns.get(), load.run_ns.get() - busy), (1500 + 32 * 3000, 32 * 3000));
}

#[test]
fn time_that_others_had_the_core_is_not_busy() {
    let (mut meter, load, now) = seasoned();
    meter.pass(now + 9000, &load);
    meter.turn(true);
    meter.look(now + 9400, 1, &load);
    assert_eq!((load.busy_ns.get(), load.run_ns.get()), (400, now + 9400 - 1000));
}

#[test]
fn the_deepest_of_a_second_is_shown_when_it_is_over() {
    let (mut depths, load) = (Depths::default(), Load::new(0));
    let shown = || (load.ring_depth.get(), load.queue_depth.get());
    assert!(!depths.is_due(Tick(0)) && depths.is_due(Tick(1)));
    depths.look(Tick(1), 3, None, &load);
    depths.look(Tick(50), 7, Some(2), &load);
    depths.look(Tick(99), 1, Some(0), &load);
    assert_eq!(shown(), (0, UNKNOWN));
    depths.look(Tick(100), 5, None, &load);
    assert_eq!(shown(), (7, 2));
    depths.look(Tick(200), 0, None, &load);
    assert_eq!(shown(), (5, UNKNOWN));
}
