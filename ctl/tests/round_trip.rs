//! What a director has can be written down and read again, whatever it is.

mod toy;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctl::args::parse;
use ctl::backend::{Backend, DaemonRow, ServerRow};
use ctl::command::{Change, Role, Timeouts};
use ctl::names::NumericNames;
use ctl::print;
use ctl::session::run_with_input;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelChecksum,
    TunnelKind, TunnelSpec,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use toy::{Toy, words};

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => {
            (1..0xdfff_ffff_u32).prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))).boxed()
        }
        // Short numbers give the dotted forms, long ones the plain ones.
        Family::V6 => prop_oneof![(1..u128::from(u64::MAX)), (1 << 125)..(7_u128 << 125)]
            .prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits)))
            .boxed(),
    }
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let family = select(vec![Family::V4, Family::V6]);
    (family, select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])).prop_flat_map(
        |(family, protocol)| {
            let by_address = (address(family), any::<u16>())
                .prop_map(move |(address, port)| ServiceKey::Address { protocol, address, port });
            let by_mark = (1..=u32::MAX).prop_map(move |mark| ServiceKey::Mark { family, mark });
            prop_oneof![by_address, by_mark]
        },
    )
}

/// A service as `-A` can make it.
fn service() -> impl Strategy<Value = ServiceSpec> {
    let scheduler = select(vec!["rr", "wlc", "sh", "mh", "twos"]);
    let flags = 0..8_u32;
    let persistence = proptest::option::of(1..=2_678_400_u32);
    (key(), scheduler, flags, persistence, any::<(u32, bool, bool)>()).prop_map(
        |(key, scheduler, flags, persistence_s, (mask, engine, one_packet))| {
            let any_port = matches!(key, ServiceKey::Address { port: 0, .. });
            let datagrams = !matches!(
                key,
                ServiceKey::Address { protocol: Protocol::Tcp | Protocol::Sctp, .. }
            );
            ServiceSpec {
                key,
                scheduler: scheduler.to_owned(),
                scheduler_flags: flags << 3,
                persistence_s: if any_port {
                    Some(persistence_s.unwrap_or(5))
                } else {
                    persistence_s
                },
                client_mask: match key.family() {
                    Family::V4 => ClientMask::V4(mask),
                    Family::V6 => ClientMask::V6((mask % 128 + 1) as u8),
                },
                persistence_engine: engine.then(|| "sip".to_owned()),
                one_packet: one_packet && datagrams,
            }
        },
    )
}

/// A server as `-a` can make it for a service.
fn server(key: ServiceKey) -> impl Strategy<Value = ServerSpec> {
    let method = select(vec![Method::Nat, Method::Tunnel, Method::Direct]);
    let kind = select(vec![TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre]);
    let checksum = select(vec![TunnelChecksum::None, TunnelChecksum::Full, TunnelChecksum::Remote]);
    let numbers = (0..=i64::from(i32::MAX), 0..=i32::MAX as u32, 1..=u16::MAX, any::<u16>());
    (address(key.family()), method, kind, checksum, numbers).prop_map(
        move |(address, method, kind, checksum, (weight, upper, tunnel_port, port))| {
            let tunnel = match (method, kind) {
                (Method::Tunnel, TunnelKind::Gue) => {
                    TunnelSpec { kind, port: tunnel_port, checksum }
                }
                (Method::Tunnel, TunnelKind::Gre) if checksum != TunnelChecksum::Remote => {
                    TunnelSpec { kind, port: 0, checksum }
                }
                _ => TunnelSpec::default(),
            };
            let port = match key {
                ServiceKey::Address { port, .. } if method != Method::Nat => port,
                _ => port,
            };
            ServerSpec {
                address,
                port,
                method,
                weight,
                upper_threshold: upper,
                lower_threshold: upper / 2,
                tunnel,
            }
        },
    )
}

fn director() -> impl Strategy<Value = Toy> {
    let row = service().prop_flat_map(|spec| {
        let servers = proptest::collection::vec(server(spec.key), 0..4);
        (Just(spec), servers)
    });
    let timeouts = [1..=2_678_400_u32, 1..=2_678_400, 1..=2_678_400];
    let daemon = (select(vec![Role::Master, Role::Backup]), any::<u8>(), 1..=65507_u16, 1..=255_u8);
    (proptest::collection::vec(row, 0..6), timeouts, proptest::option::of(daemon)).prop_map(
        |(rows, [tcp_s, tcp_fin_s, udp_s], daemon)| {
            let mut toy = Toy { timeouts: Timeouts { tcp_s, tcp_fin_s, udp_s }, ..Toy::default() };
            for (spec, servers) in rows {
                let key = spec.key;
                // The toy refuses what a director refuses, such as a second service of one key.
                if toy.add_service(spec).is_ok() {
                    for server in servers {
                        let _ = toy.add_server(&key, server);
                    }
                }
            }
            toy.daemons.extend(daemon.map(|(role, sync_id, max_length, ttl)| DaemonRow {
                role,
                interface: "lo".to_owned(),
                sync_id,
                max_length,
                group: Some(IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3))),
                port: 8849,
                ttl,
            }));
            toy
        },
    )
}

