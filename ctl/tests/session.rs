//! Statuses and messages of refused commands and of restores.

mod toy;

use ctl::names::NumericNames;
use ctl::refusal::Refusal;
use ctl::session::{run, run_with_input};
use toy::{Toy, words};

#[test]
fn refusals() {
    let status_of = |line: &str, broken: Refusal| {
        let mut toy = Toy { broken: Some(broken), ..Toy::default() };
        let reply = run(&words(&format!("ipvsadm {line}")), &mut toy, &NumericNames);
        assert_eq!(reply.stdout, b"");
        (reply.status, String::from_utf8(reply.stderr).expect("text"))
    };
    let missing = Refusal::NoSuchService;
    for (line, broken, status, message) in [
        ("-L", Refusal::PermissionDenied, 1, "Permission denied (you must be root)\n"),
        ("-S", Refusal::NoMemory, 1, "Memory allocation problem\n"),
        ("-L --timeout", Refusal::NoMemory, 1, ""),
        ("-L --daemon", Refusal::NoMemory, 1, ""),
        ("-L -f 1", missing, 1, "No such service\n"),
        ("-C", Refusal::NoMemory, 255, "Memory allocation problem\n"),
        ("-D -f 1", missing, 255, "No such service\n"),
        ("-a -f 1 -r 1.2.3.4", missing, 255, "Service not defined\n"),
        ("-d -f 1 -r 1.2.3.4", missing, 255, "Service not defined\n"),
        ("--set 1 1 1", Refusal::Unsupported("no timeouts yet"), 255, "no timeouts yet\n"),
    ] {
        assert_eq!(status_of(line, broken), (status, message.to_owned()), "{line}");
    }
}

#[test]
fn restore_statuses() {
    let restore = |input: &[u8]| {
        let mut toy = Toy::default();
        let reply = run_with_input(&words("x -R"), input, &mut toy, &NumericNames);
        (reply.status, String::from_utf8(reply.stderr).expect("text"), toy.services.len())
    };
    let help = "Try `x -h' or 'x --help' for more information.\n";
    for (input, status, message, services) in [
        (&b""[..], 0, "", 0),
        (b"\n \t\r\n\nipvsadm\n", 0, "", 0),
        (b"\r-A -f 1\r\n -A\t-f 2", 0, "", 2),
        (b"ipvsadm -A ipvsadm -f 1\n", 0, "", 1),
        // The back end's refusal and an option's mistake do not end it, the tool's own checks do.
        (b"-D -f 1\n-A -f 1\n", 0, "No such service\n", 1),
        (b"-A -f 1\n-D -f 2\n", 255, "No such service\n", 1),
        (b"-A -q\n-A -f 1\n", 0, "-q: unknown option\n", 1),
        (b"-A -f 1\n-A -f\n", 255, "-f: missing argument\n", 1),
        (
            b"-A\n-A -f 1\n",
            2,
            "You need to supply the 'service-address' option for the 'add-service' command\n",
            0,
        ),
        (b"# x\n-A -f 1\n", 255, help, 0),
        (b"-R\n-A -f 1\n", 255, help, 0),
        (b"-L -f 1\n-A -f 1\n", 1, "No such service\n", 0),
        (b"-v\n-A -f 1\n", 0, "", 0),
        (b"/sbin/ipvsadm -Z\n", 2, "unexpected argument /sbin/ipvsadm\n", 0),
        (b"-A -f 1\n\xff\n-A -f 2\n", 2, "restore input is not text; its rest was not read\n", 1),
        (b"-A -f 1\0\n-A -f 2\n", 2, "restore input is not text; its rest was not read\n", 0),
    ] {
        assert_eq!(restore(input), (status, message.to_owned(), services), "{input:?}");
    }
}

#[test]
fn drops_are_listed_for_pollvsadm_and_unknown_to_ipvsadm() {
    let mut toy = Toy::default();
    let reply = run(&words("/usr/sbin/pollvsadm drops"), &mut toy, &NumericNames);
    let text = String::from_utf8(reply.stdout).unwrap();
    let count = |name: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let reasons = dataplane::verdict::DropReason::COUNT as u64;
    assert_eq!((reply.status, count("received"), count("handed_over")), (0, 7, 3));
    assert_eq!(count("dropped"), reasons * (reasons + 1) / 2);
    assert_eq!(count("buffer_empty"), reasons, "the last of them");
    let of_ports = text.split_once("port net_null0\n").unwrap().1;
    assert!(of_ports.lines().next().unwrap().starts_with("  missed "), "{of_ports}");
    assert_eq!(of_ports.split_whitespace().nth(1), Some("11"));
    assert_eq!(run(&words("pollvsadm drops now"), &mut toy, &NumericNames).status, 2);
    assert_eq!(run(&words("/sbin/ipvsadm drops"), &mut toy, &NumericNames).status, 255);
}
