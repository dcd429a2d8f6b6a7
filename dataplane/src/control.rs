//! ICMP through the director: errors about its connections find the other end, both ways, with
//! what they quote rewritten; echo requests are answered.
//!
//! These are the few packets that are neither requests nor replies. They are judged after the
//! rest of their burst, so that a connection opened in it is known.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::address_set::Role;
use crate::carry::{Translate, send_to_server};
use crate::common::Common;
use crate::connection::{Connection, RecordId};
use crate::forward;
use crate::frame::Frame;
use crate::lane::Lane;
use crate::packet::ethernet::{self, Link};
use crate::packet::icmp::{self, Icmp, Quote};
use crate::packet::{Header, Network, Packet, ndp};
use crate::process::Refused;
use crate::service::Method;
use crate::shard::Shard;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::vrrp;

impl<F: Frame> Shard<F> {
    /// A packet that is neither request nor reply of a connection.
    #[cold]
    #[inline(never)]
    pub(crate) fn judge_other(&mut self, now: Tick, frame: &mut F) -> Result<Verdict, DropReason> {
        let link = ethernet::parse(frame.bytes())?;
        let l3 = &frame.bytes()[link.length..];
        if link.ether_type == Ipv4Addr::ETHER_TYPE {
            let ip = Ipv4Addr::parse(l3, frame.header_checksum())?;
            if self.v4.is_for_routers(&self.common, &link, &ip) {
                return self.floats.punt(&self.common, frame, &link, &ip);
            }
            if link.destination.is_group() {
                return Err(DropReason::NotOurMac);
            }
            return self.v4.judge_other(&mut self.common, now, frame, &link, &ip);
        }
        let ip = Ipv6Addr::parse(l3, frame.header_checksum())?;
        if self.v6.is_for_routers(&self.common, &link, &ip) {
            return self.floats.punt(&self.common, frame, &link, &ip);
        }
        if ip.protocol == Ipv6Addr::ICMP
            && let Some(ndp) = ndp::parse(l3, &ip)?
        {
            let arrival = self.common.topology.arrival(frame.port(), link.vlan);
            let (interface, mac) = arrival.ok_or(DropReason::UnknownVlan)?;
            return self.ndp(frame, &link, &ip, &ndp, interface, mac);
        }
        if link.destination.is_group() {
            return Err(DropReason::NotOurMac);
        }
        self.v6.judge_other(&mut self.common, now, frame, &link, &ip)
    }
}

impl<A: Network> Lane<A> {
    /// Whether a packet is for whoever speaks VRRP here: sent to their group, or to us.
    fn is_for_routers(&self, common: &Common, link: &Link, ip: &Header<A>) -> bool {
        let is_to_us = || self.addresses.role(ip.destination).is_here();
        common.topology.hears_routers()
            && ip.protocol == vrrp::PROTOCOL
            && (link.destination.is_group() || is_to_us())
    }

