use super::*;
use ctl::command::Role;
use dataplane::sync::{RecordFlags, wire};
use rtrb::{Producer, RingBuffer};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

/// A connection by its client's port.
fn record(port: u16) -> Record {
    let client = Ipv4Addr::new(10, 9, 0, 7).into();
    Record {
        protocol: 6,
        flags: RecordFlags::default(),
        state: 1,
        timeout_s: 900,
        mark: 0,
        client: (client, port),
        virtual_end: (Ipv4Addr::new(10, 9, 255, 1).into(), 80),
        real: (Ipv4Addr::new(10, 1, 0, 1).into(), 80),
        sequence: None,
    }
}

/// A master without a network: its sockets cannot be opened.
fn master(threads: u16, patience: Duration) -> (Master, Producer<Record>) {
    let (producer, consumer) = RingBuffer::new(1 << 16);
    let row = DaemonRow {
        role: Role::Master,
        interface: "no-such-link".into(),
        sync_id: 5,
        max_length: 300,
        group: None,
        port: 8848,
        ttl: 1,
    };
    let master = Master {
        row,
        threads,
        rings: vec![consumer],
        settings: Arc::default(),
        counts: Arc::default(),
        sealer: None,
        epoch: 1,
        table_port: Arc::default(),
        activity: Arc::default(),
        patience,
        key: HashKey::new([1, 2, 3]),
        flush: Arc::default(),
        stop: Arc::default(),
    };
    (master, producer)
}

/// A lane whose messages come to a socket of ours.
fn lane(master: &Master, thread: u16) -> (Lane, UdpSocket) {
    let heard = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    heard.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(heard.local_addr().unwrap()).unwrap();
    (Lane { socket: Some(socket.into()), ..master.lane(thread, Version::V1) }, heard)
}

/// The messages that have come: version and clients' ports of each.
fn messages(heard: &UdpSocket) -> Vec<(Version, Vec<u16>)> {
    let mut buffer = [0; 2048];
    let mut messages = Vec::new();
    while let Ok(length) = heard.recv(&mut buffer) {
        assert!(length <= 300, "{length} bytes");
        let entries = wire::read(&buffer[..length], 5).unwrap();
        let version = entries.version();
        messages.push((version, entries.map(|entry| entry.unwrap().record.client.1).collect()));
    }
    messages
}

#[test]
fn each_connection_goes_to_one_port_in_order() {
    const PORTS: u16 = 3;
    let (mut master, mut told) = master(PORTS, Duration::from_secs(60));
    let (mut lanes, heard): (Vec<_>, Vec<_>) = (0..PORTS).map(|n| lane(&master, n)).unzip();
    for round in 0..2 {
        for port in 1..=60 {
            let state = if round == 0 { 2 } else { 1 };
            told.push(Record { state, ..record(port) }).unwrap();
        }
    }
    let now = Instant::now();
    assert_eq!(master.take(&mut lanes, now), (true, true));
    assert_eq!(master.take(&mut lanes, now), (false, true));
    lanes.iter_mut().for_each(|lane| master.close(lane, now));
    assert_eq!(master.counts.records.get(), 120);
    let mut place = BTreeMap::new();
    for (n, heard) in heard.iter().enumerate() {
        let messages = messages(heard);
        let ports: Vec<_> = messages.iter().flat_map(|(_, ports)| ports).copied().collect();
        let (first, second) = ports.split_at(ports.len() / 2);
        assert!(!first.is_empty() && first == second, "{n}: {ports:?}");
        // Only the last message of a port is not full.
        let (_, full) = messages.split_last().unwrap();
        assert!(full.iter().all(|(_, ports)| ports.len() == full[0].1.len()), "{messages:?}");
        for &port in first {
            assert_eq!(place.insert(port, n), None, "{port}");
        }
    }
    assert_eq!(place.len(), 60);
}

