//! A traced packet in words.

use std::fmt::Write;

use dataplane::packet::protocol;
use dataplane::trace::{End, Sight};

use super::Packet;
use crate::explain::text::{end, line, step};
use crate::mark;

const INDENT: &str = "    ";

/// A packet: a line that tells it from others, and one for each step.
pub(super) fn packet(packet: &Packet) -> String {
    let Packet { number, at_ms, record, scheduler } = packet;
    let (s, ms) = (at_ms / 1000, at_ms % 1000);
    let (worker, port, came) = (record.worker.0, record.came.port.0, sight(&record.came));
    let mut text = format!("{number}  {s}.{ms:03} s  worker {worker}  port {port}  {came}\n");
    for taken in &record.steps {
        let (name, words) = step(taken, scheduler.as_deref());
        // Said again, with what happened, by the last line.
        if name != "dropped" {
            line(&mut text, INDENT, name, &words);
        }
    }
    if let Some((state, seconds)) = record.after {
        line(&mut text, INDENT, "state", &format!("{}, ends in {seconds} s", state.name()));
    }
    let (name, words) = match record.end {
        End::Sent(out) => ("sent", sent(&out)),
        End::Held(out) => {
            let (port, out) = (out.port.0, sight(&out));
            ("held", format!("until its next hop answers; then {out} by port {port}"))
        }
        End::Answered(reason, out) => {
            ("answered", format!("{}: {} Answer: {}", reason.name(), reason.text(), sent(&out)))
        }
        End::HandedTo(worker) => ("handed over", format!("to worker {}", worker.0)),
        End::Consumed => ("consumed", "it was for the director itself".to_owned()),
        End::Dropped(reason) => ("dropped", format!("{}: {}", reason.name(), reason.text())),
    };
    line(&mut text, INDENT, name, &words);
    text
}

fn sent(out: &Sight) -> String {
    format!("{} to {} by port {}", sight(out), out.to, out.port.0)
}

/// A packet on a link.
fn sight(sight: &Sight) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    if let Some((source, destination)) = sight.outer {
        let _ = write!(text, "tunnel {source} > {destination}: ");
    }
    let _ = match sight.protocol {
        protocol::TCP | protocol::UDP => write!(
            text,
            "{} {} > {}",
            if sight.protocol == protocol::TCP { "TCP" } else { "UDP" },
            end(sight.source),
            end(sight.destination)
        ),
        number => {
            let name = mark::protocol_name(number);
            write!(text, "{name} {} > {}", sight.source.0, sight.destination.0)
        }
    };
    if sight.protocol == protocol::TCP {
        let _ = write!(text, " [{}]", tcp_flags(sight.tcp_flags));
    }
    let _ = write!(text, " {} bytes, ttl {}", sight.length, sight.ttl);
    text
}

/// The names of the flags in a TCP header's flags byte, `.` for none.
pub(crate) fn tcp_flags(flags: u8) -> String {
    const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let names = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
    let names: Vec<_> = names.map(|(_, name)| *name).collect();
    if names.is_empty() { ".".to_owned() } else { names.join(" ") }
}
