//! Every reason for which a shard drops a frame, at least once.

use std::net::SocketAddr;

use dataplane::frame::Checksum;
use dataplane::service::{Method, TunnelKind};
use dataplane::verdict::DropReason::{self, *};

use crate::common::build::{ACK, FIN, Packet, RST, SYN, Transport, echo, reply, request, who_has};
use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{
    CLIENT, CLIENTS, SERVER, SERVERS, VIP, mac_of, own_mac, server, service, tcp,
};
use crate::{floating, lab, lab_of, six};
use Transport::{Raw, Tcp, Udp};

/// What this shows, the frame, and why it is dropped.
pub(crate) type Row = (&'static str, TestFrame, DropReason);

fn syn() -> Packet {
    request(Tcp(SYN), CLIENT, VIP)
}

fn datagram() -> Packet {
    request(Udp(true), CLIENT, VIP)
}

fn link_rows() -> Vec<Row> {
    let bytes = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = syn().bytes();
        change(&mut bytes);
        TestFrame::new(CLIENTS, &bytes)
    };
    let on_port = |port: u16| {
        let mut frame = syn().frame();
        frame.port.0 = port;
        frame
    };
    let mut segmented = syn().frame();
    segmented.is_contiguous = false;
    vec![
        ("nothing", TestFrame::new(CLIENTS, &[]), EthernetShort),
        ("13 bytes", syn().cut(13), EthernetShort),
        ("half a tag", syn().vlan(0).cut(17), EthernetShort),
        ("from a group", bytes(&|frame| frame[6] |= 1), EthernetSource),
        ("to another station", bytes(&|frame| frame[5] ^= 1), NotOurMac),
        ("to all stations", bytes(&|frame| frame[..6].fill(0xff)), NotOurMac),
        ("to a group", bytes(&|frame| frame[0] |= 1), NotOurMac),
        ("a VLAN nobody has", syn().vlan(9).frame(), UnknownVlan),
        ("a VLAN another port has", syn().vlan(7).frame(), UnknownVlan),
        ("a port without interface", on_port(9), UnknownVlan),
        ("the address of another port", on_port(SERVERS.0), NotOurMac),
        (
            "two tags",
            bytes(&|frame| drop(frame.splice(12..12, [0x81, 0, 0, 7, 0x81, 0, 0, 7]))),
            NestedVlan,
        ),
        ("a service tag", bytes(&|frame| frame[12..14].copy_from_slice(&[0x88, 0xa8])), NestedVlan),
        (
            "IPv6 by its type only",
            bytes(&|frame| frame[12..14].copy_from_slice(&[0x86, 0xdd])),
            Ipv6Version,
        ),
        ("a length in place of a type", bytes(&|frame| frame[12..14].fill(0)), EtherType),
        ("spread over buffers", segmented, FrameSegmented),
        (
            "ARP cut off",
            TestFrame::new(CLIENTS, &who_has(VIP_ONLY, "10.9.0.1").bytes()[..41]),
            ArpMalformed,
        ),
        ("ARP for another", who_has("10.9.0.7", "10.9.0.1").frame(), ArpNotForUs),
    ]
}

const VIP_ONLY: &str = "10.9.0.100";

