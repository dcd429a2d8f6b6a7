//! The control command and the socket behind it: refusals change nothing, saving is restoring.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::daemon::{Control, Daemon};
use tests::lab::{Lab, Method};
use tests::requirements::Binaries;

use crate::Case;

/// `pollvsadm` promises this much.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("malformed-commands", malformed_commands),
        Case::new("malformed-lines", malformed_lines),
        Case::new("silent-client", silent_client),
        Case::new("deaf-client", deaf_client),
        Case::new("save-restore", save_restore),
    ]
}

/// The words, the exit status and a part of the message, all as ipvsadm has them.
const MALFORMED: [(&str, i32, &str); 16] = [
    ("nonsense", 255, "--help"),
    ("-A", 2, "You need to supply the 'service-address' option for the 'add-service' command"),
    ("-A -t 10.9.255.1:80 -s rr", 255, "Service already exists"),
    ("-A -t 10.9.255.1:99999 -s rr", 2, "illegal virtual server address[:port] specified"),
    ("-A -t 10.9.255.300:80 -s rr", 2, "illegal virtual server address[:port] specified"),
    ("-A -t 10.9.255.1 -s rr", 2, "Zero port specified for non-persistent service"),
    ("-A -t 10.9.255.1:81 -s nosuch", 255, "Scheduler or persistence engine not found"),
    ("-A -t 10.9.255.1:81 -s rr -p 0", 2, "invalid timeout value"),
    ("-A -t 10.9.255.1:81 -t 10.9.255.1:82", 2, "multiple 'service-address' options"),
    ("-A -f 0", 2, "invalid fwmark value"),
    ("-D -t 10.9.255.9:80", 255, "No such service"),
    ("-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m", 255, "Destination already exists"),
    ("-a -t 10.9.255.1:80 -r 10.1.0.3:80 -m -w -1", 2, "illegal weight specified"),
    ("-a -t 10.9.255.9:80 -r 10.1.0.3:80 -m", 255, "Service not defined"),
    ("-d -t 10.9.255.1:80 -r 10.1.0.9:80", 255, "No such destination"),
    ("-C -q", 255, "-q: unknown option"),
];

