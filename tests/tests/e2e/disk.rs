//! The saved table while the disk is full, or the file cannot be written.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::daemon::{Control, Daemon, add_null_port, command, refused};
use tests::interrupt;
use tests::lab::Lab;
use tests::model::Story;
use tests::requirements::Binaries;
use tests::session::Session;

use crate::saved::{PATIENCE, SEED, check_taken_back, start};
use crate::{Case, from_environment};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("saved-in-the-way", in_the_way),
        Case::new("saved-full-disk", full_disk),
        Case::new("saved-full-at-start", full_at_start),
    ]
}

const WARNING: &str = "warning: the change is made, but the table could not be saved in ";

/// A change, and whether it could not be saved.
fn warned(control: &Control<'_>, words: &str) -> Result<bool> {
    let finished = control.run(words)?;
    let error = finished.err();
    ensure!(finished.code() == Some(0), "{words}: {}: {error}", finished.status);
    ensure!(error.is_empty() || error.starts_with(WARNING), "{words}: {error}");
    Ok(!error.is_empty())
}

fn await_saved_again(daemon: &Daemon<'_>) -> Result<()> {
    let started = Instant::now();
    while !daemon.service().err().contains("the table is saved again") {
        interrupt::check()?;
        let complaints = daemon.service().err();
        ensure!(started.elapsed() < PATIENCE, "the table is not saved again: {complaints}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A folder in the place of the file.
fn in_the_way(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let mut daemon = start(lab, binaries, &state)?;
    let control = daemon.control();
    ensure!(!warned(control, "-A -t 10.9.255.1:80 -s rr")?, "a warning about nothing");
    fs::remove_file(&state)?;
    fs::create_dir(&state)?;
    for port in 81..84 {
        ensure!(warned(control, &format!("-A -t 10.9.255.1:{port} -s rr"))?, "no warning");
    }
    // Looking is no change, and what is refused is none.
    let listed = control.run("-Ln")?;
    ensure!(listed.code() == Some(0) && listed.stderr.is_empty(), "-Ln: {}", listed.err());
    ensure!(listed.out().lines().count() == 7, "the table has changed: {}", listed.out());
    let complaints = daemon.service().err();
    ensure!(complaints.lines().count() == 1, "not one complaint: {complaints}");
    fs::remove_dir(&state)?;
    // By itself, without another change.
    await_saved_again(&daemon)?;
    let before = daemon.control().must("-Sn")?;
    daemon.kill();
    drop(daemon);
    let mut daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    ensure!(daemon.control().must("-Sn")? == before, "not what it was");
    ensure!(!warned(daemon.control(), "-A -t 10.9.255.1:99 -s rr")?, "a warning about nothing");
    daemon.stop()?;
    drop(daemon);
    // At the start it is a reason to say no.
    fs::remove_file(&state)?;
    fs::create_dir(&state)?;
    let socket = lab.directory().join("control.sock");
    let mut command = command(lab, binaries, &socket, 1);
    let second = refused(add_null_port(&mut command).arg("--state").arg(&state))?;
    ensure!(second.err().contains(&*state.to_string_lossy()), "not named: {}", second.err());
    Ok(())
}

/// Mounts 64 KiB at the first argument, then becomes the rest.
const SMALL_DISK: &str = "mount -n -t tmpfs -o size=64k none \"$1\"; shift; exec \"$@\"";

/// A daemon's command behind a script in a mount namespace, which gets the paths as arguments.
fn behind(plain: &Command, script: &str, paths: &[&Path]) -> Command {
    let mut words = plain.get_args();
    let mut command = Command::new("ip");
    // `ip netns exec NAME setpriv --pdeathsig KILL`, and in between a mount namespace.
    command.args(words.by_ref().take(6));
    command.args(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    command.args(paths).args(words);
    command
}

fn full_disk(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let disk = lab.directory().join("disk");
    fs::create_dir(&disk)?;
    let state = disk.join("table");
    let socket = lab.directory().join("control.sock");
    let mut plain = command(lab, binaries, &socket, 1);
    add_null_port(&mut plain).arg("--state").arg(&state);
    let mut command = behind(&plain, SMALL_DISK, &[&disk]);
    let daemon = Daemon::start_by(lab, binaries, &socket, &mut command)?;
    // The disk as the daemon sees it.
    let root = PathBuf::from(format!("/proc/{}/root", daemon.service().id()));
    let inside = root.join(disk.strip_prefix("/")?);
    ensure!(inside.join("table").is_file() && !state.exists(), "no disk of its own");
    let story = Story::new(from_environment("POLLVS_E2E_SEED", SEED)?, 1, 500);
    let mut session = Session::open(&socket)?;
    let mut lines = story.lines.iter();
    for line in lines.by_ref().take(50) {
        ensure!(session.change(line)?, "the daemon is gone");
    }
    let filler = inside.join("filler");
    let filled = fs::File::create(&filler)?.write_all(&[0; 65536]);
    ensure!(filled.is_err(), "the disk is larger than 64 KiB");
    let (mut safe, mut warnings) = (50, 0);
    for line in lines {
        let answer = session.ask(line)?;
        ensure!(answer.status == 0, "{line}: {answer:?}");
        if answer.err.is_empty() {
            ensure!(warnings == 0, "saved in no room");
            safe += 1;
        } else {
            ensure!(answer.err.starts_with(WARNING), "{line}: {answer:?}");
            warnings += 1;
        }
    }
    ensure!(warnings > 0, "the disk is not full");
    println!("  {safe} changes were saved, {warnings} not");
    // Should the lights go out now, everything without a warning is there.
    let copy = lab.directory().join("copy");
    fs::copy(inside.join("table"), &copy)?;
    // Without another change.
    fs::remove_file(&filler)?;
    await_saved_again(&daemon)?;
    let later = lab.directory().join("later");
    fs::copy(inside.join("table"), &later)?;
    let before = daemon.control().must("-Sn")?;
    ensure!(session.change("-A -f 1 -s rr")?, "the daemon is gone");
    drop(daemon);
    let daemon = start(lab, binaries, &copy)?;
    check_taken_back(&daemon, &copy)?;
    let saved = daemon.control().must("-Sn")?;
    let kept = story.progress(&saved, safe..=story.lines.len());
    ensure!(kept.is_some(), "{safe} were saved, but there is\n{saved}");
    drop(daemon);
    let daemon = start(lab, binaries, &later)?;
    check_taken_back(&daemon, &later)?;
    ensure!(daemon.control().must("-Sn")? == before, "not what it was");
    Ok(())
}

/// The same with a table on it, and nothing else free.
const FULL_DISK: &str = "mount -n -t tmpfs -o size=64k none \"$1\"; cp \"$2\" \"$1/table\"; \
                         : >\"$1/table.lock\"; mkdir \"$1/proc\"; : >\"$1/proc.lock\"; \
                         dd if=/dev/zero of=\"$1/filler\" bs=4k count=16 2>/dev/null || :; \
                         shift 2; exec \"$@\"";

/// A director that has its table forwards, whatever the disk says.
fn full_at_start(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let disk = lab.directory().join("disk");
    fs::create_dir(&disk)?;
    let table = lab.directory().join("good-and-bad");
    fs::write(&table, "-A -t 10.9.255.1:80 -s rr\n-A nonsense\n")?;
    let socket = lab.directory().join("control.sock");
    let mut plain = command(lab, binaries, &socket, 1);
    let state = disk.join("table");
    add_null_port(&mut plain).arg("--state").arg(&state).arg("--run").arg(&disk);
    let mut command = behind(&plain, FULL_DISK, &[&disk, &table]);
    let daemon = Daemon::start_by(lab, binaries, &socket, &mut command)?;
    let control = daemon.control();
    ensure!(control.must("-Sn")?.lines().count() == 1, "not taken back");
    let complaints = daemon.service().err();
    for part in ["line 2: ", "could not be saved in ", "files in "] {
        ensure!(complaints.contains(part), "no {part:?} in {complaints}");
    }
    ensure!(warned(control, "-A -t 10.9.255.1:81 -s rr")?, "no warning");
    let refused = control.run("-A -t 10.9.255.1:81 -s rr")?;
    ensure!(refused.err() == "Service already exists\n", "{}", refused.err());
    let root = PathBuf::from(format!("/proc/{}/root", daemon.service().id()));
    let inside = root.join(disk.strip_prefix("/")?);
    fs::remove_file(inside.join("filler"))?;
    await_saved_again(&daemon)?;
    let rejected = fs::read_to_string(inside.join("table.rejected"))?;
    ensure!(rejected.contains("nonsense"), "what was rejected is lost: {rejected}");
    Ok(())
}
