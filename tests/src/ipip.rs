//! The judgement of the user-space IP-in-IP decapsulator: bytes in, inner packet or reason out.

use std::fmt;

/// The protocol number of IP in IP (RFC 2003 section 3.1).
pub const PROTOCOL: u8 = 4;

const HEADER: usize = 20;

/// Why a packet was not unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The outer header is cut off or its lengths contradict each other.
    Outer,
    /// The outer packet carries something else.
    Protocol,
    /// The inner header is cut off, not version 4, or its lengths do not fit the outer ones.
    Inner,
}

/// The inner packet of an IP-in-IP packet, cut to its own total length.
///
/// # Errors
/// When a length or version is wrong; checksums are left to the kernel, which sees the result.
pub fn unwrap(packet: &[u8]) -> Result<&[u8], Refusal> {
    let (header, payload) = split(packet).ok_or(Refusal::Outer)?;
    if header[9] != PROTOCOL {
        return Err(Refusal::Protocol);
    }
    let (header, body) = split(payload).ok_or(Refusal::Inner)?;
    // The two parts lie side by side, so their lengths add up to the whole.
    payload.get(..header.len() + body.len()).ok_or(Refusal::Inner)
}

/// Header and payload of an IPv4 packet, without what may follow its total length.
fn split(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let sane = first >> 4 == 4 && header >= HEADER && total >= header;
    if sane { packet.get(..total)?.split_at_checked(header) } else { None }
}

/// What happened to the packets so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Packets received.
    pub received: u64,
    /// Inner packets given to the kernel.
    pub delivered: u64,
    /// Packets refused for their outer header.
    pub bad_outer: u64,
    /// Packets of another protocol.
    pub other_protocol: u64,
    /// Packets refused for their inner header.
    pub bad_inner: u64,
    /// Inner packets that the kernel did not take.
    pub not_taken: u64,
}

impl Counters {
    /// Counts a refusal.
    pub fn refuse(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Outer => self.bad_outer += 1,
            Refusal::Protocol => self.other_protocol += 1,
            Refusal::Inner => self.bad_inner += 1,
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, delivered, bad_outer, other_protocol, bad_inner, not_taken } = self;
        write!(
            out,
            "received={received} delivered={delivered} bad_outer={bad_outer} \
             other_protocol={other_protocol} bad_inner={bad_inner} not_taken={not_taken}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it shows, the packet, and what is expected.
    type Row<'a> = (&'a str, Vec<u8>, Result<&'a [u8], Refusal>);

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(HEADER + payload.len()).unwrap();
        let mut packet = vec![0; HEADER];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[9] = protocol;
        packet.extend(payload);
        packet
    }

    fn changed(mut packet: Vec<u8>, at: usize, to: u8) -> Vec<u8> {
        packet[at] = to;
        packet
    }

    #[test]
    fn judges_every_shape() {
        let inner = ipv4(17, b"hello");
        let whole = ipv4(PROTOCOL, &inner);
        let padded = [&whole[..], &[0; 6]].concat();
        let mut options = ipv4(PROTOCOL, &[&[1; 4][..], &inner].concat());
        options[0] = 0x46;
        let roomy = ipv4(PROTOCOL, &[&inner[..], b"tail"].concat());
        let cases: [Row<'_>; 13] = [
            ("a plain one", whole.clone(), Ok(&inner)),
            ("padding after the outer total length", padded, Ok(&inner)),
            ("outer options", options, Ok(&inner)),
            ("bytes after the inner total length", roomy, Ok(&inner)),
            ("nothing", vec![], Err(Refusal::Outer)),
            ("one byte", vec![0x45], Err(Refusal::Outer)),
            ("outer version 6", changed(whole.clone(), 0, 0x65), Err(Refusal::Outer)),
            ("outer header of 16 bytes", changed(whole.clone(), 0, 0x44), Err(Refusal::Outer)),
            (
                "outer total longer than the packet",
                changed(whole.clone(), 3, 255),
                Err(Refusal::Outer),
            ),
            ("another protocol", changed(whole.clone(), 9, 47), Err(Refusal::Protocol)),
            ("an empty inside", ipv4(PROTOCOL, &[]), Err(Refusal::Inner)),
            (
                "inner header of 60 bytes, 25 there",
                changed(whole.clone(), 20, 0x4f),
                Err(Refusal::Inner),
            ),
            (
                "inner total longer than the outer",
                changed(whole.clone(), 23, 26),
                Err(Refusal::Inner),
            ),
        ];
        for (what, packet, expected) in cases {
            assert_eq!(unwrap(&packet), expected, "{what}");
        }
    }

    #[test]
    fn any_cut_is_refused() {
        let whole = ipv4(PROTOCOL, &ipv4(6, &[7; 40]));
        for length in 0..whole.len() {
            assert_eq!(unwrap(&whole[..length]), Err(Refusal::Outer), "{length} bytes");
        }
    }
}
