//! Real workers on ports in memory, under a real control thread: connections have one owner
//! wherever their frames arrive, and changes reach everybody.

mod common;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::{CLIENTS, Crew, SERVERS, Udp, VIP};
use ctl::backend::Backend;
use dataplane::hash::owner_of;
use dataplane::time::Tick;
use dataplane::verdict::DropReason;

const REQUEST: (Ipv4Addr, u16) = (VIP, 80);

#[test]
fn two_workers_forward_each_connection_once() {
    many_clients(2);
}

#[test]
fn four_workers_forward_each_connection_once() {
    many_clients(4);
}

fn many_clients(workers: u16) {
    let mut crew = Crew::new(workers);
    let hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        crew.start(scope, hired);
        // A frame that is there before the rules waits for them.
        crew.send(0, Udp { from: common::client(0), to: REQUEST });
        crew.control("-A -u 10.9.255.1:80 -s rr");
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[0]));
        thread::sleep(Duration::from_millis(20));
        assert_eq!(crew.remote().frames().expect("control runs").received, 0);
        crew.go.store(true, Ordering::Release);

        // Everything arrives at one worker, as on an interface with one queue.
        for n in 1..CLIENTS {
            crew.send(0, Udp { from: common::client(n), to: REQUEST });
        }
        let requests = crew.take(CLIENTS);
        let clients: HashSet<_> = requests.iter().map(|request| request.from).collect();
        assert_eq!(clients, (0..CLIENTS).map(common::client).collect());
        assert!(requests.iter().all(|request| request.to == (SERVERS[0], 8080)));
        // Replies arrive at another one.
        for request in &requests {
            crew.send(workers - 1, Udp { from: request.to, to: request.from });
        }
        let replies = crew.take(CLIENTS);
        assert!(replies.iter().all(|reply| reply.from == REQUEST));
        assert_eq!(replies.iter().map(|reply| reply.to).collect::<HashSet<_>>(), clients);
        assert_eq!(crew.remote().connections().expect("control runs").len(), CLIENTS);

        // A change reaches all workers before it is reported as done.
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[1]));
        crew.control(&format!("-e -u 10.9.255.1:80 -r {}:8080 -m -w 0", SERVERS[0]));
        for n in CLIENTS..2 * CLIENTS {
            crew.send(0, Udp { from: common::client(n), to: REQUEST });
        }
        assert!(crew.take(CLIENTS).iter().all(|request| request.to == (SERVERS[1], 8080)));

        let frames = crew.remote().frames().expect("control runs");
        assert_eq!(frames.transmitted, 3 * CLIENTS as u64);
        assert!(frames.drops.iter().all(|(_, count)| *count == 0), "{:?}", frames.drops);
        assert_eq!(frames.received, 3 * CLIENTS as u64 + frames.handed_over);
        assert!(frames.handed_over > CLIENTS as u64, "{}", frames.handed_over);
    });
}

#[test]
fn what_a_full_ring_does_not_take_is_counted() {
    const RING: usize = engine::handoff::RING_FRAMES;
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
    let clients: Vec<_> = (0..4 * RING).map(common::client).collect();
    for &from in &clients {
        crew.send(0, Udp { from, to: REQUEST });
    }
    // Turned by hand: the second worker does not come to its ring.
    while hired[0].turn(Tick(1)) {}
    let owner = |&&(address, port): &&(Ipv4Addr, u16)| owner_of(&common::key(), address, port, 2).0;
    let foreign = clients.iter().filter(|client| owner(client) == 1).count();
    assert!(foreign > RING);
    let lost = crew.counters[0].dropped(DropReason::HandoffFull);
    assert_eq!(lost, (foreign - RING) as u64);
    while hired[1].turn(Tick(1)) {}
    assert_eq!(crew.counters[1].received.get(), RING as u64);
}

#[test]
fn slots_of_deleted_servers_are_taken_when_there_are_no_others() {
    let mut crew = Crew::new(1);
    let mut hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        let go = &crew.go;
        scope.spawn(|| hired[0].wait_for(go));
        crew.control("-A -u 10.9.255.1:80 -s rr");
        let each = |verb: &str, rest: &str| {
            for n in 1..=common::SLOTS {
                crew.control(&format!("{verb} -u 10.9.255.1:80 -r 10.1.1.{n}:80{rest}"));
            }
        };
        each("-a", " -m");
        each("-d", "");
        crew.control("-a -u 10.9.255.1:80 -r 10.1.2.1:80 -m");
    });
}
