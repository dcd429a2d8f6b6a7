//! Listings to the byte: the samples of the reference and recorded lines of the real tool.

mod toy;

use ctl::backend::{ConnectionRow, DaemonRow, EngineData, Rates, ServiceRow, mark_address};
use ctl::command::Role;
use ctl::names::{Names, NumericNames};
use ctl::session::{Reply, run, run_with_input};
use dataplane::service::{Family, Traffic};
use toy::{RecordedNames, Toy, words};

const TITLES: &str = "Prot LocalAddress:Port Scheduler Flags\n  \
    -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n";

/// A director after some commands.
fn director(lines: &str) -> Toy {
    let mut toy = Toy::default();
    let argv = words("ipvsadm -R");
    let reply = run_with_input(&argv, lines.as_bytes(), &mut toy, &RecordedNames::default());
    assert_eq!(reply, Reply::default());
    toy
}

fn sample() -> Toy {
    let mut toy = director(
        "-A -f 8 -6 -s rr\n\
         -A -f 7 -s rr -p 600 -M 255.255.255.0\n\
         -a -f 7 -r 192.168.10.2 -g -w 2 -x 100 -y 10\n\
         -A -u [2001:db8::80]:53 -s mh -p 360 -M 64 --pe sip -o -b mh-fallback,mh-port\n\
         -a -u [2001:db8::80]:53 -r [2001:db8::1]:53 -m\n\
         -A -t 10.0.0.1:80\n\
         -a -t 10.0.0.1:80 -r 192.168.10.2 -i -w 2 --tun-type gue --tun-port 6080 --tun-csum\n\
         -a -t 10.0.0.1:80 -r 192.168.10.1 -m\n",
    );
    for row in toy.services.iter_mut().flat_map(|row| &mut row.servers) {
        (row.active, row.inactive, row.persistent) = (3, 4, 0);
        if row.spec.weight == 2 {
            (row.active, row.persistent) = (4, 2);
        }
    }
    toy
}

/// Standard output of a command that succeeds; a `|` is put at each end of line, as in the reference.
fn output(line: &str, toy: &mut Toy, names: &dyn Names) -> String {
    let reply = run(&words(&format!("ipvsadm {line}")), toy, names);
    assert_eq!((reply.status, reply.stderr.as_slice()), (0, &b""[..]), "{line}");
    String::from_utf8(reply.stdout).expect("text")
}

fn numeric(line: &str, toy: &mut Toy) -> String {
    output(line, toy, &RecordedNames::default())
}

#[test]
fn plain() {
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 wlc
  -> 192.168.10.1:80              Masq    1      3          4         |
  -> 192.168.10.2:80              Tunnel  2      4          4         |
UDP  [2001:db8::80]:53 mh (mh-fallback,mh-port) persistent 360 mask 64 pe sip ops
  -> [2001:db8::1]:53             Masq    1      3          4         |
FWM  7 rr persistent 600 mask 255.255.255.0
  -> 192.168.10.2:0               Route   2      4          4         |
FWM  8 IPv6 rr
"
    .replace('|', "");
    assert_eq!(numeric("-Ln", &mut sample()), expected);
    // One service has no version line; without -n, ports and own addresses have names.
    let one = format!(
        "{TITLES}TCP  10.0.0.1:http wlc\n  -> 192.168.10.1:http            Masq    1      3          4         \n  \
         -> 192.168.10.2:http            Tunnel  2      4          4         \n"
    );
    assert_eq!(numeric("-L -t 10.0.0.1:80", &mut sample()), one);
}

#[test]
fn other_columns() {
    let mut toy = sample();
    let thresholds = numeric("-Ln --thresholds -f 7", &mut toy);
    let title = "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n";
    assert!(thresholds.starts_with(title), "{thresholds}");
    let row = "  -> 192.168.10.2:0               100        10         4          4         \n";
    assert!(thresholds.ends_with(row), "{thresholds}");

    let persistent = numeric("-Ln --persistent-conn -f 7", &mut toy);
    let title = "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n";
    assert!(persistent.starts_with(title), "{persistent}");
    let row = "  -> 192.168.10.2:0               2         2           4          4         \n";
    assert!(persistent.ends_with(row), "{persistent}");

    let tunnels = numeric("-Ln --tun-info", &mut toy);
    for row in [
        "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
        "  -> 192.168.10.2:80              Tunnel  gue:6080:+c   2      4          4         \n",
        "  -> 192.168.10.1:80              Masq    n/a           1      3          4         \n",
    ] {
        assert!(tunnels.contains(row), "{tunnels}");
    }
}

