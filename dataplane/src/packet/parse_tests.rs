//! Headers cut short, contradicting themselves, or just right: what the parsers say of each.

use super::arp::{self, Arp};
use super::ethernet::{self, Link, LinkHeader, Mac};
use super::icmp::{self, Icmp, Quote};
use super::*;
use DropReason::*;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Bytes from hexadecimal digits, spaces ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Every length from 0 to all of it, and whether to expect the whole.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (0..=bytes.len()).map(|length| (length, &bytes[..length]))
}

const PLAIN: &str = "020000000010 0201 0a090001 0800";
const TAGGED: &str = "020000000010 0201 0a090001 8100 6007 0806";

#[test]
fn link_headers() {
    let link = |vlan, ether_type, length| Link {
        destination: Mac([2, 0, 0, 0, 0, 0x10]),
        source: Mac([2, 1, 10, 9, 0, 1]),
        vlan,
        ether_type,
        length,
    };
    let rows = [
        ("untagged", PLAIN, Ok(link(0, 0x0800, 14))),
        ("tagged; priority is no part of the identifier", TAGGED, Ok(link(7, 0x0806, 18))),
        (
            "the highest identifier",
            "020000000010 02010a090001 8100 ffff 0800",
            Ok(link(4095, 0x0800, 18)),
        ),
        (
            "identifier 0 is no VLAN",
            "020000000010 02010a090001 8100 e000 0800",
            Ok(link(0, 0x0800, 18)),
        ),
        ("any type is read", "020000000010 02010a090001 0000", Ok(link(0, 0, 14))),
        ("a group as source", "020000000010 03010a090001 0800", Err(EthernetSource)),
        ("all stations as source", "020000000010 ffffffffffff 0800", Err(EthernetSource)),
        ("two tags", "020000000010 02010a090001 8100 0007 8100", Err(NestedVlan)),
        ("a service tag", "020000000010 02010a090001 88a8 0007 0800", Err(NestedVlan)),
        ("a service tag inside", "020000000010 02010a090001 8100 0007 88a8", Err(NestedVlan)),
    ];
    for (shows, frame, expected) in rows {
        assert_eq!(ethernet::parse(&hex(frame)), expected, "{shows}");
    }
    for whole in [PLAIN, TAGGED] {
        let whole = hex(whole);
        for (length, cut) in cuts(&whole).filter(|(length, _)| *length < whole.len()) {
            assert_eq!(ethernet::parse(cut), Err(EthernetShort), "cut after {length}");
        }
    }
}

#[test]
fn link_headers_written_are_read_again() {
    let (to, from) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    for (vlan, length) in [(None, 14), (Some(1), 18), (Some(4094), 18)] {
        let mut header = LinkHeader::new(Mac::default(), from, vlan, 0x0800);
        header.set_destination(to);
        let mut frame = [0xee; 20];
        header.write(&mut frame);
        let expected = Link {
            destination: to,
            source: from,
            vlan: vlan.unwrap_or(0),
            ether_type: 0x0800,
            length,
        };
        assert_eq!(ethernet::parse(&frame), Ok(expected));
        assert!(frame[length..].iter().all(|&byte| byte == 0xee), "and no byte more");
        assert_eq!(header.length(), length);
    }
}

/// An IPv4 header whose checksum is good, with what follows it.
fn ipv4(header: &str, payload: &str) -> Vec<u8> {
    let mut header = hex(header);
    header[10..12].fill(0);
    let checksum = checksum::of(&header);
    write_u16(&mut header, 10, checksum);
    header.extend(hex(payload));
    header
}

const HEADER: &str = "4500 0018 1111 4000 40 11 0000 0a090001 0a090064";

