//! Two directors: the addresses move, and no connection breaks.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::pair::scene::{Act, Scene, Size};
use tests::pair::{Pair, Setup, Who};
use tests::requirements::Binaries;

use crate::Case;

/// Far more than it takes, even where others use the cores.
const OUTAGE: Duration = Duration::from_secs(3);
const SIZE: Size = Size { quiet: 40, busy: 20, mebibytes: 8, direct: true };

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("ha-kill", |lab, binaries| acts(lab, binaries, &[Act::Kill])),
        Case::new("ha-failback", |lab, binaries| acts(lab, binaries, &[Act::Kill, Act::Failback])),
        Case::new("ha-stall", |lab, binaries| acts(lab, binaries, &[Act::Stall; 3])),
        Case::new("ha-handover", |lab, binaries| acts(lab, binaries, &[Act::Handover])),
    ]
}

fn acts(lab: &Lab, binaries: &Binaries, acts: &[Act]) -> Result<()> {
    let mut pair = Pair::new(lab, binaries, Setup { sources: 2, ..Setup::default() })?;
    pair.start_both()?;
    let mut scene = Scene::open(lab, &pair, SIZE)?;
    scene.wait_for_sync(&pair, Who::Second)?;
    for act in acts {
        let outcome = scene.play(&mut pair, *act)?;
        println!("  {}", outcome.line(act));
        let (broken, outage) = (&outcome.broken, outcome.outage);
        ensure!(broken.is_empty(), "{act}: {} broken: {}", broken.len(), broken[0]);
        ensure!(outage < OUTAGE, "{act}: no answers for {outage:?}");
    }
    scene.finish()?;
    Ok(())
}
