//! `pollvsadm ports`: each port with its link and its counts.

use std::fmt::Write;

use super::add;
use crate::load::{Link, PortRow};

/// A paragraph for each port: what it is, then its counts.
#[must_use]
pub fn ports(rows: &[PortRow]) -> String {
    let mut out = String::new();
    for row in rows {
        add!(out, "port {}: {}\n", row.number, row.name);
        add!(out, "  {:<16} {} (driver {})\n", "device", row.kind, row.driver);
        add!(out, "  {:<16} {}\n", "MAC", row.mac);
        let addresses = row.addresses.iter().map(|(vlan, prefix)| match vlan {
            None => prefix.to_string(),
            Some(vlan) => format!("{prefix} (VLAN {vlan})"),
        });
        let mut addresses = addresses.peekable();
        if addresses.peek().is_none() {
            add!(out, "  {:<16} none\n", "addresses");
        }
        for (address, n) in addresses.zip(0..) {
            add!(out, "  {:<16} {address}\n", if n == 0 { "addresses" } else { "" });
        }
        add!(out, "  {:<16} {}\n", "link", link(row.link));
        add!(out, "  {:<16} {} bytes\n", "MTU", row.mtu);
        let (receive, transmit) = (row.receive_queues, row.transmit_queues);
        add!(out, "  {:<16} {receive} receive, {transmit} transmit\n", "queues");
        add!(out, "  {:<16} {:>16} {:>14}  meaning\n", "count", "since start", "last second");
        for ((name, total, meaning), (_, second, _)) in
            row.total.fields().into_iter().zip(row.per_second.fields())
        {
            add!(out, "  {name:<16} {total:>16} {second:>14}  {meaning}\n");
        }
    }
    out
}

fn link(link: Link) -> String {
    let mut text = if link.is_up { "up" } else { "down" }.to_owned();
    if let Some(speed) = link.speed_mbps {
        add!(text, ", {speed} Mbit/s");
    }
    if let Some(full) = link.full_duplex {
        add!(text, ", {} duplex", if full { "full" } else { "half" });
    }
    text
}

#[cfg(test)]
mod tests {
    use dataplane::packet::ethernet::Mac;

    use super::*;
    use crate::load::PortCounts;

    #[test]
    fn a_port_to_the_byte() {
        let mut row = PortRow {
            number: 1,
            name: "eth1".into(),
            kind: "AF_XDP".into(),
            driver: "net_af_xdp".into(),
            mac: Mac([2, 0, 0, 0, 0, 0x1f]),
            addresses: vec![
                (None, "10.1.255.254/16".parse().expect("a prefix")),
                (Some(7), "2001:db8::1/64".parse().expect("a prefix")),
            ],
            mtu: 1500,
            receive_queues: 2,
            transmit_queues: 4,
            link: Link { is_up: true, speed_mbps: Some(10_000), full_duplex: Some(true) },
            total: PortCounts {
                frames_in: 1_234_567_890_123,
                bytes_in: 2,
                frames_out: 3,
                bytes_out: 4,
                missed: 5,
                receive_errors: 6,
                no_buffer: 7,
                transmit_errors: 8,
                queue_full: 9,
            },
            per_second: PortCounts { frames_in: 14_880_952, ..PortCounts::default() },
        };
        let expected = "\
port 1: eth1
  device           AF_XDP (driver net_af_xdp)
  MAC              02:00:00:00:00:1f
  addresses        10.1.255.254/16
                   2001:db8::1/64 (VLAN 7)
  link             up, 10000 Mbit/s, full duplex
  MTU              1500 bytes
  queues           2 receive, 4 transmit
  count                 since start    last second  meaning
  frames_in           1234567890123       14880952  Taken by workers.
  bytes_in                        2              0  Of these.
  frames_out                      3              0  Sent.
  bytes_out                       4              0  Of these.
  missed                          5              0  Came while the receive queue was full.
  receive_errors                  6              0  Came broken.
  no_buffer                       7              0  Came while there was no buffer.
  transmit_errors                 8              0  Could not be sent.
  queue_full                      9              0  Dropped, the transmit queue stayed full.
";
        assert_eq!(ports(&[row.clone()]), expected);
        row.link = Link { full_duplex: Some(false), ..Link::default() };
        row.addresses.clear();
        let two = ports(&[row.clone(), row]);
        assert_eq!(two.matches("\n  link             down, half duplex\n").count(), 2);
        assert_eq!(two.matches("\n  addresses        none\n").count(), 2);
        assert!(two.lines().all(|line| line.len() <= 100), "{two}");
        assert_eq!(ports(&[]), "");
    }
}
