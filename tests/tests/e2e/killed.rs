//! Daemons killed amid changes: the saved table is the one after the last acknowledged change, or
//! after a later one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::interrupt;
use tests::lab::Lab;
use tests::model::{Random, Story};
use tests::requirements::Binaries;
use tests::session::Session;

use crate::saved::{SEED, check_taken_back, start};
use crate::{Case, from_environment};

/// No round of a test begins later than this.
const ROUNDS: Duration = Duration::from_secs(15);
/// For a restore of 10,000 lines on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("saved-kill-1", |lab, binaries| kills(lab, binaries, 1)),
        Case::new("saved-kill-4", |lab, binaries| kills(lab, binaries, 4)),
        Case::new("saved-kill-restore", kill_restore),
    ]
}

/// Kills the daemon amid changes that clients make one after another, each to its own services.
fn kills(lab: &Lab, binaries: &Binaries, clients: u8) -> Result<()> {
    const CHANGES: usize = 10_000;
    let seed = from_environment("POLLVS_E2E_SEED", SEED)?;
    let mut random = Random::new(seed);
    let started = Instant::now();
    let mut shown = Vec::new();
    for round in 0..8_u64 {
        if started.elapsed() > ROUNDS {
            break;
        }
        let stories: Vec<_> =
            (0..clients).map(|client| Story::new(seed + round, client, CHANGES)).collect();
        // Soon after the start; when the file becomes so long that it is written anew; whenever.
        let (prelude, moment) = match round % 3 {
            0 => (0, 1 + random.below(100)),
            1 => (long_prelude(&stories[0]), 1 + random.below(200)),
            _ => (random.below(1000), 1 + random.below(CHANGES - 1000)),
        };
        let (count, kept) = kill_amid(lab, binaries, &stories, (prelude, moment), round)
            .with_context(|| format!("seed {seed}, round {round}: {prelude}, {moment}"))?;
        shown.push(format!("{prelude} + {count}: {kept:?}"));
    }
    println!("  killed after so many acknowledged changes: more than those were kept, by client");
    println!("  {}", shown.join("\n  "));
    Ok(())
}

/// So many changes that few more make the file as long as it may become.
fn long_prelude(story: &Story) -> usize {
    // The engine's number; servers are saved with ` -x 0 -y 0`.
    let mut left = (256 << 10) - 1000_usize;
    let fits = |line: &&String| {
        let length = line.len() + 1 + if line.contains(" -w ") { 10 } else { 0 };
        left.checked_sub(length).map(|rest| left = rest).is_some()
    };
    story.lines.iter().take_while(fits).count()
}

