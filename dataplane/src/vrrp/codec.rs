//! Advertisements: checked, read, and written as whole IP packets (RFC 9568 section 5, RFC 3768
//! section 5).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{GROUP_V4, GROUP_V6, PROTOCOL, Rejection, TOS, TTL};
use crate::packet::checksum::{self, Delta};
use crate::packet::{Network, read_u16, write_u16};

/// Length of an advertisement without addresses.
const HEADER_LENGTH: usize = 8;
/// Length of the password behind the addresses; only version 2 has one.
const AUTH_LENGTH: usize = 8;
/// The only type of message that there is.
const ADVERTISEMENT: u8 = 1;

const VRID: usize = 1;
const PRIORITY: usize = 2;
const COUNT: usize = 3;
const AUTH_TYPE: usize = 4;
/// Version 2: seconds, a byte.
const SECONDS: usize = 5;
/// Version 3: hundredths of a second in the lower twelve bits.
const CENTISECONDS: usize = 4;
const CENTISECONDS_MASK: u16 = 0x0fff;
const CHECKSUM: usize = 6;

/// Centiseconds in a second.
pub(super) const SECOND_CS: u16 = 100;
/// Microseconds in a hundredth of a second.
pub(super) const CENTISECOND_US: u64 = 10_000;

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds, a password perhaps.
    V2,
    /// RFC 9568: both families, hundredths of a second.
    V3,
}

/// How an advertisement of version 2 proves where it comes from; it does not really.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all (type 0).
    #[default]
    None,
    /// By a password in clear text, filled up with zeros (type 1, RFC 2338 section 5.3.6.2).
    Simple([u8; AUTH_LENGTH]),
}

impl Auth {
    /// A password; what is longer than eight bytes is cut off, as keepalived does.
    #[must_use]
    pub fn password(text: &str) -> Self {
        let mut password = [0; AUTH_LENGTH];
        for (byte, &given) in password.iter_mut().zip(text.as_bytes()) {
            *byte = given;
        }
        Self::Simple(password)
    }

    fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simple(_) => 1,
        }
    }

    fn data(self) -> [u8; AUTH_LENGTH] {
        match self {
            Self::None => [0; AUTH_LENGTH],
            Self::Simple(password) => password,
        }
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(Self::None, |&password| Self::Simple(password))
    }
}

/// What the IP header around an advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
}

/// An advertisement: its sender is master, or (priority 0) was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Version of the protocol.
    pub version: Version,
    /// Identifier of the virtual router.
    pub vrid: u8,
    /// Priority of the sender; 0 when it resigns.
    pub priority: u8,
    /// Time between advertisements in hundredths of a second; whole seconds in version 2.
    pub interval_cs: u16,
    /// Authentication; none in version 3.
    pub auth: Auth,
    /// The virtual addresses, all of one family.
    pub addresses: Vec<IpAddr>,
}

impl Advertisement {
    /// Reads what follows an IP header, up to the packet's end as the IP header gives it.
    ///
    /// In version 3 over IPv4 the checksum is accepted with a pseudo-header, as keepalived sends
    /// it, and without one, as RFC 9568 section 5.2.8 has it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(envelope: &Envelope, payload: &[u8]) -> Result<Self, Rejection> {
        match (envelope.source, envelope.destination) {
            (IpAddr::V4(source), IpAddr::V4(to)) => parse((source, to), envelope.ttl, payload),
            (IpAddr::V6(source), IpAddr::V6(to)) => parse((source, to), envelope.ttl, payload),
            _ => Err(Rejection::Family),
        }
    }

    /// Appends it to `out` as an IP packet from `source` to the group of its family.
    ///
    /// `pseudo_header` says whether the checksum of version 3 over IPv4 covers one; keepalived
    /// wants it unless told otherwise.
    pub fn append_packet(&self, source: IpAddr, pseudo_header: bool, out: &mut Vec<u8>) {
        match source {
            IpAddr::V4(source) => self.append(source, pseudo_header, out),
            IpAddr::V6(source) => self.append(source, true, out),
        }
    }

    /// Time between advertisements in microseconds.
    pub(super) fn interval_us(&self) -> u64 {
        u64::from(self.interval_cs) * CENTISECOND_US
    }

    fn append<A: Speaker>(&self, source: A, pseudo_header: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + A::HEADER_LENGTH, 0);
        let count = self.addresses.len() as u8;
        out.extend([number(self.version) << 4 | ADVERTISEMENT, self.vrid, self.priority, count]);
        out.extend(match self.version {
            Version::V2 => [self.auth.number(), (self.interval_cs / SECOND_CS) as u8],
            Version::V3 => (self.interval_cs & CENTISECONDS_MASK).to_be_bytes(),
        });
        out.extend([0; 2]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => out.extend(address.octets()),
                IpAddr::V6(address) => out.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            out.extend(self.auth.data());
        }
        let packet = &mut out[start..];
        A::write_header(packet, (source, A::GROUP), PROTOCOL, TOS, 0);
        // The time to live is the upper byte of its word.
        let word = |ttl: u8| u64::from(ttl) << 8;
        let delta = Delta::replacing(word(packet[A::TTL]), word(TTL));
        packet[A::TTL] = TTL;
        A::patch(packet, delta);
        let message = &mut packet[A::HEADER_LENGTH..];
        let mut sum = checksum::sum(message);
        if self.version == Version::V3 && pseudo_header {
            sum += pseudo_sum((source, A::GROUP), message.len());
        }
        write_u16(message, CHECKSUM, !checksum::fold(sum));
    }
}