    fn judge_other<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        link: &Link,
        ip: &Header<A>,
    ) -> Result<Verdict, DropReason> {
        let bytes = &frame.bytes()[link.length..];
        let ip = *ip;
        let l3 = link.length as u16;
        if ip.protocol != A::ICMP {
            return Ok(self.pass(common, now, frame, l3, &ip));
        }
        let is_to_us = self.addresses.role(ip.destination).has(Role::OURS);
        let message = match icmp::parse::<A>(bytes, &ip) {
            // What passes by needs not be understood.
            Err(_) if !is_to_us => Icmp::Other,
            parsed => parsed?,
        };
        match message {
            // Where the address is held now, somebody else answers.
            Icmp::Echo if is_to_us && !self.addresses.role(ip.destination).is_here() => {
                Err(DropReason::NotForUs)
            }
            Icmp::Echo if is_to_us => {
                if !icmp::is_sound(bytes, &ip) {
                    return Err(DropReason::IcmpChecksum);
                }
                self.check_source(&ip)?;
                let bytes = frame.bytes_mut();
                let (destination, rest) = bytes.split_at_mut(6);
                destination.swap_with_slice(&mut rest[..6]);
                let identification = common.identification.next();
                icmp::answer_echo(&mut bytes[link.length..], &ip, identification);
                Ok(Verdict::Transmit(frame.port()))
            }
            Icmp::Error(quote) if self.is_active => {
                let judged = if is_to_us {
                    self.error_to_us(common, now, frame, l3, &ip, &quote)
                } else {
                    self.error_passing(common, now, frame, l3, &ip, &quote)
                };
                // Nobody is told about an error that cannot be delivered.
                judged.map_err(|refused| refused.reason)
            }
            _ if is_to_us => Err(DropReason::IcmpUnhandled),
            _ => Ok(self.pass(common, now, frame, l3, &ip)),
        }
    }

    /// An error sent to a virtual address, or to one of ours: about a server's packet to a client,
    /// or about our own packet to a tunnel server.
    fn error_to_us<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        quote: &Quote<A>,
    ) -> Result<Verdict, Refused> {
        let bytes = &frame.bytes()[usize::from(l3)..];
        if quote.protocol == A::IN_IP {
            let inner = icmp::quoted::<A>(bytes, ip, quote.transport);
            let inner = inner.ok_or(DropReason::IcmpUnhandled)?;
            return self.error_about_tunnel(common, now, frame, l3, ip, quote, &inner);
        }
        if quote.is_later_fragment {
            return Err(DropReason::IcmpUnhandled.into());
        }
        let reversed = packet_of(quote, quote.destination, quote.source);
        match self.find_for(common, now, &reversed)? {
            Found::Elsewhere(verdict) => Ok(verdict),
            Found::Here(id) => self.error_to_server(common, now, frame, l3, ip, quote, id),
            Found::Nowhere if common.settings.schedule_icmp != 0 => {
                let (connection, _) = self.schedule(common, now, &reversed)?;
                let hash = self.connections.hash(reversed.ip.source, reversed.source_port);
                let id = self.insert(common, hash, connection)?;
                self.error_to_server(common, now, frame, l3, ip, quote, id)
            }
            Found::Nowhere => Err(DropReason::IcmpUnhandled.into()),
        }
    }

    /// Takes an error about a server's packet to that server.
    fn error_to_server<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        quote: &Quote<A>,
        id: RecordId,
    ) -> Result<Verdict, Refused> {
        let bytes = &frame.bytes()[usize::from(l3)..];
        if A::CHECKS_ICMP && !icmp::is_sound(bytes, ip) {
            return Err(DropReason::IcmpChecksum.into());
        }
        if self.connections.get(id).server == common.nobody() {
            self.lead_nobodys(common, id);
        }
        let connection = self.connections.get_mut(id);
        if common.servers[connection.server.index()].is_available {
            let traffic = common.counters.server(connection.server);
            traffic.in_packets.add(1);
            traffic.in_bytes.add(u64::from(ip.total_length));
        }
        if connection.flags.method() != Method::Nat {
            connection.in_packets = connection.in_packets.wrapping_add(1);
            // Backups are told with the next packet.
            connection.due = connection.due.max(connection.in_packets.saturating_add(1));
        }
        let connection = *connection;
        let (slot, rest) = common.towards(connection.server);
        let nat = ErrorToServer { ip, quote, real: (connection.real, connection.real_port) };
        send_to_server(slot, rest, now, frame, l3, ip, &connection, nat)
    }

    /// An error on its way to a client: about a packet that we sent to a server behind NAT, or
    /// none of ours.
    fn error_passing<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        quote: &Quote<A>,
    ) -> Result<Verdict, Refused> {
        if quote.is_later_fragment || !self.addresses.role(quote.destination.0).has(Role::SERVER) {
            return Ok(self.pass(common, now, frame, l3, ip));
        }
        // As the server's reply would look.
        let reversed = packet_of(quote, quote.destination, quote.source);
        let hash = self.connections.hash(quote.source.0, quote.source.1);
        let owner = hash.owner(common.shards);
        if owner != common.id {
            return Ok(Verdict::ToOwner(owner));
        }
        let found = self.connections.find(hash, |connection| {
            connection.is_reply(&reversed) && !now.reached(connection.expires)
        });
        let Some(id) = found else { return Ok(self.pass(common, now, frame, l3, ip)) };
        if !icmp::is_sound(&frame.bytes()[usize::from(l3)..], ip) {
            return Err(DropReason::IcmpChecksum.into());
        }
        let connection = *self.connections.get(id);
        if common.servers[connection.server.index()].is_available {
            let traffic = common.counters.server(connection.server);
            traffic.out_packets.add(1);
            traffic.out_bytes.add(u64::from(ip.total_length));
        }
        if ip.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        let client = connection.client.into();
        let id = common.neighbours.towards(now, &common.topology, client)?;
        let hop = common.neighbours.hop(now, id);
        let l3 = forward::open(frame, l3, ip, 0, hop)?;
        icmp::to_client(l3, ip, quote, (connection.virtual_address, connection.virtual_port));
        Ok(forward::send(hop, id))
    }

    /// An error about our own packet to a tunnel server: the client is told, if it is its affair.
    fn error_about_tunnel<F: Frame>(
        &mut self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        outer: &Quote<A>,
        inner: &Quote<A>,
    ) -> Result<Verdict, Refused> {
        let request = packet_of(inner, inner.source, inner.destination);
        let id = match self.find_for(common, now, &request)? {
            Found::Elsewhere(verdict) => return Ok(verdict),
            Found::Here(id) => id,
            Found::Nowhere => return Err(DropReason::IcmpUnhandled.into()),
        };
        let bytes = &frame.bytes()[usize::from(l3)..];
        if !icmp::is_sound(bytes, ip) {
            return Err(DropReason::IcmpChecksum.into());
        }
        let connection = self.connections.get(id);
        let is_ours = connection.flags.method() == Method::Tunnel
            && connection.real == outer.destination.0
            && self.addresses.role(outer.source.0).has(Role::OURS);
        let server = connection.server.index();
        if !is_ours || !common.is_tunnel_server(outer.destination.0.into()) {
            return Err(DropReason::IcmpUnhandled.into());
        }
        let (client, virtual_address) = (connection.client, connection.virtual_address);
        let server = &mut common.servers[server];
        let mut mtu = None;
        if let Some(told) = A::too_big(outer.kind, outer.code, outer.rest) {
            let hop_mtu = common.neighbours.current(server.hop).map_or(u16::MAX, |hop| hop.mtu);
            mtu = Some(server.learn_mtu(now, hop_mtu, told));
            if A::may_fragment(&bytes[usize::from(inner.at)..]) {
                return Ok(Verdict::Consumed);
            }
        }
        if !common.may_complain(now, self.connections.hash(client, 0)) && mtu.is_none() {
            common.counters.limited.add(1);
            return Err(DropReason::IcmpUnhandled.into());
        }
        let id = common.neighbours.towards(now, &common.topology, client.into())?;
        let identification = common.identification.next();
        let hop = common.neighbours.hop(now, id);
        let header = hop.header.length();
        let ends = (virtual_address, client);
        let l3_bytes = &mut frame.bytes_mut()[usize::from(l3)..];
        let cut = icmp::relay(l3_bytes, ip, inner, ends, mtu, identification);
        let start = usize::from(l3) + usize::from(cut);
        let length = header + usize::from(ip.total_length) - usize::from(cut);
        let bytes = frame.reframe(start as isize - header as isize, length);
        hop.header.write(bytes.expect("the outer header makes room"));
        Ok(forward::send(hop, id))
    }

    /// The connection of a request, if it is known to this shard or may be to another.
    fn find_for(
        &self,
        common: &Common,
        now: Tick,
        request: &Packet<A>,
    ) -> Result<Found, DropReason> {
        let hash = self.connections.hash(request.ip.source, request.source_port);
        let owner = hash.owner(common.shards);
        if owner != common.id {
            return Ok(Found::Elsewhere(Verdict::ToOwner(owner)));
        }
        let is_it = |connection: &Connection<A>| {
            connection.is_request(request) && !now.reached(connection.expires)
        };
        Ok(self.connections.find(hash, is_it).map_or(Found::Nowhere, Found::Here))
    }
}

/// An error for a server behind NAT.
struct ErrorToServer<'a, A> {
    ip: &'a Header<A>,
    quote: &'a Quote<A>,
    real: (A, u16),
}

impl<A: Network> Translate for ErrorToServer<'_, A> {
    fn translate(self, l3: &mut [u8]) {
        icmp::to_server(l3, self.ip, self.quote, self.real);
    }
}

/// Where a connection is.
enum Found {
    Here(RecordId),
    /// If anywhere, at another shard.
    Elsewhere(Verdict),
    Nowhere,
}

/// A quoted packet, or its answer, as far as connections are found by it.
fn packet_of<A: Network>(quote: &Quote<A>, source: (A, u16), destination: (A, u16)) -> Packet<A> {
    Packet {
        ip: Header {
            source: source.0,
            destination: destination.0,
            protocol: quote.protocol,
            ttl: 0,
            header_length: 0,
            total_length: 0,
        },
        source_port: source.1,
        destination_port: destination.1,
        tcp_flags: 0,
        l3: 0,
    }
}