/// Kills the daemon when so many changes are acknowledged, or some seconds after the start. Returns
/// their number, and how many changes beyond the acknowledged ones are there, by client.
fn kill_amid(
    lab: &Lab,
    binaries: &Binaries,
    stories: &[Story],
    (prelude, moment): (usize, usize),
    round: u64,
) -> Result<(usize, Vec<usize>)> {
    // Now and then it may end by itself, which makes no difference.
    let is_told = round == 5;
    const LONGEST: Duration = Duration::from_secs(4);
    let state = lab.directory().join(format!("table-{round}"));
    let mut daemon = start(lab, binaries, &state)?;
    let socket = daemon.control().socket().to_owned();
    let input = stories[0].lines[..prelude].join("\n") + "\n";
    let answer = Session::open(&socket)?.restore(&input)?;
    ensure!(answer.status == 0 && answer.err.is_empty(), "-R: {answer:?}");
    let counts: Vec<_> = stories.iter().map(|_| AtomicUsize::new(0)).collect();
    counts[0].store(prelude, Ordering::Relaxed);
    let total = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>();
    thread::scope(|scope| -> Result<()> {
        let mut clients = Vec::new();
        for (story, acknowledged) in stories.iter().zip(&counts) {
            let socket = &socket;
            clients.push(scope.spawn(move || -> Result<()> {
                let mut session = Session::open(socket)?;
                for line in &story.lines[acknowledged.load(Ordering::Relaxed)..] {
                    if !session.change(line)? {
                        break;
                    }
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        let started = Instant::now();
        while total() < prelude + moment && started.elapsed() < LONGEST && !interrupt::raised() {
            thread::sleep(Duration::from_micros(50));
        }
        if is_told {
            let status = daemon.stop()?;
            ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
        } else {
            daemon.kill();
        }
        for client in clients {
            client.join().unwrap_or_else(|_| bail!("a client panicked"))?;
        }
        Ok(())
    })?;
    ensure!(total() > prelude, "no change was made in {} s", LONGEST.as_secs());
    drop(daemon);
    let daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    let saved = daemon.control().must("-Sn")?;
    let mut beyond = Vec::new();
    for (number, (story, count)) in stories.iter().zip(&counts).enumerate() {
        let count = count.load(Ordering::Relaxed);
        let kept = story.progress(&saved, count..=count + 1).with_context(|| {
            let all = story.progress(&saved, 0..=story.lines.len());
            format!("client {number}: {count} were acknowledged, the table has {all:?}:\n{saved}")
        })?;
        beyond.push(kept - count);
    }
    Ok((total() - prelude, beyond))
}

/// Kills the daemon amid a restore of 10,000 lines, beside which another client makes changes.
fn kill_restore(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let seed = from_environment("POLLVS_E2E_SEED", SEED)?;
    let mut random = Random::new(seed);
    let (started, mut whole) = (Instant::now(), Duration::ZERO);
    for round in 0..8 {
        if started.elapsed() > ROUNDS {
            break;
        }
        let (big, small) =
            (Story::new(seed + round, 1, 10_000), Story::new(seed + round, 2, 5_000));
        let (before, rest) = big.lines.split_at(100);
        let state = lab.directory().join(format!("table-{round}"));
        let mut daemon = start(lab, binaries, &state)?;
        let socket = daemon.control().socket().to_owned();
        let mut session = Session::open(&socket)?;
        for line in before {
            ensure!(session.change(line)?, "the daemon is gone");
        }
        let input = rest.join("\n") + "\n";
        let (mut acknowledged, mut kept) = ((0, 0), (0, 0));
        thread::scope(|scope| -> Result<()> {
            let beside = scope.spawn(|| -> Result<usize> {
                let mut session = Session::open(&socket)?;
                for (count, line) in small.lines.iter().enumerate() {
                    if !session.change(line)? {
                        return Ok(count);
                    }
                }
                Ok(small.lines.len())
            });
            let began = Instant::now();
            let restore = scope.spawn(|| session.restore(&input));
            if round == 0 {
                // To the end, for once: how long is that?
                while !restore.is_finished() && began.elapsed() < PATIENCE {
                    thread::sleep(Duration::from_micros(100));
                }
                whole = began.elapsed();
            } else {
                thread::sleep(whole * random.below(100) as u32 / 100);
            }
            daemon.kill();
            let all = before.len() + rest.len();
            acknowledged.0 = match restore.join() {
                Ok(Ok(answer)) => {
                    ensure!(answer.status == 0 && answer.err.is_empty(), "-R: {answer:?}");
                    all
                }
                _ => before.len(),
            };
            ensure!(round > 0 || acknowledged.0 == all, "-R was not answered");
            acknowledged.1 = beside.join().unwrap_or_else(|_| bail!("a client panicked"))?;
            Ok(())
        })?;
        drop(daemon);
        let daemon = start(lab, binaries, &state)?;
        check_taken_back(&daemon, &state)?;
        let saved = daemon.control().must("-Sn")?;
        let lost = || format!("seed {seed}, round {round}: of {acknowledged:?}:\n{saved}");
        kept.0 = big.progress(&saved, acknowledged.0..=big.lines.len()).with_context(lost)?;
        let most = acknowledged.1 + 1;
        kept.1 = small.progress(&saved, acknowledged.1..=most).with_context(lost)?;
        println!("  (-R, beside it): acknowledged {acknowledged:?}, kept {kept:?}");
    }
    Ok(())
}
