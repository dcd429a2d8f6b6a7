//! Two pollvsd that share virtual addresses.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::interrupt;
use tests::lab::Lab;
use tests::requirements::Binaries;

use crate::Case;
use crate::vrrp_lan::{Director, LINK, Lan, PATIENCE};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("vrrp-pair", pair),
        Case::new("vrrp-track", track),
        Case::new("vrrp-handover", planned),
    ]
}

const OUTRANKED: &str = "another master has a higher priority";

/// An IPv4 and an IPv6 router that move together.
fn tables(priority: u8, more: &str) -> String {
    let table = |name: &str, vrid: u8, address: &str| {
        format!(
            "[[vrrp]]\nname = \"{name}\"\nvrid = {vrid}\nport = \"{LINK}\"\ngroup = \"all\"\n\
             priority = {priority}\naddresses = [\"{address}\"]\n{more}\n"
        )
    };
    table("four", 51, "10.77.0.100") + &table("six", 51, "fd77::100")
}

fn addresses() -> [IpAddr; 2] {
    [[10, 77, 0, 100].into(), [0xfd77, 0, 0, 0, 0, 0, 0, 0x100].into()]
}

/// A hook that writes its arguments into a file, and how many of the daemon's files it has.
fn hook(lab: &Lab) -> Result<(String, std::path::PathBuf)> {
    let (script, log) = (lab.directory().join("hook"), lab.directory().join("hook.log"));
    let text = format!(
        "#!/bin/sh\nexec >>{}\necho \"$@\"\n\
         echo \"inherited: $(readlink /proc/$$/fd/* | grep -c -e socket: -e anon_inode:)\"\n",
        log.display()
    );
    fs::write(&script, text)?;
    let mut permissions = fs::metadata(&script)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&script, permissions)?;
    Ok((script.display().to_string(), log))
}

fn await_line(log: &Path, line: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if text.lines().any(|other| other == line) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "no call with {line:?} among {text:?}");
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Death, return, handover, orderly end, and a return without preemption.
fn pair(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["a", "b"], &[])?;
    let (script, log) = hook(lab)?;
    let mut a = lan.start(lab, binaries, 0, &tables(200, ""))?;
    let notify = format!("notify = \"{script}\"");
    let b = lan.start(lab, binaries, 1, &tables(100, &notify))?;
    lan.await_holder(0, &addresses()).context("at the start")?;
    b.await_state("BACKUP")?;

    a.daemon.kill();
    let outage = lan.await_holder(1, &addresses()).context("after kill -9")?;
    println!("vrrp-pair: kill -9 of the master: both addresses seen elsewhere after {outage:?}");
    ensure!(outage < Duration::from_secs(3), "that took {outage:?}");
    for line in [
        "INSTANCE four BACKUP 100",
        "INSTANCE four MASTER 100",
        "INSTANCE six MASTER 100",
        "GROUP all MASTER 0",
        "inherited: 0",
    ] {
        await_line(&log, line)?;
    }

    let mut a = lan.start(lab, binaries, 0, &tables(200, ""))?;
    lan.await_holder(0, &addresses()).context("failback")?;
    for router in b.await_state("BACKUP")? {
        let reasons = [OUTRANKED, "another router of its group did so"];
        ensure!(reasons.iter().any(|reason| router["reason"] == *reason), "{router}");
        ensure!(router["master"].is_string(), "{router}");
    }

    handover(&lan, &a, &b)?;

    let started = Instant::now();
    let status = a.daemon.stop()?;
    ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
    lan.await_holder(1, &addresses()).context("after SIGTERM")?;
    println!("vrrp-pair: SIGTERM of the master: {:?} with its end", started.elapsed());
    let resigned = b.await_state("MASTER")?;
    ensure!(resigned[0]["reason"] == "master has resigned", "{}", resigned[0]);

    let a = lan.start(lab, binaries, 0, &tables(200, "preempt = false"))?;
    let routers = a.await_state("BACKUP")?;
    ensure!(routers[0]["priority"] == 200, "{}", routers[0]);
    // Longer than it would have taken.
    std::thread::sleep(Duration::from_secs(1));
    lan.await_holder(1, &addresses()).context("without preemption")?;
    a.await_state("BACKUP")?;
    Ok(())
}

