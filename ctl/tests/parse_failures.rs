//! Lines that are no commands: the exact message, its status, and whether a restore ends there.

mod toy;

use ctl::args::{Failure, parse};
use ctl::command::Command;
use toy::{RecordedNames, words};

fn parse_words(argv: &[String]) -> Result<Command, Failure> {
    let argv: Vec<String> = std::iter::once("prog".to_owned()).chain(argv.to_vec()).collect();
    parse(&argv, &RecordedNames::default())
}

const TRY_HELP: &str = "Try `prog -h' or 'prog --help' for more information.";

/// Line, status, message, whether a restore ends.
const FAILURES: &[(&str, u8, &str, bool)] = &[
    ("foo", 255, TRY_HELP, true),
    ("-- -L", 255, TRY_HELP, true),
    ("-", 255, TRY_HELP, true),
    ("-n", 255, TRY_HELP, true),
    ("foo -q", 255, TRY_HELP, true),
    ("--set=5", 255, TRY_HELP, true),
    ("--list=1", 255, TRY_HELP, true),
    ("--start-daemon", 255, TRY_HELP, true),
    ("--flush", 255, TRY_HELP, true),
    ("--add", 255, TRY_HELP, true),
    ("# x", 255, TRY_HELP, true),
    ("# x -Z", 2, "unexpected argument #", true),
    ("-Z # x", 2, "unexpected argument #", true),
    ("foo -L", 2, "unexpected argument foo", true),
    ("-L -- -n", 2, "unexpected argument -n", true),
    ("--set 1 2 3 4", 2, "unexpected argument 4", true),
    ("--set 1 2 x 4", 2, "invalid timeout value `x' specified", true),
    ("--set 1 2", 2, "--set option requires 3 timeout values", true),
    ("--set 1 2 2678401", 2, "invalid timeout value `2678401' specified", true),
    ("--set -1 0 0", 255, "-1: unknown option", false),
    ("-AD", 2, "invalid option `-AD'", true),
    ("-A -h", 2, "invalid option `-h'", true),
    ("-A --set", 2, "invalid option `--set'", true),
    ("-Lnq", 255, "-Lnq: unknown option", false),
    ("-L -n=5", 255, "-n=5: unknown option", false),
    ("-A --tcp 10.0.0.1:80", 255, "--tcp: unknown option", false),
    ("-A --bogus=1", 255, "--bogus=1: unknown option", false),
    ("-Lx", 255, "-Lx: missing argument", false),
    ("-A -nt", 255, "-nt: missing argument", false),
    ("-A --scheduler", 255, "--scheduler: missing argument", false),
    ("-A --ops=1", 255, "--ops=1: option does not take an argument", false),
    ("-A -t 10.0.0.1:80 -t bad", 2, "multiple 'service-address' options specified", true),
    ("-a -g -i", 2, "multiple 'forwarding-method' options specified", true),
    ("-L -n -n", 2, "multiple 'numeric' options specified", true),
    ("-A -t 80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t [::1]", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t [::1", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t [::1]:", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t fe80::1%eth0", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 10.0.0.1:HTTP", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 1.2.3.4.5:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 1.2.3.4.0:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 1.2.3.4.5.6:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 1.2.3.256:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 1.2.65536:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A -t 08.1:80", 2, "illegal virtual server address[:port] specified", true),
    ("-A --sctp-service 10.0.0.1:http", 2, "illegal virtual server address[:port] specified", true),
    ("-a -r 10.1.0.1:http -t 10.0.0.1:80", 2, "illegal real server address[:port] specified", true),
    ("-A -f -1", 2, "invalid fwmark value `-1' specified", true),
    ("-A -t 10.0.0.1:80 -6", 2, "-6 used before -f\n", true),
    ("-A -6 -f 3", 2, "-6 used before -f\n", true),
    ("-A -f 3 -p 2678401", 2, "invalid timeout value `2678401' specified", true),
    ("-A -f 3 -M bad", 2, "illegal virtual server persistent mask specified", true),
    ("-A -f 3 -6 -M 129", 2, "illegal ipv6 netmask specified", true),
    ("-A -f 3 -6 -M x", 2, "illegal ipv6 netmask specified", true),
    ("-A -f 3 -6 -M -64", 2, "illegal ipv6 netmask specified", true),
    ("-a -w -1", 2, "illegal weight specified", true),
    ("-a -w 99999999999999999999", 2, "illegal weight specified", true),
    ("-a -x 2147483648", 2, "illegal u_threshold specified", true),
    ("-a -y 2147483648", 2, "illegal l_threshold specified", true),
    ("-L --syncid -1", 2, "illegal syncid specified", true),
    ("--start-daemon x --syncid y", 2, "illegal start-daemon parameter specified", true),
    ("--stop-daemon Master", 2, "illegal start_daemon specified", true),
    ("--start-daemon master --mcast-port 65536", 2, "illegal mcast-port specified", true),
    ("--start-daemon master --mcast-ttl 0", 2, "illegal mcast-ttl specified", true),
    ("--start-daemon master --sync-maxlen 65508", 2, "illegal sync-maxlen specified", true),
    ("--start-daemon master --mcast-group 224.1", 2, "invalid IPv4 mcast-group `224.1'", true),
    ("--start-daemon master --mcast-group ::1", 2, "invalid IPv6 mcast-group `::1'", true),
    ("-a --tun-type GUE", 2, "illegal tunnel type specified", true),
    ("-a --tun-port 0", 2, "illegal tunnel port specified", true),
    // Words of -b come before the matrix, and the scheduler counts wherever it stands.
    ("-L -b x", 2, "invalid scheduler flag `x'", true),
    ("-A -b sh-port -f 1", 2, "incompatible scheduler flag `sh-port'", true),
    ("-A -b mh-port,x -s sh", 2, "incompatible scheduler flag `mh-port'", true),
    (
        "-A",
        2,
        "You need to supply the 'service-address' option for the 'add-service' command",
        true,
    ),
    (
        "-a -f 1",
        2,
        "You need to supply the 'real-server' option for the 'add-server' command",
        true,
    ),
    ("-Z --stats -n", 2, "Illegal 'numeric' option with the 'zero' command", true),
    ("-C --tun-csum", 2, "Illegal 'tun-csum' option with the 'flush' command", true),
    ("--set 1 2 3 -n", 2, "Illegal 'numeric' option with the 'set' command", true),
    (
        "--stop-daemon master --mcast-interface lo",
        2,
        "Illegal 'mcast-interface' option with the 'stop-daemon' command",
        true,
    ),
    (
        "-L -f 1 -c",
        2,
        "The option 'service-address' conflicts with the 'connection' option in the 'list' command",
        true,
    ),
    (
        "-L --daemon --timeout",
        2,
        "The option 'daemon' conflicts with the 'timeout' option in the 'list' command",
        true,
    ),
    ("-L -c --stats", 2, "options conflicts in the list command", true),
    ("-L --timeout --persistent-conn", 2, "options conflicts in the list command", true),
    ("-L --daemon --thresholds", 2, "options conflicts in the list command", true),
    ("-A -t 10.0.0.1", 2, "Zero port specified for non-persistent service", true),
    ("-A -t 10.0.0.1 -o", 2, "Zero port specified for non-persistent service", true),
    ("-E -t 10.0.0.1:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services", true),
    (
        "-a -f 1 -r ::1 -m",
        2,
        "Different address family is allowed only for tunneling servers",
        true,
    ),
    ("-a -f 1 -r 10.1.0.1 --tun-type ipip", 2, "Tunnel options conflict with forward method", true),
    (
        "-a -f 1 -r 10.1.0.1 -i --tun-type gue",
        2,
        "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        true,
    ),
    (
        "-a -f 1 -r 10.1.0.1 -i --tun-csum",
        2,
        "Illegal 'tun-csum' option with the 'ipip' tunnel type",
        true,
    ),
    (
        "-a -f 1 -r 10.1.0.1 -i --tun-type gre --tun-remcsum",
        2,
        "Illegal 'tun-remcsum' option with the 'gre' tunnel type",
        true,
    ),
    (
        "-a -f 1 -r 10.1.0.1 -i --tun-type gre --tun-csum --tun-nocsum",
        2,
        "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        true,
    ),
];

#[test]
fn failures() {
    for &(line, status, message, ends_restore) in FAILURES {
        let failure = parse_words(&words(line)).expect_err(line);
        assert_eq!(failure.stderr, format!("{message}\n"), "{line}");
        assert_eq!((failure.status, failure.ends_restore), (status, ends_restore), "{line}");
    }
}

#[test]
fn empty_words() {
    let argv = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
    let failure = |parts: &[&str]| parse_words(&argv(parts)).expect_err("a failure").stderr;
    assert_eq!(failure(&[""]), format!("{TRY_HELP}\n"));
    assert_eq!(failure(&["-L", ""]), "unexpected argument \n");
    assert_eq!(failure(&["-A", "-t", ""]), "illegal virtual server address[:port] specified\n");
    assert_eq!(failure(&["-A", "-f", ""]), "invalid fwmark value `' specified\n");
    assert_eq!(failure(&["-A", "-f", "3", "-p", ""]), "invalid timeout value `' specified\n");
    assert_eq!(failure(&["-A", "-f", "3", "-p="]), "invalid timeout value `' specified\n");
    assert!(parse_words(&argv(&["-A", "-f", " 3", "-b", ""])).is_ok());
    let without_engine = parse_words(&argv(&["-A", "-f", "3"]));
    assert_eq!(parse_words(&argv(&["-A", "-f", "3", "--pe", ""])), without_engine);
    assert!(parse(&[], &RecordedNames::default()).is_ok());
}
