//! Ctrl-C and SIGTERM as a flag, so that leaving early still tears the lab down.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

static RAISED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

fn flag() -> &'static Arc<AtomicBool> {
    RAISED.get_or_init(Arc::default)
}

/// From now on SIGINT and SIGTERM raise the flag instead of ending the process.
///
/// # Errors
/// When the system refuses the signal handlers.
pub fn catch_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(flag()))?;
    }
    Ok(())
}

/// True once a signal has come.
#[must_use]
pub fn raised() -> bool {
    flag().load(Ordering::Relaxed)
}

/// Fails once a signal has come; every wait in this crate calls it.
///
/// # Errors
/// After SIGINT or SIGTERM.
pub fn check() -> Result<()> {
    if raised() {
        bail!("interrupted");
    }
    Ok(())
}