/// A family's part in the protocol.
trait Speaker: Network + Into<IpAddr> {
    /// Where advertisements are sent.
    const GROUP: Self;
    /// Where the time to live stands in a header.
    const TTL: usize;
    /// Whether advertisements may have a checksum without a pseudo-header, in version 3.
    const PLAIN_CHECKSUM: bool;
    /// Whether there is a version for the family.
    fn speaks(version: Version) -> bool;
    /// An address out of its bytes, of which there are as many as it has.
    fn from_bytes(bytes: &[u8]) -> Self;
}

impl Speaker for Ipv4Addr {
    const GROUP: Self = GROUP_V4;
    const TTL: usize = 8;
    const PLAIN_CHECKSUM: bool = true;

    fn speaks(_: Version) -> bool {
        true
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(Self::UNSPECIFIED, |&octets: &[u8; 4]| octets.into())
    }
}

impl Speaker for Ipv6Addr {
    const GROUP: Self = GROUP_V6;
    const TTL: usize = 7;
    const PLAIN_CHECKSUM: bool = false;

    fn speaks(version: Version) -> bool {
        version == Version::V3
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        bytes.first_chunk().map_or(Self::UNSPECIFIED, |&octets: &[u8; 16]| octets.into())
    }
}

fn parse<A: Speaker>(
    (source, destination): (A, A),
    ttl: u8,
    payload: &[u8],
) -> Result<Advertisement, Rejection> {
    if ttl != TTL {
        return Err(Rejection::Ttl);
    }
    if destination != A::GROUP {
        return Err(Rejection::Destination);
    }
    if source.is_martian() {
        return Err(Rejection::Source);
    }
    let header: &[u8; HEADER_LENGTH] = payload.first_chunk().ok_or(Rejection::Short)?;
    let version = match header[0] >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        _ => return Err(Rejection::Version),
    };
    if !A::speaks(version) {
        return Err(Rejection::Version);
    }
    if header[0] & 0x0f != ADVERTISEMENT {
        return Err(Rejection::Type);
    }
    if header[COUNT] == 0 {
        return Err(Rejection::AddressCount);
    }
    let width = usize::from(A::WIDTH / 8);
    let addresses_end = HEADER_LENGTH + usize::from(header[COUNT]) * width;
    let length = addresses_end + if version == Version::V2 { AUTH_LENGTH } else { 0 };
    if payload.len() != length {
        let is_short = payload.len() < length;
        return Err(if is_short { Rejection::Short } else { Rejection::Long });
    }
    let plain = checksum::sum(payload);
    let with_pseudo = plain + pseudo_sum((source, destination), length);
    let may_be_plain = version == Version::V2 || A::PLAIN_CHECKSUM;
    let may_be_pseudo = version == Version::V3;
    let is_right = may_be_plain && checksum::fold(plain) == 0xffff
        || may_be_pseudo && checksum::fold(with_pseudo) == 0xffff;
    if !is_right {
        return Err(Rejection::Checksum);
    }
    let auth = match (version, header[AUTH_TYPE]) {
        (Version::V3, _) | (Version::V2, 0) => Auth::None,
        (Version::V2, 1) => Auth::from_bytes(&payload[addresses_end..]),
        // Type 2 was an IP authentication header (RFC 2338), which nobody needs to speak.
        _ => return Err(Rejection::AuthType),
    };
    let interval_cs = match version {
        Version::V2 => u16::from(header[SECONDS]) * SECOND_CS,
        Version::V3 => read_u16(header, CENTISECONDS) & CENTISECONDS_MASK,
    };
    if interval_cs == 0 {
        return Err(Rejection::Interval);
    }
    let addresses = payload[HEADER_LENGTH..addresses_end].chunks_exact(width);
    Ok(Advertisement {
        version,
        vrid: header[VRID],
        priority: header[PRIORITY],
        interval_cs,
        auth,
        addresses: addresses.map(|bytes| A::from_bytes(bytes).into()).collect(),
    })
}

/// Sum of the pseudo-header in front of a message (RFC 8200 section 8.1).
fn pseudo_sum<A: Network>((source, destination): (A, A), length: usize) -> u64 {
    source.sum() + destination.sum() + u64::from(PROTOCOL) + length as u64
}

fn number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
