//! Forwarded packets against packets built from scratch, and who owns them.

use std::net::Ipv4Addr;

use dataplane::service::{Method, Protocol};
use proptest::prelude::*;

use crate::common::build::{ACK, Packet, SYN, Transport, error_about, reply, request_from};
use crate::common::check::see;
use crate::common::lab::{Lab, SIZE, Size};
use crate::common::names::{CLIENTS, SERVER, SERVERS, end, ip, key, server, service};
use Transport::{Tcp, Udp};

fn packet() -> impl Strategy<Value = Packet> {
    // Clients are behind the gateway, so that any number of them has a known next hop.
    let client = (0_u32..1 << 22).prop_map(|n| Ipv4Addr::from(0x6440_0000 + n));
    let virtual_address = (11_u8..127, any::<[u8; 3]>())
        .prop_filter("a client's", |(first, _)| *first != 100)
        .prop_map(|(first, [b, c, d])| Ipv4Addr::new(first, b, c, d));
    let transport = prop::sample::select(vec![Tcp(SYN), Udp(true), Udp(false)]);
    let rest = (2_u8.., any::<u8>(), any::<u16>(), any::<bool>(), 0_usize..=10);
    let payload = prop::collection::vec(any::<u8>(), 0..100);
    // From port 20 come servers' data connections, which are not scheduled.
    let client_port = any::<u16>().prop_filter("of FTP", |port| *port != 20);
    ((client, client_port), (virtual_address, any::<u16>()), transport, rest, payload).prop_map(
        |(client, virtual_end, transport, (ttl, tos, id, dont_fragment, options), payload)| {
            let mut packet = request_from(transport, client, virtual_end);
            packet =
                packet.ttl(ttl).tos(tos).id(id).options(&vec![1; options * 4]).payload(&payload);
            packet.dont_fragment = dont_fragment;
            packet
        },
    )
}

fn lab(shards: u16, packet: &Packet, method: Method, server_end: &str) -> Lab {
    let mut lab = Lab::new(Size { shards, connections: 16, ..SIZE });
    let protocol = if packet.transport == Tcp(SYN) { Protocol::Tcp } else { Protocol::Udp };
    let text = format!("{}:{}", packet.destination.0, packet.destination.1);
    let key = key(protocol, &text);
    lab.add_service(service(key, "rr"));
    lab.add_server(&key, server(server_end, method, 1));
    lab
}

/// With the checksum that NAT gives to every datagram.
fn summed(mut packet: Packet) -> Packet {
    if packet.transport == Udp(false) {
        packet.transport = Udp(true);
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Patched checksums are the full ones: the frames are the same as new ones.
    #[test]
    fn forwarded_is_as_built(packet in packet(), server_port: u16, host in 1_u8..=8) {
        let text = format!("10.1.0.{host}:{server_port}");
        let address = format!("10.1.0.{host}");
        let leaving = packet.clone().sent(SERVERS, None, &address);

        let out = lab(1, &packet, Method::Direct, &text).one(&packet);
        prop_assert_eq!(out.bytes(), leaving.bytes());

        let out = lab(1, &packet, Method::Tunnel, &text).one(&packet);
        let tos = if packet.tos & 3 == 3 { packet.tos - 1 } else { packet.tos };
        let id = u16::from(!packet.dont_fragment);
        let wrapped = leaving.clone().wrapped("10.1.255.254", &address, tos, id);
        prop_assert_eq!(out.bytes(), wrapped.bytes());

        let out = lab(1, &packet, Method::Nat, &text).one(&packet);
        let mut translated = summed(leaving);
        let port = if server_port == 0 { packet.destination.1 } else { server_port };
        translated.destination = (ip(&address), port);
        prop_assert_eq!(out.bytes(), translated.bytes());
    }

    /// What a server sends back to where a request came from reaches the client as from whom it
    /// asked, with the payload untouched.
    #[test]
    fn a_reply_undoes_its_request(
        packet in packet(),
        answer in prop::collection::vec(any::<u8>(), 0..100),
        has_checksum: bool,
    ) {
        let mut lab = lab(1, &packet, Method::Nat, SERVER);
        let arrived = see(lab.one(&packet).bytes());
        prop_assert_eq!(arrived.source, packet.source, "the server sees the client");
        prop_assert_eq!(arrived.destination, end(SERVER));
        prop_assert_eq!(&arrived.payload, &packet.payload);

        let transport = if arrived.protocol == 6 { Tcp(SYN | ACK) } else { Udp(has_checksum) };
        let mut back = reply(transport, SERVER, "10.9.0.1:1").payload(&answer);
        (back.source, back.destination) = (arrived.destination, arrived.source);
        let out = lab.one(&back);
        let returned = see(out.bytes());
        prop_assert_eq!(returned.source, packet.destination, "the client sees whom it asked");
        prop_assert_eq!(returned.destination, packet.source);
        prop_assert_eq!(&returned.payload, &answer);
        let mut expected = summed(back).sent(CLIENTS, None, "10.9.0.254");
        expected.source = packet.destination;
        prop_assert_eq!(out.bytes(), expected.bytes());
    }

    /// Request, reply and errors about either are for the same shard, from wherever they come.
    #[test]
    fn all_packets_of_a_connection_have_one_owner(packet in packet(), shards in 2_u16..=8) {
        let mut lab = lab(shards, &packet, Method::Nat, SERVER);
        let owner = lab.owner(packet.source);
        let to_server = packet.clone().to(SERVER);
        let mut answer = reply(packet.transport, SERVER, "10.9.0.1:1");
        answer.destination = packet.source;
        let mut to_client = answer.clone();
        to_client.source = packet.destination;
        let virtual_address = packet.destination.0.to_string();
        let client = packet.source.0.to_string();
        let frames = [
            packet.frame(),
            answer.frame(),
            // From the client or a router about an answer; from the server about a request as NAT
            // made it.
            error_about(&to_client, "10.9.0.1", &virtual_address).frame(),
            error_about(&to_server, "10.1.0.1", &client).frame(),
        ];
        for frame in frames {
            for shard in 0..usize::from(shards) {
                let before = lab.handed_over;
                lab.offer(shard, vec![frame.clone()]);
                // The driver checks that whoever gets it does not pass it on.
                prop_assert_eq!(lab.handed_over - before, u64::from(shard != owner));
            }
        }
        prop_assert_eq!(lab.shards[owner].connections(), 1);
    }
}