#[test]
fn ipv4_headers() {
    let header = |header_length, total_length, protocol, ttl| Header {
        source: Ipv4Addr::new(10, 9, 0, 1),
        destination: Ipv4Addr::new(10, 9, 0, 100),
        protocol,
        ttl,
        header_length,
        total_length,
    };
    let usual = |text: &str| ipv4(text, "01020304");
    // Header with four bytes of options.
    let with = |options: &str| {
        ipv4(&alloc::format!("4600 0018 1111 4000 40 11 0000 0a090001 0a090064 {options}"), "")
    };
    let ends = "0000 0a090001 0a090064";
    let rows = [
        ("whole", usual(HEADER), Ok(header(20, 24, 17, 64))),
        (
            "padding behind it",
            ipv4("4500 0014 0000 0000 01 06 0000 0a090001 0a090064", "eeeeee"),
            Ok(header(20, 20, 6, 1)),
        ),
        (
            "an odd flag bit that nobody uses",
            usual(&alloc::format!("4500 0018 1111 8000 40 11 {ends}")),
            Ok(header(20, 24, 17, 64)),
        ),
        ("options that end", with("00 83 83 83"), Ok(header(24, 24, 17, 64))),
        ("options that do nothing", with("01 01 01 01"), Ok(header(24, 24, 17, 64))),
        ("an option as long as can be", with("44 04 00 00"), Ok(header(24, 24, 17, 64))),
        ("version 6", usual(&alloc::format!("6500 0018 1111 4000 40 11 {ends}")), Err(Ipv4Version)),
        (
            "16 bytes of header",
            usual(&alloc::format!("4400 0018 1111 4000 40 11 {ends}")),
            Err(Ipv4HeaderLength),
        ),
        (
            "more header than there is",
            usual(&alloc::format!("4700 0018 1111 4000 40 11 {ends}")),
            Err(Ipv4HeaderLength),
        ),
        (
            "a total length within the header",
            usual(&alloc::format!("4500 0013 1111 4000 40 11 {ends}")),
            Err(Ipv4TotalLength),
        ),
        (
            "a total length past the frame",
            usual(&alloc::format!("4500 0019 1111 4000 40 11 {ends}")),
            Err(Ipv4TotalLength),
        ),
        ("loose source route", with("83 04 00 00"), Err(Ipv4SourceRoute)),
        ("strict source route behind another", with("01 89 03 00"), Err(Ipv4SourceRoute)),
        ("an option past the header", with("44 05 00 00"), Err(Ipv4HeaderLength)),
        ("an option of length 1", with("44 01 00 00"), Err(Ipv4HeaderLength)),
        ("an option without length", with("01 01 01 44"), Err(Ipv4HeaderLength)),
        (
            "more fragments",
            usual(&alloc::format!("4500 0018 1111 2000 40 11 {ends}")),
            Err(Fragment),
        ),
        (
            "a later fragment",
            usual(&alloc::format!("4500 0018 1111 0001 40 11 {ends}")),
            Err(Fragment),
        ),
    ];
    for (shows, packet, expected) in rows {
        assert_eq!(Ipv4Addr::parse(&packet, Checksum::Unknown), expected, "{shows}");
    }
    let whole = usual(HEADER);
    for (length, cut) in cuts(&whole) {
        let expected = match length {
            0..20 => Err(Ipv4Short),
            20..24 => Err(Ipv4TotalLength),
            _ => Ok(header(20, 24, 17, 64)),
        };
        assert_eq!(Ipv4Addr::parse(cut, Checksum::Unknown), expected, "cut after {length}");
    }
}

#[test]
fn the_ports_word_on_a_header_checksum_is_taken() {
    for options in ["", "01010101"] {
        let header =
            if options.is_empty() { HEADER.into() } else { HEADER.replace("4500", "4600") };
        let good = ipv4(&alloc::format!("{header}{options}"), "01020304");
        for (at, bit) in (0..20 + options.len() / 2).flat_map(|at| [(at, 1), (at, 0x80)]) {
            // Version and lengths are judged first.
            if at == 0 || at == 2 || at == 3 {
                continue;
            }
            let mut damaged = good.clone();
            damaged[at] ^= bit;
            let parse = |says| Ipv4Addr::parse(&damaged, says).err();
            assert_eq!(parse(Checksum::Unknown), Some(Ipv4Checksum), "byte {at}");
            assert_eq!(parse(Checksum::Bad), Some(Ipv4Checksum), "byte {at}");
            assert_ne!(parse(Checksum::Good), Some(Ipv4Checksum), "byte {at}");
        }
        assert_eq!(Ipv4Addr::parse(&good, Checksum::Bad), Err(Ipv4Checksum));
    }
}

/// Reads a transport header behind a link header of 14 bytes and an accepted IP header.
fn transport(protocol: u8, segment: &[u8], padding: usize) -> Result<Packet<Ipv4Addr>, DropReason> {
    let header = hex(HEADER);
    let frame = [&[0; 14][..], &header, segment, &[0xee].repeat(padding)].concat();
    let ip = Header {
        source: Ipv4Addr::new(10, 9, 0, 1),
        destination: Ipv4Addr::new(10, 9, 0, 100),
        protocol,
        ttl: 64,
        header_length: 20,
        total_length: 20 + segment.len() as u16,
    };
    parse_transport(&frame[14..], 14, ip)
}

