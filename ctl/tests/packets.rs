//! `explain` and `trace`: words in, words out.

mod toy;

use ctl::session::{Reply, run};
use ctl::trace::{Order, Taken};
use dataplane::explain::Question;
use dataplane::service::{Family, Protocol, ServiceKey};
use dataplane::trace::Filter;
use toy::{RecordedNames, Toy, packets, words};

fn ask(line: &str, toy: &mut Toy) -> Reply {
    run(&words(line), toy, &RecordedNames::default())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn an_explanation_says_every_step() {
    let mut toy = Toy { explanations: packets::explanations(), ..Toy::default() };
    let reply = ask("pollvsadm explain -t 10.0.0.1:http --from 10.9.0.1:40000", &mut toy);
    let expected = "\
owner       worker 1 of 2 has the client's connections
connection  the connection 10.0.0.1:80 to 192.168.10.2:8080: TIME_WAIT, ends in 17 s
replaced    it ends for a new one: the client uses the port again (conn_reuse_mode)
mark        7, by the rules of 'mark -L'
service     firewall mark 7, scheduler wlc
persistence the client loses its server: it has weight 0 (expire_quiescent_template)
persistence 10.9.0.1 will stay with the server, 360 s
scheduler   wlc chooses among 6 of 9 servers, 1 of weight 0, 2 at their upper threshold
server      192.168.10.2:8080 by NAT, weight 2, 3 active and 4 inactive connections
next hop    192.168.10.2, a station not known yet, by port 1
";
    assert_eq!((text(&reply.stdout), text(&reply.stderr), reply.status), (expected, "", 0));
    let client = ("10.9.0.1".parse().expect("an address"), 40000);
    let address = "10.0.0.1".parse().expect("an address");
    let target = ServiceKey::Address { protocol: Protocol::Tcp, address, port: 80 };
    assert_eq!(toy.asked, Some(Question { protocol: Protocol::Tcp, client, target }));

    ask("pollvsadm explain --from=[2001:db8::7]:9 -f 7 -6", &mut toy);
    let client = ("2001:db8::7".parse().expect("an address"), 9);
    let target = ServiceKey::Mark { family: Family::V6, mark: 7 };
    assert_eq!(toy.asked, Some(Question { protocol: Protocol::Tcp, client, target }));
}

#[test]
fn a_trace_is_told_what_to_watch() {
    let mut toy = Toy { taken: Some(Taken { id: 5, ..Taken::default() }), ..Toy::default() };
    for (line, client, port, service) in [
        ("trace --from 10.9.0.1", Some("10.9.0.1"), None, None),
        ("trace --from 10.9.0.1:7 -u 10.0.0.1:53", Some("10.9.0.1"), Some(7), Some((17, 53))),
        ("trace --count=3 -t 10.0.0.1:http --wait 9", None, None, Some((6, 80))),
    ] {
        let reply = ask(&format!("pollvsadm {line}"), &mut toy);
        assert_eq!((text(&reply.stdout), reply.status), ("5\n", 0), "{line}");
        let address = |text: &str| text.parse().expect("an address");
        let filter = Filter {
            client: client.map(address),
            client_port: port,
            service: service.map(|(protocol, port)| (protocol, address("10.0.0.1"), port)),
        };
        assert_eq!(toy.orders.pop(), Some(Order::Start(filter)), "{line}");
    }
    toy.taken = Some(packets::taken());
    let reply = ask("pollvsadm trace --take 3 9", &mut toy);
    assert_eq!(toy.orders.pop(), Some(Order::Take { id: 3, most: 9 }));
    let (first, told) = text(&reply.stdout).split_once('\n').expect("lines");
    assert_eq!(first, "6 2");
    let held = "\
2  2.020 s  worker 0  port 0  TCP 10.9.0.1:40000 > 10.0.0.1:80 [SYN ACK] 60 bytes, ttl 64
    owner       worker 1 of 2 has the client's connections
    service     TCP 10.0.0.1:80, scheduler wlc
    persistence 10.9.0.1 stays with its server, 99 s more
    server      192.168.10.2:8080 by NAT, weight 2, 3 active and 4 inactive connections
    next hop    192.168.10.2, 02:00:00:00:00:09, by port 1
    state       SYN_RECV, ends in 60 s
    held        until its next hop answers; then tunnel 10.1.255.254 > 192.168.10.2: TCP \
        10.9.0.1:40000 > 10.0.0.1:80 [SYN ACK] 60 bytes, ttl 64 by port 0
";
    assert!(told.contains(held), "{told}");
    let ends = [
        "    sent        TCP 10.9.0.1:40000 > 192.168.10.2:8080 [SYN ACK] 60 bytes, ttl 63 to",
        "    answered    no_destination: Scheduler found no real server that takes connections. Answer: icmp",
        "    consumed    ",
        "    handed over to worker 1\n",
        "    dropped     table_full: ",
        "[.] 60 bytes",
        "4  4.040 s  worker 0  port 0  icmp 10.9.0.1 > 10.0.0.1 60 bytes",
    ];
    for end in ends {
        assert!(told.contains(end), "{end}: {told}");
    }
    // What ends a packet is said once.
    assert_eq!(told.matches("no_destination").count(), 1);
    assert_eq!(ask("pollvsadm trace --end 3", &mut toy), Reply::default());
    assert_eq!(toy.orders.pop(), Some(Order::End(3)));
    toy.taken = None;
    let reply = ask("pollvsadm trace --from 10.9.0.1", &mut toy);
    let busy = "trace: another trace is running; there is one at a time\n";
    assert_eq!((text(&reply.stderr), reply.status), (busy, 1));
}

#[test]
fn wrong_words_do_nothing() {
    let mut toy = Toy::default();
    for (line, status, message) in [
        ("explain", 2, "explain: say which connection: -t|-u VIP:PORT or -f MARK, and"),
        ("explain -t 10.0.0.1:80", 2, "explain: say which connection"),
        ("explain -t 10.0.0.1:80 --from 10.9.0.1", 2, "explain: say which connection"),
        ("explain -t 10.0.0.1:80 --from 10.9.0.300:1", 2, "illegal client `10.9.0.300:1'"),
        ("explain -t 10.0.0.1:80 --from 10.9.0.1:99999", 2, "illegal client"),
        ("explain -t 10.0.0.1:99999 --from 10.9.0.1:1", 2, "illegal virtual server"),
        ("explain -t 10.0.0.1:80 --from [2001:db8::1]:1", 2, "explain: the client and the service"),
        ("explain -t 10.0.0.1:80 --from", 255, "--from: missing argument"),
        ("explain -t 10.0.0.1:80 --from 10.9.0.1:1 --from 10.9.0.1:2", 2, "multiple 'from'"),
        ("explain -t 10.0.0.1:80 -q --from 10.9.0.1:1", 255, "-q: unknown option"),
        ("explain -t 10.0.0.1:80 --count 1 --from 10.9.0.1:1", 255, "--count: unknown option"),
        ("trace", 2, "trace: say whose packets"),
        ("trace --from 10.9.0.1 -f 1", 2, "trace: packets are told apart by -t or -u"),
        ("trace --from 10.9.0.1 -t [2001:db8::1]:1", 2, "trace: the client and the service"),
        ("trace --from 10.9.0.1 --count x", 2, "--count: `x' is no number from 1 to 4294967295"),
        ("trace --from 10.9.0.1 --count 0", 2, "--count: `0' is no number from 1 to 4294967295"),
        ("trace --from 10.9.0.1 --wait x", 2, "--wait: `x' is no number from 0 to 2678400"),
        ("trace --from 10.9.0.1 --wait", 255, "--wait: missing argument"),
        ("trace --from 10.9.0.1 --count 2 --count=2", 2, "multiple 'count' options specified"),
        ("trace --from 10.9.0.1 --wait 2678401", 2, "--wait: `2678401' is no number"),
        ("trace --take x 1", 2, "trace: which one?"),
    ] {
        let reply = ask(&format!("pollvsadm {line}"), &mut toy);
        assert!(text(&reply.stderr).starts_with(message), "{line}: {}", text(&reply.stderr));
        assert_eq!((reply.status, reply.stdout.len()), (status, 0), "{line}");
        assert_eq!((toy.asked, toy.orders.len()), (None, 0), "{line}");
        let as_ipvsadm = ask(&format!("ipvsadm {line}"), &mut toy);
        assert!(matches!(as_ipvsadm.status, 2 | 255), "{line}");
    }
}
