//! A full copy has every connection that backups are told of, once, however it is cut.

use super::*;
use crate::command::{Command, Reply};
use crate::service::Family;
use crate::service::Method;
use crate::sync::rig_tests::{ACK, FIN_WAIT, Kind, Rig, SYN, end_of, inactive, record};
use crate::sync::{RecordFlags, Told};
use alloc::format;

const TCP: Kind = Kind::Tcp(ACK);
const VIP: &str = "10.0.0.1:80";
const VIP6: &str = "[2001:db8::1]:80";

fn page(rig: &mut Rig, from: Option<Place>, room: usize) -> RecordPage {
    let page = RecordPage { from, records: Vec::with_capacity(room) };
    let now = rig.now;
    let Reply::Records(page) = rig.shards[0].apply(now, Command::Records(page)) else {
        unreachable!("a question is answered")
    };
    assert!(page.records.len() <= room);
    page
}

/// All pages, and how many.
fn copy(rig: &mut Rig, room: usize) -> (Vec<Record>, usize) {
    let (mut all, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let page = page(rig, from, room);
        all.extend(page.records);
        pages += 1;
        from = page.from;
        if from.is_none() {
            return (all, pages);
        }
    }
}

fn vip(family: Family) -> &'static str {
    match family {
        Family::V4 => VIP,
        Family::V6 => VIP6,
    }
}

/// A director that knows connections of both families, a few of them closing.
fn rig(connections: u16) -> (Rig, Vec<Record>) {
    let mut rig = Rig::new(1, 4096, 64);
    let mut all = Vec::new();
    for family in [Family::V4, Family::V6] {
        for port in 1..=connections {
            let (client, real) = (end_of(family, 9, 7, port), end_of(family, 1, 1, 8080));
            let open = record(&client, vip(family), &real, Method::Nat);
            let closing = Record { timeout_s: 120, ..inactive(&open, FIN_WAIT) };
            all.push(if port % 5 == 0 { closing } else { open });
        }
    }
    // One client tuple may have only so many connections: these all differ.
    all.iter().for_each(|record| rig.take(record, Told::Live));
    assert_eq!(rig.count(|sync| sync.made.get()), all.len() as u64);
    (rig, all)
}

#[test]
fn pages_of_any_size_make_a_whole() {
    let (mut rig, all) = rig(300);
    rig.wait(10);
    let left = |record: &Record| Record { timeout_s: record.timeout_s - 10 + 1, ..*record };
    let expected: Vec<_> = all.iter().map(left).collect();
    for room in [1, 7, 299, 300, 301, 5000] {
        let (copied, pages) = copy(&mut rig, room);
        assert_eq!(copied, expected, "{room}");
        assert!(pages >= 2 && pages <= 2 * 300_usize.div_ceil(room) + 2, "{pages} of {room}");
    }
}

/// A page looks at so many connections at most, even if none of them is to be told.
#[test]
fn no_page_takes_long() {
    let mut rig = Rig::new(1, 4096, 64);
    rig.service(TCP, VIP, None);
    rig.server(TCP, VIP, "10.1.0.1:80", Method::Direct);
    for port in 1001..=4000 {
        rig.request(Kind::Tcp(SYN), &format!("10.9.0.7:{port}"), VIP).expect("it is scheduled");
    }
    assert_eq!(rig.shards[0].connections(), 3000);
    let (copied, pages) = copy(&mut rig, 10_000);
    assert_eq!((copied.len(), pages), (0, 4), "none of them is open yet");
}

/// What ends or comes between two pages neither stops the copy nor doubles others.
#[test]
fn connections_come_and_go_between_pages() {
    let (mut rig, all) = rig(200);
    let first = page(&mut rig, None, 50);
    for record in &all[100..150] {
        rig.take(&Record { timeout_s: 1, ..*record }, Told::Live);
    }
    let second = page(&mut rig, first.from, 50);
    rig.wait(1);
    let third = page(&mut rig, second.from, 500);
    assert_eq!(third.records.len(), 50, "half of the rest has ended");
    rig.wait(1000);
    assert_eq!(rig.shards[0].connections(), 0);
    assert_eq!(copy(&mut rig, 100).0, []);
    let last = page(&mut rig, third.from, 500);
    assert_eq!((last.records.len(), last.from), (0, None));
}

#[test]
fn what_has_ended_but_was_not_swept_is_left_out() {
    let (mut rig, _) = rig(10);
    rig.now = rig.now.after_seconds(120);
    assert_eq!(copy(&mut rig, 100).0.len(), 16, "those that close have");
    rig.now = rig.now.after_seconds(780);
    assert_eq!(copy(&mut rig, 100).0, []);
}

/// What backups are not told of as it happens they are not told of in a copy either.
#[test]
fn of_persistent_services_only_templates_may_be_copied() {
    let mut rig = Rig::new(1, 64, 64);
    rig.service(TCP, VIP, Some(300));
    rig.server(TCP, VIP, "10.1.0.1:80", Method::Direct);
    for kind in [Kind::Tcp(SYN), TCP] {
        rig.request(kind, "10.9.0.7:9", VIP).expect("it is forwarded");
    }
    let (copied, _) = copy(&mut rig, 100);
    assert_eq!((copied.len(), copied[0].state), (1, 1));
    assert!(copied[0].flags.has(RecordFlags::NO_OUTPUT) && !copied[0].flags.has(0x0100));
    rig.set("sync_persist_mode", "1");
    assert_eq!(copy(&mut rig, 100).0, []);
    let mut templates = Vec::new();
    rig.templates.records(rig.now, |record| templates.push(record));
    assert_eq!((templates.len(), templates[0].timeout_s, templates[0].state), (1, 301, 1));
    rig.end();
}
