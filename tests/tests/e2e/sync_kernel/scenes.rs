//! What a director knows of the other's connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::guest::{
    Capture, Crossing, Director, Role, SYNC_GROUP, SYNC_PORT, active, await_equal, connections,
    origins,
};
use tests::interrupt;
use tests::process::run;

use super::clients::{quit, tcp, udp};
use super::{OURS_SYNCS, Pair};

/// What is synchronised last is on its way for up to 3 s.
const SYNC_LIMIT: Duration = Duration::from_secs(6);
/// A backup counts from the message on, the master from the last packet on.
const SLACK: Duration = Duration::from_secs(5);
/// The sync id of most scenes.
const ID: u8 = 7;

const PAGES: &str = "
    -A -t 10.9.255.1:80 -s rr
    -a -t 10.9.255.1:80 -r 10.1.0.1:80 -m
    -A -t 10.9.255.2:80 -s rr
    -a -t 10.9.255.2:80 -r 10.1.0.2:80 -g
    -A -t 10.9.255.3:80 -s rr
    -a -t 10.9.255.3:80 -r 10.1.0.3:80 -i";

const SERVICES: &str = "
    -A -t 10.9.255.1:7 -s rr
    -a -t 10.9.255.1:7 -r 10.1.0.1:7 -m
    -A -u 10.9.255.1:7 -s rr
    -a -u 10.9.255.1:7 -r 10.1.0.1:7 -m
    -A -t 10.9.255.2:7 -s rr
    -a -t 10.9.255.2:7 -r 10.1.0.2:7 -g
    -A -t 10.9.255.4:7 -s rr
    -a -t 10.9.255.4:7 -r 10.1.0.2:7 -g
    -A -t 10.9.255.3:7 -s rr
    -a -t 10.9.255.3:7 -r 10.1.0.3:7 -i
    -A -t 10.9.255.1:11 -s rr -p 300
    -a -t 10.9.255.1:11 -r 10.1.0.1:11 -m
    -A -f 5 -s rr
    -a -f 5 -r 10.1.0.2 -g
    -A -f 6 -s rr -p 400
    -a -f 6 -r 10.1.0.2 -g
    -A -t [2001:db8:9::100]:7 -s rr
    -a -t [2001:db8:9::100]:7 -r [2001:db8:1::1]:7 -m";

/// The same services at both directors, for a backup learns none.
fn configure(pair: &Pair<'_>, services: &str) -> Result<()> {
    let lines: Vec<_> = services.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    pair.iter().try_for_each(|director| director.restore(&lines.join("\n")))
}

/// Each forwards pages by each method, and tells the sync network of it.
pub(crate) fn alone(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    let capture = Capture::join(crossing.lab(), SYNC_GROUP, SYNC_PORT)?;
    configure(pair, PAGES)?;
    let senders = &pair[..if OURS_SYNCS { 2 } else { 1 }];
    for director in senders {
        director.start_sync(Role::Master, ID, "")?;
    }
    for director in &*pair {
        crossing.take_over(director.as_ref())?;
        for (vip, server) in Crossing::VIPS.iter().zip(["rs1", "rs2", "rs3"]) {
            let mut curl = crossing.lab().client().command("curl");
            curl.args(["-q", "-sS", "--noproxy", "*", "--max-time", "3"]);
            let page = run(curl.arg(format!("http://{vip}/")), SYNC_LIMIT)?;
            let (name, told) = (director.name(), page.out() + &page.err());
            ensure!(told.trim() == server, "{vip} at {name}: {told}");
        }
        let listed = connections(&director.admin("-Lnc")?)?;
        ensure!(listed.len() == 3, "{}: {listed:?}", director.name());
    }
    for director in senders {
        let own = director.sync_address();
        // The kernel waits for more to tell, ours does not.
        let mut told = BTreeSet::new();
        while told.len() < 3 {
            let message = capture.find(|message| message.from.ip() == own)?;
            ensure!(message.sync_id() == ID && message.version() == 1, "{message:?}");
            told.extend(message.check()?);
        }
        ensure!(told.len() == 3, "{} told of {told:?}", director.name());
    }
    Ok(())
}

