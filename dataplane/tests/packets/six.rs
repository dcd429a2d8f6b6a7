//! IPv6 as IPv4 has it: forwarded three ways, resolved, answered, and dropped by name.

use std::net::Ipv6Addr;

use dataplane::frame::Frame;
use dataplane::packet::ethernet::Mac;
use dataplane::packet::ndp;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelSpec,
};
use dataplane::verdict::DropReason::{self, *};
use dataplane::verdict::PortId;
use etherparse::{Icmpv6Type, PacketBuilder, PacketHeaders, SlicedPacket, TransportHeader};

use crate::common::build::{Transport, request};
use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{CLIENTS, SERVERS, VIP, own_mac, server, service, tcp};
use crate::drops::Row;

const CLIENT: &str = "2001:db8:9::1";
const VIRTUAL: &str = "2001:db8:9::100";
const SERVER: &str = "2001:db8:1::1";
const OURS: &str = "2001:db8:1::fffe";
const CLIENT_MAC: Mac = Mac([2, 6, 0, 0, 0, 1]);
const SERVER_MAC: Mac = Mac([2, 6, 0, 0, 0, 2]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn key(protocol: Protocol) -> ServiceKey {
    ServiceKey::Address { protocol, address: ip(VIRTUAL).into(), port: 80 }
}

fn lab(method: Method) -> Lab {
    let mut lab = Lab::new(SIZE);
    for shard in &mut lab.shards {
        shard.fix_neighbour(ip(CLIENT).into(), CLIENT_MAC).unwrap();
        shard.fix_neighbour(ip(SERVER).into(), SERVER_MAC).unwrap();
    }
    add_services(&mut lab, method);
    lab
}

fn add_services(lab: &mut Lab, method: Method) {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        lab.add_service(ServiceSpec {
            client_mask: ClientMask::each_client(Family::V6),
            ..service(key(protocol), "rr")
        });
        lab.add_server(
            &key(protocol),
            ServerSpec {
                address: ip(SERVER).into(),
                port: 8080,
                method,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: TunnelSpec::default(),
            },
        );
    }
}

fn builder(
    port: PortId,
    from: &str,
    to: &str,
) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let from_mac = if port == CLIENTS { CLIENT_MAC } else { SERVER_MAC };
    PacketBuilder::ethernet2(from_mac.0, own_mac(port).0).ipv6(
        ip(from).octets(),
        ip(to).octets(),
        64,
    )
}

fn udp(port: PortId, from: (&str, u16), to: (&str, u16), data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder(port, from.0, to.0).udp(from.1, to.1).write(&mut bytes, data).unwrap();
    bytes
}

fn syn(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = builder(CLIENTS, from.0, to.0).tcp(from.1, to.1, 1, 1024).syn();
    builder.write(&mut bytes, &[]).unwrap();
    bytes
}

fn request6() -> Vec<u8> {
    udp(CLIENTS, (CLIENT, 1234), (VIRTUAL, 80), b"what is the time?")
}

fn sent(outcome: Outcome, port: PortId) -> Vec<u8> {
    let Outcome::Sent(out, bytes) = outcome else { panic!("not sent but {outcome:?}") };
    assert_eq!(out, port);
    bytes
}

fn one(lab: &mut Lab, port: PortId, bytes: &[u8]) -> Outcome {
    lab.one_frame(TestFrame::new(port, bytes))
}

/// The frame as it must leave: other stations' addresses, one hop less.
fn leaving(mut bytes: Vec<u8>, port: PortId, to: Mac) -> Vec<u8> {
    bytes[..6].copy_from_slice(&to.0);
    bytes[6..12].copy_from_slice(&own_mac(port).0);
    bytes[14 + 7] -= 1;
    bytes
}

#[test]
fn nat_translates_both_ways() {
    let mut lab = lab(Method::Nat);
    let out = sent(one(&mut lab, CLIENTS, &request6()), SERVERS);
    let built = udp(CLIENTS, (CLIENT, 1234), (SERVER, 8080), b"what is the time?");
    assert_eq!(out, leaving(built, SERVERS, SERVER_MAC), "as if built for the server");
    let answer = udp(SERVERS, (SERVER, 8080), (CLIENT, 1234), b"late");
    let out = sent(one(&mut lab, SERVERS, &answer), CLIENTS);
    let built = udp(SERVERS, (VIRTUAL, 80), (CLIENT, 1234), b"late");
    assert_eq!(out, leaving(built, CLIENTS, CLIENT_MAC), "as if built by the virtual service");
}

