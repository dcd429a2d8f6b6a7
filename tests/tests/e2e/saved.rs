//! The saved table: what was acknowledged is there after any end of the daemon.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::daemon::{Control, Daemon, add_null_port, command, refused};
use tests::interrupt;
use tests::lab::Lab;
use tests::model::Story;
use tests::requirements::Binaries;
use tests::session::Session;

use crate::{Case, from_environment};

/// For everything that happens by itself, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SEED: u64 = 20_260_101;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("saved-everything", everything),
        Case::new("saved-torn-line", torn_line),
        Case::new("saved-garbage", garbage),
        Case::new("saved-in-the-way", in_the_way),
        Case::new("saved-full-disk", full_disk),
        Case::new("saved-two-daemons", two_daemons),
        Case::new("saved-rules", rules),
    ]
}

/// A daemon without traffic that saves its table in `state`.
pub(crate) fn start<'l>(lab: &'l Lab, binaries: &Binaries, state: &Path) -> Result<Daemon<'l>> {
    Daemon::start_alone(lab, binaries, [OsString::from("--state"), state.into()])
}

fn rejected(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(".rejected");
    name.into()
}

/// The daemon took back all that was saved, and says so in peace.
pub(crate) fn check_taken_back(daemon: &Daemon<'_>, state: &Path) -> Result<()> {
    let (said, complaints) = (daemon.service().out(), daemon.service().err());
    ensure!(said.contains("taken back from"), "nothing was taken back: {said}");
    ensure!(complaints.is_empty(), "the daemon complains: {complaints}");
    ensure!(!rejected(state).exists(), "something was rejected");
    Ok(())
}

/// One of everything that the table can hold.
const EVERYTHING: [&str; 34] = [
    "-A -t 10.9.255.1:80 -s rr",
    "-a -t 10.9.255.1:80 -r 10.1.0.9:80 -g -w 0",
    "-a -t 10.9.255.1:80 -r 10.1.0.3:80 -i -w 65535",
    "-a -t 10.9.255.1:80 -r 10.1.0.7:80 -i -w 2147483647 --tun-type gue --tun-port 6080 --tun-remcsum",
    "-a -t 10.9.255.1:80 -r 10.1.0.1:80 -i --tun-type gue --tun-port 65535 --tun-csum",
    "-a -t 10.9.255.1:80 -r 10.1.0.8:80 -i --tun-type gre --tun-csum -x 5",
    "-a -t 10.9.255.1:80 -r 10.1.0.2:80 -i --tun-type gre -x 2147483647 -y 7",
    "-a -t 10.9.255.1:80 -r 10.1.0.5:8080 -m -w 7 -x 100 -y 20",
    "-A -t 10.9.255.1:0 -s wlc -p",
    "-A -t 10.9.255.2:21 -s lblc -p 2678400 -M 255.255.0.0",
    "-A -t 10.9.255.3:443 -s mh -b mh-fallback,mh-port",
    "-A -t 10.9.255.4:443 -s sh -b flag-1,flag-2,flag-3",
    "-A -t 10.9.255.5:443 -s lblcr -b flag-3",
    "-A -u 10.9.255.1:5060 -s sed --pe sip -p 30 -o",
    "-A -u 10.9.255.1:53 -s fo -o",
    "-a -u 10.9.255.1:53 -r 10.1.0.1:5353 -m",
    "-A --sctp-service 10.9.255.1:90 -s ovf",
    "-a --sctp-service 10.9.255.1:90 -r 10.1.0.1:91 -m -w 3",
    "-A -t [2001:db8::1]:80 -s twos",
    "-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:8080 -m -x 9",
    "-A -u [2001:db8::1]:53 -s nq -p 60 -M 64",
    "-A --sctp-service [2001:db8::1]:90 -s dh",
    "-A -f 7 -s lc -p 12 -M 255.255.255.0",
    "-a -f 7 -r 10.1.0.1:0 -g -w 2",
    "-A -f 7 -6 -s wrr -p 60 -M 48",
    "-A -f 4294967295 -s none",
    "--set 500 60 70",
    "--sysctl conn_reuse_mode=0 expire_nodest_conn=1 sync_threshold=5,60 drop_entry=1",
    "mark -A -s 10.0.0.0/8 -d 10.9.255.1 -p tcp --sport 1:1023 --dport 80:90 --set-mark 7",
    "mark -A -d 2001:db8::/32 -p udp --set-mark 4294967295",
    "mark -A -p 132 --set-mark 0",
    "mark -I -s 10.9.0.7 --set-mark 9",
    "--start-daemon master --mcast-interface lo --syncid 3 --mcast-port 9000 --mcast-ttl 4",
    "--start-daemon backup --mcast-interface lo --syncid 4 --mcast-group 224.0.0.99 --sync-maxlen 999",
];

