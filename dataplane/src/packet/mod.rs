//! Frames taken apart: every length is proved once, here, and named when it is wrong.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
pub mod outer;
pub mod reset;
mod transport;

use crate::address::Address;
use crate::connection::state::tcp_flag;
use crate::frame::Checksum;
use crate::verdict::DropReason;
use checksum::Delta;
use icmp::Complaint;

/// IP protocol numbers that the dataplane tells apart.
pub mod protocol {
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
}

/// What an IP header says, its lengths checked against the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Length of the header in bytes, options included.
    pub header_length: u16,
    /// Length of header and payload in bytes.
    pub total_length: u16,
}

/// The IP header of one family: where its fields are and how they are rewritten.
///
/// `l3` is always the frame from the first byte of a header that [`Network::parse`] has accepted.
pub trait Network: Address {
    /// EtherType of the family's packets.
    const ETHER_TYPE: u16;
    /// Protocol number of its ICMP.
    const ICMP: u8;
    /// Protocol number of its packets inside IP packets.
    const IN_IP: u8;
    /// Length of a header without options.
    const HEADER_LENGTH: usize;
    /// Length of the longest ICMP error of ours, IP header included.
    const MOST_ERROR: usize;
    /// ICMP type of an echo request.
    const ECHO_REQUEST: u8;
    /// ICMP type of the reply to it.
    const ECHO_REPLY: u8;
    /// Whether clients' ICMP errors must have a correct checksum.
    const CHECKS_ICMP: bool;
    /// Why packets from an address that is no host's are dropped.
    const MARTIAN: DropReason;

    /// Checks and reads a header.
    ///
    /// # Errors
    /// A drop reason for the first field that is wrong.
    fn parse(l3: &[u8], checksum: Checksum) -> Result<Header<Self>, DropReason>;
    /// Checks and reads a frame that has begun in the usual form
    /// ([`Topology::usual`](crate::interface::Topology::usual)). `None` unless TCP or UDP follows
    /// the IP header, and whatever is wrong: such a frame has to be looked at with care.
    fn parse_usual(frame: &[u8], checksum: Checksum) -> Option<Packet<Self>>;
    /// Takes one hop: lowers the time to live and patches the header checksum by `delta` as well.
    fn hop(l3: &mut [u8], delta: Delta);
    /// Replaces the source address; the checksum is [`Network::hop`]'s work.
    fn set_source(l3: &mut [u8], source: Self);
    /// Replaces the destination address; the checksum is [`Network::hop`]'s work.
    fn set_destination(l3: &mut [u8], destination: Self);
    /// Sum of an address as 16-bit words, for checksums.
    fn sum(self) -> u64;
    /// Whether no host may send from this address: loopback, group, broadcast or unspecified.
    fn is_martian(self) -> bool;
    /// Whether routers may fragment the packet.
    fn may_fragment(l3: &[u8]) -> bool;
    /// What an outer header takes over from a packet.
    fn inner(l3: &[u8]) -> Inner;
    /// Patches the header checksum, if there is one.
    fn patch(l3: &mut [u8], delta: Delta);
    /// Writes a header for a packet of ours that fills `l3`, from `ends.0` to `ends.1`. An
    /// identification of 0 says that it is not to be fragmented.
    fn write_header(l3: &mut [u8], ends: (Self, Self), protocol: u8, tos: u8, identification: u16);
    /// Turns a packet to us around: source and destination change places, time to live and
    /// identification are fresh.
    fn turn_around(l3: &mut [u8], header_length: usize, identification: u16);
    /// The header of a packet quoted in an ICMP error, which may be cut off anywhere: its ends,
    /// its transport protocol, where that begins, and whether it is a later fragment.
    fn parse_quoted(quoted: &[u8]) -> Option<(Self, Self, u8, usize, bool)>;
    /// Whether an ICMP type is an error that is taken to a connection's other end.
    fn is_error(kind: u8) -> bool;
    /// Whether an ICMP type is another error, or a redirect, which is only passed on.
    fn is_other_error(kind: u8) -> bool;
    /// Type, code and second word of an error of ours.
    fn complaint(complaint: Complaint) -> (u8, u8, u32);
    /// Type of service of an error about a packet.
    fn complaint_tos(quoted: &[u8]) -> u8;
    /// The MTU in an error that says that a packet is too big.
    fn too_big(kind: u8, code: u8, rest: u32) -> Option<u16>;
    /// Sum of what an ICMP checksum covers in front of a message of some length.
    fn icmp_pseudo_header(ends: (Self, Self), length: usize) -> u64;
}

