use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::service::Protocol;
use proptest::prelude::*;

use super::*;
use crate::names::{NumericNames, Services};

/// Names of one host and one port.
#[derive(Debug)]
struct SomeNames(Services);

impl Names for SomeNames {
    fn host_v4(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "vip.example").then_some(Ipv4Addr::new(10, 0, 0, 9))
    }

    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.0.port(name, protocol)
    }

    fn service_name(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

fn request(line: &str) -> Result<Request, String> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    line::parse(&words, &SomeNames(Services::parse("http 80/tcp\nhttps 443/tcp\n")))
}

/// The rule of a line that appends one.
fn rule(line: &str) -> MarkRule {
    match request(line) {
        Ok(Request::Change(MarkChange::Append(rule))) => rule,
        other => panic!("{line}: {other:?}"),
    }
}

fn every(mark: u32) -> MarkRule {
    rule(&format!("-A --set-mark {mark}"))
}

#[test]
fn a_line_of_iptables_is_understood() {
    let expected = MarkRule {
        protocol: Some(6),
        source: None,
        destination: "207.175.44.110/31".parse().ok(),
        source_ports: None,
        destination_ports: Some((80, 443)),
        mark: 1,
    };
    for line in [
        "-A -d 207.175.44.110/31 -p tcp --dport 80:443 --set-mark 1",
        "-t mangle -A PREROUTING -d 207.175.44.110/31 -p tcp --dport 80:443 -j MARK --set-mark 1",
        "-A PREROUTING -d 207.175.44.110/31 -p tcp -m tcp --dport 80:443 -j MARK --set-xmark 0x1/0xffffffff",
        "--append --destination 207.175.44.111/255.255.255.254 --proto 6 --destination-port http:https --set-mark 0x1",
        "-j MARK --set-mark=1/4294967295 --dport=80:443 -p TCP --dst=207.175.44.110/31 -A -t mangle",
    ] {
        assert_eq!(rule(line), expected, "{line}");
    }
    let all =
        "-A -s 10.1.2.3/8 -d vip.example -p sctp --sport :1023 --dport 1024: --set-mark 4294967295";
    let expected = MarkRule {
        protocol: Some(132),
        source: "10.0.0.0/8".parse().ok(),
        destination: "10.0.0.9/32".parse().ok(),
        source_ports: Some((0, 1023)),
        destination_ports: Some((1024, 65_535)),
        mark: u32::MAX,
    };
    assert_eq!(rule(all), expected);
    let six = rule("-A -s 2001:db8::1 -d 2001:db8:ffff::/32 -p 58 --set-mark 0");
    assert_eq!(six.source, "2001:db8::1/128".parse().ok());
    assert_eq!(six.destination, "2001:db8::/32".parse().ok());
    assert_eq!((six.protocol, six.mark), (Some(58), 0));
    for word in ["all", "ALL", "0"] {
        assert_eq!(rule(&format!("-A -p {word} --set-mark 3")), every(3));
    }
}

