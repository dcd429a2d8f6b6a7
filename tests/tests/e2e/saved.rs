//! The saved table: what was acknowledged is there after any end of the daemon.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::daemon::{Control, Daemon, add_null_port, command, refused};
use tests::lab::Lab;
use tests::requirements::Binaries;

use crate::Case;

/// For everything that happens by itself, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SEED: u64 = 20_260_101;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("saved-everything", everything),
        Case::new("saved-torn-line", torn_line),
        Case::new("saved-garbage", garbage),
        Case::new("saved-two-daemons", two_daemons),
        Case::new("saved-rules", rules),
        Case::new("saved-configured", configured),
        Case::new("saved-atomic", atomic),
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
        let said = daemon.service().err();
        let words = format!("the last line has no end and is left out: {half}\n");
        ensure!(said.ends_with(&words) && said.lines().count() == 1, "{half}: {said}");
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

/// What is as configured is not saved, so the configuration may be edited.
fn configured(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let config = lab.directory().join("pollvsd.toml");
    fs::write(&config, "")?;
    let start = || {
        let arguments = ["--state".into(), state.clone(), "--config".into(), config.clone()];
        Daemon::start_alone(lab, binaries, arguments)
    };
    let mut daemon = start()?;
    let control = daemon.control();
    for words in [
        "--sysctl expire_nodest_conn=1 lblc_expiration=7",
        "--sysctl expire_nodest_conn=0",
        "mark -A -p tcp --dport 80 --set-mark 1",
        "mark -F",
        "--set 800 0 0",
        "--set 900 0 0",
    ] {
        control.must(words)?;
    }
    daemon.kill();
    drop(daemon);
    let edited = "[sysctl]\nexpire_nodest_conn = 1\nlblc_expiration = 8\n\
                  [timeouts]\ntcp = 777\n[[mark]]\nprotocol = 6\nmark = 5\n";
    fs::write(&config, edited)?;
    let daemon = start()?;
    let said = daemon.control().must("--sysctl expire_nodest_conn lblc_expiration")?;
    let values: Vec<_> = said.lines().filter_map(|line| line.split(" = ").nth(1)).collect();
    ensure!(values == ["1", "7"], "the second one alone was set by hand: {said}");
    let marks = daemon.control().must("mark")?;
    ensure!(marks.contains("--set-mark 5"), "no mark of the configuration: {marks}");
    let timeouts = daemon.control().must("-L --timeout")?;
    ensure!(timeouts.contains("777 120 300"), "{timeouts}");
    Ok(())
}

/// Lines that belong together reach the disk together: as a file of their own.
fn atomic(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let state = lab.directory().join("table");
    let daemon = start(lab, binaries, &state)?;
    let control = daemon.control();
    control.must("-A -t 10.9.255.1:80 -s rr")?;
    let number = || fs::metadata(&state).map(|file| file.ino());
    let before = number()?;
    control.must("-A -t 10.9.255.1:81 -s rr")?;
    ensure!(number()? == before, "a single change is appended");
    let lines = "-C\n-A -f 1 -s rr\n-A -f 2 -s rr\n";
    let finished = control.run_with_input("--atomic -R", lines)?;
    ensure!(finished.status.success(), "{}", finished.err());
    ensure!(number()? != before, "half of it could be there");
    let saved = fs::read_to_string(&state)?;
    ensure!(!saved.contains("-C\n") && saved.contains("-A -f 2"), "not the table: {saved}");
    Ok(())
}
