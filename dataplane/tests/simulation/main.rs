//! Random lives of a director, step by step beside a small and slow model of IPVS.
//!
//! Each seed is one life: services, servers, clients, packets lost and repeated, time that jumps,
//! changes by control. What the shards do with every packet, what they count and what they list
//! must be what the model says. `POLLVS_SIMULATION_SEED=n` plays one seed and tells its story,
//! `POLLVS_SIMULATION_SEEDS=n` plays more of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

#[path = "../common/mod.rs"]
mod common;

mod choose;
mod life;
mod model;
mod workers;

/// Seeds that once found something, or reach what few do.
const OLD_SEEDS: [u64; 6] = [1, 17, 402, 777, 1024, 2891];
/// How many are played otherwise.
const SEEDS: u64 = 3000;

#[test]
fn lives_are_as_the_model_says() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("POLLVS_SIMULATION_SEED") {
        println!("{}", life::play(seed).join("\n"));
        return;
    }
    let seeds = number("POLLVS_SIMULATION_SEEDS").unwrap_or(SEEDS);
    for seed in OLD_SEEDS.into_iter().chain(10_000..10_000 + seeds) {
        let played = std::panic::catch_unwind(|| life::play(seed));
        assert!(played.is_ok(), "seed {seed} fails: POLLVS_SIMULATION_SEED={seed} tells its story");
    }
}
