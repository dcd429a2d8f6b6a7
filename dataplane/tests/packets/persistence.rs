//! Clients that stay with their server.

use dataplane::command::Command;
use dataplane::service::{Method, ServiceSpec};
use dataplane::settings::Settings;

use crate::common::build::{ACK, SYN, Transport, request};
use crate::common::check::see;
use crate::common::lab::{Lab, SIZE, Size};
use crate::common::names::{server, service, tcp};
use Transport::Tcp;

const SERVERS: [&str; 2] = ["10.1.0.1:8080", "10.1.0.2:8080"];

fn lab(shards: u16, virtual_end: &str) -> Lab {
    let mut lab = Lab::new(Size { shards, ..SIZE });
    let key = tcp(virtual_end);
    lab.add_service(ServiceSpec { persistence_s: Some(300), ..service(key, "rr") });
    for text in SERVERS {
        lab.add_server(&key, server(text, Method::Nat, 1));
    }
    lab
}

/// Where a client's new connection goes.
fn reached(lab: &mut Lab, client: &str, to: &str) -> (std::net::Ipv4Addr, u16) {
    see(lab.one(&request(Tcp(SYN), client, to)).bytes()).destination
}

/// Whichever worker owns a client's connections, all of them go to one server.
#[test]
fn every_worker_knows_whom_a_client_stays_with() {
    let mut lab = lab(4, "10.9.0.100:80");
    let first = reached(&mut lab, "10.9.0.1:1000", "10.9.0.100:80");
    for port in 1001..1200 {
        let client = format!("10.9.0.1:{port}");
        assert_eq!(reached(&mut lab, &client, "10.9.0.100:80"), first, "{client}");
    }
    assert_eq!(lab.templates.len(), 1);
    assert!(lab.shards.iter().all(|shard| shard.connections() > 0), "all took part");
    assert_ne!(reached(&mut lab, "10.9.0.2:1000", "10.9.0.100:80"), first);
}

/// A service of any port sends each to the same port of the server, whatever port that has.
#[test]
fn a_service_of_any_port_keeps_the_port() {
    let mut lab = lab(1, "10.9.0.100:0");
    let (address, port) = reached(&mut lab, "10.9.0.1:1000", "10.9.0.100:443");
    assert_eq!(port, 443);
    assert_eq!(reached(&mut lab, "10.9.0.1:1001", "10.9.0.100:80"), (address, 80));
}

#[test]
fn a_template_lasts_from_its_last_new_connection() {
    let mut lab = lab(1, "10.9.0.100:80");
    lab.one(&request(Tcp(SYN), "10.9.0.1:1000", "10.9.0.100:80"));
    lab.wait(200);
    lab.sweep_all();
    lab.one(&request(Tcp(ACK), "10.9.0.1:1000", "10.9.0.100:80"));
    lab.one(&request(Tcp(SYN), "10.9.0.1:1001", "10.9.0.100:80"));
    lab.wait(299);
    lab.sweep_all();
    assert_eq!(lab.templates.len(), 1);
    lab.wait(1);
    lab.sweep_all();
    assert_eq!((lab.connection_count(), lab.templates.len()), (0, 0));
}

#[test]
fn a_quiet_server_keeps_its_clients_unless_told_otherwise() {
    let mut lab = lab(1, "10.9.0.100:80");
    let first = reached(&mut lab, "10.9.0.1:1000", "10.9.0.100:80");
    let text = format!("{}:8080", first.0);
    lab.edit_server(&tcp("10.9.0.100:80"), server(&text, Method::Nat, 0));
    assert_eq!(reached(&mut lab, "10.9.0.1:1001", "10.9.0.100:80"), first);
    let settings = Settings { expire_quiescent_template: 1, ..Settings::default() };
    lab.apply(&Command::PutSettings(settings));
    assert_ne!(reached(&mut lab, "10.9.0.1:1002", "10.9.0.100:80"), first);
}
