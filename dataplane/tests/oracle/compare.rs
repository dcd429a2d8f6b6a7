//! Frames and listings held against the recorded ones.
//!
//! Of frames, two things may differ: the identification of IPv4 packets that the director itself
//! makes, which the kernel draws at random, with the header checksum that follows from it; and the
//! flow label of IPv6 packets that it makes, which the kernel draws too.

use std::collections::BTreeSet;

const LINK: usize = 14;

/// What is different about two frames, the first byte named; `input` is the frame that both are
/// the answer to.
pub(crate) fn frames(input: &[u8], expected: &[u8], got: &[u8]) -> Option<String> {
    let (mut expected, mut got) = (expected.to_vec(), got.to_vec());
    excuse(input, &mut expected, &mut got);
    if expected == got {
        return None;
    }
    let at = expected.iter().zip(&got).position(|(a, b)| a != b);
    let at = at.unwrap_or(expected.len().min(got.len()));
    let byte = |frame: &[u8]| frame.get(at).map_or("nothing".into(), |byte| format!("{byte:02x}"));
    let field = field_at(&expected, at);
    let (wanted, came) = (byte(&expected), byte(&got));
    let whole = format!("\n      recorded {}\n      ours     {}", hex(&expected), hex(&got));
    Some(format!("byte {at} ({field}): recorded {wanted}, ours {came}{whole}"))
}

/// Makes equal what may differ.
fn excuse(input: &[u8], expected: &mut [u8], got: &mut [u8]) {
    if expected.len() < LINK + 20 || got.len() < LINK + 20 || expected[LINK] >> 4 != got[LINK] >> 4
    {
        return;
    }
    if expected[LINK] >> 4 == 4 {
        let id = |frame: &[u8]| [frame[LINK + 4], frame[LINK + 5]];
        let is_own = id(expected) != id(input) && id(expected) != [0, 0];
        if is_own && id(got) != [0, 0] {
            for frame in [expected, got] {
                assert_eq!(sum16(&frame[LINK..LINK + 20]), 0xffff, "a header's checksum");
                frame[LINK + 4..LINK + 6].fill(0);
                frame[LINK + 10..LINK + 12].fill(0);
            }
        }
    } else if expected[LINK + 1..LINK + 4] != input[LINK + 1..LINK + 4] {
        for frame in [expected, got] {
            frame[LINK + 1] &= 0xf0;
            frame[LINK + 2..LINK + 4].fill(0);
        }
    }
}

fn sum16(bytes: &[u8]) -> u16 {
    crate::common::check::sum16(&[bytes])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(120).map(|byte| format!("{byte:02x}")).collect()
}

/// The header field that a byte of a frame belongs to.
fn field_at(frame: &[u8], at: usize) -> String {
    let link = ["destination MAC", "source MAC", "EtherType"];
    if at < LINK {
        return link[at / 6].to_owned();
    }
    let at = at - LINK;
    let (names, length): (&[(usize, &str)], usize) = match frame[LINK] >> 4 {
        4 => (
            &[
                (0, "version, header length"),
                (1, "TOS"),
                (2, "total length"),
                (4, "identification"),
                (6, "flags, offset"),
                (8, "TTL"),
                (9, "protocol"),
                (10, "header checksum"),
                (12, "source"),
                (16, "destination"),
            ],
            20,
        ),
        _ => (
            &[
                (0, "version, class, flow label"),
                (4, "payload length"),
                (6, "next header"),
                (7, "hop limit"),
                (8, "source"),
                (24, "destination"),
            ],
            40,
        ),
    };
    if at >= length {
        return format!("byte {} behind the IP header", at - length);
    }
    let (_, name) = names.iter().rev().find(|(from, _)| at >= *from).expect("from 0 on");
    format!("IP {name}")
}

/// What is different about two listings whose lines are in no particular order; seconds left may
/// be one off, because recording took its time.
pub(crate) fn listings(what: &str, expected: &str, got: &str) -> Vec<String> {
    let lines = if what.contains("cat /proc") || what == "ip_vs" { exact_lines } else { lines };
    let (expected, got) = (lines(expected), lines(got));
    let fits = |line: &str, other: &BTreeSet<String>| {
        other.contains(line) || other.iter().any(|o| same_but_for_a_second(line, o))
    };
    let missing = expected.iter().filter(|line| !fits(line, &got));
    let excess = got.iter().filter(|line| !fits(line, &expected));
    let missing = missing.map(|line| format!("{what}: recorded, but not ours: {line}"));
    missing.chain(excess.map(|line| format!("{what}: ours, but not recorded: {line}"))).collect()
}

/// Files are held against the recorded ones blank by blank.
fn exact_lines(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether two lines differ in one word only, which is a time that differs by a second.
fn same_but_for_a_second(a: &str, b: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.split(' ').collect(), b.split(' ').collect());
    if a.len() != b.len() {
        return false;
    }
    let mut differing = a.iter().zip(&b).filter(|(a, b)| a != b);
    let (Some((a, b)), None) = (differing.next(), differing.next()) else { return false };
    let seconds = |word: &str| match word.split_once(':') {
        Some((minutes, seconds)) => {
            Some(minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?)
        }
        None => word.parse().ok(),
    };
    matches!((seconds(a), seconds(b)), (Some(a), Some(b)) if (a - b).abs() <= 1)
}
