//! Errors about connections behind NAT: message and quoted packet get the other end's addresses.

use super::{Header, Network, Quote, write_checksum, write_u16};
use crate::packet::checksum::Delta;

/// Makes an error about a packet of the virtual service one about the real server's, to that
/// server, and takes a hop.
pub fn to_server<A: Network>(l3: &mut [u8], ip: &Header<A>, quote: &Quote<A>, real: (A, u16)) {
    A::set_destination(l3, real.0);
    A::hop(l3, Delta::replacing(ip.destination.sum(), real.0.sum()));
    let quoted = &mut l3[usize::from(quote.at)..];
    A::set_source(quoted, real.0);
    A::patch(quoted, Delta::replacing(quote.source.0.sum(), real.0.sum()));
    write_u16(l3, usize::from(quote.transport), real.1);
    finish(l3, ip, (ip.source, real.0));
}

/// Makes an error about a packet to the real server one about the client's packet to the virtual
/// service, from that, and takes a hop.
pub fn to_client<A: Network>(
    l3: &mut [u8],
    ip: &Header<A>,
    quote: &Quote<A>,
    virtual_end: (A, u16),
) {
    A::set_source(l3, virtual_end.0);
    A::hop(l3, Delta::replacing(ip.source.sum(), virtual_end.0.sum()));
    let quoted = &mut l3[usize::from(quote.at)..];
    A::set_destination(quoted, virtual_end.0);
    A::patch(quoted, Delta::replacing(quote.destination.0.sum(), virtual_end.0.sum()));
    write_u16(l3, usize::from(quote.transport) + 2, virtual_end.1);
    finish(l3, ip, (virtual_end.0, ip.destination));
}

fn finish<A: Network>(l3: &mut [u8], ip: &Header<A>, ends: (A, A)) {
    let message = &mut l3[usize::from(ip.header_length)..usize::from(ip.total_length)];
    write_checksum(message, ends);
}
