//! The grammar: words to commands, or to the exact message and status.

mod toy;

use std::net::IpAddr;

use ctl::args::{is_restore, parse};
use ctl::command::{Change, Command, DaemonSpec, Format, ListOptions, Listing, Role, Timeouts};
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelChecksum,
    TunnelKind, TunnelSpec,
};
use toy::{RecordedNames, words};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn tcp(address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: ip(address), port }
}

fn mark(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::Mark { family, mark }
}

fn service(key: ServiceKey) -> ServiceSpec {
    ServiceSpec {
        key,
        scheduler: "wlc".to_owned(),
        scheduler_flags: 0,
        persistence_s: None,
        client_mask: ClientMask::each_client(key.family()),
        persistence_engine: None,
        one_packet: false,
    }
}

fn server(address: &str, port: u16, method: Method) -> ServerSpec {
    ServerSpec {
        address: ip(address),
        port,
        method,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelSpec::default(),
    }
}

fn parsed(line: &str) -> Command {
    match parse_words(&words(line)) {
        Ok(command) => command,
        Err(failure) => panic!("{line}: {failure:?}"),
    }
}

fn parse_words(argv: &[String]) -> Result<Command, ctl::args::Failure> {
    let argv: Vec<String> = std::iter::once("prog".to_owned()).chain(argv.to_vec()).collect();
    parse(&argv, &RecordedNames::default())
}

#[test]
fn services() {
    let v6 = tcp("2001:db8::1", 80);
    let s = service;
    let a = tcp("10.0.0.1", 80);
    let rows = [
        ("-A -t 10.0.0.1:80", s(a)),
        ("-At10.0.0.1:80", s(a)),
        ("-A -t=10.0.0.1:80", s(a)),
        ("-A --tcp-service=10.0.0.1:80", s(a)),
        ("-A=t=10.0.0.1:80", s(a)),
        ("-A -t 10.1:http", s(tcp("10.0.0.1", 80))),
        ("-A -t 0xa.1:www", s(tcp("10.0.0.1", 80))),
        ("-A -t 012.0.0.1:+80", s(tcp("10.0.0.1", 80))),
        ("-A -t 167772161:080", s(tcp("10.0.0.1", 80))),
        ("-A -t localhost:80", s(tcp("127.0.0.1", 80))),
        ("-A -t [2001:db8::1]:80", s(v6)),
        ("-A -t [2001:db8::1]:80 -s=averyveryverylongname", {
            ServiceSpec { scheduler: "averyveryverylo".to_owned(), ..s(v6) }
        }),
        ("-A -t 10.0.0.1 -p", ServiceSpec { persistence_s: Some(360), ..s(tcp("10.0.0.1", 0)) }),
        (
            "-A -t [10.0.0.1]:80 -p",
            ServiceSpec { persistence_s: Some(360), ..s(tcp("10.0.0.1", 0)) },
        ),
        ("-A -t 10.0.0.1:80 -p300", ServiceSpec { persistence_s: Some(300), ..s(a) }),
        ("-A -t 10.0.0.1:80 -p=300", ServiceSpec { persistence_s: Some(300), ..s(a) }),
        ("-A -t 10.0.0.1:80 --persistent=300", ServiceSpec { persistence_s: Some(300), ..s(a) }),
        (
            "-A -t 10.0.0.1:80 -p -s rr --sort --sort",
            ServiceSpec { persistence_s: Some(360), scheduler: "rr".to_owned(), ..s(a) },
        ),
        (
            "-A -M 255.255.255.0 -t 10.0.0.1:80",
            ServiceSpec { client_mask: ClientMask::V4(0xffff_ff00), ..s(a) },
        ),
        ("-A -t 10.0.0.1:80 -M 24", ServiceSpec { client_mask: ClientMask::V4(24), ..s(a) }),
        (
            "-A -t [2001:db8::1]:80 -M 64abc",
            ServiceSpec { client_mask: ClientMask::V6(64), ..s(v6) },
        ),
        ("-A -M 64 -t [2001:db8::1]:80", s(v6)),
        ("-A -f 7 -M 255.0.0.0 -6 -6", s(mark(7, Family::V6))),
        ("-A -f 4294967295", s(mark(u32::MAX, Family::V4))),
        ("-A -f 7 -o", ServiceSpec { one_packet: true, ..s(mark(7, Family::V4)) }),
        (
            "-A -b flag-1,,mh-port,flag-3 -f 7 -s mh",
            ServiceSpec {
                scheduler_flags: 0x38,
                scheduler: "mh".to_owned(),
                ..s(mark(7, Family::V4))
            },
        ),
        (
            "-A --pe averyveryverylongname -f 7",
            ServiceSpec {
                persistence_engine: Some("averyveryverylon".to_owned()),
                ..s(mark(7, Family::V4))
            },
        ),
    ];
    for (line, spec) in rows {
        assert_eq!(parsed(line), Command::Change(Change::AddService(spec.clone())), "{line}");
        let edit = line.replacen("-A", "-E", 1);
        assert_eq!(parsed(&edit), Command::Change(Change::EditService(spec)), "{edit}");
    }
}