/// What an outer header takes over from the packet inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Whether the packet must not be fragmented.
    pub dont_fragment: bool,
}

/// Where the IP header lies in a frame of the usual form.
pub(crate) const USUAL_L3: usize = 14;

/// A parsed TCP or UDP packet: addresses, ports, and where its headers lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<A> {
    /// The IP header.
    pub ip: Header<A>,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// TCP flags byte; 0 for UDP.
    pub tcp_flags: u8,
    /// Offset of the IP header in the frame.
    pub l3: u16,
}

impl<A> Packet<A> {
    /// A packet whose IP header lies at `l3` in the frame.
    #[inline(always)]
    fn new(ip: Header<A>, l3: usize, ports: transport::Ports) -> Self {
        Self {
            ip,
            source_port: ports.source,
            destination_port: ports.destination,
            tcp_flags: ports.tcp_flags,
            l3: l3 as u16,
        }
    }

    /// Whether it asks for a new TCP connection. With an acknowledgement, too: that is how
    /// connections look whose other direction passes elsewhere.
    #[inline]
    #[must_use]
    pub fn opens(&self) -> bool {
        self.tcp_flags & tcp_flag::SYN != 0
    }

    /// Whether it resets a TCP connection.
    #[inline]
    #[must_use]
    pub fn resets(&self) -> bool {
        self.tcp_flags & tcp_flag::RST != 0
    }
}

/// Checks and reads the headers of a TCP or UDP packet; `None` for other protocols, whose IP header
/// has been accepted. `l3` is the frame from the IP header on, which lies at `at` in it.
///
/// # Errors
/// A drop reason for the first field that is wrong.
pub(crate) fn parse<A: Network>(
    l3: &[u8],
    at: usize,
    checksum: Checksum,
) -> Result<Option<Packet<A>>, DropReason> {
    let ip = A::parse(l3, checksum)?;
    if ip.protocol != protocol::TCP && ip.protocol != protocol::UDP {
        return Ok(None);
    }
    parse_transport(l3, at, ip).map(Some)
}

/// Reads ports and flags of a TCP or UDP packet behind an accepted IP header. `bytes` is the frame
/// from that header on, which lies at `l3` in it.
///
/// # Errors
/// A drop reason when the transport header is cut off or contradicts the packet's length, or the
/// protocol is another.
#[inline]
pub fn parse_transport<A: Network>(
    bytes: &[u8],
    l3: usize,
    ip: Header<A>,
) -> Result<Packet<A>, DropReason> {
    let segment = bytes
        .get(..usize::from(ip.total_length))
        .and_then(|packet| packet.get(usize::from(ip.header_length)..))
        .ok_or(DropReason::Ipv4TotalLength)?;
    let ports = match ip.protocol {
        protocol::TCP => transport::tcp(segment)?,
        protocol::UDP => transport::udp(segment)?,
        _ => return Err(DropReason::Protocol),
    };
    Ok(Packet::new(ip, l3, ports))
}

/// Whether the checksum of a TCP or UDP packet, whose headers have been accepted, is right. Only
/// those who receive a packet ask for this, not those who pass it on.
#[must_use]
pub fn is_sound<A: Network>(l3: &[u8], ip: &Header<A>) -> bool {
    const UDP_CHECKSUM: usize = 6;
    let segment = &l3[usize::from(ip.header_length)..usize::from(ip.total_length)];
    let has_none = ip.protocol == protocol::UDP && read_u16(segment, UDP_CHECKSUM) == 0;
    let pseudo_header =
        ip.source.sum() + ip.destination.sum() + u64::from(ip.protocol) + segment.len() as u64;
    has_none || checksum::fold(pseudo_header + checksum::sum(segment)) == 0xffff
}

/// A big-endian 16-bit field; `at` must lie inside `bytes`.
#[inline]
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes a big-endian 16-bit field; `at` must lie inside `bytes`.
#[inline]
pub(crate) fn write_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "usual_tests.rs"]
mod usual_tests;