fn malformed_commands(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    let before = control.table()?;
    let mut wrong = Vec::new();
    for (words, code, message) in MALFORMED {
        let answer = control.run(words)?;
        if answer.code() != Some(code) || !answer.err().contains(message) {
            wrong.push(format!("`{words}`: {}, {}", answer.status, answer.err().trim()));
        }
        ensure!(control.table()? == before, "`{words}` changed the table");
    }
    ensure!(
        wrong.is_empty(),
        "{} answers differ from ipvsadm's:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// Lines for the socket itself, which anyone who may open it can write, and the statuses of the
/// replies that have to come back.
const LINES: [(&[u8], &[u8]); 16] = [
    (b"", &[]),
    (b"-C", &[2]),
    (b"-C\0\n", &[2]),
    (b"-C -C\n", &[2]),
    (b"-A -t\n", &[255]),
    (b"-A -t 10.9.255.1:99999 -s rr\n", &[2]),
    (b"-D -t 10.9.255.1:80 -q\n", &[255]),
    (b"-D -t 10.9.255.1:80 -q\n-C -x\n-C", &[255, 255, 2]),
    (b"-R\nnonsense\n-C\n", &[255]),
    (b"\xff\xfe-C\n", &[2]),
    (b"GET / HTTP/1.1\r\nHost: x\r\n", &[255, 255]),
    (b"@[\"pollvsadm\", \"-C\"\n", &[2]),
    (b"@[\"pollvsadm\", 1]\n", &[2]),
    (b"@[]\n", &[2]),
    (b"@{\"a\": {}}\n", &[2]),
    (b"--\n", &[255]),
];

fn malformed_lines(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start(lab, binaries, 1)?;
    daemon.control().balance(Method::Nat)?;
    let before = daemon.control().table()?;
    let unharmed = |daemon: &mut Daemon<'_>| -> Result<()> {
        ensure!(daemon.is_running(), "the daemon is gone");
        ensure!(daemon.control().table()? == before, "the table has changed");
        Ok(())
    };
    for (line, expected) in LINES {
        let shown = String::from_utf8_lossy(line);
        let answer = send_raw(daemon.control().socket(), line)
            .with_context(|| format!("after {shown:?}"))?;
        let statuses = statuses(&answer);
        ensure!(statuses == expected, "{shown:?} gives {statuses:?}, not {expected:?}: {answer}");
        unharmed(&mut daemon).with_context(|| format!("after {shown:?}"))?;
    }
    // Too long for any answer to be sure of: the daemon may hang up while we still write.
    for endless in [vec![b'A'; 4 << 20], b"-A ".repeat(100_000), b"-\n".repeat(2_000)] {
        let shown = String::from_utf8_lossy(&endless[..6]).into_owned();
        send_raw(daemon.control().socket(), &endless)?;
        unharmed(&mut daemon).with_context(|| format!("after much {shown:?}"))?;
    }
    Ok(())
}

/// The statuses of replies: each is a line `STATUS STDOUT_LENGTH STDERR_LENGTH` and the two texts.
fn statuses(mut replies: &str) -> Vec<u8> {
    let mut statuses = Vec::new();
    while let Some((head, rest)) = replies.split_once('\n') {
        let numbers: Vec<usize> = head.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [status, stdout, stderr] = numbers[..] else { break };
        let Ok(status) = u8::try_from(status) else { break };
        let Some(next) = rest.get(stdout + stderr..) else { break };
        statuses.push(status);
        replies = next;
    }
    statuses
}

/// Writes bytes, closes its writing end and reads to the end; fails when that takes too long.
fn send_raw(socket: &Path, bytes: &[u8]) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    // The daemon may hang up in the middle of too long a line; what counts is that it goes on.
    if stream.write_all(bytes).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
    let started = Instant::now();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend(&part[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Hung up on us with our bytes unread.
            Err(_) => break,
        }
        if started.elapsed() > 2 * ANSWER_LIMIT {
            bail!("the daemon neither answers to the end nor hangs up");
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Clients that say nothing, or half a line, must not keep others waiting.
fn silent_client(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    let mut silent = Vec::new();
    for number in 0..8 {
        let mut stream = UnixStream::connect(control.socket())?;
        if number % 2 == 1 {
            stream.write_all(b"-L")?;
        }
        silent.push(stream);
    }
    prompt_listing(control)
}

/// Nor may a client that asks and asks and never reads an answer.
fn deaf_client(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    let mut deaf = UnixStream::connect(control.socket())?;
    deaf.set_write_timeout(Some(Duration::from_millis(100)))?;
    // Ends early once the daemon has no room left for its answers.
    drop(deaf.write_all(&b"-Ln\n".repeat(20_000)));
    prompt_listing(control)
}

fn prompt_listing(control: &Control<'_>) -> Result<()> {
    let started = Instant::now();
    let listing = control.must("-Ln")?;
    let took = started.elapsed();
    ensure!(listing.contains("10.9.255.1:80"), "a listing without the service:\n{listing}");
    ensure!(took < ANSWER_LIMIT, "the listing took {} s", took.as_secs_f32());
    Ok(())
}

/// One of everything that can be served and saved so far.
const RULES: [&str; 9] = [
    "-A -t 10.9.255.1:80 -s rr",
    "-a -t 10.9.255.1:80 -r 10.1.0.1:8080 -m -w 3",
    "-a -t 10.9.255.1:80 -r 10.1.0.2:80 -g -w 0",
    "-A -t 10.9.255.1:443 -s wlc",
    "-a -t 10.9.255.1:443 -r 10.1.0.1:443 -i",
    "-A -u 10.9.255.1:53 -s wrr",
    "-a -u 10.9.255.1:53 -r 10.1.0.2:53 -i -w 65535",
    "-a -u 10.9.255.1:53 -r 10.1.0.1:5353 -m",
    "-A -u 10.9.255.2:53 -s lc",
];

fn save_restore(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    control.must("-C")?;
    let empty = control.must("-Sn")?;
    ensure!(empty.is_empty(), "an empty table saves as {empty:?}");
    for rule in RULES {
        control.must(rule)?;
    }
    let numeric = control.must("-Sn")?;
    ensure!(numeric.lines().count() == RULES.len(), "saved:\n{numeric}");
    for format in ["-S", "-Sn"] {
        let saved = control.must(format)?;
        control.must("-C")?;
        let restored = control.run_with_input("-R", &saved)?;
        ensure!(restored.status.success(), "-R of {format}: {}\n{saved}", restored.err());
        let again = control.must("-Sn")?;
        ensure!(again == numeric, "{format} then -R gives\n{again}instead of\n{numeric}");
    }
    Ok(())
}
