//! Statuses and messages of refused commands and of restores.

mod toy;

use ctl::backend::Backend;
use ctl::names::NumericNames;
use ctl::read_only::ReadOnly;
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

#[test]
fn other_lists_are_for_pollvsadm_and_unknown_to_ipvsadm() {
    for (list, text) in [
        ("ports", "port 1: eth0\n  device           AF_PACKET (driver net_af_packet)\n"),
        ("workers", "\n     0     6             100      20.0 %     15.0 %"),
        ("sync", "\n  records          9007199254740993  Connections and templates sent.\n"),
        ("vrrp", "router web: BACKUP for 1 s\n"),
    ] {
        let toy = &mut Toy::default();
        (toy.sync, toy.routers) = (toy::sync::state(), toy::sync::routers());
        let ask = |line: &str, backend: &mut dyn Backend| {
            run(&words(&format!("{line} {list}")), backend, &NumericNames)
        };
        let reply = ask("pollvsadm", toy);
        assert_eq!((reply.status, reply.stderr.as_slice()), (0, &b""[..]), "{list}");
        let listing = String::from_utf8(reply.stdout.clone()).unwrap();
        assert!(listing.contains(text), "{listing}");
        assert_eq!(ask("pollvsadm", &mut ReadOnly(toy.clone())), reply, "{list}");
        assert_eq!(ask("/sbin/ipvsadm", toy).status, 255, "{list}");
        toy.broken = Some(Refusal::PermissionDenied);
        let refused = ask("pollvsadm", toy);
        assert_eq!((refused.status, refused.stdout.as_slice()), (1, &b""[..]), "{list}");
    }
    for list in ["ports", "workers", "sync", "vrrp"] {
        let line = format!("pollvsadm {list} now");
        let extra = run(&words(&line), &mut Toy::default(), &NumericNames);
        assert_eq!((extra.status, extra.stderr.as_slice()), (2, &b"unexpected argument now\n"[..]));
    }
}

/// Status and texts of a `pollvsadm` line.
fn sysctl(words: &[&str], toy: &mut Toy) -> (u8, String, String) {
    let argv: Vec<String> =
        ["pollvsadm", "--sysctl"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let reply = run(&argv, toy, &NumericNames);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, text(reply.stdout), text(reply.stderr))
}

#[test]
fn settings_are_read_as_sysctl_prints_them() {
    let mut toy = Toy::default();
    let (status, all, errors) = sysctl(&[], &mut toy);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert_eq!(all.lines().count(), dataplane::settings::ALL.len());
    let recorded = include_str!("../../dataplane/tests/data/sysctl-6.1.txt");
    let lacking: Vec<_> =
        recorded.lines().filter(|line| !all.lines().any(|it| it == *line)).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    let (status, folder, _) = sysctl(&["net.ipv4.vs"], &mut toy);
    assert!(status == 0 && folder.lines().all(|line| line.starts_with("net.ipv4.vs.")));
    assert_eq!(all.lines().count() - folder.lines().count(), 4, "these are not IPVS's own");
    let line = "net.ipv4.vs.sync_threshold = 3\t50\n";
    for name in ["sync_threshold", "net.ipv4.vs.sync_threshold", "net/ipv4/vs/sync_threshold"] {
        assert_eq!(sysctl(&[name], &mut toy), (0, line.to_owned(), String::new()), "{name}");
    }
    let (_, two, _) = sysctl(&["drop_entry", "net.ipv4.icmp_ratelimit"], &mut toy);
    assert_eq!(two, "net.ipv4.vs.drop_entry = 0\nnet.ipv4.icmp_ratelimit = 1000\n");
}

