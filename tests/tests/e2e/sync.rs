//! Connection sync between directors of ours: what is lost, late, forged or nonsense.

#[path = "sync/message.rs"]
mod message;
#[path = "sync/net.rs"]
mod net;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::requirements::Binaries;

use self::message::{connection, is_beacon, message, messages, sealed, template};
use self::net::{
    Net, PORT, all_rejected, count, listed, rejected, sender, start, sync, wait, wait_equal,
    wait_for_step,
};
use crate::Case;
use crate::vrrp_lan::Director;

const MASTER: &[&str] = &["master"];
const BACKUP: &[&str] = &["backup"];
const BOTH: &[&str] = &["master", "backup"];
const KEY: &str = "the key of this group, of no other";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("sync-late", late),
        Case::new("sync-lost", lost),
        Case::new("sync-key", key),
        Case::new("sync-hostile", hostile),
        Case::new("sync-two-masters", two_masters),
    ]
}

/// Who starts late gets the whole table, and again when the master daemon was started anew.
fn late(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let net = Net::new(&["a", "b", "c"])?;
    let a = net.start(lab, binaries, 0, (BOTH, ""))?;
    let mut entries: Vec<_> =
        [false, true].iter().flat_map(|&v6| (0..200).map(move |n| connection(n, v6))).collect();
    entries.extend([template(0, false), template(9, true)]);
    let count = entries.len();
    net.forge(2, 2, &messages(1, &entries))?;
    wait("the first has all", || Ok(listed(&a)?.len() == count))?;
    net.datagrams(0, [1000])?;

    let b = net.start(lab, binaries, 1, (BACKUP, ""))?;
    wait_equal(&a, &b, count + 1)?;
    let row = wait_for_step(&b, 0, 1)?;
    ensure!(row["fetched_records"] == count + 1 && row["failed"] == 0, "{row}");
    let told = sync(&a)?;
    ensure!(told["master"]["followers"][0]["in_step"] == true, "{told}");

    // Twice, so that ports are given back at once.
    for _ in 0..2 {
        a.must("--stop-daemon master")?;
        start(&a, "master", 1)?;
    }
    let row = wait_for_step(&b, 0, 2)?;
    ensure!(row["lost"] == 0, "{row}");
    net.datagrams(0, [1001])?;
    wait_equal(&a, &b, count + 2)
}

/// Messages that did not arrive are counted, and the table is fetched again; others are not.
fn lost(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let net = Net::new(&["a", "b"])?;
    let a = net.start(lab, binaries, 0, (MASTER, ""))?;
    let b = net.start(lab, binaries, 1, (BACKUP, ""))?;
    wait_for_step(&b, 0, 1)?;
    // Listings while messages come do not disturb the count.
    for port in 1000..1150 {
        net.datagrams(0, [port])?;
        let row = sender(&sync(&b)?, 0);
        ensure!(row["lost"] == 0 && row["fetched"] == 1, "without a loss: {row}");
    }
    wait_equal(&a, &b, 150)?;

    net.plug(1, false)?;
    let sent = || Ok::<_, anyhow::Error>(sync(&a)?["master"]["messages"].as_u64());
    let before = sent()?.context("no counter")?;
    for port in 2000..2003 {
        net.datagrams(0, [port])?;
        thread::sleep(Duration::from_millis(60));
    }
    wait("three more messages", || Ok(sent()? >= Some(before + 3)))?;
    net.plug(1, true)?;
    wait("the loss is noticed", || Ok(sender(&sync(&b)?, 0)["lost"].as_u64() >= Some(3)))?;
    let row = wait_for_step(&b, 0, 2)?;
    ensure!(row["lost"] == sent()?.context("no counter")? - before, "{row}");
    wait_equal(&a, &b, 153)
}

