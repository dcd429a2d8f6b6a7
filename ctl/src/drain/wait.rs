//! The client's part: asks how far the server is, until it is drained or something else ends that.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::report::{Outcome, Report};
use super::words::Order;
use crate::client::Invocation;
use crate::refusal::{Operation, Refusal};
use crate::session::{REFUSED, Reply};
use crate::waiting::{Process, SHORTEST, Screen, World, longer, warn};

/// Drains a server: waits, and shows progress on standard output, or with `--json` on standard error.
pub(crate) fn wait(order: &Order, invocation: &Invocation) -> Reply {
    let mut process = Process::new(invocation);
    if order.is_json {
        let is_terminal = io::stderr().is_terminal();
        run(order, &mut process, &mut Screen::new(&mut io::stderr(), is_terminal))
    } else {
        let is_terminal = io::stdout().is_terminal();
        run(order, &mut process, &mut Screen::new(&mut io::stdout(), is_terminal))
    }
}

/// Drains a server. Progress goes to the screen, the end is the reply.
fn run(order: &Order, world: &mut dyn World, screen: &mut Screen<'_>) -> Reply {
    let reply = match world.ask(&order.first()) {
        Ok(reply) | Err(reply) => reply,
    };
    let Some(mut report) = report_of(&reply) else { return reply };
    screen.line(&report.start());
    let mut said = Vec::new();
    warn(&reply, &mut said, world, screen);
    let waits = order.wait != Some(Duration::ZERO);
    if let Some(note) = report.note().filter(|_| waits) {
        world.say(&note);
    }
    let mut pause = SHORTEST;
    loop {
        let now = world.elapsed();
        if report.outcome != Outcome::ConnectionsLeft {
            let outcome = report.outcome;
            return end(order, &report.end(outcome, now), None, screen);
        }
        screen.show(&report.counts(), now);
        let left = order.wait.map(|wait| wait.saturating_sub(now));
        if left == Some(Duration::ZERO) {
            return end(order, &report.end(Outcome::ConnectionsLeft, now), None, screen);
        }
        if let Some(signal) = world.sleep(left.map_or(pause, |left| left.min(pause))) {
            let report = report.end(Outcome::Interrupted, world.elapsed());
            return end(order, &report, Some(128 + signal), screen);
        }
        pause = longer(pause);
        let next = order.next(&report.server_words, report.weight_before);
        match world.ask(&next) {
            Ok(reply) => match report_of(&reply) {
                Some(next) => {
                    report = next;
                    warn(&reply, &mut said, world, screen);
                }
                None if is_gone(&reply) => {
                    let report = report.end(Outcome::Deleted, world.elapsed());
                    return end(order, &report, None, screen);
                }
                None => return lost(&report, reply, screen),
            },
            Err(reply) => return lost(&report, reply, screen),
        }
    }
}

fn report_of(reply: &Reply) -> Option<Report> {
    serde_json::from_slice(&reply.stdout).ok()
}

/// Whether the server is not there any more.
fn is_gone(reply: &Reply) -> bool {
    let gone = [Refusal::NoSuchServer, Refusal::ServiceNotDefined];
    let message = String::from_utf8_lossy(&reply.stderr);
    let said = |refusal| Operation::Server.message(refusal) == message.trim_end();
    reply.status == REFUSED && gone.into_iter().any(said)
}

/// The end, when there is something to tell of it.
fn end(order: &Order, report: &Report, status: Option<u8>, screen: &mut Screen<'_>) -> Reply {
    screen.close();
    let status = status.unwrap_or_else(|| report.status());
    let is_report =
        order.wait == Some(Duration::ZERO) && report.outcome == Outcome::ConnectionsLeft;
    let message = if is_report { String::new() } else { report.finish() + "\n" };
    let mut reply = Reply { status, ..Reply::default() };
    if order.is_json {
        reply.stdout = report.json().into_bytes();
    }
    if order.is_json || report.status() != 0 {
        reply.stderr = message.into_bytes();
    } else {
        reply.stdout = message.into_bytes();
    }
    reply
}

/// The end, when the daemon does not answer, or only that it cannot.
fn lost(report: &Report, mut reply: Reply, screen: &mut Screen<'_>) -> Reply {
    screen.close();
    let (server, counts) = (report.server(), report.counts());
    let message = format!("{server}: not known to be drained; it had {counts}\n");
    reply.stderr = [message.into_bytes(), reply.stderr].concat();
    reply
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
