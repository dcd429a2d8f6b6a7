//! Settings and timeouts while the daemon runs: set, read back, in force for packets.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::client;
use tests::daemon::Daemon;
use tests::lab::{Lab, Method, SERVICE};
use tests::process::Service;
use tests::requirements::Binaries;

use crate::Case;

/// A connection is opened in milliseconds.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("timeouts", timeouts), Case::new("sysctl", sysctl)]
}

/// Connections that have been closed wait as long as `--set` says, from their next packet on.
fn timeouts(lab: &Lab, binaries: &Binaries) -> Result<()> {
    lab.set_method(Method::Direct)?;
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    control.balance(Method::Direct)?;
    let shown = control.must("-L --timeout")?;
    ensure!(shown == "Timeout (tcp tcpfin udp): 900 120 300\n", "at the start: {shown}");
    control.must("--set 0 33 0")?;
    let refused = control.run("--set 1 1 2678401")?;
    ensure!(refused.code() == Some(2), "31 days and a second: {}", refused.status);
    let shown = control.must("-L --timeout")?;
    ensure!(shown == "Timeout (tcp tcpfin udp): 900 33 300\n", "after --set 0 33 0: {shown}");
    client::fetch(lab, 6)?.check(lab)?;
    let listing = control.must("-Lnc")?;
    let rows: Vec<_> = listing.lines().filter(|line| line.contains(" FIN_WAIT ")).collect();
    ensure!(rows.len() == 6, "not 6 connections are closed:\n{listing}");
    // Under a lighter load it would be 00:32 for all.
    let fits =
        |row: &&str| ("00:10".."00:34").contains(&row.split_whitespace().nth(1).unwrap_or(""));
    ensure!(rows.iter().all(fits), "not what --set said:\n{listing}");
    Ok(())
}

/// Settings by the kernel's names. With the stricter TCP table pages still load.
fn sysctl(lab: &Lab, binaries: &Binaries) -> Result<()> {
    lab.set_method(Method::Nat)?;
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    let before = control.must("--sysctl")?;
    ensure!(before.contains("net.ipv4.vs.conn_reuse_mode = 1\n"), "listed:\n{before}");
    for (words, message) in [
        ("sloppy_tcp=1 nosuch=1", "cannot stat net.ipv4.vs.nosuch"),
        ("sloppy_tcp=1 drop_entry=4", "Invalid argument"),
        ("nosuch", "cannot stat net.ipv4.vs.nosuch"),
    ] {
        let refused = control.run(&format!("--sysctl {words}"))?;
        ensure!(refused.code() == Some(1), "{words}: {}", refused.status);
        ensure!(refused.err().contains(message), "{words}: {}", refused.err());
        ensure!(control.must("--sysctl")? == before, "{words} has changed something");
    }
    let set = control.must("--sysctl secure_tcp=3 net.ipv4.vs.drop_packet=2")?;
    let expected = "net.ipv4.vs.secure_tcp = 3\nnet.ipv4.vs.drop_packet = 1\n";
    ensure!(set == expected, "set:\n{set}");
    client::fetch(lab, 6)?.check(lab)?;
    // Open, but silent: no server has acknowledged anything that a client sent after its SYN.
    let open = format!("exec 3<>/dev/tcp/{}; sleep 10", SERVICE.replace(':', "/"));
    let mut command = lab.client().lasting_command("bash");
    let mut silent = Service::start("silent", command.args(["-c", &open]), &lab.logs())?;
    silent.wait_until(OPEN_LIMIT, |_| {
        control.must("-Lnc").is_ok_and(|listing| listing.contains(" SYNACK "))
    })?;
    ensure!(control.must("--sysctl secure_tcp")? == "net.ipv4.vs.secure_tcp = 3\n");
    Ok(())
}
