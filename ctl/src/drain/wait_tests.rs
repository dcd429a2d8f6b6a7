use dataplane::service::{Method, Protocol, ServerSpec, ServiceKey, Traffic, TunnelSpec};
use serde_json::{Value, json};

use super::super::{State, Step};
use super::*;
use crate::backend::{Rates, ServerRow};
use crate::waiting::script::{Script, script};

/// What the daemon says of a server with these counts.
fn at(weight: i64, [active, inactive, persistent]: [u32; 3]) -> Result<Reply, Reply> {
    of(weight, [active, inactive, persistent], false, false)
}

fn of(
    weight: i64,
    [active, inactive, persistent]: [u32; 3],
    templates_expire: bool,
    is_removed: bool,
) -> Result<Reply, Reply> {
    let [vip, address] = ["10.9.255.1", "10.1.0.1"].map(|text| text.parse().expect("an address"));
    let service = ServiceKey::Address { protocol: Protocol::Tcp, address: vip, port: 80 };
    let step = Step { service, address, port: 80, weight_before: Some(3), remove: is_removed };
    let spec = ServerSpec {
        address,
        port: 80,
        method: Method::Nat,
        weight,
        upper_threshold: 9,
        lower_threshold: 5,
        tunnel: TunnelSpec::default(),
    };
    let (traffic, rates) = (Traffic::default(), Rates::default());
    let server = ServerRow { spec, active, inactive, persistent, traffic, rates };
    let state = State { server, weight_before: 3, templates_expire, is_removed };
    Ok(Report::new(&step, &state).reply(true))
}

const WORDS: &str = "-t 10.9.255.1:80 -r 10.1.0.1:80";

/// Status, output and messages; the screen is no terminal.
fn drain(options: &str, script: &mut Script) -> (u8, String, String) {
    let (reply, shown) = drain_on(false, options, script);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, shown + &text(reply.stdout), text(reply.stderr))
}

fn drain_on(is_terminal: bool, options: &str, script: &mut Script) -> (Reply, String) {
    let line = format!("pollvsadm drain -t vip:http -r rs1 {options}");
    let argv: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let order = Order::new(&argv).expect("an order").expect("a right one");
    let mut shown = Vec::new();
    let reply = run(&order, script, &mut Screen::new(&mut shown, is_terminal));
    (reply, String::from_utf8(shown).expect("text"))
}

const START: &str = "10.1.0.1:80: weight 0 (was 3)\n";
const STAYS: &str = "Its weight stays 0. To give it back: pollvsadm -e -t 10.9.255.1:80 -r \
                     10.1.0.1:80 -m -w 3 -x 9 -y 5\n";

#[test]
fn until_no_connection_is_left() {
    let counts = [[2, 1, 0], [2, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]];
    let mut script = script(counts.map(|counts| at(0, counts)));
    let (status, out, err) = drain("", &mut script);
    // The third change came too soon after the second, but was still so later.
    let lines = "3 remaining: 2 active, 1 inactive\n1 remaining: 0 active, 1 inactive\n";
    assert_eq!((status, out), (0, format!("{START}{lines}10.1.0.1:80: no connection left\n")));
    assert_eq!(err, "");
    assert_eq!(script.sleeps, [200, 300, 450, 675, 1000]);
    assert_eq!(script.asked[0], "pollvsadm --json drain -t vip:http -r rs1");
    // Names are looked up once.
    let look = format!("pollvsadm --json drain --look 3 {WORDS}");
    assert_eq!(script.asked[1..], [(); 5].map(|()| look.clone()));
}

#[test]
fn a_drained_server_is_deleted_by_the_daemon() {
    let mut script = script([at(0, [1, 0, 0]), of(0, [0; 3], false, true)]);
    let (status, out, _) = drain("--remove", &mut script);
    assert_eq!(status, 0);
    assert!(out.ends_with("10.1.0.1:80: no connection left, deleted\n"), "{out}");
    assert!(script.asked.iter().all(|line| line.ends_with(" --remove")), "{:?}", script.asked);
}