fn network_rows() -> Vec<Row> {
    let with = |change: fn(&mut [u8])| syn().frame_with(change);
    let said = |mut frame: TestFrame, checksum| {
        frame.checksum = checksum;
        frame
    };
    let mut damaged = syn().bytes();
    damaged[14 + 9] ^= 1;
    vec![
        ("19 bytes", syn().cut(14 + 19), Ipv4Short),
        ("no bytes", syn().cut(14), Ipv4Short),
        ("version 6", with(|l3| l3[0] = 0x65), Ipv4Version),
        ("version 0", with(|l3| l3[0] = 0x05), Ipv4Version),
        ("a header of 16 bytes", with(|l3| l3[0] = 0x44), Ipv4HeaderLength),
        ("a header past the frame", syn().options(&[1; 40]).cut(14 + 59), Ipv4HeaderLength),
        ("an option past the header", syn().options(&[7, 5, 4, 0]).frame(), Ipv4HeaderLength),
        ("an option of one byte", syn().options(&[7, 1, 0, 0]).frame(), Ipv4HeaderLength),
        ("an option without length", syn().options(&[1, 1, 1, 7]).frame(), Ipv4HeaderLength),
        ("a total length of 19", with(|l3| l3[3] = 19), Ipv4TotalLength),
        ("one byte missing", syn().cut(syn().bytes().len() - 1), Ipv4TotalLength),
        ("a total length past the frame", with(|l3| l3[2] = 0xff), Ipv4TotalLength),
        ("a damaged header", TestFrame::new(CLIENTS, &damaged), Ipv4Checksum),
        ("a header the port found damaged", said(syn().frame(), Checksum::Bad), Ipv4Checksum),
        ("loose source route", syn().options(&[1, 131, 3, 4]).frame(), Ipv4SourceRoute),
        ("strict source route", syn().options(&[7, 3, 4, 137]).frame(), Ipv4SourceRoute),
        ("a first fragment", with(|l3| l3[6] = 0x20), Fragment),
        ("a later fragment", with(|l3| l3[7] = 1), Fragment),
        ("a last fragment", with(|l3| l3[6] = 0x1f), Fragment),
        ("GRE", syn().transport(Raw(47)).frame(), Protocol),
        ("SCTP", syn().transport(Raw(132)).frame(), Protocol),
        ("IP in IP", syn().transport(Raw(4)).frame(), Protocol),
        ("from a loopback address", syn().from("127.0.0.1:5").frame(), Ipv4Source),
        ("from no address", datagram().from("0.0.0.0:5").frame(), Ipv4Source),
        ("from a group", datagram().from("239.1.1.1:5").frame(), Ipv4Source),
        ("from everybody", datagram().from("255.255.255.255:5").frame(), Ipv4Source),
        ("from the virtual address itself", syn().from(VIP).frame(), SourceIsOurs),
        ("from the director", datagram().from("10.1.255.254:5").frame(), SourceIsOurs),
        ("time to live 1", syn().from("10.9.0.1:7").ttl(1).frame(), TtlExpired),
        ("time to live 0", datagram().from("10.9.0.1:8").ttl(0).frame(), TtlExpired),
        ("one byte past the MTU", syn().from("10.9.0.1:9").payload(&[0; 1461]).frame(), TooBig),
    ]
}

fn transport_rows() -> Vec<Row> {
    // The IP packet ends after so many bytes; what follows in the frame is padding.
    let ends = |packet: Packet, length: u16| {
        packet.frame_with(|l3| l3[2..4].copy_from_slice(&length.to_be_bytes()))
    };
    let with = |change: fn(&mut [u8])| syn().frame_with(change);
    let udp_length =
        |length: u16| datagram().frame_with(|l3| l3[24..26].copy_from_slice(&length.to_be_bytes()));
    let mut damaged = echo("10.9.0.1", VIP_ONLY);
    damaged.payload[3] ^= 1;
    vec![
        ("19 bytes of TCP", ends(syn(), 39), TcpShort),
        ("no TCP at all", ends(syn(), 20), TcpShort),
        ("a TCP header of 16 bytes", with(|l3| l3[32] = 0x40), TcpHeaderLength),
        ("a TCP header past the packet", with(|l3| l3[32] = 0xf0), TcpHeaderLength),
        ("7 bytes of UDP", ends(datagram(), 27), UdpShort),
        ("a UDP length of 7", udp_length(7), UdpLength),
        ("a UDP length of 0", udp_length(0), UdpLength),
        ("a UDP length one past the packet", udp_length(26), UdpLength),
        ("7 bytes of ICMP", ends(echo("10.9.0.1", VIP_ONLY), 27), IcmpShort),
        ("damaged ICMP", damaged.frame(), IcmpChecksum),
        ("ICMP of no use", damaged.payload(&[0, 0, 0xff, 0xff, 0, 0, 0, 0]).frame(), IcmpUnhandled),
    ]
}

fn service_rows() -> Vec<Row> {
    let flags = |flags| request(Tcp(flags), CLIENT, VIP).frame();
    vec![
        ("to nobody we know", syn().to("10.9.0.101:80").frame(), NotForUs),
        ("to a server, past the service", syn().to(SERVER).frame(), NotForUs),
        ("to the director itself", syn().to("10.9.255.254:80").frame(), LocalPort),
        ("to another port of the virtual address", syn().to("10.9.0.100:81").frame(), NoService),
        ("ACK without connection", flags(ACK), NoConnection),
        ("damaged, to a port that nobody serves", damaged(), TransportChecksum),
        ("FIN without connection", flags(FIN | ACK), NoConnection),
        ("no flags at all", flags(0), NoConnection),
        ("RST without connection", flags(RST), NoConnection),
        ("SYN and RST", flags(SYN | RST), NoConnection),
        ("from a server, but no reply", reply(Tcp(SYN), SERVER, CLIENT).frame(), NoConnection),
        (
            "from another port of a server",
            reply(Udp(true), "10.1.0.1:9", CLIENT).frame(),
            NoConnection,
        ),
    ]
}

fn damaged() -> TestFrame {
    let mut bytes = syn().to("10.9.0.100:81").bytes();
    *bytes.last_mut().unwrap() ^= 1;
    TestFrame::new(CLIENTS, &bytes)
}

