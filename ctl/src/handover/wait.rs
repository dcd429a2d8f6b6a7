//! The client's part: asks until a backup is in step, and then until others are the masters.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::report::{Outcome, Report};
use super::words::Order;
use crate::client::Invocation;
use crate::session::Reply;
use crate::waiting::{Process, SHORTEST, Screen, World, longer, warn};

/// Hands over, or takes part again: waits, and shows progress on standard error.
pub(crate) fn wait(order: &Order, invocation: &Invocation) -> Reply {
    let is_terminal = io::stderr().is_terminal();
    run(order, &mut Process::new(invocation), &mut Screen::new(&mut io::stderr(), is_terminal))
}

/// Hands over. Progress goes to the screen, the end is the reply.
fn run(order: &Order, world: &mut dyn World, screen: &mut Screen<'_>) -> Reply {
    let mut said = Vec::new();
    let mut pause = SHORTEST;
    // The last report; once the addresses are given away, since when.
    let mut last: Option<Report> = None;
    let mut given: Option<Duration> = None;
    loop {
        let request = if given.is_some() { order.look() } else { order.first() };
        let reply = match world.ask(&request) {
            Ok(reply) => reply,
            Err(reply) => return lost(last.as_ref(), reply, screen),
        };
        let Some(report) = report_of(&reply) else { return lost(last.as_ref(), reply, screen) };
        warn(&reply, &mut said, world, screen);
        let now = world.elapsed();
        match report.outcome {
            Outcome::Pending if given.is_none() => (given, pause) = (Some(now), SHORTEST),
            Outcome::Pending => {}
            Outcome::NotInStep if given.is_none() => {}
            outcome => {
                let is_end = match outcome {
                    Outcome::HandedOver | Outcome::NoRouter => true,
                    Outcome::Back => order.back,
                    _ => given.is_none(),
                };
                // Otherwise what was given away is not so any more.
                let outcome = if is_end { outcome } else { Outcome::Undone };
                return end(order, &report.end(outcome, now), None, screen);
            }
        }
        let left = (given.unwrap_or_default() + order.timeout).saturating_sub(now);
        if left.is_zero() {
            let outcome = report.outcome;
            return end(order, &report.end(outcome, now), None, screen);
        }
        screen.show(&report.progress(), now);
        if let Some(signal) = world.sleep(left.min(pause)) {
            let report = report.end(Outcome::Interrupted, world.elapsed());
            return end(order, &report, Some(128 + signal), screen);
        }
        pause = longer(pause);
        last = Some(report);
    }
}

fn report_of(reply: &Reply) -> Option<Report> {
    serde_json::from_slice(&reply.stdout).ok()
}

/// The end, when there is something to tell of it.
fn end(order: &Order, report: &Report, status: Option<u8>, screen: &mut Screen<'_>) -> Reply {
    screen.close();
    let message = (report.finish() + "\n").into_bytes();
    let mut reply = Reply { status: status.unwrap_or_else(|| report.status()), ..Reply::default() };
    if order.is_json {
        reply.stdout = report.json().into_bytes();
    }
    if order.is_json || report.status() != 0 {
        reply.stderr = message;
    } else {
        reply.stdout = message;
    }
    reply
}

/// The end, when the daemon does not answer, or only that it cannot; with what was known before.
fn lost(last: Option<&Report>, mut reply: Reply, screen: &mut Screen<'_>) -> Reply {
    screen.close();
    if let Some(last) = last {
        let message = format!("not known to be handed over; it was {}\n", last.progress());
        reply.stderr = [message.into_bytes(), reply.stderr].concat();
    }
    reply
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;
