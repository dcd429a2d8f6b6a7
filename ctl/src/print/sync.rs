//! `pollvsadm sync`: what the sync daemons tell other directors, and what these tell.

use std::fmt::Write;
use std::net::IpAddr;

use super::add;
use crate::sync::{BackupState, Follower, MasterState, SenderRow, SyncState};

/// A paragraph for each daemon.
#[must_use]
pub fn sync(state: &SyncState) -> String {
    let mut out = String::new();
    match &state.master {
        Some(master) => self::master(&mut out, master),
        None => out.push_str("master: does not run\n"),
    }
    match &state.backup {
        Some(backup) => self::backup(&mut out, backup),
        None => out.push_str("backup: does not run\n"),
    }
    if state.master.is_none() && state.backup.is_none() {
        out.push_str("Nothing is synced. To begin: pollvsadm --start-daemon master|backup\n");
    }
    out
}

fn master(out: &mut String, master: &MasterState) {
    let MasterState { records_per_second, waiting, lag_us, .. } = master;
    add!(out, "master: tells other directors of connections\n");
    add!(out, "  {:<16} {records_per_second} records/s, {waiting} messages waiting", "now");
    add!(out, ", longest wait {lag_us} us\n");
    titles(out);
    for (name, count, meaning) in [
        ("records", master.records, "Connections and templates sent."),
        ("messages", master.messages, "That they were sent in."),
        ("bytes", master.bytes, "Of these, UDP payload."),
        ("overruns", master.overruns, "Records lost: no room on their way from a worker."),
        ("queue_full", master.queue_full, "Messages dropped: sync_qlen_max were waiting."),
        ("send_errors", master.send_errors, "Messages that the system did not send."),
    ] {
        counter(out, name, count, meaning);
    }
    let unsent = master.unsent.iter().map(|&(why, count)| (why.name(), why.text(), count));
    reasons(out, "records not sent, by reason", unsent);
    if master.followers.is_empty() {
        add!(out, "  {:<16} none that keeps in touch\n", "backups");
        return;
    }
    let width = column(master.followers.iter().map(|row| row.address));
    add!(out, "  {:<width$} {:>15}  in step\n", "backup", "records fetched");
    for Follower { address, records, is_in_step } in &master.followers {
        add!(out, "  {address:<width$} {records:>15}  {}\n", yes(*is_in_step));
    }
}

fn backup(out: &mut String, backup: &BackupState) {
    let BackupState { records_per_second, waiting, .. } = backup;
    add!(out, "backup: learns connections of other directors\n");
    add!(out, "  {:<16} {records_per_second} records/s, {waiting} records waiting\n", "now");
    titles(out);
    for (name, count, meaning) in [
        ("records", backup.records, "Connections and templates received."),
        ("messages", backup.messages, "That they came in."),
        ("bytes", backup.bytes, "Of these, UDP payload."),
        ("made", backup.made, "Connections and templates made."),
        ("unbound", backup.unbound, "Of these, without a server here."),
        ("updated", backup.updated, "Brought up to date."),
        ("late", backup.late, "Records of what was replaced, or served here by then."),
        ("no_room", backup.no_room, "Records that found the tables full."),
        ("unfit", backup.unfit, "Records of what cannot be."),
        ("overruns", backup.overruns, "Records lost: no room on their way to a worker."),
        ("crowd", backup.crowd, "Messages of directors that were too many to note."),
    ] {
        counter(out, name, count, meaning);
    }
    let rejects = backup.rejects.iter().map(|&(why, count)| (why.name(), why.text(), count));
    reasons(out, "messages or entries dropped, by reason", rejects);
    reasons(
        out,
        "messages not sealed with the key, by reason",
        backup.seal_rejects.iter().copied(),
    );
    if backup.senders.is_empty() {
        add!(out, "  {:<16} none heard\n", "directors");
        return;
    }
    let width = column(backup.senders.iter().map(|row| row.address));
    add!(out, "  {:<width$} {:>14} {:>8} {:>12}  in step", "director", "messages", "lost", "heard");
    add!(out, " {:>7} {:>12} {:>7}\n", "tables", "records", "failed");
    backup.senders.iter().for_each(|row| sender(out, row, width));
}

/// What was lost of a director that is no pollvs, and what it has, is not known.
fn sender(out: &mut String, row: &SenderRow, width: usize) {
    let known = |text: String| if row.is_pollvs { text } else { "-".to_owned() };
    let (heard, lost) = (format!("{} ms ago", row.heard_ms), known(row.lost.to_string()));
    add!(out, "  {:<width$} {:>14} {lost:>8} {heard:>12}", row.address, row.messages);
    let [tables, records, failed] =
        [row.fetched, row.fetched_records, row.failed].map(|count| known(count.to_string()));
    let in_step = known(yes(row.is_in_step).to_owned());
    add!(out, "  {in_step:<7} {tables:>7} {records:>12} {failed:>7}\n");
}

pub(super) fn titles(out: &mut String) {
    add!(out, "  {:<16} {:>16}  meaning\n", "count", "since start");
}

pub(super) fn counter(out: &mut String, name: &str, count: u64, meaning: &str) {
    add!(out, "  {name:<16} {count:>16}  {meaning}\n");
}

/// Those reasons that have a count, if any.
pub(super) fn reasons(
    out: &mut String,
    title: &str,
    reasons: impl Iterator<Item = (&'static str, &'static str, u64)>,
) {
    let mut reasons = reasons.filter(|&(_, _, count)| count != 0).peekable();
    if reasons.peek().is_some() {
        add!(out, "  {title}\n");
    }
    for (name, meaning, count) in reasons {
        add!(out, "    {name:<14} {count:>16}  {meaning}\n");
    }
}

/// Width of a column of addresses: at least that of any IPv4 address.
fn column(addresses: impl Iterator<Item = IpAddr>) -> usize {
    addresses.map(|address| address.to_string().len()).max().unwrap_or_default().max(15)
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