#[test]
fn commands() {
    use MarkChange::{Delete, DeleteNumber, Flush, Insert};
    let change = |change| Ok(Request::Change(change));
    for (line, expected) in [
        ("", Ok(Request::List { numbers: false })),
        ("-L", Ok(Request::List { numbers: false })),
        ("-n", Ok(Request::List { numbers: false })),
        ("-t mangle -L PREROUTING -n --line-numbers", Ok(Request::List { numbers: true })),
        ("-F", change(Flush)),
        ("-F PREROUTING -t mangle", change(Flush)),
        ("-I --set-mark 1", change(Insert(1, every(1)))),
        ("-I 3 --set-mark 1", change(Insert(3, every(1)))),
        ("-I PREROUTING 3 --set-mark 1", change(Insert(3, every(1)))),
        ("-D --set-mark 1", change(Delete(every(1)))),
        ("-D 2", change(DeleteNumber(2))),
        ("-D PREROUTING 2", change(DeleteNumber(2))),
    ] {
        assert_eq!(request(line), expected, "{line}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (line, message) in [
        ("-A -i eth0 --set-mark 1", "-i is not known here; a rule is made of -s, -d,"),
        ("-A -p tcp --syn --set-mark 1", "--syn is not known here"),
        ("-A ! -s 10.0.0.0/8 --set-mark 1", "!: what does not fit cannot be asked for"),
        ("-A -s ! 10.0.0.0/8 --set-mark 1", "-s lacks its value"),
        ("-A -p tcp -m multiport --dports 80,443 --set-mark 1", "--dports is not known here"),
        ("-A -p tcp -m multiport --set-mark 1", "-m multiport is not known here"),
        ("-A -m tcp --set-mark 1", "-m tcp needs -p tcp"),
        ("-A -p udp -m tcp --set-mark 1", "-m tcp needs -p tcp"),
        ("-A -p 6x --set-mark 1", "-p 6x: expected tcp, udp, sctp, icmp, all or a number"),
        ("-A -p 256 --set-mark 1", "-p 256: expected"),
        ("-A -s 10.0.0.0/33 --set-mark 1", "-s 10.0.0.0/33: expected an address like"),
        ("-A -s 10.0.0.0/255.0.255.0 --set-mark 1", "-s 10.0.0.0/255.0.255.0: expected"),
        ("-A -s 10.0.0.0/+8 --set-mark 1", "-s 10.0.0.0/+8: expected"),
        ("-A -s 10.0.0.1,10.0.0.2 --set-mark 1", "-s 10.0.0.1,10.0.0.2: expected"),
        ("-A -d nosuch.example --set-mark 1", "-d nosuch.example: expected"),
        ("-A -s ::1 -d 10.0.0.1 --set-mark 1", "-s and -d are not of the same address family"),
        ("-A --dport 80 --set-mark 1", "--dport needs -p tcp, -p udp or -p sctp"),
        ("-A -p icmp --sport 80 --set-mark 1", "--sport needs -p tcp"),
        ("-A -p udp --dport http --set-mark 1", "--dport http: expected a port like 80"),
        ("-A -p tcp --dport 443:80 --set-mark 1", "--dport 443:80: expected"),
        ("-A -p tcp --dport 65536 --set-mark 1", "--dport 65536: expected"),
        ("-A -p tcp --dport 1:2:3 --set-mark 1", "--dport 1:2:3: expected"),
        ("-A -d 10.0.0.1", "--set-mark is missing"),
        ("-A --set-mark", "--set-mark lacks its value"),
        ("-A --set-mark 4294967296", "--set-mark 4294967296: expected a mark like 1 or 0x1"),
        ("-A --set-mark -1", "--set-mark -1: expected a mark"),
        ("-A --set-mark 010", "--set-mark 010: expected a mark"),
        ("-A --set-mark 0x", "--set-mark 0x: expected a mark"),
        ("-A --set-mark 0x+1", "--set-mark 0x+1: expected a mark"),
        ("-A --set-mark 1/", "--set-mark 1/: expected a mark"),
        ("-A --set-mark 1/0xff", "--set-mark 1/0xff: expected no mask but 0xffffffff"),
        ("-A --set-mark 1 --set-mark 2", "--set-mark is given twice"),
        ("-A --set-mark 1 --set-xmark 2", "--set-xmark is given twice"),
        ("-A --or-mark 1", "--or-mark is not known here"),
        ("-A -j ACCEPT --set-mark 1", "-j ACCEPT: expected MARK"),
        ("-t nat -A --set-mark 1", "-t nat: the only table is mangle"),
        ("-A OUTPUT --set-mark 1", "unexpected OUTPUT: the only chain is PREROUTING"),
        ("-A 2 --set-mark 1", "unexpected 2: the only chain is PREROUTING"),
        ("-A PREROUTING 2 --set-mark 1", "unexpected 2"),
        ("PREROUTING -A --set-mark 1", "unexpected PREROUTING"),
        ("--set-mark 1", "--set-mark needs -A, -I or -D before it"),
        ("-A -D --set-mark 1", "-D does not go with -A"),
        ("-F -d 10.0.0.1", "-d does not go with -F"),
        ("-L --set-mark 1", "--set-mark does not go with -L"),
        ("-D 2 --set-mark 1", "--set-mark does not go with -D 2"),
        ("-A -n --set-mark 1", "-n does not go with -A"),
        ("-D 02", "unexpected 02"),
        ("-D", "--set-mark is missing"),
    ] {
        let error = request(line).expect_err(line);
        assert!(error.starts_with(message), "{line}: {error}");
    }
}

#[test]
fn changes_are_made_in_order_or_not_at_all() {
    use MarkChange::{Append, Delete, DeleteNumber, Flush, Insert};
    let marks = |rules: &[MarkRule]| rules.iter().map(|rule| rule.mark).collect::<Vec<_>>();
    let mut rules = Vec::new();
    for (change, after) in [
        (Append(every(1)), &[1][..]),
        (Append(every(2)), &[1, 2]),
        (Insert(1, every(3)), &[3, 1, 2]),
        (Insert(4, every(1)), &[3, 1, 2, 1]),
        (Insert(2, every(4)), &[3, 4, 1, 2, 1]),
        (Delete(every(1)), &[3, 4, 2, 1]),
        (DeleteNumber(4), &[3, 4, 2]),
        (DeleteNumber(1), &[4, 2]),
        (Flush, &[]),
        (Flush, &[]),
    ] {
        rules = change.clone().apply(&rules).expect("a sound change");
        assert_eq!(marks(&rules), after, "{change:?}");
    }
    let two = [every(1), every(2)];
    for (change, error) in [
        (Delete(every(3)), MarkError::NoSuchRule),
        (DeleteNumber(0), MarkError::NoSuchNumber { number: 0, last: 2 }),
        (DeleteNumber(3), MarkError::NoSuchNumber { number: 3, last: 2 }),
        (Insert(0, every(3)), MarkError::NoPlace { number: 0, last: 3 }),
        (Insert(4, every(3)), MarkError::NoPlace { number: 4, last: 3 }),
    ] {
        assert_eq!(change.clone().apply(&two), Err(error), "{change:?}");
    }
    let full = vec![every(1); MOST_RULES];
    assert_eq!(Append(every(2)).apply(&full), Err(MarkError::TooMany));
    // A rule of the configuration file may have host bits; the words of its list delete it.
    let host_bits = MarkRule { source: "10.1.2.3/8".parse().ok(), ..every(1) };
    let listed = command(&host_bits);
    assert_eq!(listed, "mark -A -s 10.0.0.0/8 --set-mark 1");
    let equal = rule(listed.strip_prefix("mark ").expect("the command"));
    assert_eq!(Delete(equal).apply(&[host_bits]), Ok(Vec::new()));
}

/// A network as the grammar makes it: host bits zero.
fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = (any::<u32>(), 0..=32_u8)
        .prop_map(|(bits, length)| Prefix::new(IpAddr::V4(Ipv4Addr::from(bits)), length));
    let v6 = (any::<u128>(), 0..=128_u8)
        .prop_map(|(bits, length)| Prefix::new(IpAddr::V6(Ipv6Addr::from(bits)), length));
    prop_oneof![v4, v6].prop_map(|prefix| network(prefix.expect("in range")))
}