/// Connections of every kind through the first director are listed by the second as by the first.
pub(crate) fn table(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    let client = crossing.lab().client();
    configure(pair, SERVICES)?;
    let [first, second] = pair.each_ref().map(AsRef::as_ref);
    for director in [first, second] {
        director.mark(9, 5)?;
        director.mark(10, 6)?;
    }
    first.start_sync(Role::Master, ID, "")?;
    second.start_sync(Role::Backup, ID, "")?;
    crossing.take_over(first)?;
    let open = [
        tcp(client, "10.9.255.1:7")?,
        tcp(client, "10.9.255.2:7")?,
        tcp(client, "10.9.255.3:7")?,
        tcp(client, "10.9.255.1:11")?,
        tcp(client, "10.9.255.2:9")?,
        tcp(client, "10.9.255.2:10")?,
        tcp(client, "[2001:db8:9::100]:7")?,
    ];
    let datagrams = udp(client, "10.9.255.1:7")?;
    quit(tcp(client, "10.9.255.1:7")?)?;
    let rows = await_equal(first, second, SLACK, SYNC_LIMIT, |_| true)?;
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows.keys() {
        *states.entry(format!("{} {}", row.protocol, row.state)).or_default() += 1;
    }
    let expected = [
        ("IP ASSURED", 1),
        ("TCP ASSURED", 1),
        ("TCP ESTABLISHED", open.len()),
        ("TCP TIME_WAIT", 1),
        ("UDP UDP", 1),
    ];
    let expected = expected.map(|(state, count)| (state.to_owned(), count)).into();
    ensure!(states == expected, "listed are {rows:#?}");
    for (director, origin) in [(first, "LOCAL"), (second, "SYNC")] {
        await_origins(director, &[(origin, rows.len())])?;
    }
    let [one, other] = [active(&first.admin("-Ln")?), active(&second.admin("-Ln")?)];
    let apart: BTreeSet<_> = one.symmetric_difference(&other).collect();
    ensure!(apart.is_empty(), "counted differently: {apart:#?}");
    drop((open, datagrams));
    Ok(())
}