#[test]
fn the_time_is_over() {
    let mut waits = script([at(0, [1, 0, 0])]);
    let (status, out, err) = drain("--wait 1", &mut waits);
    let counts = "1 remaining: 1 active, 0 inactive";
    assert_eq!((status, out), (1, format!("{START}{counts}\n")));
    assert_eq!(err, format!("10.1.0.1:80: not drained after 1 s; {counts}\n{STAYS}"));
    assert_eq!(waits.sleeps, [200, 300, 450, 50], "it looks once more in the end");

    let mut looks = script([at(0, [1, 0, 0])]);
    let (status, out, err) = drain("--wait=0", &mut looks);
    assert_eq!((status, out, err), (1, format!("{START}{counts}\n"), String::new()));
    assert_eq!((looks.asked.len(), looks.sleeps.len()), (1, 0));
    let (status, out, _) = drain("--wait 0", &mut script([at(0, [0; 3])]));
    assert_eq!((status, out), (0, format!("{START}10.1.0.1:80: no connection left\n")));
}

/// With this on standard error.
fn with(answer: Result<Reply, Reply>, warnings: &str) -> Result<Reply, Reply> {
    answer.map(|reply| Reply { stderr: warnings.as_bytes().to_vec(), ..reply })
}

#[test]
fn warnings_of_all_steps_are_said_once() {
    let answers = || {
        [
            with(at(0, [1, 0, 0]), "the weight\n"),
            with(at(0, [1, 0, 0]), "the weight\nthe disk\n"),
            at(0, [1, 0, 0]),
            with(at(0, [1, 0, 0]), "the disk\n"),
            with(of(0, [0; 3], false, true), "the end\n"),
        ]
    };
    let mut plain = script(answers());
    let (status, out, err) = drain("--remove", &mut plain);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(plain.said, ["the weight", "the disk", "the end"]);
    let lines = "1 remaining: 1 active, 0 inactive\n10.1.0.1:80: no connection left, deleted\n";
    assert_eq!(out, format!("{START}{lines}"));
    // None is written behind the line that is written over.
    let (_, shown) = drain_on(true, "--remove", &mut script(answers()));
    assert_eq!(shown.matches("\x1b[K\n").count(), 2, "{shown:?}");
    assert!(shown.ends_with("\x1b[K\n"), "{shown:?}");
    // A refusal has its own place.
    let refused = Ok(Reply::failure(255, "Permission denied"));
    let mut refused = script([at(0, [1, 0, 0]), refused]);
    let (_, _, err) = drain("", &mut refused);
    assert_eq!((refused.said.len(), err.matches("Permission denied").count()), (0, 1));
}

#[test]
fn persistence_is_waited_for_unless_it_expires() {
    let mut stays = script([at(0, [0, 0, 2]), at(0, [0; 3])]);
    let (status, out, _) = drain("", &mut stays);
    assert_eq!(status, 0);
    assert!(out.contains("\n2 remaining: 0 active, 0 inactive, 2 persistent\n"), "{out}");
    assert!(stays.said[0].contains("persistence goes on to send 2 of its clients"));

    let mut expires = script([of(0, [1, 0, 2], true, false), of(0, [0, 0, 2], true, false)]);
    let (status, out, _) = drain("", &mut expires);
    assert_eq!(status, 0);
    assert!(out.contains("1 active, 0 inactive (2 persistent, not waited for)\n"), "{out}");
    assert_eq!((expires.said.len(), expires.asked.len()), (0, 2));
}

#[test]
fn somebody_else_changes_the_server() {
    let mut weight = script([at(0, [1, 0, 0]), at(7, [2, 0, 0])]);
    let (status, _, err) = drain("", &mut weight);
    let message = "10.1.0.1:80: not drained, it was given weight 7 meanwhile; 2 remaining: 2 active, \
                   0 inactive\n";
    assert_eq!((status, err.as_str()), (1, message));
    for gone in ["No such destination", "Service not defined"] {
        let mut deleted = script([at(0, [1, 0, 0]), Ok(Reply::failure(255, gone))]);
        let (status, _, err) = drain("", &mut deleted);
        let message = "10.1.0.1:80: not drained, it was deleted meanwhile; it had 1 remaining: 1 \
                       active, 0 inactive\n";
        assert_eq!((status, err.as_str()), (1, message));
    }
}