/// With a key only what its holders say now is taken.
fn key(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let file = lab.directory().join("key");
    fs::write(&file, KEY)?;
    let tables = format!("[sync]\nkey_file = \"{}\"\n", file.display());
    let net = Net::new(&["a", "b", "c"])?;
    let a = net.start(lab, binaries, 0, (MASTER, &tables))?;
    let b = net.start(lab, binaries, 1, (BACKUP, &tables))?;
    wait_for_step(&b, 0, 1)?;
    let member = net.member(2)?;
    net.datagrams(0, [1000])?;
    wait_equal(&a, &b, 1)?;
    let heard = hear(&member)?;

    // A daemon without the key gets no table, and does not disturb others.
    let c = net.start(lab, binaries, 2, (BACKUP, ""))?;
    wait("a fetch without the key fails", || {
        Ok(sender(&sync(&c)?, 0)["failed"].as_u64() >= Some(1))
    })?;
    ensure!(sender(&sync(&c)?, 0)["fetched"] == 0 && listed(&c)?.is_empty(), "{}", sync(&c)?);

    let good = message(1, &[connection(1, false), template(7, false)]);
    let changed = |at: usize| {
        let mut changed = heard.clone();
        changed[at] ^= 1;
        changed
    };
    let cut = heard.len() - 36..heard.len();
    let other_id = sealed(KEY.as_bytes(), 4, 4, message(2, &[connection(1, false)]));
    // Who forges, whose address it has, what it says, and what that is.
    let lies: Vec<(usize, Vec<Vec<u8>>, &str)> = vec![
        (2, vec![good.clone()], "unsealed"),
        (0, vec![good.clone()], "unsealed"),
        (0, (0..cut.start).map(|length| heard[..length].to_vec()).collect(), "unsealed"),
        (0, vec![sealed(b"another key of some length", 4, 4, good.clone())], "forged"),
        (0, (0..cut.start).map(changed).collect(), "forged"),
        (0, (cut.start + 4..cut.end).map(changed).collect(), "forged"),
        (0, vec![heard.clone(); 7], "replayed"),
        (2, vec![heard.clone(); 5], "epoch"),
        (0, vec![sealed(KEY.as_bytes(), 4, 4, good)], "epoch"),
        (0, vec![other_id], "epoch"),
    ];
    // The first beacon was heard before the master had proved itself.
    let honest = all_rejected(&sync(&b)?, "seal_rejects");
    for (source, messages, reason) in &lies {
        let before = rejected(&sync(&b)?, "seal_rejects", reason);
        let expected = before + messages.len() as u64;
        net.forge(2, *source, messages)?;
        wait("the lies are read", || Ok(rejected(&sync(&b)?, "seal_rejects", reason) == expected))
            .with_context(|| {
                format!("{reason}: {before} of {expected}: {:#}", sync(&b).unwrap_or_default())
            })?;
    }
    let told = sync(&b)?;
    let count: usize = lies.iter().map(|(_, messages, _)| messages.len()).sum();
    ensure!(all_rejected(&told, "seal_rejects") == honest + count as u64, "{told:#}");
    ensure!(all_rejected(&told, "rejects") == 0, "{told:#}");
    ensure!(told["backup"]["made"] == 1, "{told:#}");
    wait_equal(&a, &b, 1)?;
    let row = wait_for_step(&b, 0, 1)?;
    ensure!(row["lost"] == 0 && row["failed"] == 0, "{row}");

    // Another epoch, and the old one comes to nothing.
    a.must("--stop-daemon master")?;
    start(&a, "master", 1)?;
    net.datagrams(0, [1001])?;
    wait_for_step(&b, 0, 2)?;
    wait_equal(&a, &b, 2)?;
    let before = rejected(&sync(&b)?, "seal_rejects", "epoch");
    net.forge(2, 0, &[heard])?;
    wait("the old epoch", || Ok(rejected(&sync(&b)?, "seal_rejects", "epoch") == before + 1))
}

/// The first message on the sync network that is no beacon.
fn hear(member: &std::net::UdpSocket) -> Result<Vec<u8>> {
    let mut buffer = [0; 2048];
    for _ in 0..50 {
        if let Ok(length) = member.recv(&mut buffer)
            && !is_beacon(&buffer[..length])
        {
            return Ok(buffer[..length].to_vec());
        }
    }
    anyhow::bail!("no message was heard")
}

/// Nonsense is counted, in datagrams and conversations, and in great numbers.
fn hostile(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let net = Net::new(&["a", "b", "c"])?;
    let mut a = net.start(lab, binaries, 0, (BOTH, ""))?;
    let mut b = net.start(lab, binaries, 1, (BACKUP, ""))?;
    net.datagrams(0, [1000])?;
    wait_equal(&a, &b, 1)?;
    wait_for_step(&b, 0, 1)?;

    let good = message(1, &[connection(1, false), connection(2, true)]);
    let mut lies: Vec<_> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    lies.push(message(2, &[connection(1, false)]));
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 40) as u8
        };
        let mut noise: Vec<_> = (0..length).map(|_| next()).collect();
        // Where a size is right more is looked at.
        if let Some(size) = noise.get_mut(2..4) {
            size.copy_from_slice(&(length as u16).to_be_bytes());
        }
        if length.is_multiple_of(2) && length >= 8 {
            noise[..2].copy_from_slice(&[0, 1]);
            noise[4..8].copy_from_slice(&[3, 1, 0, 0]);
        }
        noise
    };
    let random: Vec<_> = (0..1400).step_by(3).map(&mut noise).collect();
    net.forge(2, 2, &lies)?;
    for director in [&a, &b] {
        wait("each is rejected", || {
            Ok(all_rejected(&sync(director)?, "rejects") == lies.len() as u64)
        })?;
        let told = sync(director)?;
        ensure!(rejected(&told, "rejects", "sync_id") == 1, "{told:#}");
        ensure!(rejected(&told, "rejects", "short") == 4, "{told:#}");
        let size = good.len() as u64 - 4;
        ensure!(rejected(&told, "rejects", "size") == size, "{told:#}");
        ensure!(listed(director)?.len() == 1, "{:?}", listed(director)?);
    }
    let before = count(&sync(&b)?, "messages");
    net.forge(2, 2, &random)?;
    let sent = random.len() as u64;
    wait("noise is read", || Ok(count(&sync(&b)?, "messages") >= before + sent))?;

    conversations(&net, &a, &b)?;
    flood(&net, &good)?;
    ensure!(a.daemon.is_running() && b.daemon.is_running(), "a daemon is gone");
    wait("the flood's connections", || Ok(listed(&b)?.len() == 3))?;
    let told = sync(&b)?;
    ensure!(count(&told, "messages") > before + sent, "{told:#}");
    // It still forwards.
    let server = net.server()?;
    net.datagrams(0, [3000])?;
    server.recv(&mut [0; 64]).context("nothing was forwarded")?;
    wait_equal(&a, &b, 4)
}