fn a_rule() -> impl Strategy<Value = MarkRule> {
    let ports = || {
        let range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        proptest::option::of(prop_oneof![range, any::<u16>().prop_map(|port| (port, port))])
    };
    let protocol = prop_oneof![Just(6), Just(17), Just(132), 1..=u8::MAX];
    let networks = [proptest::option::of(prefix()), proptest::option::of(prefix())];
    (proptest::option::of(protocol), networks, [ports(), ports()], any::<u32>()).prop_map(
        |(protocol, [source, destination], [source_ports, destination_ports], mark)| {
            let same = |a: Prefix, b: Prefix| a.address().is_ipv4() == b.address().is_ipv4();
            let destination = destination.filter(|&b| source.is_none_or(|a| same(a, b)));
            let has_ports = matches!(protocol, Some(6 | 17 | 132));
            let kept = |ports: Option<(u16, u16)>| ports.filter(|_| has_ports);
            MarkRule {
                protocol,
                source,
                destination,
                source_ports: kept(source_ports),
                destination_ports: kept(destination_ports),
                mark,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn every_rule_is_its_own_command_line(rule in a_rule()) {
        let words: Vec<String> = command(&rule).split(' ').map(str::to_owned).collect();
        prop_assert_eq!(&words[0], "mark");
        let parsed = line::parse(&words[1..], &NumericNames);
        prop_assert_eq!(parsed, Ok(Request::Change(MarkChange::Append(rule))), "{:?}", words);
    }

    #[test]
    fn any_words_are_answered(words in proptest::collection::vec("-?-?[a-zA-Z!/:.0-9=]{0,6}|-A|--set-mark|-p", 0..8)) {
        let _ = line::parse(&words, &NumericNames);
    }
}
