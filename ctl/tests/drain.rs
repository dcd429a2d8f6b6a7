//! `drain`: the steps that the daemon does, and the program that waits, with a daemon that is a thread of the test.

mod toy;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use ctl::backend::ServerRow;
use ctl::command::Change;
use ctl::names::NumericNames;
use ctl::protocol::{LONGEST_INPUT, Room, serve};
use ctl::read_only::ReadOnly;
use ctl::session::{Reply, run, run_with_input};
use dataplane::service::ServerSpec;
use serde_json::Value;
use toy::{RecordedNames, Toy, words};

/// A director with a server that has all attributes and a few connections.
fn sample() -> Toy {
    let mut toy = Toy::default();
    let lines = "-A -t 10.0.0.1:80 -s wlc\n\
        -a -t 10.0.0.1:80 -r 192.168.10.2 -i -w 2 -x 100 -y 10 --tun-type gue --tun-port 6080 --tun-csum\n\
        -a -t 10.0.0.1:80 -r 192.168.10.1:8080 -m -w 5\n\
        -a -t 10.0.0.1:80 -r 192.168.10.1:80 -m -w 6\n\
        -A -f 3000000000 -6 -s rr -p 600\n\
        -a -f 3000000000 -6 -r [2001:db8::1]:0 -g\n";
    let names = RecordedNames::default();
    let reply = run_with_input(&words("pollvsadm -R"), lines.as_bytes(), &mut toy, &names);
    assert_eq!(reply, Reply::default());
    toy
}

fn set_counts(toy: &mut Toy, [active, inactive, persistent]: [u32; 3]) {
    for server in toy.services.iter_mut().flat_map(|row| &mut row.servers) {
        *server = ServerRow { active, inactive, persistent, ..*server };
    }
}

fn ask(line: &str, toy: &mut Toy) -> (u8, String, String) {
    let reply = run(&words(line), toy, &RecordedNames::default());
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, text(reply.stdout), text(reply.stderr))
}

fn specs(toy: &Toy) -> Vec<ServerSpec> {
    toy.services.iter().flat_map(|row| &row.servers).map(|row| row.spec).collect()
}

#[test]
fn only_the_weight_changes() {
    for (line, which) in [
        ("drain -t 10.0.0.1:80 -r 192.168.10.2", "192.168.10.2:80"),
        ("drain -r 192.168.10.1:8080 -t 10.0.0.1:http --wait 0", "192.168.10.1:8080"),
        ("drain -f 3000000000 -6 -r [2001:db8::1]:0", "[2001:db8::1]:0"),
    ] {
        let mut toy = sample();
        set_counts(&mut toy, [1, 2, 0]);
        let mut expected = specs(&toy);
        let server: SocketAddr = which.parse().expect("a server");
        let is_it =
            |spec: &&mut ServerSpec| (spec.address, spec.port) == (server.ip(), server.port());
        let spec = expected.iter_mut().find(is_it).expect("it is there");
        let was = std::mem::take(&mut spec.weight);
        let (status, out, err) = ask(&format!("pollvsadm {line}"), &mut toy);
        let shown = format!("{server}: weight 0 (was {was})\n3 remaining: 1 active, 2 inactive\n");
        assert_eq!((status, out, err.as_str()), (1, shown, ""), "{line}");
        assert_eq!(specs(&toy), expected, "{line}");
    }
}

#[test]
fn what_gives_the_weight_back() {
    for words in [
        "-t 10.0.0.1:80 -r 192.168.10.2:80",
        "-t 10.0.0.1:80 -r 192.168.10.1:8080",
        "-f 3000000000 -6 -r [2001:db8::1]:0",
    ] {
        let mut toy = sample();
        let before = specs(&toy);
        set_counts(&mut toy, [1, 0, 0]);
        let (_, out, _) = ask(&format!("pollvsadm --json drain {words}"), &mut toy);
        let report: Value = serde_json::from_str(&out).expect("a document");
        assert_eq!(report["server_words"], words);
        assert_ne!(specs(&toy), before);
        // As it is said while the waiting goes on, too.
        let look = format!("pollvsadm --json drain {words} --look {}", report["weight_before"]);
        let (_, out, _) = ask(&look, &mut toy);
        let report: Value = serde_json::from_str(&out).expect("a document");
        let command = report["give_back"].as_str().expect("a command");
        assert_eq!(ask(&format!("pollvsadm {command}"), &mut toy).0, 0, "{command}");
        assert_eq!(specs(&toy), before, "{command}");
    }
}

