//! `pollvsadm vrrp`: each virtual router, as this director takes part in it.

use std::fmt::Write;

use super::{add, sync};
use crate::sync::VrrpRow;

/// A paragraph for each virtual router.
#[must_use]
pub fn vrrp(rows: &[VrrpRow]) -> String {
    let mut out = String::new();
    for row in rows {
        router(&mut out, row);
    }
    if rows.is_empty() {
        out.push_str("No virtual router is configured.\n");
    }
    out
}

fn router(out: &mut String, row: &VrrpRow) {
    let VrrpRow { name, state, since_s, vrid, version, interface, interval_ms, .. } = row;
    add!(out, "router {name}: {state} for {since_s} s\n");
    add!(out, "  {:<16} {}\n", "reason", row.reason);
    if row.is_released {
        add!(out, "  {:<16} yes; to take part again: pollvsadm handover --back\n", "handed over");
    }
    let master = row.master.map_or_else(|| "not known".to_owned(), |master| master.to_string());
    add!(out, "  {:<16} {master}\n", "master");
    add!(out, "  {:<16} {}", "priority", row.priority);
    if row.priority != row.configured_priority {
        add!(out, " ({} configured)", row.configured_priority);
    }
    add!(out, "\n  {:<16} {vrid}, VRRP version {version}, on {interface}\n", "VRID");
    add!(out, "  {:<16} every {interval_ms} ms\n", "advertisements");
    add!(out, "  {:<16} {}\n", "group", row.group.as_deref().unwrap_or("none"));
    for (address, n) in row.addresses.iter().zip(0..) {
        add!(out, "  {:<16} {address}\n", if n == 0 { "addresses" } else { "" });
    }
    if row.addresses.is_empty() {
        add!(out, "  {:<16} none\n", "addresses");
    }
    sync::titles(out);
    for (name, count, meaning) in [
        ("became_master", row.became_master, "Times that it became master."),
        ("sent", row.sent, "Advertisements sent."),
        ("received", row.received, "Advertisements received and taken."),
        ("announced", row.announced, "Gratuitous ARP and neighbour advertisements sent."),
    ] {
        sync::counter(out, name, count, meaning);
    }
    sync::reasons(out, "packets rejected, by reason", row.rejects.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_to_the_byte() {
        let address = |text: &str| text.parse().expect("an address");
        let mut row = VrrpRow {
            name: "web".into(),
            vrid: 51,
            version: 3,
            interface: "eth0.7".into(),
            state: "BACKUP",
            reason: "another director has a higher priority",
            since_s: 3661,
            priority: 100,
            configured_priority: 150,
            interval_ms: 100,
            master: Some(address("192.0.2.2")),
            is_released: false,
            group: Some("all".into()),
            addresses: vec![address("192.0.2.10"), address("2001:db8::10")],
            became_master: 1,
            sent: 12,
            received: 1_234_567_890_123,
            announced: 5,
            rejects: vec![("ttl", "Time to live is not 255.", 7), ("vrid", "Unknown VRID.", 0)],
        };
        let expected = "\
router web: BACKUP for 3661 s
  reason           another director has a higher priority
  master           192.0.2.2
  priority         100 (150 configured)
  VRID             51, VRRP version 3, on eth0.7
  advertisements   every 100 ms
  group            all
  addresses        192.0.2.10
                   2001:db8::10
  count                 since start  meaning
  became_master                   1  Times that it became master.
  sent                           12  Advertisements sent.
  received            1234567890123  Advertisements received and taken.
  announced                       5  Gratuitous ARP and neighbour advertisements sent.
  packets rejected, by reason
    ttl                           7  Time to live is not 255.
";
        assert_eq!(vrrp(&[row.clone()]), expected);
        row.priority = 150;
        row.rejects[0].2 = 0;
        row.addresses.clear();
        (row.master, row.group, row.is_released) = (None, None, true);
        let two = vrrp(&[row.clone(), row]);
        for line in [
            "  handed over      yes; to take part again: pollvsadm handover --back\n",
            "  master           not known\n",
            "  priority         150\n",
            "  group            none\n",
            "  addresses        none\n",
        ] {
            assert_eq!(two.matches(line).count(), 2, "{line}");
        }
        assert!(!two.contains("rejected"), "{two}");
        assert!(two.lines().all(|line| line.len() <= 100), "{two}");
        assert_eq!(vrrp(&[]), "No virtual router is configured.\n");
    }
}
