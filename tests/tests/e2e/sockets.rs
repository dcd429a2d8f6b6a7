//! Control sockets: who may use them for what, and daemons that do not answer.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};
use tests::daemon::{Control, Daemon, add_null_port, command, refused};
use tests::lab::Lab;
use tests::process::{Finished, run_with_input};
use tests::requirements::Binaries;

use crate::Case;

/// For any command, however it ends.
const LIMIT: Duration = Duration::from_secs(10);
/// `pollvsadm` says within 2 s that nobody answers; the rest is its start on a busy machine.
const GIVEN_UP: Duration = Duration::from_millis(2900);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("socket-modes", modes),
        Case::new("socket-users", users),
        Case::new("socket-read-only", read_only),
        Case::new("socket-fallback", fallback),
        Case::new("socket-dead", dead),
        Case::new("socket-stopped", stopped),
    ]
}

/// Nobody whom the machine knows.
const USER: u32 = 48_801;
const MEMBER: u32 = 48_802;
const LOOKER: u32 = 48_803;

/// The programs, and a folder for sockets that everybody may enter, as `/run/pollvs` is.
struct Places<'l> {
    lab: &'l Lab,
    bin: PathBuf,
    sockets: PathBuf,
}

impl<'l> Places<'l> {
    fn new(lab: &'l Lab, binaries: &Binaries) -> Result<Self> {
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(lab.directory(), open.clone())?;
        let [bin, sockets] = ["bin", "sockets"].map(|name| lab.directory().join(name));
        for folder in [&bin, &sockets] {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, open.clone())?;
        }
        // A build may be where others cannot look.
        fs::copy(&binaries.control, bin.join("pollvsadm"))?;
        fs::set_permissions(bin.join("pollvsadm"), open)?;
        symlink("pollvsadm", bin.join("ipvsadm"))?;
        Ok(Self { lab, bin, sockets })
    }

    fn socket(&self) -> PathBuf {
        self.sockets.join("pollvsd.sock")
    }

    fn read_only(&self) -> PathBuf {
        self.sockets.join("read-only.sock")
    }

    /// Starts a daemon with its socket here.
    fn start(&self, binaries: &Binaries, arguments: &[&str]) -> Result<Daemon<'l>> {
        let socket = self.socket();
        let mut command = command(self.lab, binaries, &socket, 1);
        add_null_port(&mut command).args(arguments);
        Daemon::start_by(self.lab, binaries, &socket, &mut command)
    }

    /// Runs a program with words as a user with one group.
    fn run_as(&self, user: u32, group: u32, program: &str, words: &str) -> Result<Finished> {
        self.run_at(&self.socket(), (user, group), program, words, "")
    }

    fn run_at(
        &self,
        socket: &Path,
        (user, group): (u32, u32),
        program: &str,
        words: &str,
        input: &str,
    ) -> Result<Finished> {
        let mut command = self.lab.director().command("setpriv");
        command.args(["--reuid", &user.to_string(), "--regid", &group.to_string()]);
        command.arg("--clear-groups").arg(self.bin.join(program)).args(words.split_whitespace());
        command.env("POLLVS_SOCKET", socket);
        run_with_input(&mut command, input.as_bytes(), LIMIT)
    }
}

pub(crate) fn expect(finished: &Finished, code: i32, out: &str, err: &str) -> Result<()> {
    let is_so = (finished.code(), &*finished.out(), &*finished.err()) == (Some(code), out, err);
    ensure!(is_so, "{}: {:?} {:?}", finished.status, finished.out(), finished.err());
    Ok(())
}

/// A group of this machine, by name and number.
fn some_group() -> Result<(String, u32)> {
    let groups = fs::read_to_string("/etc/group")?;
    let mut groups = groups.lines().filter_map(|line| {
        let mut words = line.split(':');
        let (name, number) = (words.next()?, words.nth(1)?.parse().ok()?);
        (number != 0).then(|| (name.to_owned(), number))
    });
    groups.next().context("no group but root's")
}

