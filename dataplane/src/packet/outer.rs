//! The outer header of tunnels: IPv4 in IPv4 (RFC 2003), IPv6 in IPv6 (RFC 2473).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Inner, Network, checksum, ipv4, write_u16};

const LENGTH4: usize = 20;
const LENGTH6: usize = 40;

/// An outer header towards one tunnel server, all but the fields that vary by packet filled in.
#[derive(Clone, Copy, Debug)]
pub struct OuterTemplate {
    bytes: [u8; LENGTH6],
    length: u8,
    /// Of an IPv4 header's addresses, as words whose lowest byte comes first.
    sum: u32,
}

impl Default for OuterTemplate {
    fn default() -> Self {
        Self { bytes: [0; LENGTH6], length: LENGTH4 as u8, sum: 0 }
    }
}

impl OuterTemplate {
    /// No header at all, for a tunnel that cannot be made; its length is 0.
    pub const NONE: Self = Self { bytes: [0; LENGTH6], length: 0, sum: 0 };

    /// A template; nothing when source and destination differ in their family.
    #[must_use]
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Self> {
        let mut template = Self::default();
        let bytes = &mut template.bytes;
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Ipv4Addr::set_source(bytes, source);
                Ipv4Addr::set_destination(bytes, destination);
                let sum = checksum::fold(checksum::sum(&bytes[12..LENGTH4]));
                template.sum = u32::from(sum.swap_bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                template.length = LENGTH6 as u8;
                Ipv6Addr::set_source(bytes, source);
                Ipv6Addr::set_destination(bytes, destination);
            }
            _ => return None,
        }
        Some(template)
    }

    /// Length of the header.
    #[inline]
    #[must_use]
    pub fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// Writes the header into the first bytes of `l3`, which the inner packet follows, already
    /// hopped. `protocol` says what that is; `identification` numbers the packets that may be
    /// fragmented.
    #[inline(always)]
    pub fn write(
        &self,
        l3: &mut [u8],
        inner: Inner,
        inner_length: u16,
        protocol: u8,
        identification: u16,
    ) {
        let tos = outer_tos(inner.tos);
        if usize::from(self.length) == LENGTH4 {
            self.write4(l3, tos, inner, inner_length, protocol, identification);
        } else {
            self.write6(l3, tos, inner, inner_length, protocol);
        }
    }

    #[inline(always)]
    fn write4(
        &self,
        l3: &mut [u8],
        tos: u8,
        inner: Inner,
        inner_length: u16,
        protocol: u8,
        identification: u16,
    ) {
        let header: &mut [u8; LENGTH4] = l3.first_chunk_mut().expect("there is room for it");
        let (fragment, identification) =
            if inner.dont_fragment { (ipv4::DONT_FRAGMENT, 0) } else { (0, identification) };
        let total_length = inner_length + LENGTH4 as u16;
        // The header as three words whose lowest byte comes first: fields are turned round. Sums do
        // not depend on the order of bytes (RFC 1071 section 2).
        let wire = |field: u16| u64::from(field.swap_bytes());
        let first = 0x45
            | u64::from(tos) << 8
            | wire(total_length) << 16
            | wire(identification) << 32
            | wire(fragment) << 48;
        let second = u64::from(inner.ttl) | u64::from(protocol) << 8;
        let sum = u64::from(self.sum) + (first & 0xffff_ffff) + (first >> 32) + second;
        let second = second | u64::from(!checksum::fold(sum)) << 16;
        let (source, destination) = self.bytes[12..LENGTH4].split_at(4);
        header[..8].copy_from_slice(&first.to_le_bytes());
        header[8..12].copy_from_slice(&(second as u32).to_le_bytes());
        header[12..16].copy_from_slice(source);
        header[16..].copy_from_slice(destination);
    }

    fn write6(&self, l3: &mut [u8], tos: u8, inner: Inner, inner_length: u16, protocol: u8) {
        let header: &mut [u8; LENGTH6] = l3.first_chunk_mut().expect("there is room for it");
        header.copy_from_slice(&self.bytes);
        header[0] = 0x60 | tos >> 4;
        header[1] = tos << 4;
        write_u16(header, 4, inner_length);
        header[6] = protocol;
        header[7] = inner.ttl;
    }
}

/// The inner DSCP, and ECN except that "congestion experienced" starts anew as ECT(0)
/// (RFC 3168 section 9.1.1, full functionality).
#[inline]
fn outer_tos(inner: u8) -> u8 {
    if inner & 0b11 == 0b11 { inner & !0b11 | 0b10 } else { inner }
}
