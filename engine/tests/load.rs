//! What workers show of themselves: how busy they are, and what waits for them.

mod common;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use common::{Crew, SERVERS, Udp, VIP, WIRE};
use ctl::backend::Backend;
use ctl::load::{WorkerCounts, WorkerRow};
use dataplane::time::Tick;

const REQUEST: (std::net::Ipv4Addr, u16) = (VIP, 80);

fn rows(crew: &Crew) -> Vec<WorkerRow> {
    crew.remote().workers().expect("control runs").rows
}

#[test]
fn work_is_counted_and_idleness_is_not_work() {
    let mut crew = Crew::new(2);
    let hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        crew.start(scope, hired);
        crew.control("-A -u 10.9.255.1:80 -s rr");
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[0]));
        crew.go.store(true, Ordering::Release);
        let clients = 400;
        for n in 0..clients {
            crew.send(0, Udp { from: common::client(n), to: REQUEST });
        }
        crew.take(clients);
        // The last second, and what is owned, are a second old at most.
        let deadline = Instant::now() + Duration::from_secs(20);
        let seen = loop {
            let rows = rows(&crew);
            let owned: u64 = rows.iter().map(|row| row.connections).sum();
            let counted = rows.iter().all(|row| row.total.busy_ns > 0);
            if owned == clients as u64 && counted && rows[0].per_second.frames > 0 {
                break rows;
            }
            assert!(Instant::now() < deadline, "{rows:?}");
            thread::sleep(Duration::from_millis(5));
        };
        let all = crew.remote().workers().expect("control runs");
        assert_eq!(all.tsc_hz, Some(2_000_000_000));
        for (n, row) in seen.iter().enumerate() {
            let WorkerCounts { polls, busy_polls, bursts, frames, busy_ns, run_ns, .. } = row.total;
            assert_eq!((usize::from(row.number), row.core), (n, n + 8));
            assert!(row.connections > 0, "{row:?}");
            assert!(0 < busy_polls && busy_polls < polls, "{row:?}");
            assert!(busy_polls <= bursts && bursts <= frames, "{row:?}");
            assert!(0 < busy_ns && busy_ns < run_ns, "{row:?}");
        }
        let [first, second] = [seen[0].total, seen[1].total];
        assert_eq!(first.frames, clients as u64, "all came in at the first");
        assert_eq!(first.handed_over, second.frames, "and some crossed to the second");
        assert_eq!((second.handed_over, seen[1].queue_depth.is_some()), (0, true));
        assert_eq!(first.transmitted + second.transmitted, clients as u64);
        // Nothing comes any more: a second passes, and none of it is busy.
        let quiet = |row: &WorkerRow| {
            let WorkerCounts { polls, frames, busy_ns, run_ns, .. } = row.per_second;
            polls > 0 && frames == 0 && busy_ns == 0 && run_ns > 500_000_000
        };
        while !rows(&crew).iter().all(quiet) {
            assert!(Instant::now() < deadline, "{:?}", rows(&crew));
            thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn what_waits_is_shown() {
    let mut crew = Crew::new(2);
    let mut hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        for worker in &mut hired {
            let go = &crew.go;
            scope.spawn(move || worker.wait_for(go));
        }
        crew.control("-A -u 10.9.255.1:80 -s rr");
    });
    // By hand: the first worker hands frames to the second, which does not run.
    for n in 0..200 {
        crew.send(0, Udp { from: common::client(n), to: REQUEST });
    }
    hired[0].look_around(Tick(1000));
    while hired[0].turn(Tick(1000)) {}
    hired[1].look_around(Tick(1000));
    for worker in &mut hired {
        worker.look_around(Tick(1101));
    }
    let handed_over = crew.counters[0].handed_over.get();
    assert!(0 < handed_over && handed_over < 200, "{handed_over}");
    let depths: Vec<_> = rows(&crew).iter().map(|row| (row.ring_depth, row.queue_depth)).collect();
    assert_eq!(depths, [(0, Some(200)), (handed_over, Some(0))]);
}

#[test]
fn what_a_full_transmit_queue_does_not_take_is_counted_at_its_port() {
    let mut crew = Crew::new(1);
    let mut hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        let go = &crew.go;
        scope.spawn(|| hired[0].wait_for(go));
        crew.control("-A -u 10.9.255.1:80 -s rr");
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[0]));
    });
    for frames in [WIRE, 70] {
        for n in 0..frames {
            crew.send(0, Udp { from: common::client(n % 100), to: REQUEST });
        }
        while hired[0].turn(Tick(1)) {}
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = 0;
    while seen == 0 {
        let ports = crew.remote().ports().expect("control runs");
        let [port] = &ports[..] else { panic!("{ports:?}") };
        assert_eq!((port.name.as_str(), port.link.is_up), ("memory0", true));
        assert_eq!((port.total.queue_full, port.total.missed), (70, 3));
        // Counted in the second that it happened in.
        seen = port.per_second.queue_full;
        assert!(Instant::now() < deadline, "{port:?}");
        thread::sleep(Duration::from_millis(5));
    }
    assert!((1..=70).contains(&seen), "{seen}");
    let losses = crew.remote().frames().expect("control runs").ports;
    assert_eq!((losses[0].name.as_str(), losses[0].missed), ("memory0", 3));
}