/// The service of a JSON document, as it was configured.
fn service_of(row: &Value) -> ServiceSpec {
    let text = |field: &str| row[field].as_str();
    let number = |field: &str| row[field].as_u64().map(|n| u32::try_from(n).expect("32 bits"));
    let family = match text("family") {
        Some("ipv4") => Family::V4,
        Some("ipv6") => Family::V6,
        other => panic!("{other:?}"),
    };
    let key = match (text("protocol"), number("fwmark")) {
        (None, Some(mark)) => ServiceKey::Mark { family, mark },
        (Some(name), None) => ServiceKey::Address {
            protocol: match name {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                other => panic!("{other}"),
            },
            address: text("address").expect("an address").parse().expect("an address"),
            port: number("port").expect("a port") as u16,
        },
        both => panic!("{both:?}"),
    };
    let client_mask = match (text("client_netmask"), number("client_prefix_length")) {
        (Some(mask), None) => ClientMask::V4(mask.parse::<Ipv4Addr>().expect("a mask").into()),
        (None, Some(length)) => ClientMask::V6(length as u8),
        both => panic!("{both:?}"),
    };
    let flags = row["scheduler_flags"].as_array().expect("flags").iter();
    ServiceSpec {
        key,
        scheduler: text("scheduler").expect("a scheduler").to_owned(),
        scheduler_flags: flags
            .map(|flag| match flag.as_str() {
                Some("flag-1" | "sh-fallback" | "mh-fallback") => 0x08,
                Some("flag-2" | "sh-port" | "mh-port") => 0x10,
                Some("flag-3") => 0x20,
                other => panic!("{other:?}"),
            })
            .sum(),
        persistence_s: number("persistence_s"),
        client_mask,
        persistence_engine: text("persistence_engine").map(str::to_owned),
        one_packet: row["one_packet"].as_bool().expect("a boolean"),
    }
}

/// The server of a JSON document, as it was configured.
fn server_of(row: &Value) -> ServerSpec {
    let number = |field: &str| row[field].as_u64().expect("a number");
    let tunnel = &row["tunnel"];
    let kind = match tunnel["type"].as_str() {
        None | Some("ipip") => TunnelKind::Ipip,
        Some("gue") => TunnelKind::Gue,
        Some("gre") => TunnelKind::Gre,
        other => panic!("{other:?}"),
    };
    let checksum = match tunnel["checksum"].as_str() {
        None | Some("none") => TunnelChecksum::None,
        Some("full") => TunnelChecksum::Full,
        Some("remote") => TunnelChecksum::Remote,
        other => panic!("{other:?}"),
    };
    ServerSpec {
        address: row["address"].as_str().expect("text").parse().expect("an address"),
        port: number("port") as u16,
        method: match row["method"].as_str() {
            Some("nat") => Method::Nat,
            Some("tunnel") => Method::Tunnel,
            Some("direct") => Method::Direct,
            other => panic!("{other:?}"),
        },
        weight: number("weight") as i64,
        upper_threshold: number("upper_threshold") as u32,
        lower_threshold: number("lower_threshold") as u32,
        tunnel: TunnelSpec { kind, port: tunnel["port"].as_u64().unwrap_or(0) as u16, checksum },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_complete_form_makes_the_same_director(mut toy in director()) {
        // The rows as they were added, not as a kernel lists them.
        let table = ctl::backend::Table { size_buckets: 4096, services: toy.services.clone() };
        let text = print::complete(&table, Some(&toy.timeouts), &toy.daemons);
        let mut again = Toy::default();
        let reply = run_with_input(&words("x -R"), text.as_bytes(), &mut again, &NumericNames);
        prop_assert_eq!(String::from_utf8_lossy(&reply.stderr), "", "{}", text);
        prop_assert_eq!(&toy.services, &again.services);
        prop_assert_eq!(toy.timeouts, again.timeouts);
        prop_assert_eq!(&toy.daemons, &again.daemons);
        // What -S prints is the same too.
        let saved = toy.table().map(|table| print::save(&table, true, &NumericNames));
        let saved_again = again.table().map(|table| print::save(&table, true, &NumericNames));
        prop_assert_eq!(saved, saved_again);
    }

    #[test]
    fn a_change_of_the_table_has_a_line_that_makes_it_again(toy in director()) {
        let mut changes = vec![Change::Flush];
        for row in &toy.services {
            let service = row.spec.key;
            changes.push(Change::AddService(row.spec.clone()));
            changes.push(Change::EditService(row.spec.clone()));
            changes.push(Change::DeleteService(service));
            for ServerRow { spec: server, .. } in row.servers.iter().cloned() {
                changes.push(Change::AddServer { service, server });
                changes.push(Change::EditServer { service, server });
                let (address, port) = (server.address, server.port);
                changes.push(Change::DeleteServer { service, address, port });
            }
        }
        for row in &toy.daemons {
            changes.push(Change::StartDaemon(row.spec()));
            changes.push(Change::StopDaemon { role: row.role, sync_id: row.sync_id });
        }
        for change in changes {
            let line = print::change(&change).expect("it leaves something");
            let parsed = parse(&words(&format!("x {line}")), &NumericNames);
            prop_assert_eq!(parsed, Ok(change.into()), "{}", line);
        }
    }

    #[test]
    fn json_says_all_that_was_configured(mut toy in director()) {
        let line = words("pollvsadm --json -L --nosort");
        let reply = run_with_input(&line, &[], &mut toy, &NumericNames);
        let document: Value = serde_json::from_slice(&reply.stdout).expect("a document");
        let said: Vec<_> = document["services"].as_array().expect("services").iter().map(|row| {
            let servers = row["servers"].as_array().expect("servers").iter();
            (service_of(row), servers.map(server_of).collect::<Vec<_>>())
        }).collect();
        let rows = toy.table().expect("a table").services.into_iter();
        let configured: Vec<_> = rows.map(|row| {
            (row.spec, row.servers.iter().map(|server| server.spec).collect::<Vec<_>>())
        }).collect();
        prop_assert_eq!(said, configured);
    }
}
