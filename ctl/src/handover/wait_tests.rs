use serde_json::{Value, json};

use super::*;
use crate::sync::Handover;
use crate::waiting::script::{Script, script};

/// What the daemon says when it stands so.
fn at(state: &Handover) -> Result<Reply, Reply> {
    Ok(Report::new(state).reply(true))
}

fn not_in_step(missing: &str) -> Result<Reply, Reply> {
    at(&Handover::NotInStep(missing.to_owned()))
}

fn given(pending: u32) -> Result<Reply, Reply> {
    at(&Handover::Given { pending })
}

/// Status, output, messages, and what was on the screen, which is no terminal.
fn handover(options: &str, script: &mut Script) -> (u8, String, String, String) {
    let line = format!("pollvsadm handover {options}");
    let argv: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
    let order = Order::new(&argv).expect("an order").expect("a right one");
    let mut shown = Vec::new();
    let reply = run(&order, script, &mut Screen::new(&mut shown, false));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (reply.status, text(reply.stdout), text(reply.stderr), text(shown))
}

const DONE: &str = "handed over; every virtual router has a new master. To take part again: \
                    pollvsadm handover --back\n";

#[test]
fn until_a_backup_is_in_step_and_others_are_masters() {
    let mut script = script([
        not_in_step("none is in touch"),
        not_in_step("none is in touch"),
        given(2),
        given(1),
        given(0),
    ]);
    let (status, out, err, shown) = handover("", &mut script);
    assert_eq!((status, out.as_str(), err.as_str()), (0, DONE, ""));
    assert_eq!(shown, "not in step: none is in touch\n", "the others came too soon after it");
    assert_eq!(script.sleeps, [200, 300, 200, 300], "quick again once they are given away");
    let [give, look] = ["pollvsadm --json handover", "pollvsadm --json handover --look"];
    assert_eq!(script.asked, [give, give, give, look, look]);
}

#[test]
fn progress_is_shown() {
    let (_, _, _, shown) = handover("", &mut script([given(2), given(0)]));
    assert_eq!(shown, "given away; 2 virtual routers without a new master\n");
    let (_, _, _, shown) = handover("", &mut script([given(1), given(0)]));
    assert_eq!(shown, "given away; 1 virtual router without a new master\n");
    let (status, out, _, shown) = handover("", &mut script([given(0)]));
    assert_eq!((status, out.as_str(), shown.as_str()), (0, DONE, ""));
}

#[test]
fn by_force() {
    let mut script = script([given(1), given(0)]);
    assert_eq!(handover("--force", &mut script).0, 0);
    assert_eq!(script.asked[0], "pollvsadm --json handover --force");
    assert_eq!(script.asked[1], "pollvsadm --json handover --look", "it is given once");
}

const ADVICE: &str = "Try again when pollvsadm sync shows a backup in step, or with --force: \
                      connections that no backup knows break then.\n";

#[test]
fn no_backup_is_in_step_in_time() {
    let mut waits = script([not_in_step("none is in touch")]);
    let (status, out, err, _) = handover("", &mut waits);
    let message = format!("not handed over after 10 s; not in step: none is in touch\n{ADVICE}");
    assert_eq!((status, out.as_str(), err), (1, "", message));
    assert_eq!(waits.sleeps.iter().sum::<u128>(), 10_000);
    assert!(waits.asked.iter().all(|line| line == "pollvsadm --json handover"));

    let mut short = script([not_in_step("none")]);
    let (_, _, err, _) = handover("--timeout 1", &mut short);
    assert!(err.starts_with("not handed over after 1 s;"), "{err}");
    assert_eq!(short.sleeps, [200, 300, 450, 50], "it asks once more in the end");

    let mut looks = script([not_in_step("none")]);
    let (status, _, err, shown) = handover("--timeout=0", &mut looks);
    assert_eq!((status, shown.as_str(), looks.asked.len()), (1, "", 1));
    assert_eq!(err, format!("not handed over; not in step: none\n{ADVICE}"));
}

#[test]
fn nobody_takes_over_in_time() {
    let mut script = script([not_in_step("soon"), given(3)]);
    let (status, out, err, _) = handover("--timeout 2", &mut script);
    let message = "not taken over after 2 s: given away; 3 virtual routers without a new \
                   master\nTo take part again: pollvsadm handover --back\n";
    assert_eq!((status, out.as_str(), err.as_str()), (1, "", message));
    assert_eq!(script.sleeps.iter().sum::<u128>(), 2200, "the time begins anew");
}

