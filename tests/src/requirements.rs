//! What the machine must have, asked before anything is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::process::run;

/// A program, by name or path, and the Debian package that has it.
pub type Tool = (&'static str, &'static str);

/// Programs that the lab starts.
const TOOLS: &[Tool] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("setpriv", "util-linux"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("ab", "apache2-utils"),
    ("sha256sum", "coreutils"),
];

/// What the cases with an unmodified ldirectord need besides.
pub const LDIRECTORD: &[Tool] = &[IPVSADM, BASH, UNSHARE, ("ldirectord", "ldirectord")];

/// What the cases with `/sbin/ipvsadm` replaced by ours need besides.
pub const DROP_IN: &[Tool] = &[IPVSADM, BASH, UNSHARE];

/// What the cases with an unmodified mon need besides.
pub const MON: &[Tool] = &[IPVSADM, BASH, UNSHARE, ("mon", "mon")];

/// What the cases with an unmodified keepalived need besides.
pub const KEEPALIVED: &[Tool] = &[("keepalived", "keepalived")];

/// A file to mount ours over, where its callers look for it.
const IPVSADM: Tool = ("/sbin/ipvsadm", "ipvsadm");
const BASH: Tool = ("bash", "bash");
const UNSHARE: Tool = ("unshare", "util-linux");

/// The daemon and its control command.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `pollvsd`
    pub daemon: PathBuf,
    /// `pollvsadm`, from the same directory
    pub control: PathBuf,
}

/// Checks for root, tools and namespaces, and finds the programs under test.
///
/// # Errors
/// The first thing that is missing, and what to do about it.
pub fn check() -> Result<Binaries> {
    ensure!(nix::unistd::geteuid().is_root(), "needs root, for network namespaces");
    installed(TOOLS)?;
    ensure!(Path::new("/dev/net/tun").exists(), "no /dev/net/tun (modprobe tun)");
    drop(Namespace::new("probe").context("this machine gives no network namespace")?);
    own_binary("ipip-decap")?;
    let binaries = find_binaries()?;
    ensure_loadable(&binaries.daemon)?;
    Ok(binaries)
}

/// Checks that programs are there.
///
/// # Errors
/// Those that are missing, and their packages.
pub fn installed(tools: &[Tool]) -> Result<()> {
    let missing: Vec<_> = tools.iter().filter(|(tool, _)| !in_path(tool)).collect();
    if !missing.is_empty() {
        let tools: Vec<_> = missing.iter().map(|(tool, _)| *tool).collect();
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        let (tools, packages) = (tools.join(" "), packages.join(" "));
        bail!("not installed: {tools} (apt-get install {packages})");
    }
    Ok(())
}

fn in_path(tool: &str) -> bool {
    // Debian keeps these in sbin, which a plain shell may not search.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// `POLLVSD`, else beside the running program, else in the workspace's target directory.
fn find_binaries() -> Result<Binaries> {
    if let Some(path) = env::var_os("POLLVSD") {
        return beside(Path::new(&path))
            .with_context(|| format!("POLLVSD={}", Path::new(&path).display()));
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let mut places = own_directories()?;
    places.extend([target.join("release"), target.join("debug")]);
    places.iter().find_map(|place| beside(&place.join("pollvsd")).ok()).context(
        "no pollvsd and pollvsadm (cargo build --workspace, or POLLVSD=path of the daemon)",
    )
}

fn beside(daemon: &Path) -> Result<Binaries> {
    ensure!(daemon.is_file(), "no daemon there");
    // Children may run in another directory.
    let daemon = daemon.canonicalize()?;
    let control = daemon.with_file_name("pollvsadm");
    ensure!(control.is_file(), "no pollvsadm beside it");
    Ok(Binaries { daemon, control })
}

/// The directory of the running program and, for tests in `deps/`, the one above.
fn own_directories() -> Result<Vec<PathBuf>> {
    let program = env::current_exe()?;
    Ok(program.ancestors().skip(1).take(2).map(Path::to_path_buf).collect())
}

/// A program of this crate, built together with the running one.
///
/// # Errors
/// When it was not built.
pub fn own_binary(name: &str) -> Result<PathBuf> {
    own_directories()?
        .iter()
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("no {name} beside this program (cargo build -p tests)"))
}

/// A daemon linked to DPDK does not even start where the libraries are missing, and one built
/// without it forwards nothing.
fn ensure_loadable(daemon: &Path) -> Result<()> {
    let tried = run(Command::new(daemon).arg("--help"), Duration::from_secs(10))?;
    let complaint = tried.err();
    ensure!(
        !complaint.contains("error while loading shared libraries"),
        "no DPDK here: {} (apt-get install dpdk)",
        complaint.trim()
    );
    ensure!(
        !complaint.contains("built without DPDK"),
        "{} was built without DPDK, so it has no ports (apt-get install libdpdk-dev, build again)",
        daemon.display()
    );
    Ok(())
}