#[test]
fn settings_are_written_all_or_none() {
    let mut toy = Toy::default();
    let (status, out, notes) =
        sysctl(&["expire_nodest_conn=1", "secure_tcp=2", "net.ipv4.icmp_ratelimit=0"], &mut toy);
    assert_eq!((status, notes.as_str()), (0, ""));
    let lines = "net.ipv4.vs.expire_nodest_conn = 1\nnet.ipv4.vs.secure_tcp = 1\n\
                 net.ipv4.icmp_ratelimit = 0\n";
    assert_eq!(out, lines, "each as it reads back");
    assert_eq!((toy.settings.expire_nodest_conn, toy.settings.icmp_ratelimit_ms), (1, 0));
    let (status, out, notes) = sysctl(&["sync_threshold=5 0", "sync_threshold"], &mut toy);
    assert_eq!((status, out), (0, "net.ipv4.vs.sync_threshold = 5\t0\n".repeat(2)));
    assert_eq!(notes, "");
    let (_, _, notes) = sysctl(&["amemthresh=1024"], &mut toy);
    assert!(notes.contains("net.ipv4.vs.amemthresh is kept and reads back"), "{notes}");
    let before = toy.settings;
    for (words, expected) in [
        (&["nosuch"][..], "sysctl: cannot stat net.ipv4.vs.nosuch: no such setting"),
        (&["net.ipv6.x"], "sysctl: cannot stat net.ipv6.x: no such setting"),
        (&["sloppy_tcp=1", "nosuch=1"], "cannot stat net.ipv4.vs.nosuch"),
        (
            &["sloppy_tcp=1", "drop_entry=4"],
            "sysctl: setting key \"net.ipv4.vs.drop_entry\": Invalid argument \"4\": expected 0, 1",
        ),
        (&["sync_threshold=5 5"], "Invalid argument"),
        (&["sloppy_tcp="], "Invalid argument"),
        (&["=1"], "cannot stat net.ipv4.vs."),
        (&[""], "cannot stat net.ipv4.vs."),
        (&["-w", "sloppy_tcp=1"], "cannot stat net.ipv4.vs.-w"),
    ] {
        let (status, out, errors) = sysctl(words, &mut toy);
        assert_eq!((status, out.as_str()), (1, ""), "{words:?}");
        assert!(errors.contains(expected), "{words:?}: {errors}");
        let is_write = words.iter().any(|word| word.contains('='));
        assert_eq!(errors.ends_with("Nothing was changed.\n"), is_write, "{errors}");
        assert_eq!(toy.settings, before, "{words:?}");
    }
    toy.broken = Some(Refusal::PermissionDenied);
    let (status, _, errors) = sysctl(&["sloppy_tcp=1"], &mut toy);
    assert_eq!((status, errors.as_str()), (1, "Permission denied (you must be root)\n"));
}

#[test]
fn settings_are_restored_and_unknown_to_ipvsadm() {
    let mut toy = Toy::default();
    let input = b"--sysctl sloppy_tcp=1\n--sysctl nosuch=1\n-A -f 1\n";
    let reply = run_with_input(&words("pollvsadm -R"), input, &mut toy, &NumericNames);
    assert_eq!((reply.status, toy.settings.sloppy_tcp, toy.services.len()), (0, 1, 1));
    let before = toy.settings;
    let reply = run(&words("/sbin/ipvsadm --sysctl sloppy_tcp=0"), &mut toy, &NumericNames);
    assert_eq!((reply.status, toy.settings), (255, before));
    let input = b"--sysctl sloppy_tcp=0\n";
    let reply = run_with_input(&words("ipvsadm -R"), input, &mut toy, &NumericNames);
    assert_eq!((reply.status, toy.settings), (255, before));
}

/// Status, error text, and services afterwards, of `pollvsadm --atomic -R`.
fn atomic(input: &str, toy: &mut Toy) -> (u8, String, usize) {
    let reply =
        run_with_input(&words("pollvsadm --atomic -R"), input.as_bytes(), toy, &NumericNames);
    assert_eq!(reply.stdout, b"");
    (reply.status, String::from_utf8(reply.stderr).expect("text"), toy.services.len())
}

#[test]
fn an_atomic_restore_does_all_lines_or_none() {
    let mut toy = Toy::default();
    let good = "# services\n\n-A -f 1\nipvsadm -a -f 1 -r 10.1.0.1\n-A -f 2\n-D -f 2\n-A -f 3\n";
    assert_eq!(atomic(good, &mut toy), (0, String::new(), 2));
    assert_eq!(toy.services.iter().map(|row| row.servers.len()).sum::<usize>(), 1);
    for (line, status, message) in [
        ("-A -f 8", 255, "Service already exists"),
        ("-a -f 9 -r 10.1.0.1", 255, "Service not defined"),
        ("-a -f 9 -r 224.0.0.1", 255, "Service not defined"),
        ("-A -f 0", 2, "invalid fwmark value `0' specified"),
        ("-A -f 4 --bogus", 255, "--bogus: unknown option"),
        ("-L", 2, "only commands that change the table go with --atomic"),
        ("-R", 2, "only commands that change the table go with --atomic"),
        ("drops", 255, "Try `pollvsadm -h' or 'pollvsadm --help' for more information."),
    ] {
        let input = format!("-C\n\n-A -f 7\n-A -f 8\n{line}\n-A -f 9\n");
        let expected = format!("line 5: {message}\nNothing was changed.\n");
        assert_eq!(atomic(&input, &mut toy), (status, expected, 2), "{line}");
    }
    let (status, message, services) = atomic("-C\n-A -f \0\n", &mut toy);
    assert_eq!((status, services), (2, 2));
    assert!(message.starts_with("line 2: not text"), "{message}");
    for (line, status) in
        [("pollvsadm --atomic", 2), ("pollvsadm --atomic -L", 2), ("ipvsadm --atomic -R", 255)]
    {
        let reply = run_with_input(&words(line), b"-C\n", &mut toy, &NumericNames);
        assert_eq!((reply.status, toy.services.len()), (status, 2), "{line}");
    }
}