#[test]
fn save() {
    let expected = "\
-A -t 10.0.0.1:80 -s wlc
-a -t 10.0.0.1:80 -r 192.168.10.1:80 -m -w 1
-a -t 10.0.0.1:80 -r 192.168.10.2:80 -i -w 2 --tun-type gue --tun-port 6080 --tun-csum
-A -u [2001:db8::80]:53 -s mh -p 360 -M 64 --pe sip -o -b mh-fallback,mh-port
-a -u [2001:db8::80]:53 -r [2001:db8::1]:53 -m -w 1
-A -f 7 -s rr -p 600 -M 255.255.255.0
-a -f 7 -r 192.168.10.2:0 -g -w 2
-A -f 8 -6 -s rr
";
    let mut toy = sample();
    assert_eq!(numeric("-Sn", &mut toy), expected);
    // What was saved makes the same table.
    assert_eq!(numeric("-Sn", &mut director(expected)), expected);
}

#[test]
fn the_third_flag_of_sh_has_no_name() {
    let mut toy = director("-A -f 1 -s sh -b flag-3\n-A -f 2 -s rr -b flag-3,flag-1\n");
    assert_eq!(numeric("-Sn", &mut toy), "-A -f 1 -s sh -b \n-A -f 2 -s rr -b flag-1,flag-3\n");
    assert!(numeric("-Ln", &mut toy).ends_with("FWM  1 sh ()\nFWM  2 rr (flag-1,flag-3)\n"));
}

#[test]
fn engine_without_persistence_is_saved_but_not_listed() {
    let mut toy = director("-A -u 10.0.0.1:53 --pe sip -M 255.0.0.0\n");
    assert_eq!(numeric("-Sn", &mut toy), "-A -u 10.0.0.1:53 -s wlc --pe sip\n");
    assert!(numeric("-Ln", &mut toy).ends_with("UDP  10.0.0.1:53 wlc\n"));
}

fn with_counts(counts: [u64; 5]) -> Toy {
    let mut toy = director("-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 192.168.10.1 -m\n");
    let [connections, in_packets, out_packets, in_bytes, out_bytes] = counts;
    let traffic = Traffic { connections, in_packets, out_packets, in_bytes, out_bytes };
    let rates = Rates { connections, in_packets, out_packets, in_bytes, out_bytes };
    let row: &mut ServiceRow = &mut toy.services[0];
    (row.traffic, row.rates) = (traffic, rates);
    (row.servers[0].traffic, row.servers[0].rates) = (traffic, rates);
    toy
}

#[test]
fn counters() {
    let mut toy =
        with_counts([123, 99_999_999, 100_000_000, 1_234_567_890_123, 123_456_789_012_345]);
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.1:80                       123 99999999  100000K    1234G     123T
  -> 192.168.10.1:80                   123 99999999  100000K    1234G     123T
";
    assert_eq!(numeric("-Ln --stats", &mut toy), expected);
    let exact = "TCP  10.0.0.1:80                       123 99999999 100000000 1234567890123 123456789012345\n";
    assert!(numeric("-Ln --stats --exact", &mut toy).contains(exact));
}

#[test]
fn rates() {
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  10.0.0.1:80                         5        6        7        8    9000M
  -> 192.168.10.1:80                     5        6        7        8    9000M
";
    assert_eq!(numeric("-Ln --rate", &mut with_counts([5, 6, 7, 8, 9_000_000_000])), expected);
    // A server's connections and packets are never shortened.
    let mut toy = with_counts([100_000_000; 5]);
    let row = "  -> 192.168.10.1:80              100000000 100000000 100000000  100000K  100000K\n";
    let list = numeric("-Ln --rate", &mut toy);
    assert!(list.ends_with(row), "{list}");
}

#[test]
fn units_change_at_their_limits() {
    for (value, column) in [
        (0, "        0"),
        (99_999_999, " 99999999"),
        (999_999_999, "  999999K"),
        (1_000_000_000, "    1000M"),
        (99_999_999_999, "   99999M"),
        (100_000_000_000, "     100G"),
        (99_999_999_999_999, "   99999G"),
        (100_000_000_000_000, "     100T"),
        (u64::MAX, "18446744T"),
    ] {
        let list = numeric("-Ln --stats", &mut with_counts([value; 5]));
        let row = format!("TCP  10.0.0.1:80{}{}\n", " ".repeat(17), column.repeat(5));
        assert!(list.contains(&row), "{list}");
    }
}