fn modes(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    let (name, number) = some_group()?;
    let facts = |path: &Path| -> Result<(u32, u32, u32)> {
        let found = fs::metadata(path).with_context(|| path.display().to_string())?;
        Ok((found.mode() & 0o7777, found.uid(), found.gid()))
    };
    let read_only = places.read_only();
    let shown = read_only.to_string_lossy();
    for (arguments, socket, listing) in [
        (vec![], (0o600, 0, 0), None),
        (vec!["--socket-group", &name], (0o660, 0, number), None),
        (vec!["--socket-group", "48802"], (0o660, 0, MEMBER), None),
        (vec!["--read-only-socket", &shown], (0o600, 0, 0), Some((0o600, 0, 0))),
        (
            vec!["--read-only-socket", &shown, "--read-only-group", &name],
            (0o600, 0, 0),
            Some((0o660, 0, number)),
        ),
        (
            vec![
                "--socket-group",
                "48802",
                "--read-only-group",
                "48803",
                "--read-only-socket",
                &shown,
            ],
            (0o660, 0, MEMBER),
            Some((0o660, 0, LOOKER)),
        ),
    ] {
        let mut daemon = places.start(binaries, &arguments)?;
        let is = facts(&places.socket())?;
        ensure!(is == socket, "{arguments:?}: the socket is {is:?}");
        match listing {
            Some(wanted) => {
                let is = facts(&read_only)?;
                ensure!(is == wanted, "{arguments:?}: the read-only socket is {is:?}");
            }
            None => ensure!(!read_only.exists(), "{arguments:?}: a read-only socket"),
        }
        daemon.stop()?;
        ensure!(!places.socket().exists() && !read_only.exists(), "{arguments:?}: left behind");
    }
    let mut command = command(lab, binaries, &places.socket(), 1);
    let arguments = ["--socket-group", "no-such-group"];
    let second = refused(add_null_port(&mut command).args(arguments))?;
    ensure!(second.err().contains("no-such-group"), "not named: {}", second.err());
    Ok(())
}

/// What ipvsadm says to users.
const REFUSED_TO_IPVSADM: &str = "\
Can't initialize ipvs: Permission denied (you must be root)
Are you sure that IP Virtual Server is built in the kernel or as module?
";

fn users(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    // Root only.
    let daemon = places.start(binaries, &[])?;
    for words in ["-Ln", "-A -t 10.9.255.1:80 -s rr", "-C", "-R", ""] {
        for (user, group) in [(USER, USER), (MEMBER, MEMBER), (USER, 0)] {
            let finished = places.run_as(user, group, "ipvsadm", words)?;
            expect(&finished, 2, "", REFUSED_TO_IPVSADM)
                .with_context(|| format!("ipvsadm {words} as {user}:{group}"))?;
        }
        let finished = places.run_as(USER, USER, "pollvsadm", words)?;
        let message = finished.err();
        let first = message.lines().next();
        ensure!(
            finished.code() == Some(2)
                && first == REFUSED_TO_IPVSADM.lines().next()
                && message.contains(&*places.socket().to_string_lossy())
                && !message.contains("kernel"),
            "pollvsadm {words}: {}: {message}",
            finished.status
        );
    }
    // Help needs nobody.
    ensure!(places.run_as(USER, USER, "ipvsadm", "-h")?.code() == Some(0), "no help");
    drop(daemon);
    // Root and a group.
    let group = MEMBER.to_string();
    let daemon = places.start(binaries, &["--socket-group", &group])?;
    for program in ["ipvsadm", "pollvsadm"] {
        for words in ["-A -t 10.9.255.1:80 -s rr", "-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m"] {
            expect(&places.run_as(USER, MEMBER, program, words)?, 0, "", "")?;
        }
        let saved = places.run_as(USER, MEMBER, program, "-Sn")?;
        let table = "-A -t 10.9.255.1:80 -s rr\n-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m -w 1\n";
        expect(&saved, 0, table, "")?;
        let refused = places.run_as(USER, LOOKER, "ipvsadm", "-C")?;
        expect(&refused, 2, "", REFUSED_TO_IPVSADM)?;
        ensure!(daemon.control().must("-Sn")? == table, "the table has changed");
        expect(&places.run_as(USER, MEMBER, program, "-C")?, 0, "", "")?;
    }
    Ok(())
}

const LISTINGS: [&str; 19] = [
    "-Ln",
    "-L -n -t 10.9.255.1:80",
    "-Ln --stats",
    "-Ln --rate",
    "-Ln --thresholds",
    "-Ln --persistent-conn",
    "-Ln --tun-info",
    "-Ln --nosort",
    "-Ln --exact",
    "-Lnc",
    "-Lnc --persistent-conn",
    "-L --timeout",
    "-L --daemon",
    "-Sn",
    "--sysctl",
    "--sysctl conn_reuse_mode",
    "mark",
    "mark -L --line-numbers",
    "--json -Ln",
];

