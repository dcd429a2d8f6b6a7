//! Addresses of either family behind one trait, so that no other module is written twice.

use core::fmt::{Debug, Display};
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An IP address of one family.
pub trait Address: Copy + Eq + Ord + Hash + Debug + Display + Into<IpAddr> + 'static {
    /// Length in bits.
    const WIDTH: u8;
    /// The address that stands for none.
    const UNSPECIFIED: Self;

    /// The address in two words, in the machine's own order of bytes; an IPv4 address is the lower
    /// half of the first.
    fn words(self) -> [u64; 2];
    /// 64 bits that differ whenever the addresses do (IPv4), or nearly so (IPv6).
    ///
    /// For tables whose keys no attacker chooses; connections use the keyed hash.
    fn fold(self) -> u64;
    /// 0 if both pairs are the same; compared without a branch in between.
    fn difference(pair: (Self, Self), other: (Self, Self)) -> u64;
    /// The address out of an `IpAddr` of this family.
    fn from_ip(address: IpAddr) -> Option<Self>;
}

impl Address for Ipv4Addr {
    const WIDTH: u8 = 32;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline(always)]
    fn words(self) -> [u64; 2] {
        [u64::from(u32::from_ne_bytes(self.octets())), 0]
    }

    #[inline(always)]
    fn fold(self) -> u64 {
        self.words()[0]
    }

    #[inline(always)]
    fn difference(pair: (Self, Self), other: (Self, Self)) -> u64 {
        // Two addresses side by side are read as one word.
        let word = |(low, high): (Self, Self)| low.fold() | high.fold() << 32;
        word(pair) ^ word(other)
    }

    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Address for Ipv6Addr {
    const WIDTH: u8 = 128;
    const UNSPECIFIED: Self = Self::UNSPECIFIED;

    #[inline(always)]
    fn words(self) -> [u64; 2] {
        let bits = u128::from_ne_bytes(self.octets());
        [bits as u64, (bits >> 64) as u64]
    }

    #[inline(always)]
    fn fold(self) -> u64 {
        let [low, high] = self.words();
        low ^ high.rotate_left(29)
    }

    #[inline(always)]
    fn difference(pair: (Self, Self), other: (Self, Self)) -> u64 {
        let differing = |a: Self, b: Self| {
            let ([a, b], [c, d]) = (a.words(), b.words());
            (a ^ c) | (b ^ d)
        };
        differing(pair.0, other.0) | differing(pair.1, other.1)
    }

    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }
}

/// A network: the addresses that share their first `length` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of `address`; `None` when `length` is more than the family has bits.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= width(address)).then_some(Self { address, length })
    }

    /// The address it was made from, host bits included.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length in bits.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        if self.address.is_ipv4() != address.is_ipv4() {
            return false;
        }
        let differing = bits(self.address) ^ bits(address);
        // A shift by the full width is no shift at all on the processor, hence the checked form.
        differing.checked_shr(u32::from(width(address) - self.length)).unwrap_or(0) == 0
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// Reads `address/length`, or an address that stands for itself alone.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| ())?;
        let length = length.map_or(Ok(width(address)), |length| length.parse().map_err(|_| ()))?;
        Self::new(address, length).ok_or(())
    }
}

impl Display for Prefix {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { Ipv4Addr::BITS as u8 } else { Ipv6Addr::BITS as u8 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_what_shares_their_bits() {
        let contains = |prefix: &str, address: &str| {
            prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("10.1.2.3/16", "10.1.255.255"));
        assert!(!contains("10.1.2.3/16", "10.2.0.0"));
        assert!(contains("0.0.0.0/0", "255.1.2.3") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("10.0.0.1", "10.0.0.1") && !contains("10.0.0.1/32", "10.0.0.0"));
        assert!(contains("::/0", "ff02::1") && contains("2001:db8::/32", "2001:db8:ff::1"));
        for bad in ["10.0.0.1/33", "10.0.0.1/", "::/129", "x/8", ""] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
