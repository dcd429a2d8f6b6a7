//! Lives played from seeds; one that fails is cut down to what it takes, and told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::driver::{Checked, Rig, Setup};
use crate::gate::Gate;
use crate::generate::Generator;
use crate::met::Met;
use crate::step::Step;

/// Steps of a life.
const STEPS: usize = 60;
/// Of a failed life, the last that are told.
const TOLD: usize = 30;

/// Plays a seed.
///
/// # Errors
/// The story of how it failed.
pub(crate) fn play(seed: u64, gate: &Gate, met: &mut Met) -> Checked {
    let mut steps = Vec::new();
    let mut setup = None;
    let Err(failure) = caught(|| grow(seed, gate, met, &mut setup, &mut steps)) else {
        return Ok(());
    };
    let setup = setup.unwrap();
    let steps = cut_down(&setup, gate, steps);
    Err(format!(
        "seed {seed}: {failure}\n{}\nAgain: POLLVS_SIMULATION_SEED={seed} cargo test -p dataplane \
         --test simulation",
        story(&setup, gate, &steps)
    ))
}

/// Draws steps and does them.
fn grow(
    seed: u64,
    gate: &Gate,
    met: &mut Met,
    used: &mut Option<Setup>,
    steps: &mut Vec<Step>,
) -> Checked {
    let (mut generator, setup) = Generator::new(seed, gate);
    *used = Some(setup.clone());
    let mut rig = Rig::new(&setup, gate);
    for step in generator.first_steps() {
        steps.push(step.clone());
        rig.step(&step)?;
    }
    for _ in 0..STEPS {
        let step = generator.next(&rig.model);
        steps.push(step.clone());
        rig.step(&step)?;
    }
    rig.end()?;
    met.add(&rig.met);
    Ok(())
}

/// Does given steps; tells each to `tell`.
fn replay(setup: &Setup, gate: &Gate, steps: &[Step], mut tell: impl FnMut(String)) -> Checked {
    let mut rig = Rig::new(setup, gate);
    for step in steps {
        let now = rig.model.now;
        let done = rig.step(step);
        tell(format!("{:>6}.{:02} {step}\n          {}", now / 100, now % 100, rig.said));
        done?;
    }
    rig.end()
}

/// Leaves out steps as long as what remains fails.
fn cut_down(setup: &Setup, gate: &Gate, mut steps: Vec<Step>) -> Vec<Step> {
    let fails = |steps: &[Step]| caught(|| replay(setup, gate, steps, |_| ())).is_err();
    if !fails(&steps) {
        return steps;
    }
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut from = steps.len().saturating_sub(size);
        loop {
            let mut fewer = steps.clone();
            fewer.drain(from.max(setup.keepers)..(from + size).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            }
            if from <= setup.keepers {
                break;
            }
            from = from.saturating_sub(size);
        }
        size /= 2;
    }
    // Packets of a burst, one by one.
    for place in 0..steps.len() {
        let Step::Packets { shard, packets } = steps[place].clone() else { continue };
        for n in (0..packets.len()).rev() {
            let Step::Packets { packets, .. } = &steps[place] else { unreachable!() };
            let mut packets = packets.clone();
            packets.remove(n);
            let old = std::mem::replace(&mut steps[place], Step::Packets { shard, packets });
            if !fails(&steps) {
                steps[place] = old;
            }
        }
    }
    steps
}

fn story(setup: &Setup, gate: &Gate, steps: &[Step]) -> String {
    let mut told = Vec::new();
    let end = caught(|| replay(setup, gate, steps, |line| told.push(line)));
    let (shards, room) = (setup.shards, setup.room);
    let from = told.len().saturating_sub(TOLD);
    let mut text = format!("{shards} shards with room for {room} connections; ");
    text += &format!("{} steps are left that fail, the last:\n", steps.len());
    text += &told[from..].join("\n");
    text + &format!("\n{}", end.err().unwrap_or("played again it does not fail".into()))
}

/// A panic is a failure, too.
fn caught(play: impl FnOnce() -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
        Err(format!("panic: {text}"))
    })
}