/// Rows that one packet to the usual laboratory shows.
fn rows() -> Vec<Row> {
    [link_rows(), network_rows(), six::rows(), transport_rows(), service_rows()].concat()
}

#[test]
fn each_is_dropped_for_its_reason_and_counted_once() {
    for (shows, frame, reason) in rows() {
        let mut lab = lab(Method::Nat, &[SERVER]);
        assert_eq!(lab.one_frame(frame), Outcome::Dropped(reason), "{shows}");
        assert_eq!((lab.dropped(reason), lab.dropped_in_all()), (1, 1), "{shows}");
        // A packet that opens a connection and then finds no way out leaves it behind.
        let opened = u32::from(matches!(reason, TtlExpired | TooBig));
        assert_eq!(lab.connection_count(), opened, "{shows}");
        assert!(matches!(lab.one(&datagram()), Outcome::Sent(..)), "{shows}: life goes on");
    }
}

/// The frames around a bad one fare no worse for it.
#[test]
fn bad_frames_in_a_burst_harm_no_others() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let rows = rows();
    let good = datagram();
    let expected =
        Outcome::Sent(SERVERS, good.clone().to(SERVER).sent(SERVERS, None, "10.1.0.1").bytes());
    let frames = rows.iter().flat_map(|(_, frame, _)| [good.frame(), frame.clone()]).collect();
    let outcomes = lab.offer(0, frames);
    for (pair, (shows, ..)) in outcomes.chunks(2).zip(&rows) {
        assert_eq!(pair[0], expected, "before {shows}");
        assert!(matches!(pair[1], Outcome::Dropped(_)), "{shows}");
    }
    assert_eq!(lab.dropped_in_all() as usize, rows.len());
}

/// A port that has verified the header is believed.
#[test]
fn a_header_that_the_port_found_good_is_not_summed_again() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let mut bytes = syn().bytes();
    bytes[14 + 10] ^= 0x10;
    let mut frame = TestFrame::new(CLIENTS, &bytes);
    frame.checksum = Checksum::Good;
    assert!(matches!(lab.one_frame(frame), Outcome::Sent(..)));
}

/// Reasons that need a laboratory of their own: each gives what the last packet was dropped for.
fn special_cases() -> Vec<(&'static str, Outcome, DropReason)> {
    vec![
        ("a service without servers", no_destination(&[]), NoDestination),
        ("only servers of weight 0", no_destination(&[SERVER, "10.1.0.2:80"]), NoDestination),
        ("its server has been deleted", server_deleted(), ServerDeleted),
        ("more connections than the table holds", table_full(), TableFull),
        ("more templates than their table holds", six::template_table_full(), TemplateTableFull),
        ("more connections than a client's chain holds", chain_full(), ChainFull),
        ("no room for the outer header", no_headroom(Method::Tunnel, SERVER, 19), NoHeadroom),
        ("no room for a tag", no_headroom(Method::Direct, "10.7.0.1:80", 3), NoHeadroom),
        ("no room for a tag under NAT", no_headroom(Method::Nat, "10.7.0.1:80", 3), NoHeadroom),
        ("a server nowhere", lab(Method::Nat, &["192.0.2.1:80"]).one(&syn()), NoRoute),
        ("a tunnel to nowhere", lab(Method::Tunnel, &["192.0.2.1:80"]).one(&syn()), NoRoute),
        ("a tunnel by GUE", tunnel(SERVER, TunnelKind::Gue), DropReason::TunnelKind),
        (
            "a tunnel to IPv6",
            tunnel("[2001:db8:1::1]:80", TunnelKind::Ipip),
            DropReason::TunnelKind,
        ),
        ("a client nowhere", client_without_route(), NoRoute),
        ("a next hop that is silent", unreachable(), NeighbourUnreachable),
        ("more next hops than the table holds", neighbour_table_full(), NeighbourTableFull),
        ("too many wait", hold_queue_full(), HoldQueueFull),
        ("too much of VRRP", floating::too_many_advertisements(), DropReason::RoutersQueueFull),
    ]
}

#[test]
fn special_cases_are_dropped_for_their_reasons() {
    for (shows, outcome, reason) in special_cases() {
        assert_eq!(outcome, Outcome::Dropped(reason), "{shows}");
    }
}

/// Reasons of the engine's own: `BufferEmpty` is counted, not given (see `neighbours`).
const NOT_VERDICTS: [DropReason; 3] = [HandoffFull, TransmitFull, BufferEmpty];