#[test]
fn servers() {
    let a = tcp("10.0.0.1", 80);
    let gue = |checksum| TunnelSpec { kind: TunnelKind::Gue, port: 6080, checksum };
    let rows = [
        ("-t 10.0.0.1:80 -r 10.1.0.1", a, server("10.1.0.1", 80, Method::Direct)),
        ("-t 10.0.0.1:80 -r 10.1.0.1:81", a, server("10.1.0.1", 80, Method::Direct)),
        ("-t 10.0.0.1:80 -r 10.1.0.1:81 -i", a, server("10.1.0.1", 80, Method::Tunnel)),
        ("-t 10.0.0.1:80 -r 10.1.0.1:81 -m", a, server("10.1.0.1", 81, Method::Nat)),
        ("-t 10.0.0.1:80 -r 10.1.0.1 -m", a, server("10.1.0.1", 80, Method::Nat)),
        ("-r 10.1.0.1 -t 10.0.0.1:80 -m", a, server("10.1.0.1", 0, Method::Nat)),
        ("-t 10.0.0.1:80 -r 2001:db8::5 -i", a, server("2001:db8::5", 80, Method::Tunnel)),
        ("-f 7 -r 10.1.0.1:http", mark(7, Family::V4), server("10.1.0.1", 80, Method::Direct)),
        ("-f 7 -r 10.1.0.1", mark(7, Family::V4), server("10.1.0.1", 0, Method::Direct)),
        (
            "-t 10.0.0.1:80 -r 10.1.0.1 -w2147483647 -x 9 -y 5",
            a,
            ServerSpec {
                weight: 2_147_483_647,
                upper_threshold: 9,
                lower_threshold: 5,
                ..server("10.1.0.1", 80, Method::Direct)
            },
        ),
        (
            "-t 10.0.0.1:80 -r 10.1.0.1 -i --tun-type gue --tun-port 6080",
            a,
            ServerSpec {
                tunnel: gue(TunnelChecksum::None),
                ..server("10.1.0.1", 80, Method::Tunnel)
            },
        ),
        (
            "-t 10.0.0.1:80 -r 10.1.0.1 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            a,
            ServerSpec {
                tunnel: gue(TunnelChecksum::Remote),
                ..server("10.1.0.1", 80, Method::Tunnel)
            },
        ),
    ];
    for (line, service, server) in rows {
        assert_eq!(
            parsed(&format!("-a {line}")),
            Command::Change(Change::AddServer { service, server }),
            "{line}"
        );
        assert_eq!(
            parsed(&format!("-e {line}")),
            Command::Change(Change::EditServer { service, server }),
            "{line}"
        );
    }
    // Deleting does not force the port: a different one is not found later.
    let deleted =
        Command::Change(Change::DeleteServer { service: a, address: ip("10.1.0.1"), port: 81 });
    assert_eq!(parsed("-d -t 10.0.0.1:80 -r 10.1.0.1:81"), deleted);
}

