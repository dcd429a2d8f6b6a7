//! What becomes of a frame, and the one list of reasons for which it may be dropped.

/// A port of the engine, by the engine's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PortId(pub u16);

/// A worker's share of the dataplane, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShardId(pub u16);

/// What to do with one frame.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on this port; it has been rewritten in place.
    Transmit(PortId),
    /// Give it, unchanged, to the shard that owns its connection.
    ToOwner(ShardId),
    /// Keep it with [`crate::shard::Shard::hold`] until its next hop's link-layer address is known.
    Hold(crate::neighbour::HopPlace),
    /// It has served its purpose, as an ARP reply does: release it, nothing was lost.
    Consumed,
    /// Release it; the reason has been counted.
    Drop(DropReason),
}

impl From<DropReason> for Verdict {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

reasons! {
    /// Why a frame was dropped.
    pub DropReason:
    EthernetShort "ethernet_short" "Frame shorter than its Ethernet header and VLAN tag."
    EthernetSource "ethernet_source" "Source link-layer address is a group address."
    NotOurMac "not_our_mac" "Sent to a link-layer address that is not the port's."
    UnknownVlan "unknown_vlan" "802.1Q tag of a VLAN that no interface has."
    NestedVlan "nested_vlan" "More than one 802.1Q tag."
    EtherType "ether_type" "Neither IPv4, IPv6 nor ARP."
    FrameSegmented "frame_segmented" "Frame spread over several buffers."
    Ipv4Short "ipv4_short" "Shorter than an IPv4 header."
    Ipv4Version "ipv4_version" "IP version is not 4."
    Ipv4HeaderLength "ipv4_header_length" "IPv4 header length under 20 bytes or past the packet."
    Ipv4TotalLength "ipv4_total_length" "IPv4 total length under its header or past the frame."
    Ipv4Checksum "ipv4_checksum" "IPv4 header checksum is wrong."
    Ipv4SourceRoute "ipv4_source_route" "IPv4 source route option."
    Ipv4Source "ipv4_source" "IPv4 source address is no host's: loopback, multicast, broadcast."
    Ipv6Short "ipv6_short" "Shorter than an IPv6 header."
    Ipv6Version "ipv6_version" "IP version is not 6."
    Ipv6Length "ipv6_length" "IPv6 payload length past the frame."
    Ipv6Extension "ipv6_extension" "IPv6 extension header cut off, out of place, or one too many."
    Ipv6SourceRoute "ipv6_source_route" "IPv6 routing header of type 0."
    Ipv6Source "ipv6_source" "IPv6 source address is no host's: loopback, multicast, mapped IPv4."
    SourceIsOurs "source_is_ours" "Source address is one of the director's own or a virtual one."
    Fragment "fragment" "IP fragment; reassembly is not supported yet."
    TcpShort "tcp_short" "Shorter than a TCP header."
    TcpHeaderLength "tcp_header_length" "TCP data offset under 20 bytes or past the packet."
    UdpShort "udp_short" "Shorter than a UDP header."
    UdpLength "udp_length" "UDP length under 8 bytes or past the packet."
    TransportChecksum "transport_checksum" "To the director itself, with a wrong TCP or UDP checksum."
    IcmpShort "icmp_short" "Shorter than an ICMP header."
    IcmpChecksum "icmp_checksum" "ICMP checksum is wrong."
    IcmpUnhandled "icmp_unhandled" "ICMP message that the director neither answers nor forwards."
    ArpMalformed "arp_malformed" "ARP packet too short or not for IPv4 over Ethernet."
    ArpNotForUs "arp_not_for_us" "ARP request for an address that is not ours."
    NdpMalformed "ndp_malformed" "Neighbour discovery message that is short or fails a test of RFC 4861."
    NdpNotForUs "ndp_not_for_us" "Neighbour solicitation for an address that is not ours."
    Protocol "protocol" "Transport protocol that is not forwarded."
    NotForUs "not_for_us" "Destination is neither a virtual address nor a known client."
    LocalPort "local_port" "Sent to the director itself; it has no host stack."
    NoService "no_service" "Virtual address, but no virtual service at that protocol and port."
    NoConnection "no_connection" "Belongs to no connection and may not open one."
    NoDestination "no_destination" "Scheduler found no real server that takes connections."
    ServerDeleted "server_deleted" "The connection's real server has been deleted."
    TableFull "table_full" "Connection table is full."
    TemplateTableFull "template_table_full" "Table of persistence templates is full."
    ChainFull "chain_full" "Too many connections share the client's bucket."
    TtlExpired "ttl_expired" "Time to live used up."
    TooBig "too_big" "Larger than the MTU of the way out."
    TunnelKind "tunnel_kind" "Server behind a GUE, GRE or cross-family tunnel: not supported yet."
    NoHeadroom "no_headroom" "No room in front of the frame for another header."
    NoRoute "no_route" "No route to the next hop."
    NeighbourUnreachable "neighbour_unreachable" "Next hop did not answer ARP or neighbour discovery."
    NeighbourTableFull "neighbour_table_full" "Too many next hops."
    HoldQueueFull "hold_queue_full" "Too many frames wait for a next hop's link-layer address."
    RoutersQueueFull "routers_queue_full" "VRRP packet too long, or too many of them at once."
    HandoffFull "handoff_full" "Ring to the owning worker is full."
    TransmitFull "transmit_full" "Port did not take the frame."
    BufferEmpty "buffer_empty" "No buffer left for a frame of our own."
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_numbers_are_dense() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        assert!(DropReason::ALL.iter().enumerate().all(|(n, &reason)| reason as usize == n));
    }
}