/// Waits until a director has so many connections of its own and of the other.
fn await_origins(director: &dyn Director, expected: &[(&str, usize)]) -> Result<()> {
    let expected = expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let deadline = Instant::now() + SYNC_LIMIT;
    loop {
        interrupt::check()?;
        let file = director.conn_sync()?;
        if origins(&file) == expected {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{}: not {expected:?}:\n{file}", director.name());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Has each director serve some of the addresses.
fn share(crossing: &Crossing<'_>, first: &dyn Director, second: &dyn Director) -> Result<()> {
    crossing.take_over(first)?;
    crossing.move_addresses(&["10.9.255.4"], second)
}

/// Both send the old form of messages, and both take them whatever their sync id is.
pub(crate) fn version_0(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    let client = crossing.lab().client();
    let capture = Capture::join(crossing.lab(), SYNC_GROUP, SYNC_PORT)?;
    configure(pair, SERVICES)?;
    let [first, second] = pair.each_ref().map(AsRef::as_ref);
    for (director, id) in [(first, ID), (second, ID + 1)] {
        director.set("sync_version", 0)?;
        director.start_sync(Role::Master, id, "")?;
        director.start_sync(Role::Backup, 0, "")?;
    }
    share(crossing, first, second)?;
    let open =
        [tcp(client, "10.9.255.1:7")?, tcp(client, "10.9.255.2:7")?, tcp(client, "10.9.255.4:7")?];
    let datagrams = udp(client, "10.9.255.1:7")?;
    let persistent = tcp(client, "10.9.255.1:11")?;
    // There is no timeout in the old form: what a template has left differs.
    let is_connection = |row: &tests::guest::Row| !row.client.ends_with(":0");
    let rows = await_equal(first, second, SLACK, SYNC_LIMIT, is_connection)?;
    ensure!(rows.len() == 5, "listed are {rows:#?}");
    await_origins(first, &[("LOCAL", 5), ("SYNC", 1)])?;
    await_origins(second, &[("LOCAL", 1), ("SYNC", 5)])?;
    let template = connections(&second.admin("-Lnc")?)?;
    let left = template.iter().find(|(row, _)| row.client.ends_with(":0")).map(|(_, left)| *left);
    let left = left.context("no template")?.as_secs();
    ensure!((170..=180).contains(&left), "the template has {left} s left, of 180 s");
    for (director, id) in [(first, ID), (second, ID + 1)] {
        let own = director.sync_address();
        let message = capture.find(|message| message.from.ip() == own)?;
        message.check()?;
        ensure!(message.version() == 0 && message.sync_id() == id, "{message:?}");
    }
    drop((open, datagrams, persistent));
    Ok(())
}

/// Other groups, one of IPv4 and one of IPv6, another port and one more, short messages.
pub(crate) fn group(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 99);
    const GROUP6: &str = "ff02::99";
    const PORT: u16 = 9000;
    const CONNECTIONS: usize = 24;
    const MAXLEN: usize = 300;
    let client = crossing.lab().client();
    let captures = [PORT, PORT + 1].map(|port| (port, Capture::join(crossing.lab(), GROUP, port)));
    configure(pair, SERVICES)?;
    let [first, second] = pair.each_ref().map(AsRef::as_ref);
    let groups = [GROUP.to_string(), GROUP6.to_owned()];
    for (group, sender, receiver) in [(&groups[0], first, second), (&groups[1], second, first)] {
        sender.set("sync_ports", 2)?;
        let more = format!("--mcast-group {group} --mcast-port {PORT}");
        sender.start_sync(Role::Master, ID, &format!("{more} --sync-maxlen {MAXLEN}"))?;
        receiver.set("sync_ports", 2)?;
        receiver.start_sync(Role::Backup, ID, &more)?;
    }
    share(crossing, first, second)?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(tcp(client, "10.9.255.2:7")?);
        open.push(tcp(client, "10.9.255.4:7")?);
    }
    await_equal(first, second, SLACK, SYNC_LIMIT, |_| true)?;
    for director in [first, second] {
        await_origins(director, &[("LOCAL", CONNECTIONS), ("SYNC", CONNECTIONS)])?;
    }
    let mut told: BTreeMap<u16, u16> = BTreeMap::new();
    for (port, capture) in captures {
        let messages = capture?.heard()?;
        ensure!(!messages.is_empty(), "nothing was sent to port {port}");
        for message in messages {
            ensure!(message.from.ip() == first.sync_address(), "{message:?}");
            ensure!(message.bytes.len() <= MAXLEN, "too long: {message:?}");
            for connection in message.check()? {
                let place = told.entry(connection).or_insert(port);
                ensure!(*place == port, "a connection goes to both ports: {connection}");
            }
        }
    }
    ensure!(told.len() == CONNECTIONS, "told of {} connections", told.len());
    drop(open);
    Ok(())
}

/// Messages with another sync id than the backup's change nothing.
pub(crate) fn other_id(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    let client = crossing.lab().client();
    let capture = Capture::join(crossing.lab(), SYNC_GROUP, SYNC_PORT)?;
    configure(pair, SERVICES)?;
    let [first, second] = pair.each_ref().map(AsRef::as_ref);
    for director in [first, second] {
        director.start_sync(Role::Master, ID, "")?;
        director.start_sync(Role::Backup, ID + 1, "")?;
    }
    share(crossing, first, second)?;
    let open = [tcp(client, "10.9.255.2:7")?, tcp(client, "10.9.255.4:7")?];
    for director in [first, second] {
        let own = director.sync_address();
        let message = capture.find(|message| message.from.ip() == own)?;
        ensure!(message.sync_id() == ID && message.count() == 1, "{message:?}");
    }
    // Time enough to make the mistake.
    thread::sleep(Duration::from_millis(300));
    for director in [first, second] {
        let listed = connections(&director.admin("-Lnc")?)?;
        ensure!(listed.len() == 1, "{} has {listed:?}", director.name());
        await_origins(director, &[("LOCAL", 1)])?;
    }
    drop(open);
    Ok(())
}