/// Commands that change something, the input of those that read, and the exit status where it is
/// not ipvsadm's.
const CHANGES: [(&str, &str, i32); 24] = [
    ("-A -t 10.9.255.1:81 -s rr", "", 255),
    ("-E -t 10.9.255.1:80 -s wlc", "", 255),
    ("-D -t 10.9.255.1:80", "", 255),
    ("-C", "", 255),
    ("-a -t 10.9.255.1:80 -r 10.1.0.2:80 -m", "", 255),
    ("-e -t 10.9.255.1:80 -r 10.1.0.1:80 -m -w 9", "", 255),
    ("-d -t 10.9.255.1:80 -r 10.1.0.1:80", "", 255),
    ("-Z", "", 255),
    ("-Z -t 10.9.255.1:80", "", 255),
    ("--set 1 2 3", "", 255),
    ("--start-daemon master --mcast-interface lo", "", 255),
    ("--start-daemon backup --mcast-interface lo", "", 255),
    ("--stop-daemon master", "", 255),
    ("-R", "-C\n", 255),
    ("-R", "-A -f 9 -s rr\n-C\n-D -t 10.9.255.1:80\n", 255),
    ("--atomic -R", "-C\n", 255),
    ("--atomic -R", "-A -f 9 -s rr\n-a -f 9 -r 10.1.0.1 -g\n", 255),
    ("mark -A -d 10.9.255.1 --set-mark 1", "", 255),
    ("mark -I -d 10.9.255.1 --set-mark 1", "", 255),
    ("mark -D 1", "", 255),
    ("mark -F", "", 255),
    // As sysctl.
    ("--sysctl conn_reuse_mode=0", "", 1),
    // What a restore may hold besides.
    ("-R", "--sysctl conn_reuse_mode=0\n", 1),
    ("-R", "mark -F\n", 255),
];

/// A table with something of everything that [`CHANGES`] could change.
fn fill(control: &Control<'_>) -> Result<()> {
    for words in [
        "-A -t 10.9.255.1:80 -s rr",
        "-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m",
        "mark -A -d 10.9.255.9 --set-mark 3",
        "--start-daemon master --mcast-interface lo --syncid 3",
    ] {
        control.must(words)?;
    }
    Ok(())
}

fn everything(control: &Control<'_>) -> Result<String> {
    let words = ["-Sn", "-L --timeout", "-L --daemon", "--sysctl", "mark"];
    words.into_iter().map(|words| control.must(words)).collect()
}

fn read_only(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    let (path, group) = (places.read_only(), LOOKER.to_string());
    let arguments = ["--read-only-socket", &*path.to_string_lossy(), "--read-only-group", &group];
    let daemon = places.start(binaries, &arguments)?;
    let control = daemon.control();
    fill(control)?;
    check_read_only(&places, &path, control)
}

/// Through a socket a member of the group for looking sees everything and changes nothing.
fn check_read_only(places: &Places<'_>, path: &Path, control: &Control<'_>) -> Result<()> {
    let looker = (USER, LOOKER);
    for words in LISTINGS {
        let seen = places.run_at(path, looker, "pollvsadm", words, "")?;
        expect(&seen, 0, &control.must(words)?, "").with_context(|| words.to_owned())?;
    }
    let drops = places.run_at(path, looker, "pollvsadm", "drops", "")?;
    ensure!(drops.code() == Some(0) && drops.err().is_empty(), "drops: {}", drops.err());
    let before = everything(control)?;
    let mut wrong = Vec::new();
    for (words, input, code) in CHANGES {
        let refused = places.run_at(path, looker, "pollvsadm", words, input)?;
        let (status, message) = (refused.code(), refused.err());
        let is_refused = message.contains("Permission denied (you must be root)\n");
        if status != Some(code) || !is_refused || !refused.stdout.is_empty() {
            wrong.push(format!("{words} {input:?}: {status:?} {message:?} {:?}", refused.out()));
        }
        let words_of_ipvsadm = !words.starts_with("mark") && !words.starts_with("--sysctl");
        if words_of_ipvsadm
            && !words.starts_with("--atomic")
            && !input.contains("mark")
            && code == 255
        {
            let refused = places.run_at(path, looker, "ipvsadm", words, input)?;
            let lines = input.lines().count().max(1);
            expect(&refused, 255, "", &"Permission denied (you must be root)\n".repeat(lines))
                .with_context(|| format!("ipvsadm {words}"))?;
        }
        let after = everything(control)?;
        ensure!(before == after, "{words} {input:?} has changed something:\n{before}\n{after}");
    }
    ensure!(wrong.is_empty(), "not refused as expected:\n{}", wrong.join("\n"));
    Ok(())
}

/// Who may not use the control socket finds the one beside it by himself.
fn fallback(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    let path = places.read_only();
    let (members, lookers) = (MEMBER.to_string(), LOOKER.to_string());
    let arguments = [
        "--socket-group",
        &members,
        "--read-only-socket",
        &*path.to_string_lossy(),
        "--read-only-group",
        &lookers,
    ];
    let mut daemon = places.start(binaries, &arguments)?;
    let control = daemon.control();
    fill(control)?;
    check_read_only(&places, &places.socket(), control)?;
    // The members of the other group have the one that changes, as before.
    expect(&places.run_as(USER, MEMBER, "pollvsadm", "-A -f 77 -s rr")?, 0, "", "")?;
    ensure!(control.must("-Sn")?.contains("-A -f 77 -s rr"), "not changed");
    // For nobody else is either.
    expect(&places.run_as(USER, USER, "ipvsadm", "-Ln")?, 2, "", REFUSED_TO_IPVSADM)?;
    // A daemon that was killed leaves both; there is a difference between "may not" and "gone".
    daemon.kill();
    let looked = places.run_as(USER, LOOKER, "pollvsadm", "-Ln")?;
    ensure!(looked.code() == Some(2), "of a dead daemon: {}", looked.status);
    Ok(())
}