/// What shows the whole table.
const LISTINGS: [&str; 10] = [
    "-Sn",
    "-Ln",
    "-Ln --thresholds",
    "-Ln --tun-info",
    "-Ln --persistent-conn",
    "-L --timeout",
    "-L --daemon",
    "--sysctl",
    "mark -L --line-numbers",
    "--json -Ln",
];

fn listings(control: &Control<'_>) -> Result<Vec<String>> {
    let mut listings = Vec::new();
    for words in LISTINGS {
        listings.push(control.must(words)?);
    }
    // Services stand in any order, but the order of the servers of a service matters.
    let unsorted = control.must("-Ln --nosort")?;
    let mut services: Vec<Vec<&str>> = Vec::new();
    for line in unsorted.lines().skip(3) {
        if line.starts_with("  ->") {
            services.last_mut().context("a server without a service")?.push(line);
        } else {
            services.push(vec![line]);
        }
    }
    services.sort();
    let services: Vec<_> = services.iter().map(|lines| lines.join("\n")).collect();
    listings.push(services.join("\n"));
    Ok(listings)
}

fn check_listings(control: &Control<'_>, before: &[String]) -> Result<()> {
    let after = listings(control)?;
    let names = LISTINGS.iter().chain(&["-Ln --nosort"]);
    for ((words, before), after) in names.zip(before).zip(&after) {
        ensure!(before == after, "{words} was\n{before}and is\n{after}");
    }
    Ok(())
}

fn everything(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("state/table");
    let mut daemon = start(lab, binaries, &state)?;
    for line in EVERYTHING {
        daemon.control().must(line)?;
    }
    let before = listings(daemon.control())?;
    // As changes one by one, as they are saved at a stop, and as they were taken back.
    for end in ["kill", "stop", "stop", "kill"] {
        if end == "kill" {
            daemon.kill();
        } else {
            let status = daemon.stop()?;
            ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
        }
        drop(daemon);
        daemon = start(lab, binaries, &state)?;
        check_taken_back(&daemon, &state).with_context(|| format!("after a {end}"))?;
        check_listings(daemon.control(), &before).with_context(|| format!("after a {end}"))?;
    }
    // A server of the other family and sync daemons exclude each other, as in the kernel.
    let control = daemon.control();
    for words in [
        "--stop-daemon backup",
        "--stop-daemon master",
        "-a -t 10.9.255.5:443 -r [2001:db8::7]:443 -i",
    ] {
        control.must(words)?;
    }
    let before = listings(control)?;
    daemon.kill();
    drop(daemon);
    let mut daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    check_listings(daemon.control(), &before).context("with servers of two families")?;
    // And back to nothing.
    let control = daemon.control();
    for words in ["-C", "mark -F", "--set 900 120 300"] {
        control.must(words)?;
    }
    let before = listings(control)?;
    daemon.kill();
    drop(daemon);
    let daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    check_listings(daemon.control(), &before).context("after a kill without services")
}

fn torn_line(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let mut daemon = start(lab, binaries, &state)?;
    daemon.control().must("-A -t 10.9.255.1:80 -s rr")?;
    daemon.control().must("-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m")?;
    let before = daemon.control().must("-Sn")?;
    // Whole commands by themselves, but nobody knows whether more was to come.
    for half in ["-A -t 10.9.255.1:8", "-d -t 10.9.255.1:80 -r 10.1.0.1:80", "-C", "-", "\u{fffd}"]
    {
        daemon.kill();
        drop(daemon);
        fs::File::options().append(true).open(&state)?.write_all(half.as_bytes())?;
        daemon = start(lab, binaries, &state)?;
        check_taken_back(&daemon, &state).with_context(|| half.to_owned())?;
        let after = daemon.control().must("-Sn")?;
        ensure!(after == before, "with {half:?} at its end the table is\n{after}");
    }
    // What comes next is not glued to the half line.
    daemon.control().must("-A -t 10.9.255.1:81 -s rr")?;
    let before = daemon.control().must("-Sn")?;
    daemon.kill();
    drop(daemon);
    let daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    ensure!(daemon.control().must("-Sn")? == before, "the next change is lost");
    Ok(())
}

