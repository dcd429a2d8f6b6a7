//! Frames that no honest sender makes, and a socket to send them with.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use crate::lab::{CLIENT, VIP};
use crate::namespace::Namespace;

/// A hardware address.
pub type Mac = [u8; 6];

/// The Internet checksum (RFC 1071) of some bytes; 0 when they contain their own.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The hardware address of a link.
///
/// # Errors
/// When there is no such link.
pub fn mac_of(namespace: &Namespace, link: &str) -> Result<Mac> {
    let line = namespace.ip(&format!("-o link show {link}"))?;
    let text = line
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .with_context(|| format!("{link} has no hardware address"))?;
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().ok().with_context(|| format!("{text} is no hardware address"))
}

/// Sends frames out of a link, as they are; returns how many the kernel took.
///
/// # Errors
/// When the socket cannot be made, or the kernel takes none.
pub fn send_frames(namespace: &Namespace, link: &str, frames: &[Vec<u8>]) -> Result<usize> {
    let taken = namespace.enter(|| send_here(link, frames))??;
    ensure!(taken > 0, "{link} took none of {} frames", frames.len());
    Ok(taken)
}

fn send_here(link: &str, frames: &[Vec<u8>]) -> Result<usize> {
    // The link's own packet address has its index and protocol 0, so the socket only sends.
    let address = getifaddrs()?
        .filter(|entry| entry.interface_name == link)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .with_context(|| format!("no link {link}"))?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &address)?;
    // Frames without a whole Ethernet header or past the MTU are refused here; that is fine.
    let sent = |frame: &&Vec<u8>| send(socket.as_raw_fd(), frame, MsgFlags::empty()).is_ok();
    Ok(frames.iter().filter(sent).count())
}

/// A few thousand broken frames for the director's interface with hardware address `to`: cuts,
/// lies about lengths, fragments, wrong checksums, broken ARP and ICMP, noise.
#[must_use]
pub fn bad_frames(to: Mac, seed: u64) -> Vec<Vec<u8>> {
    let mut noise = Noise(seed | 1);
    let head = |kind: u16| [&to[..], &[2, 0, 0, 0, 0, 9], &kind.to_be_bytes()].concat();
    let syn = tcp_syn();
    let whole = |packet: &[u8]| [&head(0x0800), packet].concat();
    let mut frames = Vec::new();

    // Cut after every byte.
    let frame = whole(&syn);
    frames.extend((14..frame.len()).map(|length| frame[..length].to_vec()));
    // Every byte of both headers, with values that mean the most trouble.
    for at in 0..syn.len() {
        for value in [0, 1, 0x40, 0x4f, 0x7f, 0x80, 0xff] {
            frames.push(whole(&with_sum(set(&syn, at, value))));
        }
    }
    // A wrong header checksum.
    frames.push(whole(&set(&with_sum(syn.clone()), 11, 0)));
    // Fragments (RFC 791): later ones without a first, a first without later ones, overlaps, a last
    // one that would end past 65535 bytes.
    for (flags, offset) in [(0x20, 0), (0x20, 1), (0, 3), (0, 1), (0x3f, 0xff), (0x1f, 0xff)] {
        frames.push(whole(&with_sum(set(&set(&syn, 6, flags), 7, offset))));
    }
    // ICMP errors about something cut off at every byte.
    for length in 0..syn.len() {
        for kind in [3, 5, 11, 12, 200] {
            let mut message = [&[kind, 4, 0, 0, 0, 0, 0, 0][..], &syn[..length]].concat();
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            frames.push(whole(&ipv4(1, &message)));
        }
    }
    // ARP, IPv6, VLAN tags and length-type frames with noise of every length up to 60.
    for kind in [0x0806, 0x86dd, 0x8100, 0x88a8, 0x8847, 0x002e] {
        for length in 0..60 {
            frames.push([head(kind), noise.bytes(length)].concat());
        }
    }
    // An ARP question about the VIP from nobody, and one that claims the VIP is elsewhere.
    let question = |operation: u8, from: Ipv4Addr| -> Vec<u8> {
        let fixed = [0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 9];
        [&head(0x0806), &fixed[..], &from.octets(), &[0; 6], &VIP.octets()].concat()
    };
    frames.extend([question(1, Ipv4Addr::UNSPECIFIED), question(2, VIP), question(9, CLIENT)]);
    // Plain noise with and without our address in front, and the largest frame.
    for length in (0..1486).step_by(13) {
        frames.push([to.to_vec(), noise.bytes(length + 8)].concat());
        frames.push(whole(&noise.bytes(length)));
    }
    frames.push(whole(&noise.bytes(1500)));
    frames
}

fn tcp_syn() -> Vec<u8> {
    let mut segment = [0; 24];
    segment[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
    segment[12..16].copy_from_slice(&[0x60, 2, 0xff, 0xff]);
    segment[20..].copy_from_slice(&[2, 4, 5, 0xb4]);
    ipv4(6, &segment)
}

/// A packet from the client to the VIP with a right header.
#[must_use]
pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let fixed = [0x45, 0, total[0], total[1], 0, 7, 0, 0, 64, protocol, 0, 0];
    with_sum([&fixed[..], &CLIENT.octets(), &VIP.octets(), payload].concat())
}

/// The packet with a right checksum over the first 20 bytes, so that the lie itself is judged.
fn with_sum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn set(packet: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[at] = value;
    packet
}

/// xorshift64: the same noise for the same seed, and no crate for it.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksummed_header_sums_to_zero() {
        assert_eq!(checksum(&tcp_syn()[..20]), 0);
        // The example of RFC 1071 section 3.
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(!checksum(&[0x12]), 0x1200, "an odd byte counts as the high one");
    }

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        let frames = bad_frames([2; 6], 42);
        assert!(frames.len() > 1000);
        assert_eq!(frames, bad_frames([2; 6], 42));
        assert!(frames.iter().all(|frame| (14..=1514).contains(&frame.len())));
    }
}
