//! A server goes out of service: clients that are on it stay, new ones go elsewhere, and in the end it is deleted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use tests::client::page;
use tests::daemon::{Control, Daemon, add_ports, command};
use tests::interrupt;
use tests::lab::{Lab, SERVICE, VIP};
use tests::process::{Service, run};
use tests::requirements::Binaries;

use crate::Case;
use crate::table::PAUSE;

/// The server that goes.
const GOING: &str = "10.1.0.1:80";
/// The server that stays.
const STAYING: &str = "10.1.0.2:80";
/// The program asks once a second at least.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("drain", drain),
        Case::new("drain-ends-early", ends_early),
        Case::new("drain-persistence", persistence),
        Case::new("drain-read-only", read_only),
        Case::new("drain-during-edits", during_edits),
    ]
}

/// One connection of a client, for several requests.
struct Client(TcpStream);

impl Client {
    fn connect(lab: &Lab) -> Result<Self> {
        let stream = lab.client().enter(|| TcpStream::connect(SocketAddrV4::new(VIP, 80)))??;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Asks for a page that is not there, after which the server leaves the connection open.
    fn ask(&mut self) -> Result<()> {
        self.0.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut answer = Vec::new();
        let mut part = [0; 2048];
        while !answer.ends_with(b"</html>\r\n") {
            let length = self.0.read(&mut part)?;
            ensure!(length != 0, "the server has closed the connection");
            answer.extend(&part[..length]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 404 "), "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// Asks for the server's name, after which the server closes its half of the connection.
    fn last(&mut self) -> Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut answer = String::new();
        self.0.read_to_string(&mut answer)?;
        let (_, name) = answer.split_once("\r\n\r\n").context("no page")?;
        Ok(name.trim().to_owned())
    }
}

/// A service with one server, the one that is to go.
fn one_server(control: &Control<'_>) -> Result<()> {
    control.must("-C")?;
    control.must(&format!("-A -t {SERVICE} -s rr"))?;
    control.must(&format!("-a -t {SERVICE} -r {GOING} -m -w 4 -x 100 -y 50"))?;
    // A connection that the server has closed and the client has not is gone after 2 s.
    control.must("--set 900 2 0")?;
    Ok(())
}

fn has_server(control: &Control<'_>, words: &str) -> Result<()> {
    let table = control.table()?;
    ensure!(table.lines().any(|line| line == words), "no {words:?} in the table:\n{table}");
    Ok(())
}

/// Starts to drain, and waits until one connection is said to remain.
fn start(lab: &Lab, binaries: &Binaries, control: &Control<'_>, name: &str) -> Result<Service> {
    let mut command = lab.director().command(&binaries.control);
    command.arg("--socket").arg(control.socket());
    command.args(["drain", "-t", SERVICE, "-r", GOING, "--remove"]);
    let mut drain = Service::start(name, &mut command, &lab.logs())?;
    drain.wait_until(PATIENCE, |drain| drain.out().contains("1 remaining: 1 active"))?;
    Ok(drain)
}

/// Waits for its end; gives the exit code.
fn end(drain: &mut Service) -> Result<Option<i32>> {
    let started = Instant::now();
    while drain.is_running() {
        interrupt::check()?;
        if started.elapsed() > PATIENCE {
            bail!("it still waits: {}", drain.out());
        }
        thread::sleep(PAUSE);
    }
    Ok(drain.stop()?.code())
}

fn drain(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    one_server(control)?;
    let mut client = Client::connect(lab)?;
    client.ask()?;
    control.must(&format!("-a -t {SERVICE} -r {STAYING} -m"))?;

    let words = format!("drain -t {SERVICE} -r {GOING}");
    let over = control.run(&format!("{words} --wait 1"))?;
    let counts = "1 remaining: 1 active, 0 inactive";
    ensure!(over.code() == Some(1), "it ends with {}: {}", over.status, over.err());
    ensure!(over.out() == format!("{GOING}: weight 0 (was 4)\n{counts}\n"), "{}", over.out());
    let command = format!("-e -t {SERVICE} -r {GOING} -m -w 4 -x 100 -y 50");
    let message = format!(
        "{GOING}: not drained after 1 s; {counts}\n\
         Its weight stays 0. To give it back: pollvsadm {command}\n"
    );
    ensure!(over.err() == message, "{}", over.err());
    has_server(control, &format!("-> {GOING} Masq 0"))?;
    control.must(&command)?;
    has_server(control, &format!("-> {GOING} Masq 4"))?;
    let thresholds = control.must(&format!("-Ln -t {SERVICE} --thresholds"))?;
    ensure!(thresholds.contains("100        50"), "{thresholds}");

    let mut drain = start(lab, binaries, control, "drain")?;
    has_server(control, &format!("-> {GOING} Masq 0"))?;
    for _ in 0..6 {
        let name = page(lab.client())?.out();
        ensure!(name.trim() == "rs2", "a new connection goes to {name}");
        client.ask().context("the old connection")?;
    }
    ensure!(drain.is_running(), "it does not wait: {}{}", drain.out(), drain.err());
    let name = client.last().context("the end of the old connection")?;
    ensure!(name == "rs1", "the old connection is answered by {name}");
    let code = end(&mut drain)?;
    ensure!(code == Some(0), "it ends with {code:?}: {}", drain.err());
    let lines = format!(
        "{GOING}: weight 0 (was 4)\n{counts}\n1 remaining: 0 active, 1 inactive\n\
         {GOING}: no connection left, deleted\n"
    );
    ensure!(drain.out() == lines, "{}", drain.out());
    let table = control.table()?;
    ensure!(!table.contains(GOING) && table.contains(STAYING), "{table}");
    // It was to stay open until now.
    drop(client);

    // The other one has connections that its clients have ended.
    let report = control.run(&format!("--json drain -t {SERVICE} -r {STAYING} --wait 0"))?;
    let document: Value = serde_json::from_slice(&report.stdout)?;
    ensure!(document["inactive_connections"] == 6 && document["remaining"] == 6, "{document}");
    ensure!(document["outcome"] == "connections_left" && report.code() == Some(1), "{document}");
    for (server, message) in [
        (format!("-t {SERVICE} -r {GOING}"), "No such destination\n"),
        (format!("-u {SERVICE} -r {GOING}"), "Service not defined\n"),
    ] {
        let refused = control.run(&format!("drain {server}"))?;
        ensure!((refused.code(), &*refused.err()) == (Some(255), message), "{}", refused.err());
    }
    Ok(())
}

fn ends_early(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start(lab, binaries, 1)?;
    one_server(daemon.control())?;
    let mut client = Client::connect(lab)?;
    client.ask()?;
    let delete = format!("-d -t {SERVICE} -r {GOING}");
    let add = format!("-a -t {SERVICE} -r {GOING} -m -w 4");
    for (number, (command, message)) in [
        (format!("-e -t {SERVICE} -r {GOING} -m -w 7"), "it was given weight 7 meanwhile"),
        (delete, "it was deleted meanwhile"),
        ("-C".to_owned(), "it was deleted meanwhile"),
    ]
    .iter()
    .enumerate()
    {
        let control = daemon.control();
        let mut drain = start(lab, binaries, control, &format!("drain-{number}"))?;
        control.must(command)?;
        let code = end(&mut drain)?;
        let told = drain.err();
        ensure!(code == Some(1) && told.contains(message), "{command}: {code:?}, {told}");
        // It comes back to its connections.
        if command.starts_with("-d") {
            control.must(&add)?;
        }
    }
    one_server(daemon.control())?;
    client.ask()?;
    let mut drain = start(lab, binaries, daemon.control(), "drain-last")?;
    daemon.kill();
    let code = end(&mut drain)?;
    let told = drain.err();
    let message = format!("{GOING}: not known to be drained; it had 1 remaining: ");
    ensure!(code == Some(2) && told.starts_with(&message), "{code:?}, {told}");
    ensure!(told.contains("Is pollvsd running?"), "{told}");
    Ok(())
}

/// A client that persistence keeps at the server is waited for, unless persistence lets go of it.
fn persistence(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    one_server(control)?;
    control.must(&format!("-E -t {SERVICE} -s rr -p 300"))?;
    page(lab.client())?;
    control.must(&format!("-a -t {SERVICE} -r {STAYING} -m"))?;
    let drain = format!("drain -t {SERVICE} -r {GOING} --wait 0");
    let kept = "2 remaining: 0 active, 1 inactive, 1 persistent\n";
    let let_go = "2 remaining: 0 active, 2 inactive (1 persistent, not waited for)\n";
    for (value, counts, server) in [(0, kept, "rs1"), (1, let_go, "rs2")] {
        control.must(&format!("--sysctl expire_quiescent_template={value}"))?;
        let told = control.run(&drain)?;
        ensure!(told.out().ends_with(counts), "with {value}: {}{}", told.out(), told.err());
        // That is where its next connection goes.
        let name = page(lab.client())?.out();
        ensure!(name.trim() == server, "with {value} a connection goes to {name}");
    }
    Ok(())
}

/// Who may only list drains nothing.
fn read_only(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let [socket, listing] = ["control.sock", "listing.sock"].map(|name| lab.directory().join(name));
    let mut daemon = command(lab, binaries, &socket, 1);
    add_ports(&mut daemon).arg("--read-only-socket").arg(&listing);
    let mut daemon = Service::start("pollvsd-read-only", &mut daemon, &lab.logs())?;
    daemon.wait_until(2 * PATIENCE, |daemon| daemon.out().contains("ready"))?;
    let ask = |socket, words: &str| {
        let mut command = lab.director().command(&binaries.control);
        command.arg("--socket").arg(socket).args(words.split_whitespace());
        run(&mut command, PATIENCE)
    };
    ask(&socket, &format!("-A -t {SERVICE} -s rr"))?;
    ask(&socket, &format!("-a -t {SERVICE} -r {GOING} -m -w 4"))?;
    let before = ask(&listing, "-Ln")?.out();
    ensure!(before.contains(GOING), "{before}");
    let refused = ask(&listing, &format!("drain -t {SERVICE} -r {GOING} --remove"))?;
    let message = "Permission denied (you must be root)\n";
    ensure!((refused.code(), &*refused.err()) == (Some(255), message), "{}", refused.err());
    ensure!(ask(&socket, "-Ln")?.out() == before, "it was changed");
    ask(&socket, &format!("drain -t {SERVICE} -r {GOING} --remove"))?;
    ensure!(!ask(&socket, "-Ln")?.out().contains(GOING), "it is still there");
    Ok(())
}

/// A line to the control socket, and its reply; the connection stays.
fn tell(stream: &mut BufReader<UnixStream>, line: &str) -> Result<String> {
    stream.get_mut().write_all(format!("pollvsadm {line}\n").as_bytes())?;
    let mut head = String::new();
    stream.read_line(&mut head)?;
    let lengths = head.split_whitespace().skip(1).map(str::parse::<usize>);
    let length = lengths.sum::<Result<usize, _>>()?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(String::from_utf8(text)?)
}

/// Of an edit at the same time only the weight may be lost.
fn during_edits(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let daemon = Daemon::start(lab, binaries, 1)?;
    let control = daemon.control();
    one_server(control)?;
    let connect = || UnixStream::connect(control.socket()).map(BufReader::new);
    let (mut edits, mut drains) = (connect()?, connect()?);
    for round in 1..=500 {
        let server = format!("-t {SERVICE} -r {GOING}");
        let edit = format!("-e {server} -m -w 4 -x {round} -y {round}");
        thread::scope(|scope| {
            let edited = scope.spawn(|| tell(&mut edits, &edit));
            let drained = tell(&mut drains, &format!("drain {server}"));
            edited.join().map_err(|_| anyhow!("a panic"))?.and(drained)
        })?;
        let list = tell(&mut edits, &format!("-Ln -t {SERVICE} --thresholds"))?;
        let round = round.to_string();
        let kept = list.split_whitespace().filter(|&word| word == round).count();
        ensure!(kept == 2, "round {round}: an edit is lost:\n{list}");
    }
    Ok(())
}