#[test]
fn direct_routing_changes_one_hop_and_tunnels_wrap_it() {
    let packet = leaving(request6(), SERVERS, SERVER_MAC);
    let out = sent(one(&mut lab(Method::Direct), CLIENTS, &request6()), SERVERS);
    assert_eq!(out, packet);
    let out = sent(one(&mut lab(Method::Tunnel), CLIENTS, &request6()), SERVERS);
    let outer = PacketHeaders::from_ethernet_slice(&out).unwrap();
    let Some(etherparse::NetHeaders::Ipv6(header, _)) = outer.net else { panic!("IPv6 outside") };
    assert_eq!((header.source, header.destination), (ip(OURS).octets(), ip(SERVER).octets()));
    assert_eq!((header.next_header.0, header.hop_limit), (41, 63));
    assert_eq!(usize::from(header.payload_length), packet.len() - 14);
    assert_eq!(out[14 + 40..], packet[14..], "the packet inside");
    assert_eq!(out[..14], packet[..14], "the link header outside");
}

#[test]
fn extension_headers_are_looked_through() {
    let mut bytes = request6();
    // Eight bytes of destination options, of padding.
    bytes.splice(14 + 40..14 + 40, [17, 0, 1, 4, 0, 0, 0, 0]);
    bytes[14 + 6] = 60;
    bytes[14 + 5] += 8;
    let out = sent(one(&mut lab(Method::Nat), CLIENTS, &bytes), SERVERS);
    let sliced = SlicedPacket::from_ethernet(&out).unwrap();
    let Some(etherparse::TransportSlice::Udp(udp)) = sliced.transport else { panic!("UDP") };
    assert_eq!(udp.destination_port(), 8080);
}

fn solicitation(from: &str, to: Ipv6Addr, mac: Mac, target: &str) -> Vec<u8> {
    let mut bytes = vec![0; 14 + ndp::SOLICITATION_LENGTH];
    bytes[..6].copy_from_slice(&ndp::multicast_mac(to).0);
    bytes[6..12].copy_from_slice(&mac.0);
    bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    ndp::write_solicitation(&mut bytes[14..], ip(from), mac, ip(target));
    bytes
}

