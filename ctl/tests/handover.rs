//! `handover`: the steps that the daemon does, and the program that waits, with a daemon that is a thread of the test.

mod toy;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use ctl::names::NumericNames;
use ctl::protocol::{LONGEST_INPUT, Room, serve};
use ctl::read_only::ReadOnly;
use ctl::refusal::Refusal;
use ctl::session::run;
use ctl::sync::{Handover, HandoverStep};
use serde_json::{Value, json};
use toy::{Toy, words};

/// A director that will answer so, in this order; the last answer holds.
fn director(answers: impl IntoIterator<Item = Handover>) -> Toy {
    let mut handovers: Vec<_> = answers.into_iter().collect();
    handovers.reverse();
    Toy { handovers, ..Toy::default() }
}

fn ask(line: &str, toy: &mut Toy) -> (u8, String, String) {
    let reply = run(&words(line), toy, &NumericNames);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, text(reply.stdout), text(reply.stderr))
}

#[test]
fn a_line_is_one_step() {
    for (line, step) in [
        ("handover", HandoverStep::Give { force: false }),
        ("handover --timeout 0", HandoverStep::Give { force: false }),
        ("handover --force", HandoverStep::Give { force: true }),
        ("handover --timeout=0 --force", HandoverStep::Give { force: true }),
        ("handover --back", HandoverStep::Back),
        ("handover --look", HandoverStep::Look),
    ] {
        for json in ["", " --json"] {
            let mut toy = director([Handover::Back]);
            let (status, _, err) = ask(&format!("pollvsadm {line}{json}"), &mut toy);
            assert_eq!((status, err.as_str()), (0, ""), "{line}");
            assert_eq!(toy.steps, [step], "{line}");
        }
    }
}

#[test]
fn how_it_stands_in_words_and_as_json() {
    let missing = || Handover::NotInStep("192.0.2.2 lacks 7 messages".into());
    let given = |pending| Handover::Given { pending };
    for (state, status, start, outcome, pending) in [
        (Handover::NoRouter, 1, "no virtual router is configured\n", "no_router", None),
        (Handover::NotMaster, 1, "not handed over: this director is not", "not_master", None),
        (missing(), 1, "not handed over; not in step: 192.0.2.2 lacks", "not_in_step", None),
        (given(2), 1, "not taken over: given away; 2 virtual routers", "pending", Some(2)),
        (given(0), 0, "handed over; every virtual router has a new", "handed_over", Some(0)),
        (Handover::Back, 0, "takes part as configured\n", "back", None),
    ] {
        let mut toy = director([state.clone()]);
        let (found, out, err) = ask("pollvsadm handover", &mut toy);
        assert_eq!((found, err.as_str()), (status, ""), "{state:?}");
        assert!(out.starts_with(start), "{out}");
        let (found, out, err) = ask("pollvsadm handover --json", &mut toy);
        assert_eq!((found, err.as_str()), (status, ""), "{state:?}");
        let document: Value = serde_json::from_str(&out).expect("a document");
        let missing = (outcome == "not_in_step").then_some("192.0.2.2 lacks 7 messages");
        let expected = json!({"schema": "pollvs/handover/1", "outcome": outcome,
            "pending": pending, "missing": missing, "waited_ms": 0});
        assert_eq!(document, expected);
    }
}

#[test]
fn failures() {
    for (words, status, message) in [
        ("now", 2, "unexpected argument now"),
        ("-f", 255, "-f: unknown option"),
        ("--wait 3", 255, "--wait: unknown option"),
        ("--force=1", 255, "--force=1: option does not take an argument"),
        ("--back=1", 255, "--back=1: option does not take an argument"),
        ("--force --force", 2, "multiple 'force' options specified"),
        ("--back --back", 2, "multiple 'back' options specified"),
        ("--timeout 0 --timeout 0", 2, "multiple 'timeout' options specified"),
        ("--timeout", 255, "--timeout: missing argument"),
        ("--timeout -1", 2, "invalid timeout value `-1' specified"),
        ("--timeout=2678401", 2, "invalid timeout value `2678401' specified"),
        ("--back --force", 2, "handover: --back does not go with --force"),
        ("--timeout 0 --back", 2, "handover: --back does not go with --timeout"),
        ("--back --look", 2, "handover: --back does not go with --look"),
        (
            "--timeout 1",
            2,
            "handover: the daemon answers at once, so only --timeout 0: it is pollvsadm that waits",
        ),
    ] {
        let mut toy = director([Handover::Back]);
        for json in ["", "--json "] {
            let line = format!("pollvsadm {json}handover {words}");
            let (found, out, err) = ask(&line, &mut toy);
            assert_eq!((found, out.as_str(), err.trim_end()), (status, "", message), "{line}");
        }
        assert_eq!(toy.steps, [], "{words}");
    }
    let mut toy = Toy { broken: Some(Refusal::NoMemory), ..Toy::default() };
    let refused = (255, String::new(), "Memory allocation problem\n".to_owned());
    assert_eq!(ask("pollvsadm handover", &mut toy), refused);
    assert_eq!(ask("ipvsadm handover", &mut Toy::default()).0, 255, "not ipvsadm's");
}

#[test]
fn who_may_only_look() {
    let mut toy = ReadOnly(director([Handover::Back]));
    for line in ["handover", "handover --force", "handover --back", "handover --look"] {
        let reply = run(&words(&format!("pollvsadm {line}")), &mut toy, &NumericNames);
        assert_eq!((reply.status, &reply.stderr[..17]), (255, &b"Permission denied"[..]), "{line}");
    }
    assert_eq!(toy.0.steps, []);
}

/// Status, output and messages of the program, against a director.
fn program(name: &str, toy: Toy, line: &str) -> (Option<i32>, String, String) {
    let folder = format!("handover-{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    thread::spawn(move || {
        let mut toy = toy;
        for stream in listener.incoming().flatten() {
            // A client that goes away early is its own business.
            let _ = serve(stream, &mut toy, &NumericNames, &Room::new(LONGEST_INPUT + (1 << 20)));
        }
    });
    let output = Command::new(env!("CARGO_BIN_EXE_pollvsadm"))
        .args(words(line))
        .env("POLLVS_SOCKET", &socket)
        .stdin(Stdio::null())
        .output()
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_waits() {
    let given = |pending| Handover::Given { pending };
    let missing = Handover::NotInStep("it fetches the table".into());
    let toy = director([missing.clone(), given(2), given(1), given(0)]);
    let (status, out, progress) = program("waits", toy, "handover");
    let done = "handed over; every virtual router has a new master. To take part again: pollvsadm \
                handover --back\n";
    assert_eq!((status, out.as_str()), (Some(0), done));
    assert_eq!(progress, "not in step: it fetches the table\n");
    // It gives up.
    let line = "handover --timeout 1 --json";
    let (status, out, messages) = program("gives-up", director([missing]), line);
    let report: Value = serde_json::from_str(&out).expect("one document");
    assert_eq!((status, &report["outcome"]), (Some(1), &json!("not_in_step")));
    assert!(report["waited_ms"].as_u64().is_some_and(|waited| (1000..2000).contains(&waited)));
    let start =
        "not in step: it fetches the table\nnot handed over after 1 s; not in step: it fetches";
    assert!(messages.starts_with(start), "{messages}");
    // And takes part again.
    let (status, out, _) = program("back", director([Handover::Back]), "handover --back");
    assert_eq!((status, out.as_str()), (Some(0), "takes part as configured\n"));
    let (status, _, error) = program("wrong", Toy::default(), "handover now");
    assert_eq!((status, error.as_str()), (Some(2), "unexpected argument now\n"));
}