#[test]
fn every_reason_has_a_row() {
    let shown: Vec<_> = rows()
        .into_iter()
        .map(|(_, _, reason)| reason)
        .chain(special_cases().into_iter().map(|(_, _, reason)| reason))
        .collect();
    let missing: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| !shown.contains(reason) && !NOT_VERDICTS.contains(reason))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn no_destination(weightless: &[&str]) -> Outcome {
    let mut lab = lab(Method::Nat, &[]);
    for text in weightless {
        lab.add_server(&tcp(VIP), server(text, Method::Nat, 0));
    }
    lab.one(&syn())
}

fn server_deleted() -> Outcome {
    let mut lab = lab(Method::Nat, &[SERVER, "10.1.0.2:80"]);
    lab.one(&syn());
    lab.delete_server(&tcp(VIP), "10.1.0.2:80");
    lab.one(&syn())
}

fn table_full() -> Outcome {
    let mut lab = lab_of(Size { connections: 8, ..SIZE }, Method::Nat, &[SERVER]);
    let clients = (1..=9).map(|port| request(Tcp(SYN), &format!("10.9.0.1:{port}"), VIP));
    let outcomes = lab.burst(&clients.collect::<Vec<_>>());
    assert!(outcomes[..8].iter().all(|outcome| matches!(outcome, Outcome::Sent(..))));
    assert_eq!(lab.load(&tcp(VIP), SERVER), (8, 0), "the one refused is not counted");
    assert_eq!(lab.traffic(&tcp(VIP), SERVER)[0], 8);
    outcomes[8].clone()
}

/// One client, from one port, to 49 services.
fn chain_full() -> Outcome {
    let mut lab = Lab::new(Size { services: 200, servers: 200, ..SIZE });
    let ends: Vec<_> = (1..=49).map(|port| format!("10.9.0.100:{port}")).collect();
    let mut outcomes = Vec::new();
    for end in &ends {
        lab.add_service(service(tcp(end), "rr"));
        lab.add_server(&tcp(end), server(SERVER, Method::Direct, 1));
        outcomes.push(lab.one(&syn().to(end)));
    }
    assert!(outcomes[..48].iter().all(|outcome| matches!(outcome, Outcome::Sent(..))));
    let other = lab.one(&request(Tcp(SYN), "10.9.0.2:1234", &ends[0]));
    assert!(matches!(other, Outcome::Sent(..)), "others still get in");
    outcomes.remove(48)
}

fn no_headroom(method: Method, text: &str, headroom: usize) -> Outcome {
    lab(method, &[text]).one(&syn().headroom(headroom))
}

fn tunnel(end: &str, kind: TunnelKind) -> Outcome {
    let mut lab = lab(Method::Nat, &[]);
    let mut spec = server(SERVER, Method::Tunnel, 1);
    spec.address = end.parse::<SocketAddr>().unwrap().ip();
    spec.tunnel.kind = kind;
    lab.add_server(&tcp(VIP), spec);
    let outcome = lab.one(&syn());
    spec.tunnel.kind = TunnelKind::Ipip;
    lab.edit_server(&tcp(VIP), spec);
    if spec.address.is_ipv4() {
        assert!(matches!(lab.one(&syn()), Outcome::Sent(..)), "edited to what is supported");
    }
    outcome
}

fn client_without_route() -> Outcome {
    let mut lab = lab(Method::Nat, &[SERVER]);
    lab.one(&request(Tcp(SYN), "192.0.2.9:77", VIP));
    lab.one(&reply(Tcp(SYN | ACK), SERVER, "192.0.2.9:77"))
}

/// Nobody has let the shard tick, so the next packet itself finds out.
fn unreachable() -> Outcome {
    let mut lab = lab_of(Size { knows_hops: false, ..SIZE }, Method::Nat, &[SERVER]);
    for _ in 0..3 {
        assert_eq!(lab.one(&syn()), Outcome::Held);
        lab.wait(1);
    }
    lab.one(&syn())
}

fn neighbour_table_full() -> Outcome {
    let size = Size { knows_hops: false, neighbours: 1, ..SIZE };
    let mut lab = lab_of(size, Method::Nat, &["10.1.0.1:80", "10.1.0.2:80"]);
    assert_eq!(lab.one(&syn()), Outcome::Held);
    lab.one(&request(Tcp(SYN), "10.9.0.2:1", VIP))
}

fn hold_queue_full() -> Outcome {
    let mut lab = lab_of(Size { knows_hops: false, ..SIZE }, Method::Nat, &[SERVER]);
    (0..65).map(|_| lab.one(&syn())).last().unwrap()
}

/// Where a packet comes in says nothing about what it may ask for.
#[test]
fn any_port_may_bring_requests() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let mut packet = syn();
    packet.port = SERVERS;
    packet.link = (mac_of([10, 9, 0, 1].into()), own_mac(SERVERS));
    assert!(matches!(lab.one(&packet), Outcome::Sent(..)));
}