/// An answer, and how long it took.
pub(crate) fn timed(control: &Control<'_>, words: &str) -> Result<(Finished, Duration)> {
    let started = Instant::now();
    Ok((control.run(words)?, started.elapsed()))
}

/// Nobody is there: said soon, with what to do.
fn check_given_up(control: &Control<'_>, words: &str, reason: &str) -> Result<()> {
    let (finished, took) = timed(control, words)?;
    let message = finished.err();
    let socket = control.socket().to_string_lossy();
    ensure!(took < GIVEN_UP, "{words} takes {} s", took.as_secs_f32());
    ensure!(finished.code() == Some(2), "{words}: {}: {message}", finished.status);
    for part in [reason, "Is pollvsd running?", "start pollvsd", &socket] {
        ensure!(message.contains(part), "{words}: no {part:?} in {message}");
    }
    Ok(())
}

/// Somebody is there, and does not answer: said soon, and that nobody knows what was done.
fn check_not_answered(control: &Control<'_>, words: &str, reason: &str) -> Result<()> {
    let (finished, took) = timed(control, words)?;
    let message = finished.err();
    ensure!(took < GIVEN_UP, "{words} takes {} s", took.as_secs_f32());
    ensure!(finished.code() == Some(2), "{words}: {}: {message}", finished.status);
    let first = format!("{reason}; the command may have been carried out");
    ensure!(message.lines().next() == Some(&*first), "{words}: no {first:?} in {message}");
    Ok(())
}

/// What is said of a daemon that is silent.
const SILENT: &str = "pollvsd has not answered within 2 s";

const WORDS: [&str; 5] = ["-Ln", "-A -t 10.9.255.1:80 -s rr", "drops", "--sysctl", "--json -Ln"];

fn dead(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    let mut daemon = places.start(binaries, &[])?;
    daemon.kill();
    let control = daemon.control();
    for words in WORDS {
        check_given_up(control, words, "Connection refused")?;
    }
    fs::remove_file(places.socket())?;
    for words in WORDS {
        check_given_up(control, words, "No such file or directory")?;
    }
    fs::write(places.socket(), "no socket")?;
    check_given_up(control, "-Ln", "Connection refused")?;
    fs::remove_file(places.socket())?;
    // Somebody listens and says nothing, hangs up, or says something else.
    for (answer, reason) in [
        (None, SILENT),
        (Some(""), "pollvsd has closed the connection without an answer"),
        (Some("HTTP/1.0 400 Bad Request\r\n\r\n"), "pollvsd's answer is not understood"),
        (Some("0 10 0\nhalf"), "pollvsd has closed the connection without an answer"),
    ] {
        let listener = UnixListener::bind(places.socket())?;
        thread::scope(|scope| {
            scope.spawn(|| {
                let Some(answer) = answer else { return };
                let Ok((mut stream, _)) = listener.accept() else { return };
                drop(stream.read(&mut [0; 1024]));
                drop(stream.write_all(answer.as_bytes()));
            });
            check_not_answered(control, "-Ln", reason)
        })?;
        fs::remove_file(places.socket())?;
    }
    Ok(())
}

fn stopped(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let places = Places::new(lab, binaries)?;
    let daemon = places.start(binaries, &[])?;
    let control = daemon.control();
    daemon.service().pause()?;
    for words in WORDS {
        check_not_answered(control, words, SILENT)?;
    }
    // Not even a place in the queue of new clients.
    let mut waiting = Vec::new();
    while let Some(stream) = knock(&places.socket()) {
        waiting.push(stream);
        ensure!(waiting.len() < 10_000, "the queue of new clients has no end");
    }
    check_given_up(control, "-Ln", "no answer in time")?;
    daemon.service().resume()?;
    // All that was asked is done now, though nobody waits for the answer, and then what comes next.
    let (finished, _) = timed(control, "-Ln")?;
    ensure!(finished.code() == Some(0), "after a pause of the daemon: {}", finished.err());
    Ok(())
}

/// Connects if that needs no waiting.
fn knock(socket: &Path) -> Option<Socket> {
    let stream = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
    stream.set_nonblocking(true).ok()?;
    stream.connect(&SockAddr::unix(socket).ok()?).ok()?;
    Some(stream)
}
