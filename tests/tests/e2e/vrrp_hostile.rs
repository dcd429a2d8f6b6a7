//! VRRP packets that nobody honest sends.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::frames::{checksum, send_frames};
use tests::interrupt;
use tests::lab::Lab;
use tests::requirements::Binaries;

use crate::Case;
use crate::vrrp_lan::{LINK, Lan, PATIENCE, rejected};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("vrrp-hostile", hostile), Case::new("vrrp-contested", contested)]
}

const VIP: [u8; 4] = [10, 77, 0, 100];
/// Of each kind.
const TIMES: u64 = 3;

/// An advertisement with the highest priority, and what may be wrong about it.
#[derive(Clone)]
struct Forged {
    ttl: u8,
    to: [u8; 4],
    source: [u8; 4],
    version: u8,
    kind: u8,
    vrid: u8,
    priority: u8,
    count: u8,
    addresses: Vec<u8>,
    /// Authentication type and interval, or the interval.
    word: [u8; 2],
    password: Vec<u8>,
    checksum: bool,
}

impl Forged {
    fn new(version: u8) -> Self {
        let (vrid, word, password) = match version {
            2 => (52, [1, 1], b"secret\0\0".to_vec()),
            _ => (51, [0, 7], Vec::new()),
        };
        Self {
            ttl: 255,
            to: [224, 0, 0, 18],
            source: [10, 77, 0, 66],
            version,
            kind: 1,
            vrid,
            priority: 255,
            count: 1,
            addresses: [10, 77, 0, if version == 2 { 101 } else { 100 }].to_vec(),
            word,
            password,
            checksum: true,
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut message = vec![self.version << 4 | self.kind, self.vrid, self.priority, self.count];
        message.extend(self.word);
        message.extend([0; 2]);
        message.extend(&self.addresses);
        message.extend(&self.password);
        let length = message.len() as u8;
        let pseudo = [&self.source[..], &self.to, &[0, 112, 0, length], &message].concat();
        let sum = checksum(if self.version == 2 { &message } else { &pseudo });
        message[6..8].copy_from_slice(&(if self.checksum { sum } else { !sum }).to_be_bytes());
        let fixed = [0x45, 0xc0, 0, 20 + length, 0, 1, 0, 0, self.ttl, 112, 0, 0];
        let mut header = [&fixed[..], &self.source, &self.to].concat();
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let link = [1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 66, 8, 0];
        [&link[..], &header, &message].concat()
    }
}

/// Every kind of lie, with the reason for which it is rejected.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let lie = |reason, version, change: &dyn Fn(&mut Forged)| {
        let mut forged = Forged::new(version);
        change(&mut forged);
        (reason, forged.frame())
    };
    vec![
        lie("ttl", 3, &|forged| forged.ttl = 254),
        lie("source", 3, &|forged| forged.source = [127, 0, 0, 1]),
        lie("own_source", 3, &|forged| forged.source = [10, 77, 0, 1]),
        lie("short", 3, &|forged| forged.count = 9),
        lie("long", 3, &|forged| forged.addresses.extend([0; 4])),
        lie("version", 3, &|forged| forged.version = 7),
        lie("type", 3, &|forged| forged.kind = 2),
        lie("checksum", 3, &|forged| forged.checksum = false),
        lie("address_count", 3, &|forged| (forged.count, forged.addresses) = (0, Vec::new())),
        lie("address_list", 3, &|forged| forged.addresses = vec![10, 77, 0, 77]),
        lie("interval", 3, &|forged| forged.word = [0, 0]),
        lie("unknown_vrid", 3, &|forged| forged.vrid = 99),
        lie("auth_type", 2, &|forged| forged.word = [0, 1]),
        lie("auth_data", 2, &|forged| forged.password[0] ^= 1),
        lie("interval", 2, &|forged| forged.word = [1, 2]),
    ]
}

/// Lies are counted by name, noise changes nothing, and the master stays what it is.
fn hostile(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["a"], &[])?;
    let tables = format!(
        "[[vrrp]]\nname = \"three\"\nvrid = 51\nport = \"{LINK}\"\naddresses = [\"10.77.0.100\"]\n\
         [[vrrp]]\nname = \"two\"\nvrid = 52\nport = \"{LINK}\"\nversion = 2\n\
         password = \"secret\"\naddresses = [\"10.77.0.101\"]\n"
    );
    let mut daemon = lan.start(lab, binaries, 0, &tables)?;
    daemon.await_state("MASTER")?;
    let lies = lies();
    for _ in 0..TIMES {
        for (_, frame) in &lies {
            // One at a time, so that no queue is full.
            send_frames(&lan.client, LINK, std::slice::from_ref(frame))?;
            thread::sleep(Duration::from_millis(2));
        }
    }
    let end = Instant::now() + PATIENCE;
    for (reason, _) in &lies {
        let sent = TIMES * lies.iter().filter(|(other, _)| other == reason).count() as u64;
        loop {
            let rows = daemon.routers()?;
            let counted: u64 = rows.iter().map(|router| rejected(router, reason)).sum();
            if counted == sent {
                break;
            }
            let listing = || daemon.must("vrrp").unwrap_or_default();
            ensure!(Instant::now() < end, "{reason}: {counted} of {sent}: {}", listing());
            interrupt::check()?;
        }
    }

    // Every truncation of a right one, each of its bytes changed, and a flood of it.
    let right = Forged { vrid: 98, ..Forged::new(3) }.frame();
    let mut frames: Vec<_> = (14..right.len()).map(|length| right[..length].to_vec()).collect();
    for at in 14..right.len() {
        for bit in 0..8 {
            let mut frame = right.clone();
            frame[at] ^= 1 << bit;
            frames.push(frame);
        }
    }
    frames.extend(std::iter::repeat_n(right, 5000));
    send_frames(&lan.client, LINK, &frames)?;
    ensure!(daemon.daemon.is_running(), "the daemon is gone");
    let rows = daemon.routers()?;
    for router in &rows {
        ensure!(router["state"] == "MASTER" && router["became_master"] == 1, "{router}");
    }
    lan.await_holder(0, &[IpAddr::from(VIP)]).context("after the flood")?;
    Ok(())
}

/// A master that hears another one of lower priority announces its addresses as often as one that
/// has just become master: the other one's announcements may come after the first of its own.
fn contested(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let lan = Lan::new(&["a"], &[])?;
    let table = format!(
        "[[vrrp]]\nname = \"three\"\nvrid = 51\nport = \"{LINK}\"\naddresses = [\"10.77.0.100\"]\n\
         garp_repeat = 4\ngarp_interval_ms = 20\ngarp_delay_s = 0\n"
    );
    let daemon = lan.start(lab, binaries, 0, &table)?;
    daemon.await_state("MASTER")?;
    let await_announced = |frames: u64| -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let rows = daemon.routers()?;
            if rows[0]["announced"].as_u64() == Some(frames) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "not {frames} announced: {}", rows[0]);
            interrupt::check()?;
        }
    };
    // A request and a reply each time.
    await_announced(4 * 2)?;
    let lower = Forged { priority: 50, ..Forged::new(3) }.frame();
    send_frames(&lan.client, LINK, &[lower])?;
    await_announced(2 * 4 * 2)?;
    let row = &daemon.routers()?[0];
    ensure!(row["state"] == "MASTER" && row["became_master"] == 1, "{row}");
    Ok(())
}
