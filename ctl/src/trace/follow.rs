//! The client's part of a trace: it asks for what has been seen until there is enough of it.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{COMMAND, END, OPTIONS, TAKE};
use crate::client::Invocation;
use crate::explain::words::Words;
use crate::json;
use crate::names::NumericNames;
use crate::session::{self, Reply};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Packets shown unless `--count` says otherwise.
const COUNT: u32 = 10;
/// Seconds after which a trace ends unless `--wait` says otherwise.
const WAIT_S: u32 = 60;

/// Traces as the words of a process ask; `None` if they ask for something else.
pub(crate) fn follow(invocation: &Invocation) -> Option<Reply> {
    let plain = json::without_word(&invocation.argv);
    let is_json = plain.is_some();
    let argv = plain.as_deref().unwrap_or(&invocation.argv);
    let [program, command, words @ ..] = argv else { return None };
    let is_request = words.first().is_some_and(|word| word == TAKE || word == END);
    if command != COMMAND || session::is_ipvsadm(program) || is_request {
        return None;
    }
    // Names are the daemon's affair: what it does not know is refused there.
    let (count, wait_s) = match limits(words) {
        Ok(limits) => limits,
        Err(reply) => return Some(reply),
    };
    let request = |words: &[String]| {
        let json = is_json.then(|| json::WORD.to_owned());
        let front = [program.clone()].into_iter().chain(json).chain([COMMAND.to_owned()]);
        let argv: Vec<_> = front.chain(words.iter().cloned()).collect();
        invocation.ask(&argv, None).unwrap_or_else(|error| invocation.no_answer(&error))
    };
    Some(run(request, words, count, Duration::from_secs(wait_s.into())))
}

/// `--count` and `--wait`, or what stands for them.
fn limits(words: &[String]) -> Result<(u64, u32), Reply> {
    let is_limit = |word: &str| OPTIONS[1..].iter().any(|option| word.starts_with(option));
    let mut own = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if is_limit(word) {
            own.push(word.clone());
            if !word.contains('=') {
                own.extend(words.next().cloned());
            }
        }
    }
    let said = Words::new(COMMAND, &own, &OPTIONS, &NumericNames)?;
    Ok((said.count.unwrap_or(COUNT).into(), said.wait_s.unwrap_or(WAIT_S)))
}

fn run(
    request: impl Fn(&[String]) -> Reply,
    words: &[String],
    count: u64,
    wait: Duration,
) -> Reply {
    let start = Instant::now();
    let begun = request(words);
    if begun.status != 0 {
        return begun;
    }
    let id = String::from_utf8_lossy(&begun.stdout).trim().to_owned();
    let (mut seen, mut lost) = (0, 0);
    while seen < count {
        let is_last = start.elapsed() >= wait;
        let taken = request(&[TAKE.to_owned(), id.clone(), (count - seen).to_string()]);
        if taken.status != 0 {
            return taken;
        }
        let Some((packets, missed, text)) = parts(&taken.stdout) else {
            return Reply::error("trace: the daemon's answer is not understood");
        };
        seen += packets;
        lost += missed;
        let mut out = io::stdout().lock();
        if out.write_all(text).and_then(|()| out.flush()).is_err() {
            break; // a reader that has seen enough, such as `head`
        }
        if is_last {
            break;
        }
        if seen < count {
            thread::sleep(PAUSE);
        }
    }
    let passed = start.elapsed();
    request(&[END.to_owned(), id]);
    let mut notes = String::new();
    if lost > 0 {
        notes += &format!("{lost} more packets came too fast to be noted\n");
    }
    if seen == 0 {
        notes += &format!("no such packet in {} s\n", passed.as_secs());
    }
    Reply { status: u8::from(seen == 0), stdout: Vec::new(), stderr: notes.into_bytes() }
}

/// How many packets an answer tells of, how many were lost, and the text.
fn parts(answer: &[u8]) -> Option<(u64, u64, &[u8])> {
    let end = answer.iter().position(|&byte| byte == b'\n')?;
    let (first, rest) = answer.split_at(end);
    let (packets, lost) = std::str::from_utf8(first).ok()?.split_once(' ')?;
    Some((packets.parse().ok()?, lost.parse().ok()?, &rest[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_has_passed_is_said() {
        let request = |words: &[String]| match words.first().map(String::as_str) {
            Some(TAKE) => Reply::output("0 3\n".to_owned()),
            Some(END) => Reply::default(),
            _ => {
                thread::sleep(Duration::from_millis(1100));
                Reply::output("7\n".to_owned())
            }
        };
        let reply = run(request, &[], 1, Duration::ZERO);
        let notes = "3 more packets came too fast to be noted\nno such packet in 1 s\n";
        assert_eq!((reply.status, String::from_utf8_lossy(&reply.stderr).as_ref()), (1, notes));
    }
}
