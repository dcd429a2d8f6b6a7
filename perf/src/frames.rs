//! Frames and a capture file of them.

use dataplane::packet::ethernet::Mac;
use etherparse::PacketBuilder;
use std::net::Ipv4Addr;

/// Address of the engine's port where we may choose it.
pub(crate) const DUT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// Address of the generator, which plays client and real server.
pub(crate) const GENERATOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
/// The virtual address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 1);
/// The real server.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The virtual port.
pub(crate) const PORT: u16 = 80;

/// A UDP frame of 60 bytes, 64 with its check sequence, of one of many clients.
pub(crate) fn udp(to: Mac, flow: u32) -> Vec<u8> {
    let client = Ipv4Addr::from(0x0a0a_0000 + (flow >> 4));
    let mut frame = Vec::with_capacity(60);
    PacketBuilder::ethernet2(GENERATOR_MAC.0, to.0)
        .ipv4(client.octets(), VIP.octets(), 64)
        .udp(1024 + (flow & 15) as u16, PORT)
        .write(&mut frame, &[0; 18])
        .expect("a small packet can be written");
    frame
}

/// A capture file (libpcap's classic format, microseconds) of Ethernet frames.
pub(crate) fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend_from_slice(&word.to_ne_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [0, 0, length, length] {
            file.extend_from_slice(&word.to_ne_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}