#[test]
fn what_cannot_be_handed_over() {
    for (state, first) in [
        (
            Handover::NotMaster,
            "not handed over: this director is not the master of any virtual router",
        ),
        (Handover::NoRouter, "no virtual router is configured"),
    ] {
        let mut once = script([at(&state)]);
        let (status, out, err, shown) = handover("", &mut once);
        assert_eq!((status, out.as_str(), shown.as_str()), (1, "", ""), "{state:?}");
        assert_eq!(err.lines().next(), Some(first));
        assert!(err.lines().count() == 2, "it says what to do: {err}");
        assert_eq!(once.asked.len(), 1);
    }
    let mut refused = script([Ok(Reply::failure(255, "Permission denied"))]);
    let (status, out, err, _) = handover("", &mut refused);
    assert_eq!((status, out.as_str(), err.as_str()), (255, "", "Permission denied\n"));
}

#[test]
fn back() {
    let mut once = script([at(&Handover::Back)]);
    let (status, out, err, shown) = handover("--back", &mut once);
    assert_eq!((status, out.as_str()), (0, "takes part as configured\n"));
    assert_eq!((err.as_str(), shown.as_str()), ("", ""));
    assert_eq!(once.asked, ["pollvsadm --json handover --back"]);
    // Somebody does it meanwhile.
    for state in [Handover::Back, Handover::NotMaster] {
        let (status, out, err, _) = handover("", &mut script([given(1), at(&state)]));
        assert_eq!((status, out.as_str()), (1, ""));
        assert_eq!(err, "not handed over: taken back by somebody\n");
    }
}

#[test]
fn the_daemon_goes_away() {
    let gone = || Err(Reply::error("Can't initialize ipvs: Connection refused"));
    let (status, _, err, _) = handover("", &mut script([given(1), gone()]));
    let message = "not known to be handed over; it was given away; 1 virtual router without a new \
                   master\nCan't initialize ipvs: Connection refused\n";
    assert_eq!((status, err.as_str()), (2, message));
    let (status, out, err, _) = handover("", &mut script([gone()]));
    assert_eq!((status, out.as_str()), (2, ""));
    assert_eq!(err, "Can't initialize ipvs: Connection refused\n");
}

#[test]
fn a_signal_ends_it() {
    let signal_at = Some(Duration::from_secs(1));
    let mut before = Script { signal_at, ..script([not_in_step("none")]) };
    let (status, _, err, _) = handover("", &mut before);
    let message = "not handed over: interrupted after 1 s; not in step: none\n";
    assert_eq!((status, err.as_str()), (130, message));
    let mut after = Script { signal_at, ..script([given(1)]) };
    let (status, _, err, _) = handover("", &mut after);
    let message = "interrupted after 1 s; given away; 1 virtual router without a new master\nTo take \
                   part again: pollvsadm handover --back\n";
    assert_eq!((status, err.as_str()), (130, message));
}

#[test]
fn warnings_are_said_once() {
    let with = |answer: Result<Reply, Reply>| {
        answer.map(|reply| Reply { stderr: b"the disk\n".to_vec(), ..reply })
    };
    let mut script = script([with(given(1)), with(given(1)), given(0)]);
    let (status, _, err, _) = handover("", &mut script);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(script.said, ["the disk"]);
}

#[test]
fn as_json_the_end_is_all_of_the_output() {
    let end = |script: &mut Script| {
        let (status, out, err, _) = handover("--json --timeout 1", script);
        (status, serde_json::from_str::<Value>(&out).expect("a document"), err)
    };
    let (status, document, err) = end(&mut script([given(1), given(0)]));
    let expected = json!({"schema": "pollvs/handover/1", "outcome": "handed_over", "pending": 0,
        "missing": null, "waited_ms": 200});
    assert_eq!((status, document, err.as_str()), (0, expected, DONE));
    let (status, document, _) = end(&mut script([not_in_step("none")]));
    let expected = json!({"schema": "pollvs/handover/1", "outcome": "not_in_step",
        "pending": null, "missing": "none", "waited_ms": 1000});
    assert_eq!((status, document), (1, expected));
    let (_, document, _) = end(&mut script([given(1), at(&Handover::Back)]));
    assert_eq!(document["outcome"], "undone");
}

#[test]
fn other_command_lines_are_not_the_clients() {
    for line in [
        "pollvsadm",
        "pollvsadm sync --json",
        "/sbin/ipvsadm handover",
        "pollvsadm handover --look",
    ] {
        let argv: Vec<_> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(Order::new(&argv), None, "{line}");
    }
}
