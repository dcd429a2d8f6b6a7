//! The secret of the connection hash, which keeps clients from choosing their worker or bucket.

use anyhow::{Context, Result, ensure};
use tests::daemon::Daemon;
use tests::lab::{Lab, Method, SERVICE};
use tests::requirements::Binaries;

use crate::Case;

/// Clients asked about. Two keys give all of them the same owners once in 2^64 times.
const CLIENTS: u16 = 64;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("key-fresh", fresh)]
}

/// Every start draws a key: clients come to other workers than before.
fn fresh(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let (first, second) = (owners(lab, binaries)?, owners(lab, binaries)?);
    ensure!(first != second, "two starts, and the same owners: {first:?}");
    Ok(())
}

/// What a new daemon says of the workers that have the clients' connections.
fn owners(lab: &Lab, binaries: &Binaries) -> Result<Vec<String>> {
    let mut daemon = Daemon::start(lab, binaries, 2)?;
    daemon.control().balance(Method::Nat)?;
    let owner = |port: u16| {
        let said =
            daemon.control().must(&format!("explain -t {SERVICE} --from 10.9.0.7:{port}"))?;
        let line = said.lines().find_map(|line| line.strip_prefix("owner "));
        Ok(line.with_context(|| format!("no owner in\n{said}"))?.trim().to_owned())
    };
    let owners: Vec<_> = (0..CLIENTS).map(|n| owner(1024 + n)).collect::<Result<_>>()?;
    ensure!(owners.iter().any(|owner| *owner != owners[0]), "all are of one worker: {owners:?}");
    daemon.stop()?;
    Ok(owners)
}