fn connection(
    protocol: &'static str,
    ends: [&str; 3],
    state: &'static str,
    s: u64,
) -> ConnectionRow {
    let [client, virtual_end, real] = ends.map(|end| end.parse().expect("an address"));
    let (state, engine) = (state.into(), None);
    ConnectionRow {
        protocol,
        client,
        virtual_end,
        real,
        state,
        expires_s: s,
        is_synced: false,
        engine,
    }
}

#[test]
fn connections() {
    let mut toy = Toy::default();
    let web = ["192.168.10.99:54694", "10.0.0.1:80", "192.168.10.1:80"];
    let v6 = ["[2001:db8::99]:54694", "[2001:db8::80]:80", "[2001:db8::1]:80"];
    let mut mark = connection("IP", ["192.168.10.0:0", "0.0.0.0:0", "192.168.10.1:0"], "NONE", 300);
    mark.virtual_end = mark_address(7, Family::V4);
    let mut sip = connection("UDP", ["10.9.0.7:0", "10.0.0.1:5060", "10.1.0.1:5060"], "NONE", 59);
    sip.engine = Some(EngineData { name: "sip".to_owned(), data: "a@b".to_owned() });
    toy.connections = vec![
        connection("TCP", web, "ESTABLISHED", 895),
        mark,
        connection("TCP", v6, "SYN_RECV", 3661),
        sip,
    ];
    let expected = "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:55  ESTABLISHED 192.168.10.99:54694 10.0.0.1:80        192.168.10.1:80
IP  05:00  NONE        192.168.10.0:0     0.0.0.7:0          192.168.10.1:0
TCP 61:01  SYN_RECV    [2001:db8::99]:54694 [2001:db8::80]:80  [2001:db8::1]:80
UDP 00:59  NONE        10.9.0.7:0         10.0.0.1:5060      10.1.0.1:5060
";
    assert_eq!(numeric("-Lnc", &mut toy), expected);
    let with_engine = numeric("-Lnc --persistent-conn", &mut toy);
    let title = "pro expire state       source             virtual            destination        pe name          pe_data\n";
    assert!(with_engine.contains(title), "{with_engine}");
    let row = "UDP 00:59  NONE        10.9.0.7:0         10.0.0.1:5060      10.1.0.1:5060    sip                a@b\n";
    assert!(with_engine.ends_with(row), "{with_engine}");
    let named = numeric("-Lc", &mut toy);
    assert!(named.contains(" 10.0.0.1:http      192.168.10.1:http\n"), "{named}");
    assert_eq!(mark_address(7, Family::V6).to_string(), "[0:7::]:0");
}

#[test]
fn daemons_and_timeouts() {
    let mut toy = Toy::default();
    assert_eq!(numeric("-L --daemon", &mut toy), "");
    assert_eq!(numeric("-L --timeout", &mut toy), "Timeout (tcp tcpfin udp): 900 120 300\n");
    toy.daemons.push(DaemonRow {
        role: Role::Backup,
        interface: "eth0".to_owned(),
        sync_id: 5,
        max_length: 0,
        group: None,
        port: 0,
        ttl: 0,
    });
    assert_eq!(numeric("-L --daemon", &mut toy), "backup sync daemon (mcast=eth0, syncid=5)\n");
}

#[test]
fn order() {
    let mut toy = director(
        "-A -f 4000000000\n-A -f 5 -6\n-A -f 5\n-A -t [fe80::1]:80\n-A -t [2001:db8::1]:80\n\
         -A --sctp-service 1.0.0.1:80\n-A -u 1.0.0.1:80\n-A -t 10.0.0.1:80\n-A -t 10.0.0.1:79\n\
         -A -t 150.0.0.1:80\n",
    );
    let list = numeric("-Sn", &mut toy);
    let names: Vec<&str> =
        list.lines().map(|l| &l["-A ".len()..l.len() - " -s wlc".len()]).collect();
    assert_eq!(
        names,
        [
            "-f -294967296",
            // More than 2^31 apart: the real tool's subtraction is wrong there, and so is its order.
            "-t 150.0.0.1:80",
            "-t 10.0.0.1:79",
            "-t 10.0.0.1:80",
            "-u 1.0.0.1:80",
            "--sctp-service 1.0.0.1:80",
            "-t [fe80::1]:80",
            "-t [2001:db8::1]:80",
            "-f 5",
            "-f 5 -6",
        ]
    );
}

