//! `pollvsadm explain` and `trace`: what they say of packets is what becomes of them.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::client;
use tests::daemon::Daemon;
use tests::lab::{Lab, Method, SERVICE};
use tests::requirements::Binaries;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("explain", explain)];
    for method in Method::ALL {
        cases.push(Case::new(format!("trace-{method}"), move |lab, binaries| {
            trace(lab, binaries, method)
        }));
    }
    cases
}

/// A trace has begun by then.
const BEGUN: Duration = Duration::from_millis(400);
/// More than a trace may take.
const LIMIT: Duration = Duration::from_secs(8);

/// The address of the server that an explanation names.
fn server(explanation: &str) -> Result<&str> {
    let line = explanation.lines().find_map(|line| line.strip_prefix("server      "));
    let address = line.and_then(|line| line.split(':').next());
    address.with_context(|| format!("no server in\n{explanation}"))
}

/// What is foretold comes true, and asking changes nothing.
fn explain(lab: &Lab, binaries: &Binaries) -> Result<()> {
    lab.set_method(Method::Nat)?;
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    control.balance(Method::Nat)?;
    for _ in 0..4 {
        let question = format!("explain -t {SERVICE} --from 10.9.0.7:33333");
        let foretold = control.must(&question)?;
        ensure!(foretold == control.must(&question)?, "asking has changed the answer");
        let address = server(&foretold)?;
        let tally = client::fetch(lab, 1)?;
        let wanted = lab.servers().iter().find(|server| server.address().to_string() == address);
        let name = wanted.with_context(|| format!("{address} is no server's"))?.name();
        ensure!(tally.of(name) == 1, "{name} was foretold: {:?}", tally.by_server);
    }
    let nowhere = control.must("explain -t 10.9.255.1:81 --from 10.9.0.7:33333")?;
    ensure!(nowhere.contains("\ndropped     no_service: "), "{nowhere}");
    control.must("-A --sctp-service 10.9.255.1:80 -s rr")?;
    let sctp = control.must("explain --sctp-service 10.9.255.1:80 --from 10.9.0.7:33333")?;
    ensure!(sctp.starts_with("dropped     protocol: "), "{sctp}");
    let elsewhere = control.must("explain -u 198.51.100.1:9 --from 10.9.0.7:33333")?;
    ensure!(elsewhere.starts_with("ordinary    "), "{elsewhere}");
    control.must("mark -A -p tcp --dport 81 --set-mark 5")?;
    control.must("-A -f 5 -s rr")?;
    let marked = control.must("explain -t 10.9.255.1:81 --from 10.9.0.7:33333")?;
    ensure!(marked.contains("\nservice     firewall mark 5, scheduler rr\n"), "{marked}");
    ensure!(marked.contains("\ndropped     no_destination: "), "{marked}");
    Ok(())
}

/// A trace shows the packets of a request, from the first on, and where each went.
fn trace(lab: &Lab, binaries: &Binaries, method: Method) -> Result<()> {
    lab.set_method(method)?;
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    control.balance(method)?;
    let words = format!("trace --from 10.9.0.7 -t {SERVICE} --count 6 --wait 4");
    let mut tracing = control.start("trace", &words)?;
    thread::sleep(BEGUN);
    client::fetch(lab, 2)?.check(lab)?;
    let status = tracing.ended(LIMIT)?;
    ensure!(status.success(), "{status}: {}", tracing.err());
    let text = tracing.out();
    let packets = text.lines().filter(|line| !line.starts_with(' '));
    ensure!(packets.count() == 6, "six packets were asked for:\n{text}");
    ensure!(text.contains("TCP 10.9.0.7:"), "{text}");
    let sent = match method {
        Method::Nat => " > 10.1.0.2:80 [SYN] 60 bytes, ttl 63",
        Method::Tunnel => "tunnel 10.1.255.254 > 10.1.0.2: TCP 10.9.0.7:",
        Method::Direct => " > 10.9.255.1:80 [SYN] 60 bytes, ttl 63",
    };
    let expected = [
        "\n    service     TCP 10.9.255.1:80, scheduler rr\n",
        "\n    scheduler   rr chooses among 2 of 2 servers\n",
        "\n    state       SYN_RECV, ends in ",
        "\n    connection  the connection 10.9.255.1:80 to 10.1.0.2:80: ",
        sent,
    ];
    for part in expected {
        ensure!(text.contains(part), "no {part:?} in\n{text}");
    }
    let is_nat = method == Method::Nat;
    let reply =
        "    connection  an answer on the connection 10.9.255.1:80 to 10.1.0.2:80: SYN_RECV";
    ensure!(text.contains(reply) == is_nat, "{text}");
    // Nobody watches any more, and one at a time can.
    let none = control.run("trace --from 10.9.0.99 --wait 0")?;
    ensure!(none.code() == Some(1) && none.err().starts_with("no such packet"), "{}", none.err());
    let mut first = control.start("first-trace", "trace --from 10.9.0.99 --wait 1")?;
    thread::sleep(BEGUN);
    let second = control.run("trace --from 10.9.0.98 --wait 1")?;
    ensure!(second.err().starts_with("trace: another trace is running"), "{}", second.err());
    ensure!(first.ended(LIMIT)?.code() == Some(1), "{}", first.out());
    Ok(())
}
