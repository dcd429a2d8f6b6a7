//! The recorded commands of the real tool (ipvsadm 1.31 on Linux 6.1), replayed.

mod toy;

use ctl::session::{Reply, run_with_input};
use toy::{RecordedNames, Toy, words};

const RECORDED: &str = include_str!("data/cli.jsonl");

/// Plays one command line as the shell of the recorded machine did; `None` if it is not about `ipvsadm`.
fn play(line: &str, input: &[u8], toy: &mut Toy) -> Option<Reply> {
    let names = RecordedNames::default();
    let mut play = |line: &str, input: &[u8]| run_with_input(&words(line), input, toy, &names);
    let mut argv = words(line);
    match argv.remove(0).as_str() {
        "ipvsadm" => Some(play(line, input)),
        // What the two wrapper scripts do.
        "ipvsadm-save" => Some(play(&format!("/sbin/ipvsadm -S {}", argv.join(" ")), b"")),
        "ipvsadm-restore" => {
            let lines = input.split_inclusive(|&byte| byte == b'\n');
            let kept: Vec<u8> = lines.filter(|line| line[0] != b'#').flatten().copied().collect();
            play("/sbin/ipvsadm -C", b"");
            Some(play("/sbin/ipvsadm -R", &kept))
        }
        _ => None,
    }
}

#[test]
fn every_recorded_command_gives_the_same_bytes() {
    let mut toy = Toy::default();
    let (mut equal, mut compared, mut skipped) = (0, 0, Vec::new());
    for line in RECORDED.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a recorded row");
        let command = row["cmd"].as_str().expect("a command");
        let input = row["stdin"].as_str().unwrap_or_default();
        let Some(reply) = play(command, input.as_bytes(), &mut toy) else {
            skipped.push(row["n"].as_u64().expect("a number"));
            continue;
        };
        compared += 1;
        let stdout = String::from_utf8(reply.stdout).expect("text");
        let stderr = String::from_utf8(reply.stderr).expect("text");
        // The help is ours: only its stream and status are the same.
        let same_stdout = match row["stdout"].as_str() {
            Some(recorded) => stdout == recorded,
            None => !stdout.is_empty(),
        };
        let same = same_stdout
            && row["stderr"].as_str() == Some(stderr.as_str())
            && row["exit"].as_u64() == Some(u64::from(reply.status));
        if same {
            equal += 1;
        } else {
            let (n, status) = (&row["n"], reply.status);
            println!("{n} {command}\nrecorded {row:#}\nours {status}\n{stdout}\n{stderr}");
        }
    }
    println!("replay: {equal} of {compared} equal");
    println!("skipped, not commands of the tool: {skipped:?}");
    // Nine look at /proc files, two run as a user without rights, which is the client's message.
    assert_eq!(skipped, [145, 277, 325, 412, 437, 438, 439, 440, 441, 442, 443]);
    assert_eq!((equal, compared), (432, 432));
}
