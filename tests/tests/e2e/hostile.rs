//! Frames that nobody honest sends, from both sides.

use anyhow::{Context, Result, ensure};
use tests::client;
use tests::daemon::{Control, Daemon};
use tests::frames::{bad_frames, mac_of, send_frames};
use tests::lab::{Lab, Method};
use tests::requirements::Binaries;

use crate::{Case, from_environment};

pub(crate) fn cases() -> Vec<Case> {
    Method::ALL
        .into_iter()
        .map(|method| {
            Case::new(format!("bad-frames-{method}"), move |lab, binaries| {
                frames(lab, binaries, method)
            })
        })
        .collect()
}

fn frames(lab: &Lab, binaries: &Binaries, method: Method) -> Result<()> {
    let seed = from_environment("POLLVS_E2E_SEED", 20_260_101)?;
    lab.set_method(method)?;
    let mut daemon = Daemon::start(lab, binaries, 2)?;
    daemon.control().balance(method)?;
    client::fetch(lab, 4)?.check(lab)?;
    let before = drops(daemon.control())?;
    // The client's two legs reach the director's two ports.
    for (own, theirs) in [("c0", "d0"), ("c1", "d1")] {
        let to = mac_of(lab.director(), theirs)?;
        for destination in [to, [0xff; 6]] {
            let frames = bad_frames(destination, seed);
            let taken = send_frames(lab.client(), own, &frames)?;
            // Nearly all: the kernel itself refuses a few that have no whole header.
            ensure!(taken * 10 > frames.len() * 9, "{own} took {taken} of {}", frames.len());
        }
        ensure!(daemon.is_running(), "the daemon is gone; seed {seed}");
    }
    let tally = client::fetch(lab, 20)?;
    tally.check(lab).with_context(|| format!("after bad frames, seed {seed}"))?;
    let after = drops(daemon.control())?;
    ensure!(after > before, "no drop was counted ({before} before, {after} after)");
    Ok(())
}

/// Frames dropped for any reason.
fn drops(control: &Control<'_>) -> Result<u64> {
    let listing = control.must("drops")?;
    let total =
        listing.lines().find_map(|line| line.strip_prefix("dropped ")?.split_whitespace().next());
    total.context("no total")?.parse().with_context(|| format!("no total in\n{listing}"))
}