#[test]
fn what_is_packed_goes_in_the_version_it_was_packed_in() {
    let (mut master, mut told) = master(1, Duration::from_secs(60));
    let (lane, heard) = lane(&master, 0);
    let (mut lanes, mut version, now) = ([lane], Version::V1, Instant::now());
    told.push(record(1)).unwrap();
    master.take(&mut lanes, now);
    master.follow_version(&mut lanes, &mut version, now);
    assert_eq!(messages(&heard), []);
    master.settings.lock().unwrap().sync_version = 0;
    master.follow_version(&mut lanes, &mut version, now);
    assert_eq!(version, Version::V0);
    for port in [2, 3] {
        told.push(record(port)).unwrap();
    }
    told.push(Record { mark: 9, ..record(4) }).unwrap();
    master.take(&mut lanes, now);
    master.follow_version(&mut lanes, &mut version, now);
    master.close(&mut lanes[0], now);
    assert_eq!(messages(&heard), [(Version::V1, vec![1]), (Version::V0, vec![2, 3])]);
    assert_eq!(master.counts.unsent[Unsent::Version0Mark as usize].get(), 1);
}

#[test]
fn a_queue_that_is_full_drops_what_comes_last() {
    let (master, _told) = master(1, Duration::from_secs(60));
    master.settings.lock().unwrap().sync_qlen_max = 2;
    let (mut lane, heard) = lane(&master, 0);
    lane.queue = [vec![1], vec![2]].into();
    master.pack(std::slice::from_mut(&mut lane), &record(1), Instant::now());
    master.close(&mut lane, Instant::now());
    assert_eq!(master.counts.queue_full.get(), 1);
    assert_eq!((lane.queue.len(), master.counts.messages.get()), (0, 2), "those before it went");
    let mut buffer = [0; 99];
    assert_eq!((heard.recv(&mut buffer).unwrap(), heard.recv(&mut buffer).unwrap()), (1, 1));
    assert!(heard.recv(&mut buffer).is_err());
    // A backup learns that it lacks one.
    master.table_port.store(8848, Ordering::Relaxed);
    assert!(master.send_beacon(&lane));
    let length = heard.recv(&mut buffer).unwrap();
    let beacon = Beacon::read(wire::read(&buffer[..length], 5).unwrap().trailer()).unwrap();
    assert_eq!(beacon.sent, 3);
}

#[test]
fn a_flush_sends_what_was_told_before_though_more_comes_without_end() {
    let (master, mut told) = master(1, Duration::from_secs(60));
    let (flush, counts) = (Arc::clone(&master.flush), Arc::clone(&master.counts));
    let stop = Arc::clone(&master.stop);
    let running = thread::spawn(move || master.run());
    let is_done = Arc::new(AtomicBool::new(false));
    let teller = {
        let is_done = Arc::clone(&is_done);
        thread::spawn(move || {
            // The ring is hardly ever empty, and never has more than is taken at once.
            while !is_done.load(Ordering::Relaxed) {
                if told.buffer().capacity() - told.slots() < 512 {
                    let _ = told.push(record(1));
                }
            }
        })
    };
    while counts.records.get() == 0 {
        thread::sleep(PAUSE);
    }
    let before = counts.records.get();
    assert!(flush.wait(Duration::from_secs(5)), "not sent in time");
    // Without a socket each message is an error.
    assert!(counts.send_errors.get() > 0 && counts.records.get() >= before);
    is_done.store(true, Ordering::Relaxed);
    teller.join().unwrap();
    // With nobody telling, one record does not wait for its patience.
    let (sent, flushed) = (counts.send_errors.get(), Instant::now());
    assert!(flush.wait(Duration::from_secs(5)));
    assert!(flushed.elapsed() < Duration::from_secs(5) && counts.send_errors.get() >= sent);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(running.join().unwrap().len(), 1, "the rings come back");
    assert!(!flush.wait(Duration::from_millis(5)), "nobody is there");
}
