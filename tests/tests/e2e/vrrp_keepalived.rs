//! pollvsd and Debian's keepalived share virtual addresses, over every version and family.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::Lab;
use tests::process::Service;
use tests::requirements::{Binaries, KEEPALIVED};

use crate::Case;
use crate::vrrp_lan::{LINK, Lan};

/// How long keepalived may take to start.
const START: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("vrrp-keepalived", keepalived).needing(KEEPALIVED)]
}

/// A virtual router: identifier, version, password and address.
const ROUTERS: [(u8, u8, Option<&str>, &str); 4] = [
    (61, 2, None, "10.77.0.101"),
    (62, 2, Some("secret"), "10.77.0.102"),
    (63, 3, None, "10.77.0.103"),
    (64, 3, None, "fd77::104"),
];

fn addresses() -> Result<Vec<IpAddr>> {
    ROUTERS.iter().map(|(.., address)| Ok(address.parse()?)).collect()
}

/// Our configuration.
fn tables(priority: u8, more: &str) -> String {
    let table = |(vrid, version, password, address): &(u8, u8, Option<&str>, &str)| {
        let password = password.map(|text| format!("password = \"{text}\"\n"));
        let interval = if *version == 2 { 1000 } else { 100 };
        format!(
            "[[vrrp]]\nname = \"r{vrid}\"\nvrid = {vrid}\nport = \"{LINK}\"\n\
             version = {version}\ninterval_ms = {interval}\npriority = {priority}\n\
             addresses = [\"{address}\"]\n{}{more}\n",
            password.unwrap_or_default()
        )
    };
    ROUTERS.iter().map(table).collect()
}

/// Its configuration.
fn instances(priority: u8) -> String {
    let instance = |(vrid, version, password, address): &(u8, u8, Option<&str>, &str)| {
        let password = password.map(|text| {
            format!(
                "    authentication {{\n        auth_type PASS\n        auth_pass {text}\n    }}\n"
            )
        });
        let interval = if *version == 2 { "1" } else { "0.1" };
        let length = if address.contains(':') { 128 } else { 32 };
        format!(
            "vrrp_instance r{vrid} {{\n    state BACKUP\n    interface {LINK}\n    \
             virtual_router_id {vrid}\n    version {version}\n    priority {priority}\n    \
             advert_int {interval}\n{}    virtual_ipaddress {{\n        {address}/{length}\n    \
             }}\n}}\n",
            password.unwrap_or_default()
        )
    };
    let global = "global_defs {\n    router_id k\n}\n";
    global.to_owned() + &ROUTERS.iter().map(instance).collect::<String>()
}

/// A keepalived; its parent process ends with the one that speaks.
struct Keepalived {
    service: Service,
    speaker: Pid,
}

impl Keepalived {
    fn start(lan: &Lan, lab: &Lab, n: usize, priority: u8, name: &str) -> Result<Self> {
        let file = |suffix: &str| lab.directory().join(format!("{name}.{suffix}"));
        fs::write(file("conf"), instances(priority))?;
        let mut command = lan.node(n).lasting_command("keepalived");
        command.args(["-n", "-l", "-D", "-G", "-P", "-R", "-f"]).arg(file("conf"));
        command.arg("-p").arg(file("pid")).arg("-r").arg(file("speaker"));
        let mut service = Service::start(name, &mut command, &lab.logs())?;
        let read = || fs::read_to_string(file("speaker")).ok()?.trim().parse().ok();
        service.wait_until(START, |_| read().is_some())?;
        let speaker = Pid::from_raw(read().context("no process number")?);
        Ok(Self { service, speaker })
    }

    /// SIGKILL to the one that speaks.
    fn kill(&mut self) -> Result<()> {
        ensure!(self.service.is_running(), "keepalived is gone: {}", self.service.out());
        kill(self.speaker, Signal::SIGKILL)?;
        self.service.ended(START)?;
        Ok(())
    }
}

fn keepalived(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["pollvs", "keepalived"], &[1])?;
    let all = addresses()?;
    let mut theirs = Keepalived::start(&lan, lab, 1, 150, "keepalived-1")?;
    lan.await_holder(1, &all).context("keepalived alone")?;

    // As master, in its place.
    let mut ours = lan.start(lab, binaries, 0, &tables(200, ""))?;
    lan.await_holder(0, &all).context("we preempt keepalived")?;
    ours.await_state("MASTER")?;
    ours.daemon.kill();
    let outage = lan.await_holder(1, &all).context("we are killed")?;
    println!("vrrp-keepalived: kill -9 of pollvsd: keepalived has all after {outage:?}");

    // As backup that could preempt and may not.
    let ours = lan.start(lab, binaries, 0, &tables(200, "preempt = false"))?;
    for router in ours.await_state("BACKUP")? {
        ensure!(router["master"].is_string() || router["received"] == 0, "{router}");
    }
    std::thread::sleep(Duration::from_millis(4500));
    lan.await_holder(1, &all).context("no preemption")?;
    for router in ours.await_state("BACKUP")? {
        ensure!(router["received"].as_u64() > Some(2), "it hears nobody: {router}");
        ensure!(router["master"].is_string(), "it knows no master: {router}");
        let rejects = router["rejects"].as_array().into_iter().flatten();
        let count: u64 = rejects.filter_map(|reject| reject["count"].as_u64()).sum();
        ensure!(count == 0, "it rejects advertisements of keepalived: {router}");
    }
    // Its kernel would answer for the addresses for ever: the machine goes with it.
    lan.plug(1, false)?;
    theirs.kill()?;
    let outage = lan.await_holder(0, &all).context("keepalived is killed")?;
    println!("vrrp-keepalived: kill -9 of keepalived: pollvsd has all after {outage:?}");
    for router in ours.await_state("MASTER")? {
        ensure!(router["reason"] == "master is silent", "{router}");
    }

    // It comes back with a higher priority, and leaves in order.
    for (.., address) in &ROUTERS {
        // What the crash has left.
        let _ = lan.node(1).ip(&format!("addr del {address} dev {LINK}"));
    }
    lan.plug(1, true)?;
    let mut theirs = Keepalived::start(&lan, lab, 1, 250, "keepalived-2")?;
    lan.await_holder(1, &all).context("keepalived preempts us")?;
    for router in ours.await_state("BACKUP")? {
        ensure!(router["reason"] == "another master has a higher priority", "{router}");
    }
    theirs.service.stop()?;
    lan.await_holder(0, &all).context("keepalived stops")?;
    for router in ours.await_state("MASTER")? {
        ensure!(router["reason"] == "master has resigned", "{router}");
    }
    Ok(())
}
