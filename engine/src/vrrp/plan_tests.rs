//! What is said about `[[vrrp]]` tables, and what becomes of sound ones.

use std::path::PathBuf;

use dataplane::verdict::PortId;

use super::*;
use crate::origin::Origin;
use crate::validate::PortFacts;

const PORTS: &str = "[[port]]\ndevice = \"eth0\"\naddresses = [\"192.0.2.1/24\"]\n\
                     [[port.vlan]]\nid = 7\naddresses = [\"10.7.0.1/16\"]\n\
                     [[port]]\ndevice = \"eth1\"\naddresses = [\"10.1.0.1/16\", \"fd00::1/64\"]\n";

fn config(text: &str) -> Config {
    let text = format!("{PORTS}{text}");
    let mut config: Config = toml::from_str(&text).unwrap();
    config.origin = Origin::of_file(PathBuf::from("x.toml"), text);
    config
}

/// A table with one line in the place of its like.
fn table(line: &str) -> String {
    let mut lines =
        vec!["name = \"a\"", "vrid = 1", "port = \"eth0\"", "addresses = [\"192.0.2.9\"]"];
    let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    match lines.iter().position(|other| key(other) == key(line)) {
        Some(place) => lines[place] = line,
        None => lines.push(line),
    }
    format!("[[vrrp]]\n{}\n", lines.join("\n"))
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    for (line, number, what) in [
        ("name = \"\"", 11, "single word"),
        ("vrid = 0", 12, "not 1 to 255"),
        ("port = \"eth9\"", 13, "not a device of a [[port]]"),
        ("vlan = 8", 13, "no such vlan"),
        ("vlan = 7", 14, ""),
        ("version = 4", 15, "neither 2 nor 3"),
        ("priority = 0", 15, "not 1 to 255"),
        ("interval_ms = 75", 15, "multiple of 10"),
        ("interval_ms = 50000", 15, "0.01 to 40.95 seconds"),
        ("password = \"secret\"", 15, "no authentication"),
        ("password = \"much too long\"", 15, "not 1 to 8 bytes"),
        ("garp_repeat = 0", 15, "garp_repeat is 0"),
        ("notify = \"hook\"", 15, "whole path"),
        ("track = [{ port = \"eth9\" }]", 15, "names eth9"),
        ("track = [{ script = \"check\" }]", 15, "whole path"),
        ("track = [{ script = \"/bin/true\", rise = 0 }]", 15, "rise or fall is 0"),
        ("addresses = []", 14, "are none"),
        ("addresses = [\"192.0.2.9/24\"]", 14, "the length is left out"),
        ("addresses = [\"192.0.2.1\"]", 14, "address of a [[port]], which cannot move"),
        ("addresses = [\"10.1.0.1\"]", 14, "address of a [[port]], which cannot move"),
        ("addresses = [\"198.51.100.1\"]", 14, "say where it is"),
        ("addresses = [\"192.0.2.9 dev eth2\"]", 14, "names no PORT"),
        ("addresses = [\"192.0.2.9 on eth1\"]", 14, "is no ADDRESS"),
        ("addresses = [\"224.0.0.9\"]", 14, "multicast"),
        ("addresses = [\"192.0.2.9\", \"fd00::9\"]", 14, "same group"),
        ("addresses = [\"192.0.2.9\", \"192.0.2.9\"]", 14, "there twice"),
    ] {
        let complaint = config(&table(line)).validate().map_err(|error| error.to_string());
        if what.is_empty() {
            assert_eq!(complaint, Ok(()), "{line}");
            continue;
        }
        let complaint = complaint.expect_err(line);
        assert!(complaint.starts_with(&format!("x.toml line {number}: vrrp ")), "{complaint}");
        assert!(complaint.contains(what), "{line}: {complaint}");
    }
}

#[test]
fn two_tables_must_differ() {
    for (line, what) in [
        ("name = \"a\"", "names must differ"),
        ("name = \"b\"", "leave it to one"),
        ("name = \"b\"\naddresses = [\"192.0.2.8\"]", "identifiers must differ"),
    ] {
        let mut second = format!("[[vrrp]]\nvrid = 1\nport = \"eth0\"\n{line}\n");
        if !line.contains("addresses") {
            second += "addresses = [\"192.0.2.9\"]\n";
        }
        let complaint = config(&(table("vrid = 1") + &second)).validate().unwrap_err().to_string();
        assert!(complaint.contains(what), "{complaint}");
    }
}

fn plan(text: &str) -> Plan {
    let config = config(text);
    let mac = Mac([2, 0, 0, 0, 0, 5]);
    let facts: Vec<_> = (0..2).map(|n| PortFacts { id: PortId(n), mac, mtu: 1500 }).collect();
    Plan::new(&config, &config.topology(&facts).unwrap()).unwrap()
}

#[test]
fn addresses_are_where_their_network_is_or_where_it_is_said() {
    let line = "addresses = [\"192.0.2.9\", \"10.7.0.9\", \"10.1.0.9\", \"198.51.100.1 dev eth0.7\", \
                \"203.0.113.1 dev eth1\"]";
    let plan = plan(&table(line));
    let places: Vec<_> = plan.floating().iter().map(|(interface, _)| interface.0).collect();
    assert_eq!(places, [0, 1, 2, 1, 2]);
    let router = &plan.routers[0];
    assert_eq!(router.config.source.to_string(), "192.0.2.1");
    assert_eq!((router.config.interval_cs, router.config.priority), (7, 100));
    let ports: Vec<_> = router.ports.iter().map(|(place, ..)| *place).collect();
    assert_eq!(ports, [0, 1], "it needs both");
}

#[test]
fn ipv6_advertises_from_a_link_local_address() {
    let text = table("addresses = [\"fd00::9\"]").replace("eth0", "eth1");
    let router = &plan(&text).routers[0];
    assert_eq!(router.config.source.to_string(), "fe80::ff:fe00:5");
    assert_eq!(router.interface.0, 2);
}

#[test]
fn routers_of_one_group_are_together() {
    let other = table("name = \"b\"").replace("vrid = 1", "vrid = 2").replace("2.9", "2.8");
    let third = table("name = \"c\"").replace("vrid = 1", "vrid = 3").replace("2.9", "2.7");
    let grouped = |text: &str| format!("{text}group = \"g\"\n");
    let plan = plan(&(grouped(&table("vrid = 1")) + &other + &grouped(&third)));
    let groups: Vec<_> = plan.groups.iter().map(|group| group.members.clone()).collect();
    assert_eq!(groups, [vec![0, 2], vec![1]]);
}

#[test]
fn version_2_has_whole_seconds_and_a_password() {
    let text = table("version = 2") + "password = \"secret\"\n";
    let router = &plan(&text).routers[0];
    assert_eq!(router.config.interval_cs, 100);
    assert_eq!(router.config.auth, Auth::password("secret"));
    let complaint = config(&(table("version = 2") + "interval_ms = 500\n")).validate().unwrap_err();
    assert!(complaint.to_string().contains("whole seconds"), "{complaint}");
}