fn garbage(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let text = b"# good, then bad\n\
        -A -t 10.9.255.1:80 -s rr\n\
        nonsense\n\
        \n\
        -a -t 10.9.255.1:80 -r 10.1.0.1:80 -m -w 3\n\
        -a -t 10.9.255.7:80 -r 10.1.0.1:80 -m -w 3\n\
        \xff\xfe\0junk\n\
        -L -n\n\
        -h\n\
        -R\n\
        -A -t 10.9.255.2:80 -s nosuch\n\
        --sysctl nosuch=1 expire_nodest_conn=1\n\
        mark -A --nosuch\n\
        --sysctl conn_reuse_mode=0\n\
        -A -u 10.9.255.1:53 -s wlc\n";
    fs::write(&state, text)?;
    let daemon = start(lab, binaries, &state)?;
    let saved = daemon.control().must("-Sn")?;
    let good = "-A -t 10.9.255.1:80 -s rr\n-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m -w 3\n\
                -A -u 10.9.255.1:53 -s wlc\n";
    ensure!(saved == good, "taken back:\n{saved}");
    let mode = daemon.control().must("--sysctl conn_reuse_mode")?;
    ensure!(mode.ends_with("= 0\n"), "a good setting is lost: {mode}");
    let complaints = daemon.service().err();
    let aside = rejected(&state);
    for part in [&*state.to_string_lossy(), &*aside.to_string_lossy()] {
        ensure!(complaints.contains(part), "no {part:?} in the complaint: {complaints}");
    }
    for bad in [3, 6, 7, 11, 12, 13] {
        let line = format!("line {bad}: ");
        ensure!(complaints.contains(&line), "{line} is not complained about: {complaints}");
    }
    for good in [1, 2, 4, 5, 14, 15] {
        let line = format!("line {good}: ");
        ensure!(!complaints.contains(&line), "{line} is complained about: {complaints}");
    }
    ensure!(fs::read(&aside)? == text, "{} is no copy", aside.display());
    drop(daemon);
    // The good ones are good again.
    fs::remove_file(&aside)?;
    let daemon = start(lab, binaries, &state)?;
    check_taken_back(&daemon, &state)?;
    ensure!(daemon.control().must("-Sn")? == good, "taken back the second time:\n{saved}");
    Ok(())
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

fn full_disk(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let disk = lab.directory().join("disk");
    fs::create_dir(&disk)?;
    let state = disk.join("table");
    let socket = lab.directory().join("control.sock");
    let mut plain = command(lab, binaries, &socket, 1);
    add_null_port(&mut plain).arg("--state").arg(&state);
    let mut words = plain.get_args();
    let mut command = std::process::Command::new("ip");
    // `ip netns exec NAME setpriv --pdeathsig KILL`, and in between a mount namespace.
    command.args(words.by_ref().take(6));
    command.args(["unshare", "--mount", "--propagation", "private", "sh", "-ec", SMALL_DISK, "sh"]);
    command.arg(&disk).args(words);
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

fn two_daemons(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let mut first = start(lab, binaries, &state)?;
    first.control().must("-A -t 10.9.255.1:80 -s rr")?;
    let text = fs::read(&state)?;
    let socket = lab.directory().join("second.sock");
    let mut command = command(lab, binaries, &socket, 1);
    let second = refused(add_null_port(&mut command).arg("--state").arg(&state))?;
    let message = second.err();
    for part in ["another pollvsd", &*state.to_string_lossy(), "--state"] {
        ensure!(message.contains(part), "no {part:?} in {message}");
    }
    ensure!(!socket.exists(), "{} is left behind", socket.display());
    ensure!(first.is_running() && fs::read(&state)? == text, "the first one suffers");
    first.control().must("-A -t 10.9.255.1:81 -s rr")?;
    // A daemon that is gone, however, has left the file.
    first.kill();
    drop(first);
    let next = start(lab, binaries, &state)?;
    ensure!(next.control().must("-Sn")?.lines().count() == 2, "not both services");
    Ok(())
}

/// Configured rules are for a daemon that has saved no table yet, not even an empty one.
fn rules(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let config = lab.directory().join("pollvsd.toml");
    fs::write(
        &config,
        "rules = [\"-A -t 10.9.255.1:80 -s rr\", \"-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m\"]\n\
         [sysctl]\nexpire_nodest_conn = 1\n",
    )?;
    let start = || {
        let arguments = ["--state".into(), state.clone(), "--config".into(), config.clone()];
        Daemon::start_alone(lab, binaries, arguments)
    };
    let mut daemon = start()?;
    let configured = daemon.control().must("-Sn")?;
    ensure!(configured.lines().count() == 2, "the rules are not used:\n{configured}");
    // Saved at once, and not only with the first change.
    daemon.kill();
    drop(daemon);
    fs::write(&config, fs::read_to_string(&config)?.replace("_conn = 1", "_conn = 0"))?;
    let mut daemon = start()?;
    ensure!(daemon.control().must("-Sn")? == configured, "not the same");
    let setting = daemon.control().must("--sysctl expire_nodest_conn")?;
    ensure!(setting.ends_with("= 0\n"), "a setting that nobody changed was saved: {setting}");
    for change in ["-A -t 10.9.255.2:80 -s rr", "-C"] {
        daemon.control().must(change)?;
        let before = daemon.control().must("-Sn")?;
        daemon.stop()?;
        drop(daemon);
        daemon = start()?;
        ensure!(daemon.control().must("-Sn")? == before, "after {change} the rules are back");
        let said = daemon.service().out();
        ensure!(said.contains("the configured rules are left out"), "in silence: {said}");
    }
    Ok(())
}