const TCP: &str = "04d2 0050 01020304 00000000 6012 7fff 0000 0000 02040218";
const UDP: &str = "04d2 0050 000a 0000 abcd";

#[test]
fn transport_headers() {
    let segment = hex(TCP);
    for (length, cut) in cuts(&segment) {
        for padding in [0, 30] {
            let result = transport(protocol::TCP, cut, padding);
            match length {
                0..20 => assert_eq!(result, Err(TcpShort), "cut after {length}"),
                20..24 => assert_eq!(result, Err(TcpHeaderLength), "cut after {length}"),
                _ => {
                    let packet = result.unwrap();
                    let ports = (packet.source_port, packet.destination_port);
                    assert_eq!((ports, packet.tcp_flags), ((1234, 80), 0x12));
                    assert_eq!((packet.l3, packet.ip.header_length), (14, 20));
                }
            }
        }
    }
    let mut short = segment.clone();
    short[12] = 0x40;
    assert_eq!(transport(protocol::TCP, &short, 0), Err(TcpHeaderLength), "16 bytes");

    let datagram = hex(UDP);
    for (length, cut) in cuts(&datagram) {
        for padding in [0, 30] {
            let result = transport(protocol::UDP, cut, padding);
            match length {
                0..8 => assert_eq!(result, Err(UdpShort), "cut after {length}"),
                8..10 => assert_eq!(result, Err(UdpLength), "cut after {length}"),
                _ => {
                    let packet = result.unwrap();
                    let ports = (packet.source_port, packet.destination_port);
                    assert_eq!((ports, packet.tcp_flags), ((1234, 80), 0));
                }
            }
        }
    }
    for (length, expected) in [(7, Some(UdpLength)), (8, None), (10, None), (11, Some(UdpLength))] {
        let mut datagram = datagram.clone();
        datagram[5] = length;
        assert_eq!(transport(protocol::UDP, &datagram, 4).err(), expected, "length {length}");
    }
    for other in [0, 2, 4, 41, 47, 50, 132, 255] {
        assert_eq!(transport(other, &segment, 0), Err(Protocol), "protocol {other}");
    }
}

/// An ICMP message with a good checksum, behind its IP header.
fn message(kind: &str, body: &str) -> (Vec<u8>, Header<Ipv4Addr>) {
    let mut message = hex(&alloc::format!("{kind} 0000 00000000 {body}"));
    let checksum = checksum::of(&message);
    write_u16(&mut message, 2, checksum);
    let total_length = 20 + message.len() as u16;
    let packet = [&hex(HEADER)[..], &message].concat();
    let ip = Header {
        source: Ipv4Addr::new(10, 9, 0, 1),
        destination: Ipv4Addr::new(10, 9, 0, 100),
        protocol: Ipv4Addr::ICMP,
        ttl: 64,
        header_length: 20,
        total_length,
    };
    (packet, ip)
}

const QUOTED: &str = "4500 0028 0000 4000 40 06 0000 0a090064 0a090001 0050 04d2";
const WITH_OPTIONS: &str = "4600 002c 0000 4000 40 06 0000 0a090064 0a090001 01010101 0050 04d2";

