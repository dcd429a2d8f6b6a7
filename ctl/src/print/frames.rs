//! `pollvsadm drops`: what became of the frames.

use std::fmt::Write;

use crate::backend::FrameCounts;

/// The counts, then every reason for a drop with its count and meaning.
#[must_use]
pub fn frames(counts: &FrameCounts) -> String {
    let FrameCounts { received, transmitted, handed_over, drops } = counts;
    let dropped: u64 = drops.iter().map(|(_, count)| count).sum();
    let mut text = format!("{:<22} {:>12}  {}\n", "frames", "count", "meaning");
    let totals = [
        ("received", *received, "Looked at by a worker; twice when handed over."),
        ("transmitted", *transmitted, "Sent."),
        ("handed_over", *handed_over, "Given to the worker that owns the connection."),
        ("dropped", dropped, "The sum of the following."),
    ];
    let reasons = drops.iter().map(|(reason, count)| (reason.name(), *count, reason.text()));
    for (name, count, meaning) in totals.into_iter().chain(reasons) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<22} {count:>12}  {meaning}");
    }
    text
}