#[test]
fn order_of_servers_mixes_families() {
    let mut toy = director(
        "-A -t [2001:db8::80]:80\n\
         -a -t [2001:db8::80]:80 -r 127.0.0.1 -i\n\
         -a -t [2001:db8::80]:80 -r 2001:db8::1 -i\n\
         -a -t [2001:db8::80]:80 -r ::1 -i\n\
         -a -t [2001:db8::80]:80 -r ::2.0.0.1 -i\n\
         -a -t [2001:db8::80]:80 -r 10.1.0.1 -i\n",
    );
    let list = numeric("-Sn", &mut toy);
    let servers: Vec<&str> = list.lines().skip(1).filter_map(|l| l.split(' ').nth(4)).collect();
    // C prints addresses of ::/96 with a dotted end.
    assert_eq!(
        servers,
        ["[::1]:80", "[::2.0.0.1]:80", "10.1.0.1:80", "[2001:db8::1]:80", "127.0.0.1:80"]
    );
}

/// An IPv4 address on the left is compared with the first word of an IPv6 address only; a tie keeps the order.
#[test]
fn order_of_addresses_that_start_alike() {
    let mut toy = director("-A -f 1\n-a -f 1 -r 2001:db8:8001::1 -i\n-a -f 1 -r 32.1.13.184 -i\n");
    let list = numeric("-Sn", &mut toy);
    let servers: Vec<&str> = list.lines().skip(1).filter_map(|l| l.split(' ').nth(4)).collect();
    assert_eq!(servers, ["32.1.13.184:0", "[2001:db8:8001::1]:0"]);
}

/// A relation that is not transitive must neither panic nor lose rows.
#[test]
fn order_of_contradictory_addresses() {
    let mut toy = Toy::default();
    let mut lines = String::from("-A -t 1.0.0.1:80\n");
    for n in 0..500_u32 {
        let address = std::net::Ipv4Addr::from(n.wrapping_mul(0x9e37_79b9) | 1);
        lines += &format!("-a -t 1.0.0.1:80 -r {address}:80 -m\n");
    }
    run_with_input(&words("x -R"), lines.as_bytes(), &mut toy, &NumericNames);
    let count = toy.services[0].servers.len();
    assert!(count > 300, "{count}");
    assert_eq!(numeric("-Sn", &mut toy).lines().count(), count + 1);
}

/// Long host names.
struct LongNames;

impl Names for LongNames {
    fn host_v4(&self, _: &str) -> Option<std::net::Ipv4Addr> {
        None
    }

    fn host_name(&self, _: std::net::IpAddr) -> Option<String> {
        Some("a-very-long-host-name.example.org".to_owned())
    }

    fn service_port(&self, _: &str, _: dataplane::service::Protocol) -> Option<u16> {
        None
    }

    fn service_name(&self, port: u16, _: dataplane::service::Protocol) -> Option<String> {
        (port == 0).then(|| "never".to_owned())
    }
}

#[test]
fn long_names_are_cut_in_lists_of_ipv4_only() {
    let mut toy = director(
        "-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.1.0.1\n\
         -A -t [2001:db8::1]:80\n-a -t [2001:db8::1]:80 -r 2001:db8::2\n\
         -A -u 10.0.0.1 -p\n",
    );
    let list = output("-L", &mut toy, &LongNames);
    for row in [
        "TCP  a-very-long-host-name.exampl wlc\n",
        "  -> a-very-long-host-name.exampl Route   1 ",
        "TCP  [a-very-long-host-name.example.org]:80 wlc\n",
        "  -> [a-very-long-host-name.example.org]:80 Route   1 ",
    ] {
        assert!(list.contains(row), "{list}");
    }
    let save = output("-S", &mut toy, &LongNames);
    assert!(save.starts_with("-A -t a-very-long-host-name.example.org:80 -s wlc\n"), "{save}");
    // Port 0 has no name.
    assert!(save.contains("-A -u a-very-long-host-name.example.org:0 "), "{save}");
}