#[test]
fn icmp_messages() {
    let quote = |protocol, ports: (u16, u16)| {
        let ends = [(10, 9, 0, 100, ports.0), (10, 9, 0, 1, ports.1)];
        Ok(Some((protocol, ends.map(|(a, b, c, d, port)| (Ipv4Addr::new(a, b, c, d), port)))))
    };
    let udp = QUOTED.replace("40 06", "40 11");
    let gre = QUOTED.replace("40 06", "40 2f");
    let later = QUOTED.replace("4000 40", "0001 40");
    let rows = [
        ("echo request", "0800", "", Ok(None)),
        ("echo request with a code", "0801", "", Ok(None)),
        ("echo reply", "0000", "", Ok(None)),
        ("redirect", "0501", QUOTED, Ok(None)),
        ("parameter problem", "0c00", QUOTED, Ok(None)),
        ("unreachable, with the ports and no more", "0303", QUOTED, quote(6, (80, 1234))),
        ("source quench", "0400", QUOTED, quote(6, (80, 1234))),
        ("time exceeded", "0b00", QUOTED, quote(6, (80, 1234))),
        ("about a datagram", "0303", &udp, quote(17, (80, 1234))),
        ("options in the quote", "0304", WITH_OPTIONS, quote(6, (80, 1234))),
        ("about a protocol without ports", "0302", &gre, quote(47, (0, 0))),
        ("about a later fragment", "0b01", &later, quote(6, (0, 0))),
        ("a quote cut within the header", "0303", &QUOTED[..30], Err(IcmpShort)),
        ("nothing quoted", "0303", "", Err(IcmpShort)),
        ("a quote cut within the ports", "0303", &QUOTED[..QUOTED.len() - 2], Err(IcmpShort)),
        ("not IPv4", "0303", &QUOTED.replacen('4', "6", 1), Err(IcmpShort)),
        ("a header of 16 bytes", "0303", &QUOTED.replacen("45", "44", 1), Err(IcmpShort)),
    ];
    for (shows, kind, body, expected) in rows {
        let (packet, ip) = message(kind, body);
        let parsed = icmp::parse(&packet, &ip);
        if shows.starts_with("echo request") {
            assert_eq!(parsed == Ok(Icmp::Echo), shows == "echo request");
        }
        let seen = parsed.map(|message| match message {
            Icmp::Error(Quote { protocol, source, destination, .. }) => {
                Some((protocol, [source, destination]))
            }
            _ => None,
        });
        assert_eq!(seen, expected, "{shows}");
        assert!(icmp::is_sound(&packet, &ip), "{shows}");
        let mut damaged = packet;
        damaged[20 + 5] ^= 0x10;
        assert!(!icmp::is_sound(&damaged, &ip), "{shows}, damaged");
    }
    let (packet, mut ip) = message("0800", "");
    for length in 20..28 {
        ip.total_length = length;
        assert_eq!(icmp::parse(&packet, &ip), Err(IcmpShort), "{} bytes", length - 20);
    }
}

#[test]
fn arp_packets() {
    let parse = |text: &str| Arp::parse(&hex(text));
    let request = "0001 0800 06 04 0001 02010a090001 0a090001 000000000000 0a090064";
    let expected = Arp {
        is_request: true,
        sender_mac: Mac([2, 1, 10, 9, 0, 1]),
        sender: Ipv4Addr::new(10, 9, 0, 1),
        target: Ipv4Addr::new(10, 9, 0, 100),
    };
    assert_eq!(parse(request), Ok(expected));
    assert_eq!(parse(&alloc::format!("{request} 0000")), Ok(expected), "padding");
    let reply = request.replace("04 0001", "04 0002");
    assert_eq!(parse(&reply), Ok(Arp { is_request: false, ..expected }));
    let bad = [
        ("another network", request.replacen("0001", "0006", 1)),
        ("another protocol", request.replace("0800", "86dd")),
        ("longer link addresses", request.replace("06 04", "08 04")),
        ("longer addresses", request.replace("06 04", "06 10")),
        ("no addresses at all", request.replace("06 04", "00 00")),
        ("operation 0", request.replace("04 0001", "04 0000")),
        ("a reverse request", request.replace("04 0001", "04 0003")),
        ("a group as sender", request.replace("02010a", "03010a")),
    ];
    for (shows, text) in bad {
        assert_eq!(parse(&text), Err(ArpMalformed), "{shows}");
    }
    let whole = hex(request);
    for (length, cut) in cuts(&whole).filter(|(length, _)| *length < arp::LENGTH) {
        assert_eq!(Arp::parse(cut), Err(ArpMalformed), "cut after {length}");
    }
    let mut written = [0xee; arp::LENGTH + 1];
    let target = (Mac::default(), expected.target);
    arp::write(&mut written, true, (expected.sender_mac, expected.sender), target);
    assert_eq!((&written[..arp::LENGTH], written[arp::LENGTH]), (&whole[..], 0xee));
}

/// Folding is arithmetic modulo 65,535, in which 0 stays 0 and nothing else becomes it.
#[test]
fn folding_loses_no_carry() {
    let extremes = [0, 1, 0xffff, 0x1_0000, 0xffff_ffff, 0xffff_ffff_0001_0000, u64::MAX];
    let near = |n: u64| [n.wrapping_sub(1), n, n.wrapping_add(1)];
    for sum in extremes.into_iter().flat_map(near).chain((0..64).map(|bit| u64::MAX >> bit)) {
        let expected = if sum == 0 { 0 } else { (sum - 1) % 0xffff + 1 };
        assert_eq!(u64::from(checksum::fold(sum)), expected, "{sum:#x}");
    }
}
