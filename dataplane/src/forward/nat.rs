//! Network address translation: requests get the real server's address and port, replies the
//! virtual ones back. Checksums are patched, not computed.

use crate::connection::Connection;
use crate::packet::checksum::{self, Delta};
use crate::packet::{Network, Packet, protocol, read_u16, write_u16};
use crate::service::Method;

const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;
const TCP_CHECKSUM: usize = 16;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;

/// What a request's way to the server, by its method, does to the sums of its IP header and of its
/// transport header, whose pseudo header holds the addresses too: under NAT its virtual end, `from`,
/// becomes the real one.
#[must_use]
pub(crate) fn deltas<A: Network>(
    method: Method,
    (from, from_port): (A, u16),
    (to, to_port): (A, u16),
) -> (Delta, Delta) {
    if method != Method::Nat {
        return (Delta::NONE, Delta::NONE);
    }
    let header = Delta::replacing(from.sum(), to.sum());
    let port = Delta::replacing(u64::from(from_port), u64::from(to_port));
    (header, header.and(port))
}

/// Makes a client's packet to the virtual service one to the real server, and takes a hop. `l3`
/// is the packet from its IP header on.
#[inline(always)]
pub fn request<A: Network>(l3: &mut [u8], packet: &Packet<A>, connection: &Connection<A>) {
    A::set_destination(l3, connection.real);
    A::hop(l3, connection.header_delta);
    let l4 = &mut l3[usize::from(packet.ip.header_length)..];
    write_u16(l4, DESTINATION_PORT, connection.real_port);
    let ends = (packet.ip.source, connection.real);
    patch(l4, packet.ip.protocol, connection.transport_delta, ends);
}

/// Makes the real server's answer one of the virtual service, and takes a hop.
#[inline(always)]
pub fn reply<A: Network>(l3: &mut [u8], packet: &Packet<A>, connection: &Connection<A>) {
    A::set_source(l3, connection.virtual_address);
    A::hop(l3, connection.header_delta.reversed());
    let l4 = &mut l3[usize::from(packet.ip.header_length)..];
    write_u16(l4, SOURCE_PORT, connection.virtual_port);
    let ends = (connection.virtual_address, packet.ip.destination);
    patch(l4, packet.ip.protocol, connection.transport_delta.reversed(), ends);
}

#[inline(always)]
fn patch<A: Network>(l4: &mut [u8], transport: u8, delta: Delta, ends: (A, A)) {
    let at = if transport == protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
    let checksum = [l4[at], l4[at + 1]];
    let mut patched = delta.patch(checksum);
    if transport == protocol::UDP {
        if checksum == [0; 2] {
            patched = udp_checksum(l4, ends).to_be_bytes();
        }
        if patched == [0; 2] {
            // That would say that there is no checksum (RFC 768).
            patched = [0xff; 2];
        }
    }
    l4[at..at + 2].copy_from_slice(&patched);
}

/// The whole checksum of a datagram that came without one: the kernel adds it, so we do.
#[cold]
fn udp_checksum<A: Network>(datagram: &[u8], (source, destination): (A, A)) -> u16 {
    let length = read_u16(datagram, UDP_LENGTH);
    let pseudo_header =
        source.sum() + destination.sum() + u64::from(protocol::UDP) + u64::from(length);
    let covered = &datagram[..usize::from(length)];
    !checksum::fold(pseudo_header + checksum::sum(covered))
}
