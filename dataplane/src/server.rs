//! A real server as a shard keeps it: what forwarding to it needs.

use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};

use crate::neighbour::NeighbourId;
use crate::packet::outer::OuterTemplate;
use crate::roster::{Load, Roster};
use crate::service::Method;
use crate::time::Tick;

/// Seconds for which a path's MTU is remembered.
const PATH_MTU_S: u32 = 600;
/// Path MTUs below this are not believed, as in Linux.
const LEAST_PATH_MTU: u16 = 552;

/// A real server as a shard needs it for packets; what each of them needs comes first, in a cache
/// line.
#[repr(C, align(64))]
pub(crate) struct ServerSlot {
    /// Whether it is in its service's roster.
    pub(crate) is_available: bool,
    /// How new connections reach it.
    pub(crate) method: Method,
    /// Largest packet, outer header included, that routers on the way to a tunnel server take,
    /// and until when that is believed.
    path_mtu: u16,
    path_mtu_until: Tick,
    pub(crate) hop: NeighbourId,
    pub(crate) outer: OuterTemplate,
    /// The server's address and load; a deleted one's stay while connections refer to it.
    pub(crate) server: Option<(IpAddr, Arc<Load>)>,
    /// The roster that is to hear when the load changes, and the server's place in it.
    pub(crate) ranked: Option<(Arc<Roster>, u32)>,
    /// Whether connections by NAT may exist, so that packets from it may be replies.
    pub(crate) has_been_nat: bool,
    /// Protocol of its service; TCP behind a firewall mark, as in the kernel.
    pub(crate) protocol: u8,
    /// Its port; 0 keeps the packet's.
    pub(crate) port: u16,
    pub(crate) weight: u32,
    /// Firewall mark of its service, or 0.
    pub(crate) mark: u32,
}

impl Default for ServerSlot {
    fn default() -> Self {
        Self {
            server: None,
            ranked: None,
            is_available: false,
            has_been_nat: false,
            protocol: 0,
            method: Method::Nat,
            port: 0,
            weight: 0,
            mark: 0,
            hop: NeighbourId::NONE,
            outer: OuterTemplate::default(),
            path_mtu: u16::MAX,
            path_mtu_until: Tick(0),
        }
    }
}

impl ServerSlot {
    /// The slot of connections without a server: they count nowhere, but together.
    pub(crate) fn nobody() -> Self {
        let server = Some((IpAddr::V4(Ipv4Addr::UNSPECIFIED), Arc::default()));
        Self { server, weight: 1, ..Self::default() }
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.server.as_ref().map(|(address, _)| *address)
    }

    /// Changes the server's load, and tells its roster.
    pub(crate) fn count(&self, change: impl FnOnce(&Load)) {
        if let Some((_, load)) = &self.server {
            change(load);
        }
        if let Some((roster, place)) = &self.ranked {
            roster.load_changed(*place);
        }
    }

    /// Moves a connection of this server to the other class.
    #[cold]
    pub(crate) fn reclassify(&self, active: bool) {
        self.count(|load| load.reclassify(active));
    }

    /// Largest inner packet of a tunnel on a link with this MTU.
    #[inline(always)]
    pub(crate) fn tunnel_mtu(&mut self, now: Tick, link_mtu: u16) -> u16 {
        if self.path_mtu != u16::MAX && now.reached(self.path_mtu_until) {
            self.path_mtu = u16::MAX;
        }
        link_mtu.min(self.path_mtu).saturating_sub(self.outer.length() as u16)
    }

    /// Takes a router's word on what fits through the tunnel, if that is less than is known; says
    /// what to tell the client. As in the kernel, what is new is told from the second time on.
    pub(crate) fn learn_mtu(&mut self, now: Tick, link_mtu: u16, told: u16) -> u16 {
        let is_known = self.path_mtu != u16::MAX;
        let before = self.tunnel_mtu(now, link_mtu);
        let told = told.max(LEAST_PATH_MTU);
        if told < self.path_mtu.min(link_mtu) {
            self.path_mtu = told;
            self.path_mtu_until = now.after_seconds(PATH_MTU_S);
        }
        if is_known { self.tunnel_mtu(now, link_mtu) } else { before }
    }
}
