//! Settings and timeouts from control to real workers: what is said to be in force is.

mod common;

use std::sync::atomic::Ordering;
use std::thread;

use common::{CLIENTS, Crew, SERVERS, Udp, VIP};
use ctl::backend::Backend;
use ctl::names::NumericNames;
use ctl::session::Reply;
use dataplane::mark::MarkRule;
use dataplane::settings::Settings;

fn say(crew: &Crew, words: &str) -> (u8, String) {
    let argv: Vec<_> = format!("pollvsadm {words}").split(' ').map(str::to_owned).collect();
    let Reply { status, stdout, stderr } =
        ctl::session::run(&argv, &mut crew.remote(), &NumericNames);
    (status, String::from_utf8([stdout, stderr].concat()).expect("text"))
}

#[test]
fn timeouts_reach_every_worker_before_the_first_packet_and_later() {
    let mut crew = Crew::new(2);
    let hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        crew.start(scope, hired);
        let mut settings = Settings::default();
        settings.timeouts.set(0, 0, 50).expect("in range");
        let mark = MarkRule {
            protocol: None,
            source: None,
            destination: None,
            source_ports: None,
            destination_ports: None,
            mark: 1,
        };
        crew.remote().configure(settings, [mark].into()).expect("control runs");
        crew.control("-A -u 10.9.255.1:80 -s rr");
        crew.control(&format!("-a -u 10.9.255.1:80 -r {}:8080 -m", SERVERS[0]));
        crew.go.store(true, Ordering::Release);
        let expiries = |range: std::ops::RangeInclusive<u64>| {
            for n in 0..CLIENTS {
                crew.send(0, Udp { from: common::client(n), to: (VIP, 80) });
            }
            crew.take(CLIENTS);
            let connections = crew.remote().connections().expect("control runs");
            assert_eq!(connections.len(), CLIENTS);
            for connection in connections {
                assert!(range.contains(&connection.expires_s), "{connection:?}");
            }
        };
        expiries(30..=50);
        assert_eq!(
            say(&crew, "-L --timeout"),
            (0, "Timeout (tcp tcpfin udp): 900 120 50\n".into())
        );
        assert_eq!(say(&crew, "--set 0 7 2000"), (0, String::new()));
        assert_eq!(
            say(&crew, "-L --timeout"),
            (0, "Timeout (tcp tcpfin udp): 900 7 2000\n".into())
        );
        expiries(1980..=2000);
    });
}

#[test]
fn settings_are_control_s_and_refusals_change_none() {
    let mut crew = Crew::new(1);
    let mut hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        let go = &crew.go;
        scope.spawn(|| hired[0].wait_for(go));
        assert_eq!(
            say(&crew, "--sysctl sloppy_tcp=1 secure_tcp=2"),
            (0, "net.ipv4.vs.sloppy_tcp = 1\nnet.ipv4.vs.secure_tcp = 1\n".into())
        );
        let (status, text) = say(&crew, "--sysctl sloppy_tcp=0 secure_tcp=4");
        assert!(status == 1 && text.contains("Invalid argument"), "{text}");
        assert_eq!(say(&crew, "--sysctl sloppy_tcp"), (0, "net.ipv4.vs.sloppy_tcp = 1\n".into()));
        let in_force = crew.remote().settings().expect("control runs");
        assert_eq!(in_force, Settings { sloppy_tcp: 1, secure_tcp: 1, ..Settings::default() });
    });
}

#[test]
fn marks_reach_every_worker_and_clients_do_not_undo_each_other() {
    let mut crew = Crew::new(2);
    let hired = std::mem::take(&mut crew.workers);
    thread::scope(|scope| {
        let _stop = crew.stop_on_drop();
        crew.start(scope, hired);
        let configured = MarkRule {
            protocol: None,
            source: None,
            destination: "10.9.255.1/32".parse().ok(),
            source_ports: None,
            destination_ports: None,
            mark: 7,
        };
        crew.remote().configure(Settings::default(), [configured].into()).expect("control runs");
        for (mark, server) in [7, 8].into_iter().zip(SERVERS) {
            crew.control(&format!("-A -f {mark} -s rr"));
            crew.control(&format!("-a -f {mark} -r {server} -m"));
        }
        crew.go.store(true, Ordering::Release);
        // New clients each time: connections keep their servers.
        let mut clients = (0..CLIENTS).collect::<Vec<_>>().into_iter();
        let mut served_by = |server, port| {
            let some: Vec<_> = clients.by_ref().take(CLIENTS / 4).collect();
            for (n, client) in some.iter().enumerate() {
                crew.send((n % 2) as u16, Udp { from: common::client(*client), to: (VIP, port) });
            }
            for packet in crew.take(some.len()) {
                assert_eq!(packet.to, (server, port));
            }
        };
        served_by(SERVERS[0], 53);
        let done = (0, String::new());
        assert_eq!(say(&crew, "mark -A -p udp --dport 53 --set-mark 8"), done);
        served_by(SERVERS[1], 53);
        served_by(SERVERS[0], 80);
        let list =
            "mark -A -d 10.9.255.1/32 --set-mark 7\nmark -A -p udp --dport 53 --set-mark 8\n";
        assert_eq!(say(&crew, "mark"), (0, list.into()));
        assert_eq!(say(&crew, "mark -D 2"), done);
        served_by(SERVERS[0], 53);
        // At once, and none is lost.
        thread::scope(|clients| {
            for n in 1..=4 {
                let mut remote = crew.remote();
                clients.spawn(move || {
                    for mark in 1..=50 {
                        let words = format!("pollvsadm mark -I --set-mark {}", n * 1000 + mark);
                        let argv: Vec<_> = words.split(' ').map(str::to_owned).collect();
                        let reply = ctl::session::run(&argv, &mut remote, &NumericNames);
                        assert_eq!(reply, Reply::default());
                    }
                });
            }
        });
        assert_eq!(crew.remote().marks().expect("control runs").len(), 201);
        assert_eq!(say(&crew, "mark -F"), done);
        assert_eq!(crew.remote().marks(), Ok(Vec::new()));
        let (status, error) = say(&crew, "mark -D 1");
        assert_eq!((status, error.as_str()), (255, "mark: no rule 1: there are none\n"));
    });
}