/// Conversations that say nothing, or nonsense, or greet and then say nothing.
fn conversations(net: &Net, a: &Director<'_>, b: &Director<'_>) -> Result<()> {
    const MOST: usize = 20;
    let to = SocketAddr::from((net::address(0), PORT));
    let open = || -> Result<Vec<TcpStream>> {
        let open = || (0..MOST).map(|_| TcpStream::connect(to)).collect::<Result<_, _>>();
        Ok(net.lan.node(2).enter(open)??)
    };
    let hello = [b"PVSt", &[1, 0, 1, 0], &[7; 16][..]].concat();
    b.must("--stop-daemon backup")?;
    wait("the backup has gone", || Ok(followers(a)? == 0))?;
    // Whoever is refused at once is not written to.
    let mut streams = open()?;
    for stream in streams.iter_mut().step_by(2) {
        let _ = stream.write_all(&[0xff; 100]);
    }
    start(b, "backup", 1)?;
    let row = wait_in_touch(b)?;
    ensure!(row["failed"] == 0, "those who do not greet keep nobody out: {row}");
    drop(streams);
    b.must("--stop-daemon backup")?;
    wait("the backup has gone again", || Ok(followers(a)? == 0))?;
    // These take all the room there is, until they go.
    let mut streams = open()?;
    for stream in &mut streams {
        let _ = stream.write_all(&hello);
    }
    wait("there is no room", || Ok(followers(a)? == 16))?;
    start(b, "backup", 1)?;
    wait("a backup finds no room", || Ok(sender(&sync(b)?, 0)["failed"].as_u64() >= Some(1)))?;
    drop(streams);
    wait_in_touch(b)?;
    Ok(())
}

/// How many backups a master is in touch with.
fn followers(a: &Director<'_>) -> Result<usize> {
    Ok(sync(a)?["master"]["followers"].as_array().map_or(0, Vec::len))
}

fn wait_in_touch(b: &Director<'_>) -> Result<serde_json::Value> {
    wait_for_step(b, 0, 1).context("a real backup")
}

/// Many messages, as fast as they go.
fn flood(net: &Net, message: &[u8]) -> Result<()> {
    let teller = net.teller(2)?;
    let sent = (0..100_000).filter(|_| teller.send(message).is_ok()).count();
    ensure!(sent > 50_000, "sent {sent}");
    Ok(())
}

/// Two masters tell a third director, of one connection both.
fn two_masters(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let net = Net::new(&["a", "b", "c"])?;
    let masters =
        [net.start(lab, binaries, 0, (MASTER, ""))?, net.start(lab, binaries, 1, (MASTER, ""))?];
    net.datagrams(0, 1000..1020)?;
    net.datagrams(1, 1019..1040)?;
    let c = net.start(lab, binaries, 2, (BACKUP, ""))?;
    for n in 0..2 {
        let row = wait_for_step(&c, n, 1)?;
        ensure!(row["fetched_records"] == 20 + n, "{row}");
    }
    net.datagrams(0, 2000..2010)?;
    net.datagrams(1, 2009..2020)?;
    wait("the third has all", || Ok(listed(&c)?.len() == 40 + 20))?;
    let of: Vec<_> = masters.iter().map(listed).collect::<Result<_>>()?;
    let union: std::collections::BTreeSet<_> = of[0].union(&of[1]).cloned().collect();
    ensure!(listed(&c)? == union, "{:?}", listed(&c)?);
    ensure!(of[0].intersection(&of[1]).count() == 2, "one of either kind by both");
    for n in 0..2 {
        let row = wait_for_step(&c, n, 1)?;
        ensure!(row["lost"] == 0, "{row}");
    }
    Ok(())
}