#[test]
fn other_commands() {
    let list = ListOptions::default();
    let daemon = DaemonSpec {
        role: Role::Backup,
        interface: "eth0".to_owned(),
        sync_id: 0,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    let rows = [
        ("", Command::List(list)),
        ("-Ln", Command::List(ListOptions { numeric: true, ..list })),
        ("-L=n", Command::List(ListOptions { numeric: true, ..list })),
        (
            "-lcn",
            Command::List(ListOptions { numeric: true, listing: Listing::Connections, ..list }),
        ),
        (
            "-lc --persistent-conn --tun-info",
            Command::List(ListOptions {
                listing: Listing::Connections,
                format: Format::PersistentConn,
                ..list
            }),
        ),
        (
            "-L --rate --stats -X --nosort",
            Command::List(ListOptions {
                format: Format::Stats,
                exact: true,
                sorted: false,
                ..list
            }),
        ),
        (
            "-L --tun-info -f 7 -6",
            Command::List(ListOptions {
                format: Format::TunInfo,
                service: Some(mark(7, Family::V6)),
                ..list
            }),
        ),
        (
            "-L --syncid 3 --timeout",
            Command::List(ListOptions { listing: Listing::Timeouts, ..list }),
        ),
        ("-L --daemon", Command::List(ListOptions { listing: Listing::Daemons, ..list })),
        ("-C --sort", Command::Change(Change::Flush)),
        ("-R", Command::Restore),
        ("-S", Command::Save { numeric: false }),
        ("--save --numeric", Command::Save { numeric: true }),
        ("-Z", Command::Change(Change::Zero(None))),
        ("-Z -t 10.0.0.1:0", Command::Change(Change::Zero(Some(tcp("10.0.0.1", 0))))),
        ("-D -t 10.0.0.1:0", Command::Change(Change::DeleteService(tcp("10.0.0.1", 0)))),
        (
            "1 --set 2 3",
            Command::Change(Change::SetTimeouts(Timeouts { tcp_s: 1, tcp_fin_s: 2, udp_s: 3 })),
        ),
        ("--set -- 0 +5 2678400", {
            Command::Change(Change::SetTimeouts(Timeouts {
                tcp_s: 0,
                tcp_fin_s: 5,
                udp_s: 2_678_400,
            }))
        }),
        ("--start-daemon=backup", Command::Change(Change::StartDaemon(daemon.clone()))),
        (
            "--start-daemon backup --mcast-interface averyveryverylong --mcast-group ff02::81 \
             --mcast-port 1 --mcast-ttl 255 --sync-maxlen 65507 --syncid 255",
            Command::Change(Change::StartDaemon(DaemonSpec {
                interface: "averyveryverylo".to_owned(),
                group: Some(ip("ff02::81")),
                port: Some(1),
                ttl: Some(255),
                max_length: Some(65507),
                sync_id: 255,
                ..daemon
            })),
        ),
        (
            "--stop-daemon master --syncid 4",
            Command::Change(Change::StopDaemon { role: Role::Master, sync_id: 4 }),
        ),
        ("-hx", Command::Help),
        ("--help extra", Command::Help),
        ("-v -n", Command::Version),
    ];
    for (line, command) in rows {
        assert_eq!(parsed(line), command, "{line}");
    }
}

#[test]
fn restore_is_known_by_its_command_alone() {
    for (line, expected) in [
        ("prog -R", true),
        ("prog foo --restore -n", true),
        ("prog -Rq", true),
        ("prog -L -R", false),
        ("prog", false),
        ("", false),
        ("prog -h", false),
    ] {
        assert_eq!(is_restore(&words(line)), expected, "{line}");
    }
}