fn handover(lan: &Lan, a: &Director<'_>, b: &Director<'_>) -> Result<()> {
    let refused = a.run("handover --timeout 0")?;
    ensure!(refused.code() == Some(1), "without a backup in step: {}", refused.status);
    let refused = b.run("handover --force --timeout 0")?;
    ensure!(refused.err().contains("not the master"), "{}", refused.err());
    a.must("handover --force")?;
    lan.await_holder(1, &addresses()).context("handed over")?;
    let routers = a.await_state("BACKUP")?;
    ensure!(routers[0]["released"] == true && routers[0]["priority"] == 1, "{}", routers[0]);
    a.must("handover --back")?;
    lan.await_holder(0, &addresses()).context("taken back")?;
    Ok(())
}

/// A handover to a backup that has all connections.
fn planned(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["a", "b"], &[])?;
    lan.add_sync_link("m0")?;
    let a = lan.start(lab, binaries, 0, &tables(200, ""))?;
    let b = lan.start(lab, binaries, 1, &tables(100, ""))?;
    lan.await_holder(0, &addresses()).context("at the start")?;
    for director in [&a, &b] {
        for role in ["master", "backup"] {
            let daemon = format!("--start-daemon {role} --mcast-interface m0 --syncid 1");
            director.must(&daemon)?;
        }
    }
    let told = a.must("handover")?;
    println!("vrrp-handover: {}", told.trim());
    lan.await_holder(1, &addresses()).context("handed over")?;
    // Who has given them away takes them when there is nobody else.
    b.must("handover")?;
    lan.await_holder(0, &addresses()).context("handed back")?;
    Ok(())
}

/// A port and a script that are watched.
fn track(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["a", "b"], &[])?;
    lan.node(0).ip("link add x0 type veth peer name x1")?;
    lan.node(0).ip("link set x0 up")?;
    lan.node(0).ip("link set x1 up")?;
    let (script, log) = hook(lab)?;
    let flag = lab.directory().join("well");
    fs::write(&flag, "")?;
    let more = format!(
        "notify_fault = \"{script} fault\"\nnotify_master = \"{script} master\"\n\
         notify_stop = \"{script} stop\"\n\
         track = [{{ port = \"x0\" }}, {{ script = \"/usr/bin/test -e {}\", weight = -150 }}]",
        flag.display()
    );
    let tables_a = format!("{}[[port]]\ndevice = \"x0\"\n", tables(200, &more));
    let mut a = lan.start(lab, binaries, 0, &tables_a)?;
    let b = lan.start(lab, binaries, 1, &tables(100, ""))?;
    lan.await_holder(0, &addresses()).context("at the start")?;

    lan.node(0).ip("link set x1 down")?;
    lan.await_holder(1, &addresses()).context("tracked port down")?;
    a.await_state("FAULT")?;
    await_line(&log, "fault")?;
    lan.node(0).ip("link set x1 up")?;
    lan.await_holder(0, &addresses()).context("tracked port up")?;

    fs::remove_file(&flag)?;
    lan.await_holder(1, &addresses()).context("script fails")?;
    let routers = a.await_state("BACKUP")?;
    ensure!(routers[0]["priority"] == 50, "{}", routers[0]);
    ensure!(routers[0]["configured_priority"] == 200, "{}", routers[0]);
    fs::write(&flag, "")?;
    lan.await_holder(0, &addresses()).context("script succeeds")?;

    // Its own port is watched without being told.
    lan.plug(0, false)?;
    a.await_state("FAULT")?;
    lan.await_holder(1, &addresses()).context("own port down")?;
    b.await_state("MASTER")?;
    a.daemon.stop()?;
    await_line(&log, "stop")
}
