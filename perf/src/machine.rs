//! What the figures were taken on.

use std::fs;
use std::process::Command;

/// Processor, kernel and commit in one line.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "machine: {}, {cores} cores, Linux {}, commit {}",
        model.unwrap_or("unknown processor"),
        kernel.trim(),
        commit.as_deref().unwrap_or("unknown")
    )
}