#[test]
fn a_server_is_deleted_only_when_it_is_drained() {
    let line = "pollvsadm drain -t 10.0.0.1:80 -r 192.168.10.2 --remove";
    let mut toy = sample();
    for counts in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        set_counts(&mut toy, counts);
        assert_eq!(ask(line, &mut toy).0, 1, "{counts:?}");
        assert_eq!(specs(&toy).len(), 4, "{counts:?}");
    }
    // Not while it has weight, nor with connections.
    set_counts(&mut toy, [0; 3]);
    let look = format!("{line} --look 2");
    assert_eq!(ask("pollvsadm -e -t 10.0.0.1:80 -r 192.168.10.2 -i -w 1", &mut toy).0, 0);
    let (status, out, _) = ask(&format!("{look} --json"), &mut toy);
    assert!(status == 1 && out.contains("\"outcome\":\"weight_given\""), "{out}");
    assert_eq!(specs(&toy).len(), 4);
    assert_eq!(ask("pollvsadm -e -t 10.0.0.1:80 -r 192.168.10.2 -i -w 0", &mut toy).0, 0);
    let (status, out, _) = ask(&look, &mut toy);
    assert_eq!((status, specs(&toy).len()), (0, 3), "{out}");
    let gone = (255, String::new(), "No such destination\n".to_owned());
    assert_eq!(ask(&look, &mut toy), gone);
}

#[test]
fn templates_do_not_count_when_they_expire() {
    let line = "pollvsadm drain -f 3000000000 -6 -r [2001:db8::1]:0 --remove";
    let mut toy = sample();
    set_counts(&mut toy, [0, 0, 4]);
    let (status, out, _) = ask(line, &mut toy);
    assert!(status == 1 && out.ends_with("4 remaining: 0 active, 0 inactive, 4 persistent\n"));
    toy.settings.expire_quiescent_template = 1;
    assert_eq!(ask(line, &mut toy).0, 0);
    assert_eq!(specs(&toy).len(), 3);
}

#[test]
fn failures() {
    let server = "-t 10.0.0.1:80 -r 192.168.10.2";
    for (line, status, message) in [
        ("drain -t 10.0.0.1:81 -r 192.168.10.2", 255, "Service not defined"),
        ("drain -t 10.0.0.1:80 -r 192.168.10.3", 255, "No such destination"),
        (
            "drain -r 192.168.10.2",
            2,
            "You need to supply the 'service-address' option for the 'drain' command",
        ),
        (
            "drain -t 10.0.0.1:80",
            2,
            "You need to supply the 'real-server' option for the 'drain' command",
        ),
        (
            "drain -t 10.0.0.1:80 -r 192.168.10.2 -w 3",
            2,
            "Illegal 'weight' option with the 'drain' command",
        ),
        (
            "drain -t 10.0.0.1:x -r 192.168.10.2",
            2,
            "illegal virtual server address[:port] specified",
        ),
        ("drain -6 -f 1 -r 192.168.10.2", 2, "-6 used before -f"),
        ("drain -t 10.0.0.1:80 -r 192.168.10.2 now", 2, "unexpected argument now"),
        ("drain -L", 2, "invalid option `-L'"),
        ("drain -q", 255, "-q: unknown option"),
        ("drain SERVER --wait", 255, "--wait: missing argument"),
        ("drain SERVER --wait -1", 2, "invalid timeout value `-1' specified"),
        ("drain SERVER --wait=2678401", 2, "invalid timeout value `2678401' specified"),
        ("drain SERVER --wait +1", 2, "invalid timeout value `+1' specified"),
        ("drain SERVER --wait 0 --wait 0", 2, "multiple 'wait' options specified"),
        ("drain SERVER --remove --remove", 2, "multiple 'remove' options specified"),
        ("drain SERVER --remove=1", 255, "--remove=1: option does not take an argument"),
        ("drain SERVER --look", 255, "--look: missing argument"),
        ("drain SERVER --look x", 2, "illegal weight specified"),
        (
            "drain SERVER --wait 1",
            2,
            "drain: the daemon answers at once, so only --wait 0: it is pollvsadm that waits",
        ),
    ] {
        let mut toy = sample();
        for json in ["", "--json "] {
            let line = format!("pollvsadm {json}{}", line.replace("SERVER", server));
            let (found, out, err) = ask(&line, &mut toy);
            assert_eq!((found, out.as_str(), err.trim_end()), (status, "", message), "{line}");
        }
        assert_eq!(specs(&toy), specs(&sample()), "{line}");
    }
    assert_eq!(ask(&format!("ipvsadm drain {server}"), &mut sample()).0, 255, "not ipvsadm's");
}

#[test]
fn who_may_only_look() {
    let mut toy = ReadOnly(sample());
    let names = RecordedNames::default();
    let line = "pollvsadm drain -t 10.0.0.1:80 -r 192.168.10.2";
    for line in [line.to_owned(), format!("{line} --remove")] {
        let reply = run(&words(&line), &mut toy, &names);
        assert_eq!((reply.status, &reply.stderr[..17]), (255, &b"Permission denied"[..]), "{line}");
    }
    assert_eq!(specs(&toy.0), specs(&sample()));
}

