//! What the packet path needs beside a family's tables, and what it does with it: counts, limits,
//! packets of the shard's own.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv6Addr};

use arrayvec::ArrayVec;

use crate::connection::{Connection, RecordId, Table};
use crate::counters::Counters;
use crate::frame::{Frame, Host};
use crate::hash::ClientHash;
use crate::interface::{InterfaceId, NextHop, Topology};
use crate::limit::Limits;
use crate::mark::MarkRule;
use crate::neighbour::{NeighbourId, Neighbours};
use crate::packet::ethernet::Mac;
use crate::packet::outer::OuterTemplate;
use crate::packet::{Network, arp, ethernet, ndp};
use crate::roster::{Load, ServerId};
use crate::server::ServerSlot;
use crate::service::Method;
use crate::settings::Settings;
use crate::sync::{Record, Teller};
use crate::template::{TemplateId, Templates};
use crate::time::Tick;
use crate::verdict::{DropReason, ShardId};

/// Persistence templates looked at in one call.
pub(crate) const SWEEP_TEMPLATES: usize = 64;

/// What the packet path needs beside a family's tables.
pub(crate) struct Common {
    pub(crate) id: ShardId,
    pub(crate) shards: u16,
    pub(crate) topology: Arc<Topology>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) settings: Settings,
    pub(crate) servers: Box<[ServerSlot]>,
    pub(crate) neighbours: Neighbours,
    pub(crate) identification: Identification,
    pub(crate) marks: Arc<[MarkRule]>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) limits: Limits,
    pub(crate) teller: Teller,
}

/// What forwarding needs of [`Common`] beside the server.
pub(crate) struct Rest<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) counters: &'a Counters,
    pub(crate) neighbours: &'a mut Neighbours,
    pub(crate) identification: &'a mut Identification,
}

/// Numbers packets of our own that may be fragmented.
pub(crate) struct Identification {
    last: u16,
    step: u16,
}

impl Identification {
    /// Numbers in steps that no other of `shards` shards takes.
    pub(crate) fn new(id: ShardId, shards: u16) -> Self {
        Self { last: id.0, step: shards }
    }

    /// The next number, never 0.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> u16 {
        self.last = self.last.wrapping_add(self.step);
        self.last.max(1)
    }
}

impl Common {
    /// A server, and what else forwarding to it needs.
    #[inline(always)]
    pub(crate) fn towards(&mut self, server: ServerId) -> (&mut ServerSlot, Rest<'_>) {
        let rest = Rest {
            topology: &self.topology,
            counters: &self.counters,
            neighbours: &mut self.neighbours,
            identification: &mut self.identification,
        };
        (&mut self.servers[server.index()], rest)
    }

    /// Takes a connection out of the table and out of its server's count.
    pub(crate) fn end<A: Network>(&self, connections: &mut Table<A>, id: RecordId) {
        self.unbind(&connections.remove(id));
    }

    /// Counts a connection that has ended out of its server and its template.
    pub(crate) fn unbind<A>(&self, ended: &Connection<A>) {
        let is_active = ended.flags.is_active();
        self.servers[ended.server.index()].count(|load| load.unbind(is_active));
        if ended.template != TemplateId::NONE {
            self.templates.release(ended.template);
        }
    }

    /// Counts a template that has ended out of its server.
    pub(crate) fn unbind_template(&self, server: ServerId) {
        self.servers[server.index()].count(Load::unbind_template);
    }

    /// Whether a connection is to end because its server is gone.
    pub(crate) fn abandons<A>(&self, connection: &Connection<A>) -> bool {
        self.settings.expire_nodest_conn != 0 && self.is_gone(connection.server)
    }

    fn is_gone(&self, server: ServerId) -> bool {
        !self.servers[server.index()].is_available && server != self.nobody()
    }

    /// The slot of connections whose server is not configured here, as another director may have
    /// told of.
    pub(crate) fn nobody(&self) -> ServerId {
        ServerId(self.servers.len() as u32 - 1)
    }

    pub(crate) fn sweep_templates(&mut self, stripe: usize, slots: usize, now: Tick) {
        let abandons = self.settings.expire_nodest_conn != 0;
        let is_over = |server| abandons && self.is_gone(server);
        let end = |server| self.unbind_template(server);
        // Backups would let it run out.
        let mut kept = ArrayVec::<Record, SWEEP_TEMPLATES>::new();
        let keep = |record| {
            let _ = kept.try_push(record);
        };
        self.templates.sweep(stripe, slots, now, is_over, end, keep);
        if self.teller.is_on {
            kept.iter().for_each(|record| self.teller.push(&self.counters, *record));
        }
    }

