//! Random lives of the director beside a small, slow model of IPVS that is written from the
//! documents: what becomes of every packet, what is counted and what is listed must agree.
//!
//! `POLLVS_SIMULATION_SEED=n` plays one seed, `POLLVS_SIMULATION_SEEDS=n` plays so many.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../common/mod.rs"]
mod common;

mod driver;
mod frames;
mod gate;
mod generate;
mod lives;
mod met;
mod model;
mod random;
mod step;
mod watch;
mod workers;

use gate::Gate;
use met::Met;

/// Seeds played by default.
const SEEDS: u64 = 5000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Plays seeds, and tells how much has been met on the way.
fn play(seeds: impl Iterator<Item = u64>) -> Met {
    let gate = Gate::open();
    let mut met = Met::default();
    for seed in seeds {
        met.count("lives");
        if let Err(story) = lives::play(seed, &gate, &mut met) {
            panic!("{story}");
        }
    }
    println!("{met}");
    met
}

#[test]
fn lives_are_as_the_model_says() {
    match number("POLLVS_SIMULATION_SEED") {
        Some(seed) => {
            play([seed].into_iter());
        }
        None => {
            let met = play(0..number("POLLVS_SIMULATION_SEEDS").unwrap_or(SEEDS));
            met.check(&Gate::open());
        }
    }
}

/// Seeds that have found something once.
#[test]
fn old_seeds_still_hold() {
    let seeds = include_str!("old_seeds.txt").lines().map(str::trim);
    let seeds = seeds.filter(|line| !line.is_empty() && !line.starts_with('#'));
    play(seeds.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()));
}