/// A daemon whose director the test holds too, and its socket.
fn daemon(name: &str) -> (PathBuf, Arc<Mutex<Toy>>) {
    let folder = format!("drain-{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut toy = sample();
    set_counts(&mut toy, [2, 1, 0]);
    let toy = Arc::new(Mutex::new(toy));
    let held = Arc::clone(&toy);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut toy = held.lock().expect("it does not panic");
            // A client that goes away early is its own business.
            let _ = serve(stream, &mut *toy, &NumericNames, &Room::new(LONGEST_INPUT + (1 << 20)));
        }
    });
    (socket, toy)
}

fn start(socket: &Path, line: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pollvsadm"))
        .args(words(line))
        .env("POLLVS_SOCKET", socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

/// Reads the start and the first counts.
fn first_lines(out: &mut impl BufRead) {
    for expected in ["192.168.10.2:80: weight 0 (was 2)\n", "3 remaining: 2 active, 1 inactive\n"] {
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line, expected);
    }
}

/// The rest of the output, the messages and the status.
fn end(mut child: Child, out: &mut impl BufRead) -> (Option<i32>, String, String) {
    let (mut rest, mut messages) = (String::new(), String::new());
    out.read_to_string(&mut rest).expect("text");
    child.stderr.take().expect("a pipe").read_to_string(&mut messages).expect("text");
    (child.wait().expect("an end").code(), rest, messages)
}

const LINE: &str = "drain -t 10.0.0.1:80 -r 192.168.10.2";

#[test]
fn the_program_waits() {
    let (socket, toy) = daemon("waits");
    let mut child = start(&socket, &format!("{LINE} --remove"));
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    first_lines(&mut out);
    assert_eq!(specs(&toy.lock().expect("a toy")).len(), 4);
    set_counts(&mut toy.lock().expect("a toy"), [0; 3]);
    let done = (Some(0), "192.168.10.2:80: no connection left, deleted\n".into(), String::new());
    assert_eq!(end(child, &mut out), done);
    assert_eq!(specs(&toy.lock().expect("a toy")).len(), 3);
}

#[test]
fn the_program_is_interrupted() {
    let (socket, toy) = daemon("interrupted");
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        let mut child = start(&socket, &format!("{LINE} --wait 30"));
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        first_lines(&mut out);
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill");
        assert!(sent.success());
        let (found, rest, messages) = end(child, &mut out);
        assert_eq!((found, rest.as_str()), (Some(status), ""));
        let (first, stays) = messages.split_once('\n').expect("two lines");
        assert!(first.starts_with("192.168.10.2:80: interrupted after "), "{messages}");
        let command = stays.trim_end().strip_prefix("Its weight stays 0. To give it back: ");
        let command = command.unwrap_or_else(|| panic!("{messages}"));
        // It is right as it stands.
        let mut toy = toy.lock().expect("a toy");
        assert_eq!(ask(command, &mut toy).0, 0, "{command}");
        assert_eq!(specs(&toy), specs(&sample()));
    }
}

#[test]
fn the_program_gives_up() {
    let (socket, _) = daemon("gives-up");
    let output = start(&socket, &format!("{LINE} --wait 1 --json")).wait_with_output();
    let output = output.expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&report["outcome"], &report["remaining"]), (&"connections_left".into(), &3.into()));
    assert!(report["waited_ms"].as_u64().is_some_and(|waited| (1000..2000).contains(&waited)));
    let progress = String::from_utf8(output.stderr).expect("text");
    assert!(progress.starts_with("192.168.10.2:80: weight 0 (was 2)\n3 remaining:"), "{progress}");
}

/// The only change that a drain makes is an edit, so that a back end that saves its changes saves this one.
#[test]
fn a_back_end_may_do_it_as_one_change() {
    let mut toy = sample();
    let mut changes = Vec::new();
    let service = toy.services[1].spec.key;
    let spec = toy.services[1].servers[2].spec;
    let (address, port) = (spec.address, spec.port);
    let step = ctl::drain::Step { service, address, port, weight_before: None, remove: true };
    let state = step.take(
        &mut toy,
        |toy, key| Ok(toy.services.iter().find(|row| row.spec.key == *key).expect("it").clone()),
        |toy| Ok(toy.settings),
        |toy, change| {
            changes.push(change.clone());
            ctl::backend::Backend::change(toy, change)
        },
    );
    let state = state.expect("it is there");
    assert!(state.is_removed && state.weight_before == 2 && state.server.spec.weight == 0);
    let server = ServerSpec { weight: 0, ..spec };
    let edit = Change::EditServer { service, server };
    assert_eq!(changes, [edit, Change::DeleteServer { service, address, port }]);
}