    /// Whether an ICMP error may be sent to a target now.
    pub(crate) fn may_complain(&mut self, now: Tick, target: ClientHash) -> bool {
        self.limits.allow(now, &self.settings, target, self.shards)
    }

    /// Whether a server of tunnels has this address.
    pub(crate) fn is_tunnel_server(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|slot| {
            slot.is_available && slot.method == Method::Tunnel && slot.address() == Some(address)
        })
    }

    /// Whether a server behind NAT has this end.
    pub(crate) fn is_nat_server(&self, protocol: u8, address: IpAddr, port: u16) -> bool {
        self.servers.iter().any(|slot| {
            slot.is_available
                && slot.method == Method::Nat
                && (slot.protocol, slot.port, slot.address()) == (protocol, port, Some(address))
        })
    }

    /// Asks for an unresolved next hop if it is time to.
    pub(crate) fn ask<H: Host>(
        &mut self,
        now: Tick,
        host: &mut H,
        id: NeighbourId,
    ) -> Result<(), DropReason> {
        if let Some(hop) = self.neighbours.ask(now, id)? {
            self.send_request(host, hop);
        }
        Ok(())
    }

    /// Asks a link who has an address: by broadcast, or of the group that its holder listens to.
    pub(crate) fn send_request<H: Host>(&self, host: &mut H, hop: NextHop) {
        match (self.topology.source_for(hop), hop.address) {
            (Some(IpAddr::V4(source)), IpAddr::V4(target)) => {
                let write = |packet: &mut [u8], mac| {
                    arp::write(packet, true, (mac, source), (Mac::default(), target));
                };
                self.send_own(
                    host,
                    hop.interface,
                    Mac::BROADCAST,
                    ethernet::ARP,
                    arp::LENGTH,
                    write,
                );
            }
            (Some(IpAddr::V6(source)), IpAddr::V6(target)) => {
                let to = ndp::multicast_mac(ndp::solicited_node(target));
                let write = |packet: &mut [u8], mac| {
                    ndp::write_solicitation(packet, source, mac, target);
                };
                let (ether_type, length) = (Ipv6Addr::ETHER_TYPE, ndp::SOLICITATION_LENGTH);
                self.send_own(host, hop.interface, to, ether_type, length, write);
            }
            _ => {}
        }
    }

    /// Tells a link, unasked, that an address is here.
    pub(crate) fn announce<H: Host>(&self, host: &mut H, interface: InterfaceId, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                let write = |packet: &mut [u8], mac| {
                    arp::write(packet, true, (mac, address), (Mac::default(), address));
                };
                self.send_own(host, interface, Mac::BROADCAST, ethernet::ARP, arp::LENGTH, write);
            }
            IpAddr::V6(address) => {
                let to = ndp::multicast_mac(ndp::ALL_NODES);
                let write = |packet: &mut [u8], mac| {
                    ndp::write_advertisement(packet, address, mac, ndp::ALL_NODES, address, false);
                };
                let (ether_type, length) = (Ipv6Addr::ETHER_TYPE, ndp::ADVERTISEMENT_LENGTH);
                self.send_own(host, interface, to, ether_type, length, write);
            }
        }
    }

    /// The same so that everybody understands: by request and by reply, as some listen only to one
    /// (RFC 5227 section 3).
    pub(crate) fn announce_twice<H: Host>(
        &self,
        host: &mut H,
        interface: InterfaceId,
        address: IpAddr,
    ) {
        self.announce(host, interface, address);
        if let IpAddr::V4(address) = address {
            let write = |packet: &mut [u8], mac| {
                arp::write(packet, false, (mac, address), (Mac::BROADCAST, address));
            };
            self.send_own(host, interface, Mac::BROADCAST, ethernet::ARP, arp::LENGTH, write);
        }
    }

    /// Sends a packet of our own to a station of a link; `write` fills it in, given our address.
    pub(crate) fn send_own<H: Host>(
        &self,
        host: &mut H,
        interface: InterfaceId,
        to: Mac,
        ether_type: u16,
        length: usize,
        write: impl FnOnce(&mut [u8], Mac),
    ) {
        let interface = self.topology.interface(interface);
        let header = ethernet::LinkHeader::new(to, interface.mac, interface.vlan, ether_type);
        let Some(mut frame) = host.allocate(header.length() + length) else {
            self.counters.count_drop(DropReason::BufferEmpty, 1);
            return;
        };
        let bytes = frame.bytes_mut();
        header.write(bytes);
        write(&mut bytes[header.length()..], interface.mac);
        host.send(interface.port, frame);
    }
}

impl Topology {
    /// The outer header towards a tunnel server; `None` when no route leads there.
    pub(crate) fn outer_template(&self, server: IpAddr) -> Option<OuterTemplate> {
        OuterTemplate::new(self.source_for(self.next_hop(server)?)?, server)
    }
}