#[test]
fn solicitations_for_our_addresses_are_answered() {
    for target in [VIRTUAL, "2001:db8:9::fffe"] {
        let group = ndp::solicited_node(ip(target));
        let question = solicitation(CLIENT, group, CLIENT_MAC, target);
        let out = sent(one(&mut lab(Method::Direct), CLIENTS, &question), CLIENTS);
        assert_eq!(out[..12], [CLIENT_MAC.0, own_mac(CLIENTS).0].concat());
        let headers = PacketHeaders::from_ethernet_slice(&out).unwrap();
        let Some(etherparse::NetHeaders::Ipv6(header, _)) = headers.net else { panic!("IPv6") };
        assert_eq!((header.source, header.destination), (ip(target).octets(), ip(CLIENT).octets()));
        assert_eq!(header.hop_limit, 255);
        let Some(TransportHeader::Icmpv6(icmp)) = headers.transport else { panic!("ICMPv6") };
        let Icmpv6Type::NeighborAdvertisement(advertisement) = icmp.icmp_type else {
            panic!("{icmp:?}")
        };
        assert!(advertisement.solicited && advertisement.r#override && advertisement.router);
        assert_eq!(headers.payload.slice()[..16], ip(target).octets());
        assert_eq!(headers.payload.slice()[16..18], [2, 1]);
        assert_eq!(headers.payload.slice()[18..], own_mac(CLIENTS).0);
        let whole = icmp.icmp_type.calc_checksum(
            header.source,
            header.destination,
            headers.payload.slice(),
        );
        assert_eq!(icmp.checksum, whole.unwrap());
    }
}

/// A question without its asker's link-layer address is shorter than the answer.
#[test]
fn whoever_probes_hears_with_all_others_that_the_address_is_taken() {
    let group = ndp::solicited_node(ip(VIRTUAL));
    let mut probe = solicitation("::", group, CLIENT_MAC, VIRTUAL);
    probe.truncate(14 + 40 + 24);
    probe[14 + 5] = 24;
    // The checksum without the option, computed anew.
    probe[14 + 42..14 + 44].fill(0);
    let mut sum = vec![];
    sum.extend_from_slice(&probe[14 + 8..14 + 40]);
    sum.extend_from_slice(&[0, 0, 0, 24, 0, 0, 0, 58]);
    sum.extend_from_slice(&probe[14 + 40..]);
    let checksum = !crate::common::check::sum16(&[&sum]);
    probe[14 + 42..14 + 44].copy_from_slice(&checksum.to_be_bytes());
    let out = sent(one(&mut lab(Method::Direct), CLIENTS, &probe), CLIENTS);
    assert_eq!(out[..6], [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(out[14 + 24..14 + 40], ndp::ALL_NODES.octets());
    assert_eq!(out.len(), 14 + ndp::ADVERTISEMENT_LENGTH);
}

#[test]
fn next_hops_are_asked_for_and_packets_wait() {
    let mut lab = Lab::new(Size { knows_hops: false, ..SIZE });
    add_services(&mut lab, Method::Direct);
    assert_eq!(one(&mut lab, CLIENTS, &request6()), Outcome::Held);
    let group = ndp::solicited_node(ip(SERVER));
    let mut expected = solicitation(OURS, group, own_mac(SERVERS), SERVER);
    expected[6..12].copy_from_slice(&own_mac(SERVERS).0);
    assert_eq!(lab.take_sent(), [(SERVERS, expected)]);
    let mut answer = vec![0; 14 + ndp::ADVERTISEMENT_LENGTH];
    answer[..6].copy_from_slice(&own_mac(SERVERS).0);
    answer[6..12].copy_from_slice(&SERVER_MAC.0);
    answer[12..14].copy_from_slice(&[0x86, 0xdd]);
    let (from, to) = (ip(SERVER), ip(OURS));
    ndp::write_advertisement(&mut answer[14..], from, SERVER_MAC, to, from, true);
    assert_eq!(one(&mut lab, SERVERS, &answer), Outcome::Consumed);
    assert_eq!(lab.take_sent(), [(SERVERS, leaving(request6(), SERVERS, SERVER_MAC))]);
}

/// The director's own addresses are announced, in both families.
#[test]
fn addresses_are_announced() {
    let mut lab = Lab::new(SIZE);
    lab.shards[0].announce(&mut lab.host);
    let sent = lab.take_sent();
    let (six, four): (Vec<_>, Vec<_>) =
        sent.iter().partition(|(_, bytes)| bytes[..2] == [0x33, 0x33]);
    assert_eq!((four.len(), six.len()), (4, 2));
    assert!(four.iter().all(|(_, bytes)| bytes[..6] == [0xff; 6]));
}

#[test]
fn pings_are_answered() {
    let mut ping = Vec::new();
    let builder = builder(CLIENTS, CLIENT, VIRTUAL).icmpv6_echo_request(1, 2);
    builder.write(&mut ping, b"ping").unwrap();
    let out = sent(one(&mut lab(Method::Nat), CLIENTS, &ping), CLIENTS);
    let mut expected = Vec::new();
    PacketBuilder::ethernet2(own_mac(CLIENTS).0, CLIENT_MAC.0)
        .ipv6(ip(VIRTUAL).octets(), ip(CLIENT).octets(), 64)
        .icmpv6_echo_reply(1, 2)
        .write(&mut expected, b"ping")
        .unwrap();
    assert_eq!(out, expected);
}

/// Every reason that only IPv6 has.
pub(crate) fn rows() -> Vec<Row> {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = syn((CLIENT, 1234), ("2001:db8:9::fffe", 80));
        change(&mut bytes);
        TestFrame::new(CLIENTS, &bytes)
    };
    let extended = |first: u8, extension: &[u8]| {
        let (first, extension) = (first, extension.to_vec());
        with(&|frame| {
            frame.splice(54..54, extension.iter().copied());
            frame[14 + 6] = first;
            frame[14 + 5] += extension.len() as u8;
        })
    };
    let question = |change: &dyn Fn(&mut Vec<u8>)| {
        let group = ndp::solicited_node(ip("2001:db8:9::7"));
        let mut bytes = solicitation(CLIENT, group, CLIENT_MAC, "2001:db8:9::7");
        change(&mut bytes);
        TestFrame::new(CLIENTS, &bytes)
    };
    let many: Vec<u8> = [[60, 0, 1, 4, 0, 0, 0, 0]; 9].concat();
    vec![
        ("39 bytes of IPv6", with(&|frame| frame.truncate(14 + 39)), Ipv6Short),
        ("version 4 by its type", with(&|frame| frame[14] = 0x45), Ipv6Version),
        ("IPv6 past the frame", with(&|frame| frame[14 + 5] += 1), Ipv6Length),
        ("IPv6 of nearly 64 KiB", with(&|frame| frame[14 + 4] = 0xff), Ipv6Length),
        ("an extension past the packet", extended(60, &[6, 9, 1, 4, 0, 0, 0, 0]), Ipv6Extension),
        ("nine extensions", extended(60, &many), Ipv6Extension),
        (
            "hop-by-hop options late",
            extended(60, &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
            Ipv6Extension,
        ),
        ("a routing header of type 0", extended(43, &[6, 0, 0, 0, 0, 0, 0, 0]), Ipv6SourceRoute),
        ("a fragment of IPv6", extended(44, &[6, 0, 0, 1, 0, 0, 0, 1]), Fragment),
        ("TCP cut off", extended(59, &[]), Protocol),
        ("a solicitation that was passed on", question(&|frame| frame[14 + 7] = 254), NdpMalformed),
        ("a solicitation with a code", question(&|frame| frame[14 + 41] = 1), NdpMalformed),
        ("a damaged solicitation", question(&|frame| frame[14 + 42] ^= 1), IcmpChecksum),
        ("a solicitation for another", question(&|_| ()), NdpNotForUs),
        ("an IPv6 group", question(&|frame| frame[14 + 40] = 200), NotOurMac),
        ("from an IPv6 loopback address", martian("::1"), Ipv6Source),
        ("from an IPv6 group", martian("ff02::5"), Ipv6Source),
        ("from an IPv4 address in disguise", martian("::ffff:10.9.0.1"), Ipv6Source),
    ]
}

fn martian(from: &str) -> TestFrame {
    let mut echo = Vec::new();
    let builder = builder(CLIENTS, from, "2001:db8:9::fffe").icmpv6_echo_request(1, 2);
    builder.write(&mut echo, b"ping").unwrap();
    TestFrame::new(CLIENTS, &echo)
}

/// Room for a few templates, and a client more than that.
pub(crate) fn template_table_full() -> Outcome {
    let mut lab = Lab::new(Size { connections: 65_536, ..SIZE });
    lab.add_service(ServiceSpec { persistence_s: Some(300), ..service(tcp(VIP), "rr") });
    lab.add_server(&tcp(VIP), server("10.1.0.1:80", Method::Direct, 1));
    let syn = |n: u32| {
        let client = format!("10.9.{}.{}:1", n >> 8 & 0x7f, n & 0xff);
        request(Transport::Tcp(2), &client, VIP)
    };
    let last = (256..20_000).map(|n| lab.one(&syn(n))).find(|o| matches!(o, Outcome::Dropped(_)));
    assert!(lab.templates.len() > 3000, "{}", lab.templates.len());
    last.expect("the table has an end")
}

#[test]
fn malformed_bytes_never_panic() {
    // Every truncation, and every byte changed, of a datagram and of a solicitation.
    let frames =
        [request6(), solicitation(CLIENT, ndp::solicited_node(ip(VIRTUAL)), CLIENT_MAC, VIRTUAL)];
    for frame in frames {
        let mut lab = lab(Method::Nat);
        for length in 0..frame.len() {
            let outcome = one(&mut lab, CLIENTS, &frame[..length]);
            assert!(matches!(outcome, Outcome::Dropped(_)), "{length}: {outcome:?}");
        }
        for (at, value) in
            (14..frame.len()).flat_map(|at| [0, 1, 0x7f, 0x80, 0xff].map(|v| (at, v)))
        {
            let mut changed = frame.clone();
            changed[at] = value;
            let received = TestFrame::new(CLIENTS, &changed);
            let length = received.bytes().len();
            assert_eq!(length, frame.len());
            lab.one_frame(received);
        }
    }
}

#[test]
fn an_unserved_port_is_refused() {
    let mut lab = lab(Method::Nat);
    let packet = syn((CLIENT, 1234), (VIRTUAL, 81));
    assert_eq!(one(&mut lab, CLIENTS, &packet), Outcome::Dropped(DropReason::NoService));
    let (port, reset) = lab.answers.pop().expect("a reset");
    assert_eq!(port, CLIENTS);
    let headers = PacketHeaders::from_ethernet_slice(&reset).unwrap();
    let Some(TransportHeader::Tcp(tcp)) = headers.transport else { panic!("TCP") };
    assert!(tcp.rst && tcp.ack && tcp.acknowledgment_number == 2);
}
