use super::*;
use crate::frame::Checksum;
use alloc::vec;
use proptest::prelude::*;

const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

fn v2(auth: Auth) -> Advertisement {
    Advertisement {
        version: Version::V2,
        vrid: 51,
        priority: 100,
        interval_cs: 100,
        auth,
        addresses: vec![[192, 0, 2, 10].into()],
    }
}

fn v3(addresses: &[&str]) -> Advertisement {
    Advertisement {
        version: Version::V3,
        vrid: 7,
        priority: 200,
        interval_cs: 1,
        auth: Auth::None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn packet(advertisement: &Advertisement, source: IpAddr, pseudo_header: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    advertisement.append_packet(source, pseudo_header, &mut packet);
    packet
}

/// Takes a packet apart as the host does.
fn open(packet: &[u8]) -> (Envelope, &[u8]) {
    fn envelope<A: Network>(packet: &[u8]) -> (Envelope, &[u8]) {
        let ip = A::parse(packet, Checksum::Unknown).unwrap();
        assert_eq!((ip.protocol, usize::from(ip.total_length)), (PROTOCOL, packet.len()));
        let envelope =
            Envelope { source: ip.source.into(), destination: ip.destination.into(), ttl: ip.ttl };
        (envelope, &packet[usize::from(ip.header_length)..])
    }
    match packet[0] >> 4 {
        4 => envelope::<Ipv4Addr>(packet),
        _ => envelope::<Ipv6Addr>(packet),
    }
}

/// A good message of each kind, with its envelope.
fn good() -> Vec<(Envelope, Vec<u8>, Advertisement)> {
    [
        (v2(Auth::None), SOURCE_V4, false),
        (v2(Auth::password("secret")), SOURCE_V4, false),
        (v3(&["192.0.2.10", "192.0.2.11"]), SOURCE_V4, true),
        (v3(&["192.0.2.10"]), SOURCE_V4, false),
        (v3(&["fe80::5e:1", "2001:db8::1"]), SOURCE_V6, true),
    ]
    .into_iter()
    .map(|(advertisement, source, pseudo_header)| {
        let packet = packet(&advertisement, source, pseudo_header);
        let (envelope, payload) = open(&packet);
        (envelope, payload.to_vec(), advertisement)
    })
    .collect()
}

/// Puts the checksum right, as far as the message has one.
fn seal(envelope: &Envelope, payload: &mut [u8]) {
    let (IpAddr::V4(source), IpAddr::V4(to)) = (envelope.source, envelope.destination) else {
        return;
    };
    if payload.len() >= HEADER_LENGTH {
        payload[CHECKSUM..CHECKSUM + 2].fill(0);
        let mut sum = checksum::sum(payload);
        if payload[0] >> 4 != 2 {
            sum += pseudo_sum((source, to), payload.len());
        }
        write_u16(payload, CHECKSUM, !checksum::fold(sum));
    }
}

/// Layouts of RFC 3768 section 5.1 and RFC 9568 section 5.2 with the numbers put in by hand.
#[test]
fn packets_are_what_the_standards_say() {
    // Words of the message sum to 2133+6401+0001+c000+020a = 1473f, so the checksum is ~4740.
    assert_eq!(
        packet(&v2(Auth::None), SOURCE_V4, true),
        [
            &[0x45, 0xc0, 0, 40, 0, 0, 0x40, 0, 255, 112, 0xd8, 0x91, 192, 0, 2, 1, 224, 0, 0, 18]
                [..],
            &[0x21, 51, 100, 1, 0, 1, 0xb8, 0xbf, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat()
    );
    let with_password = packet(&v2(Auth::password("secret")), SOURCE_V4, true);
    assert_eq!(
        with_password[20..],
        *[&[0x21, 51, 100, 1, 1, 1, 0x7b, 0x73, 192, 0, 2, 10][..], b"secret\0\0"].concat()
    );
    // 3107+c801+0001+c000+020a = 1bb13, and c000+0201+e000+0012+0070+000c = 1a28f in front.
    let plain = packet(&v3(&["192.0.2.10"]), SOURCE_V4, false);
    assert_eq!(plain[20..], [0x31, 7, 200, 1, 0, 1, 0x44, 0xeb, 192, 0, 2, 10]);
    let pseudo = packet(&v3(&["192.0.2.10"]), SOURCE_V4, true);
    assert_eq!(pseudo[20..], [0x31, 7, 200, 1, 0, 1, 0xa2, 0x5a, 192, 0, 2, 10]);
    let six = packet(&v3(&["fe80::5"]), SOURCE_V6, true);
    let [source, group, address] = [(0xfe80, 1), (0xff02, 0x12), (0xfe80, 5)]
        .map(|(first, last)| Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last).octets());
    // 3107+c801+0001+fe80+0005 = 1f78e, and fe80+0001+ff02+0012+0070+0018 = 1fe1d in front.
    let (header, message) = ([0x6c, 0, 0, 0, 0, 24, 112, 255], [0x31, 7, 200, 1, 0, 1, 0x0a, 0x51]);
    assert_eq!(six, [&header[..], &source, &group, &message, &address].concat());
}

#[test]
fn what_is_written_is_read() {
    for (envelope, payload, advertisement) in good() {
        assert_eq!(Advertisement::parse(&envelope, &payload), Ok(advertisement));
    }
    let mut most = v3(&[]);
    most.interval_cs = 4095;
    most.addresses = (0..255).map(|n| [10, 0, 0, n].into()).collect();
    let packet = packet(&most, SOURCE_V4, true);
    let (envelope, payload) = open(&packet);
    assert_eq!(Advertisement::parse(&envelope, payload), Ok(most));
}

#[test]
fn packets_are_appended() {
    let mut frame = vec![0xee; 14];
    v2(Auth::None).append_packet(SOURCE_V4, true, &mut frame);
    assert_eq!(frame[..14], [0xee; 14]);
    assert_eq!(frame[14..], packet(&v2(Auth::None), SOURCE_V4, true));
}

#[test]
fn rejections_are_named() {
    let (envelope, payload, _) = good().remove(2);
    let outside = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = envelope;
        change(&mut envelope);
        Advertisement::parse(&envelope, &payload)
    };
    assert_eq!(outside(&|envelope| envelope.ttl = 254), Err(Rejection::Ttl));
    assert_eq!(outside(&|envelope| envelope.source = SOURCE_V6), Err(Rejection::Family));
    let elsewhere = IpAddr::from([192, 0, 2, 2]);
    assert_eq!(outside(&|envelope| envelope.destination = elsewhere), Err(Rejection::Destination));
    for source in [[224, 0, 0, 18], [127, 0, 0, 1], [0; 4], [255; 4]] {
        assert_eq!(outside(&|envelope| envelope.source = source.into()), Err(Rejection::Source));
    }
    assert_eq!(outside(&|envelope| envelope.source = elsewhere), Err(Rejection::Checksum));

    for (n, at, value, reason) in [
        (2, 0, 0x11, Rejection::Version),
        (2, 0, 0x41, Rejection::Version),
        (2, 0, 0x32, Rejection::Type),
        (2, COUNT, 0, Rejection::AddressCount),
        (2, COUNT, 3, Rejection::Short),
        (2, COUNT, 255, Rejection::Short),
        (2, COUNT, 1, Rejection::Long),
        (2, 5, 0, Rejection::Interval),
        (0, SECONDS, 0, Rejection::Interval),
        (0, AUTH_TYPE, 2, Rejection::AuthType),
        (0, AUTH_TYPE, 9, Rejection::AuthType),
        (0, COUNT, 2, Rejection::Short),
    ] {
        let (envelope, mut payload, _) = good().remove(n);
        payload[at] = value;
        seal(&envelope, &mut payload);
        assert_eq!(Advertisement::parse(&envelope, &payload), Err(reason), "{n} {at} {value}");
    }
    // Version 2 has no IPv6; it would be short of a password, too.
    let (envelope, mut payload, _) = good().remove(4);
    payload[0] = 0x21;
    assert_eq!(Advertisement::parse(&envelope, &payload), Err(Rejection::Version));
}

#[test]
fn every_truncation_and_extension_is_named() {
    for (envelope, payload, _) in good() {
        for length in 0..payload.len() {
            let cut = Advertisement::parse(&envelope, &payload[..length]);
            assert_eq!(cut, Err(Rejection::Short), "{length}");
        }
        let longer = [&payload[..], &[0]].concat();
        assert_eq!(Advertisement::parse(&envelope, &longer), Err(Rejection::Long));
    }
}

#[test]
fn every_flipped_bit_is_seen() {
    for (envelope, payload, _) in good() {
        for bit in 0..payload.len() * 8 {
            let mut payload = payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(Advertisement::parse(&envelope, &payload).is_err(), "{bit}");
        }
    }
}

#[test]
fn passwords_are_cut_at_eight_bytes() {
    assert_eq!(Auth::password("0123456789"), Auth::Simple(*b"01234567"));
    assert_eq!(Auth::password(""), Auth::Simple([0; 8]));
}

proptest! {
    /// Random bytes in good messages, sealed again, never panic; what is accepted can be written.
    #[test]
    fn damaged_messages_are_read_or_named(
        n in 0_usize..5,
        damage in proptest::collection::vec((0_usize..48, any::<u8>()), 0..6),
        length in 0_usize..64,
    ) {
        let (envelope, mut payload, _) = good().remove(n);
        for (at, byte) in damage {
            let end = payload.len();
            payload[at % end] = byte;
        }
        if length < 48 {
            payload.resize(length.max(payload.len() / 2), 0);
        }
        seal(&envelope, &mut payload);
        if let Ok(advertisement) = Advertisement::parse(&envelope, &payload) {
            let packet = packet(&advertisement, envelope.source, true);
            let (envelope, payload) = open(&packet);
            prop_assert_eq!(Advertisement::parse(&envelope, payload), Ok(advertisement));
        }
    }

    #[test]
    fn any_bytes_are_read_or_named(payload: Vec<u8>, ttl in 254_u8..=255) {
        for (source, destination) in
            [(SOURCE_V4, GROUP_V4.into()), (SOURCE_V6, GROUP_V6.into()), (SOURCE_V6, SOURCE_V4)]
        {
            let _ = Advertisement::parse(&Envelope { source, destination, ttl }, &payload);
        }
    }
}
