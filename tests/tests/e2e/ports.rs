//! What ports and workers list while real traffic passes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::client;
use tests::daemon::{Control, Daemon};
use tests::interrupt;
use tests::lab::{Lab, Method};
use tests::requirements::Binaries;

use crate::Case;

/// Time for a second to be over.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("ports", ports)]
}

/// The counts of each port, in the order of the listing: name and the two numbers behind it.
type Counts = Vec<(String, u64, u64)>;

/// What `ports` lists: for each port its paragraph, and its counts.
fn listed(control: &Control<'_>) -> Result<Vec<(String, Counts)>> {
    let text = control.must("ports")?;
    let mut ports = Vec::new();
    for part in text.split("port ").filter(|part| part.contains("since start")) {
        let (facts, counts) = part.split_once("meaning\n").context("a table of counts")?;
        let count = |line: &str| -> Result<(String, u64, u64)> {
            let mut words = line.split_whitespace();
            let name = words.next().context("a name")?;
            let mut number = || -> Result<u64> {
                words.next().context("a number")?.parse().with_context(|| line.to_owned())
            };
            Ok((name.to_owned(), number()?, number()?))
        };
        let counts = counts.lines().map(count).collect::<Result<Counts>>()?;
        ports.push((facts.to_owned(), counts));
    }
    ensure!(ports.len() == 2, "two ports:\n{text}");
    Ok(ports)
}

fn count(counts: &Counts, name: &str) -> Result<u64> {
    let found = counts.iter().find(|(listed, ..)| listed == name);
    Ok(found.with_context(|| format!("no {name} in {counts:?}"))?.1)
}

/// Under NAT each page crosses both ports both ways, and the worker has all frames.
fn ports(lab: &Lab, binaries: &Binaries) -> Result<()> {
    lab.set_method(Method::Nat)?;
    let mut daemon = Daemon::start(lab, binaries, 1)?;
    daemon.control().balance(Method::Nat)?;
    let before = listed(daemon.control())?;
    client::fetch(lab, 20)?.check(lab)?;
    let after = listed(daemon.control())?;
    let mut frames_in = 0;
    for ((facts, before), (_, after)) in before.iter().zip(&after) {
        for text in ["\n  MAC  ", "\n  link             up", " duplex\n", "1500 bytes\n", "/16\n"] {
            ensure!(facts.contains(text), "no {text:?} in\n{facts}");
        }
        let grown = |name: &str| Ok::<_, anyhow::Error>(count(after, name)? - count(before, name)?);
        for (frames, bytes) in [("frames_in", "bytes_in"), ("frames_out", "bytes_out")] {
            // A connection takes at least five frames each way.
            ensure!(grown(frames)? >= 100, "{frames}: {before:?}, then {after:?}");
            ensure!(grown(bytes)? >= 100 * 54, "{bytes}: {before:?}, then {after:?}");
        }
        frames_in += count(after, "frames_in")?;
        let names: Vec<_> = after.iter().map(|(name, ..)| name.as_str()).skip(4).collect();
        let losses = ["missed", "receive_errors", "no_buffer", "transmit_errors", "queue_full"];
        ensure!(names == losses, "{names:?}");
    }
    let json = daemon.control().must("--json ports")?;
    for text in ["\"schema\":\"pollvs/ports/1\"", "\"link_up\":true", "\"missed\":"] {
        ensure!(json.contains(text), "no {text} in {json}");
    }
    workers(daemon.control(), frames_in)?;
    link_down(lab, daemon.control())?;
    ensure!(daemon.stop()?.success(), "the daemon did not end well");
    Ok(())
}

/// The worker's row of a table: the number behind each heading's word.
fn row(text: &str, table: &str) -> Result<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(table));
    let row = lines.nth(2).with_context(|| format!("no {table}:\n{text}"))?;
    Ok(row.split_whitespace().filter(|word| *word != "%").map(str::to_owned).collect())
}

/// All frames of the ports were the worker's; then a second passes without any.
fn workers(control: &Control<'_>, frames_in: u64) -> Result<()> {
    let text = control.must("workers")?;
    let total = row(&text, "Since the start")?;
    let [worker, _core, polls, _busy_polls, busy, frames, burst, ns, cycles] = &total[..] else {
        anyhow::bail!("columns of\n{text}");
    };
    ensure!(worker == "0" && polls.parse::<u64>()? > 0, "{text}");
    ensure!(frames.parse::<u64>()? >= frames_in, "{frames_in} frames came in:\n{text}");
    ensure!(burst.parse::<f64>()? >= 1.0 && ns.parse::<f64>()? > 0.0, "{text}");
    ensure!(busy.parse::<f64>()? <= 100.0, "{text}");
    // Where DPDK has no counter of cycles there is a dash.
    ensure!(cycles == "-" || cycles.parse::<u64>()? > 0, "{text}");
    let json = control.must("--json workers")?;
    for part in ["\"schema\":\"pollvs/workers/1\"", "\"ns_per_frame\":", "\"ring_depth\":0"] {
        ensure!(json.contains(part), "no {part} in {json}");
    }
    // Of a long start the listing's busy time, in tenths of a percent, may be 0.
    let json: Value = serde_json::from_str(&json)?;
    let time = |name: &str| json["workers"][0]["total"][name].as_u64().context(name.to_owned());
    let (busy, run) = (time("busy_ns")?, time("run_ns")?);
    ensure!(0 < busy && busy < run, "busy for {busy} of {run} ns");
    let started = Instant::now();
    loop {
        let text = control.must("workers")?;
        let second = row(&text, "In the last second")?;
        // Hellos of IPv6 may still pass, but no page does.
        if second[2] != "0" && second[5].parse::<u64>()? < 20 {
            return Ok(());
        }
        ensure!(started.elapsed() < PATIENCE, "no quiet second:\n{text}");
        interrupt::check()?;
        thread::sleep(Duration::from_millis(100));
    }
}

/// A link that goes down is shown, and comes back.
fn link_down(lab: &Lab, control: &Control<'_>) -> Result<()> {
    for (set, shown) in [("down", "\n  link             down"), ("up", "\n  link             up")] {
        lab.client().ip(&format!("link set c0 {set}"))?;
        let started = Instant::now();
        loop {
            let ports = listed(control)?;
            if ports[0].0.contains(shown) {
                ensure!(ports[1].0.contains("\n  link             up"), "{}", ports[1].0);
                break;
            }
            ensure!(started.elapsed() < PATIENCE, "c0 is {set}:\n{}", ports[0].0);
            interrupt::check()?;
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}
