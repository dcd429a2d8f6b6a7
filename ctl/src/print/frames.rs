//! `pollvsadm drops`: what became of the frames.

use std::fmt::Write;

use crate::backend::FrameCounts;

/// The counts, every reason for a drop with its count and meaning, then what each port lost.
#[must_use]
pub fn frames(counts: &FrameCounts) -> String {
    let FrameCounts { received, transmitted, handed_over, answered, limited, drops, ports } =
        counts;
    let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
    let mut text = format!("{:<22} {:>12}  {}\n", "frames", "count", "meaning");
    let totals = [
        ("received", *received, "Looked at by a worker; twice when handed over."),
        ("transmitted", *transmitted, "Sent."),
        ("handed_over", *handed_over, "Given to the worker that owns the connection."),
        ("answered", *answered, "Dropped, but answered by a reset or an ICMP error."),
        ("limited", *limited, "ICMP errors not sent, because there had been too many."),
        ("dropped", dropped, "The sum of the following."),
    ];
    let reasons = drops.iter().map(|(reason, count)| (reason.name(), *count, reason.text()));
    for (name, count, meaning) in totals.into_iter().chain(reasons) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<22} {count:>12}  {meaning}");
    }
    for port in ports {
        let _ = writeln!(text, "port {}", port.name);
        let losses = [
            ("  missed", port.missed, "Came while the receive queue was full."),
            ("  receive_errors", port.receive_errors, "Came broken."),
            ("  no_buffer", port.no_buffer, "Came while there was no buffer."),
            ("  transmit_errors", port.transmit_errors, "Could not be sent."),
        ];
        for (name, count, meaning) in losses {
            let _ = writeln!(text, "{name:<22} {count:>12}  {meaning}");
        }
    }
    text
}