#[test]
fn what_the_daemon_refuses_at_once() {
    for (status, message) in [(255, "No such destination"), (2, "illegal x specified")] {
        let mut script = script([Ok(Reply::failure(status, message))]);
        assert_eq!(drain("", &mut script), (status, String::new(), format!("{message}\n")));
    }
}

#[test]
fn the_daemon_goes_away() {
    let gone = || Err(Reply::error("Can't initialize ipvs: Connection refused"));
    let (status, out, err) = drain("", &mut script([at(0, [1, 0, 0]), gone()]));
    assert_eq!(status, 2);
    assert!(out.starts_with(START));
    let message = "10.1.0.1:80: not known to be drained; it had 1 remaining: 1 active, 0 \
                   inactive\nCan't initialize ipvs: Connection refused\n";
    assert_eq!(err, message);
    let (status, out, _) = drain("", &mut script([gone()]));
    assert_eq!((status, out), (2, String::new()));
}

#[test]
fn a_signal_ends_it() {
    let signal_at = Some(Duration::from_secs(5));
    let mut script = Script { signal_at, ..script([at(0, [1, 0, 0])]) };
    let (status, _, err) = drain("", &mut script);
    let counts = "1 remaining: 1 active, 0 inactive";
    assert_eq!(status, 130);
    assert_eq!(err, format!("10.1.0.1:80: interrupted after 5 s; {counts}\n{STAYS}"));
}

#[test]
fn as_json_the_end_is_all_of_the_output() {
    let end = |script: &mut Script| {
        let (reply, shown) = drain_on(false, "--json --wait 5", script);
        assert!(shown.starts_with(START));
        let document: Value = serde_json::from_slice(&reply.stdout).expect("a document");
        (reply.status, document, String::from_utf8(reply.stderr).expect("text"))
    };
    let (status, document, err) = end(&mut script([at(0, [1, 2, 0]), at(0, [0; 3])]));
    assert_eq!((status, &document["outcome"]), (0, &json!("drained")));
    assert_eq!((&document["waited_ms"], &document["weight_before"]), (&json!(200), &json!(3)));
    assert_eq!(err, "10.1.0.1:80: no connection left\n");

    let (status, document, err) = end(&mut script([at(0, [1, 2, 0])]));
    assert_eq!((status, &document["outcome"]), (1, &json!("connections_left")));
    assert_eq!((&document["remaining"], &document["waited_ms"]), (&json!(3), &json!(5000)));
    assert_eq!(document["give_back"], format!("-e {WORDS} -m -w 3 -x 9 -y 5"));
    assert!(err.ends_with(STAYS), "{err}");

    let gone = Ok(Reply::failure(255, "No such destination"));
    let (status, document, _) = end(&mut script([at(0, [1, 2, 0]), gone]));
    assert_eq!((status, &document["outcome"]), (1, &json!("deleted")));
    assert_eq!(document["give_back"], Value::Null);
}

#[test]
fn on_a_terminal_one_line_is_written_over() {
    let mut script = script([at(0, [11, 0, 0]), at(0, [1, 0, 0]), at(0, [0; 3])]);
    let (reply, shown) = drain_on(true, "", &mut script);
    let lines = "\r11 remaining: 11 active, 0 inactive (0 s)\x1b[K\
                 \r1 remaining: 1 active, 0 inactive (0 s)\x1b[K\n";
    assert_eq!(shown, format!("{START}{lines}"));
    assert_eq!(reply.stdout, b"10.1.0.1:80: no connection left\n");
}

#[test]
fn other_command_lines_are_not_the_clients() {
    for line in [
        "pollvsadm",
        "pollvsadm -d -t 10.9.255.1:80 -r 10.1.0.1:80",
        "pollvsadm drops --json",
        "/sbin/ipvsadm drain -t 10.9.255.1:80 -r 10.1.0.1:80",
        "pollvsadm drain -t 10.9.255.1:80 -r 10.1.0.1:80 --look 3",
    ] {
        let argv: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(Order::new(&argv), None, "{line}");
    }
}
