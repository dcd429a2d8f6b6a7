//! Shards with one virtual service.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::address::Prefix;
use dataplane::command::Command;
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::{HashKey, owner_of};
use dataplane::interface::{Interface, Route, Topology};
use dataplane::roster::Roster;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId};

use engine::port::huge_pages::hold_in_large_pages;

use crate::frames::{self, Client, DUT_MAC, GENERATOR_MAC, PORT};

/// Slots for servers, if there are no more.
const SERVERS: u32 = 64;
/// Secret of the connection hash; fixed, so that runs are alike.
const KEY: HashKey = HashKey::new([0x1234, 0x5678, 0x9abc]);

/// A virtual service, its servers, and how large the shards are that have it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) family: Family,
    pub(crate) method: Method,
    pub(crate) protocol: Protocol,
    pub(crate) scheduler: &'static str,
    pub(crate) servers: u32,
    /// Of one shard, for connections of the family.
    pub(crate) table: u32,
    pub(crate) shards: u16,
    /// Whether link-layer addresses of servers and router are known.
    pub(crate) knows_hops: bool,
}

/// What the shards have in common.
pub(crate) struct World {
    setup: Setup,
    topology: Arc<Topology>,
    templates: Arc<Templates>,
    put_service: Command,
}

impl Setup {
    /// One server behind one shard with room for so many connections.
    pub(crate) const fn one(
        family: Family,
        method: Method,
        protocol: Protocol,
        table: u32,
    ) -> Self {
        let (scheduler, servers, shards) = ("rr", 1, 1);
        Self { family, method, protocol, scheduler, servers, table, shards, knows_hops: true }
    }

    /// The shard that has a client's connections.
    pub(crate) fn owner(&self, client: Client) -> ShardId {
        match client.end(self.family) {
            (IpAddr::V4(address), port) => owner_of(&KEY, address, port, self.shards),
            (IpAddr::V6(address), port) => owner_of(&KEY, address, port, self.shards),
        }
    }

    /// The service with its servers.
    pub(crate) fn roster(self) -> Arc<Roster> {
        let Command::PutService(roster) = self.put_service() else {
            unreachable!("a server changes the roster")
        };
        roster
    }

    pub(crate) fn world(self) -> World {
        let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
        let interface = Interface {
            port: PortId(0),
            vlan: None,
            mac: DUT_MAC,
            mtu: 1500,
            addresses: ["10.1.255.254/16", "fd00:1::ffff:1/64"].map(prefix).into(),
        };
        // Clients are behind a router.
        let routes = [(Family::V4, "0.0.0.0/0"), (Family::V6, "::/0")]
            .map(|(family, everywhere)| Route { to: prefix(everywhere), gateway: router(family) });
        let topology = Topology::new(vec![interface], &routes).expect("an on-link router");
        World {
            setup: self,
            topology: Arc::new(topology),
            templates: Arc::new(Templates::new(64, KEY)),
            put_service: self.put_service(),
        }
    }

    /// The shard, when it is the only one, and its counters.
    pub(crate) fn shard<F: Frame>(self) -> (Shard<F>, Arc<Counters>) {
        self.world().shard(0)
    }

    fn slots(self) -> usize {
        self.servers.max(SERVERS) as usize
    }

    fn put_service(self) -> Command {
        let mut director = Director::new(16, self.slots());
        let address = frames::vip(self.family);
        let key = ServiceKey::Address { protocol: self.protocol, address, port: PORT };
        let service = ServiceSpec {
            key,
            scheduler: self.scheduler.into(),
            scheduler_flags: 0,
            persistence_s: None,
            client_mask: ClientMask::each_client(self.family),
            persistence_engine: None,
            one_packet: false,
        };
        let mut last = director.add_service(service).expect("a plain service");
        for n in 0..self.servers {
            let server = ServerSpec {
                address: frames::server(self.family, n),
                port: PORT,
                method: self.method,
                weight: i64::from(n % 8 + 1),
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: TunnelSpec::default(),
            };
            let read = |_| Traffic::default();
            last = director.add_server(&key, server, &read).expect("a plain server");
        }
        last
    }
}

impl World {
    /// A shard with the service, and its counters.
    pub(crate) fn shard<F: Frame>(&self, id: u16) -> (Shard<F>, Arc<Counters>) {
        let setup = self.setup;
        let size = |family| TableSize {
            connections: if family == setup.family { setup.table } else { 64 },
        };
        let config = ShardConfig {
            id: ShardId(id),
            shards: setup.shards,
            key: KEY,
            table: size(Family::V4),
            table6: size(Family::V6),
            services: 16,
            servers: setup.slots(),
            neighbours: setup.slots() as u16 + 64,
        };
        let counters = Arc::new(Counters::new(setup.slots()));
        let (topology, templates) = (Arc::clone(&self.topology), Arc::clone(&self.templates));
        let mut shard = Shard::new(&config, topology, Arc::clone(&counters), templates);
        // On a kernel without large pages the figures are those of small ones.
        let _ = hold_in_large_pages(shard.memory());
        let servers = (0..setup.servers).map(|n| frames::server(setup.family, n));
        for hop in servers.chain([router(setup.family)]).filter(|_| setup.knows_hops) {
            shard.fix_neighbour(hop, GENERATOR_MAC).expect("an on-link neighbour");
        }
        shard.apply(Tick(0), self.put_service.clone());
        (shard, counters)
    }
}

fn router(family: Family) -> IpAddr {
    let text = match family {
        Family::V4 => "10.1.255.1",
        Family::V6 => "fd00:1::ffff:2",
    };
    text.parse().expect("an address")
}

/// A family's number in results.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// All methods.
pub(crate) const METHODS: [Method; 3] = [Method::Direct, Method::Tunnel, Method::Nat];

/// A method's name in results.
pub(crate) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Direct => "dr",
        Method::Tunnel => "ipip",
        Method::Nat => "nat",
    }
}

/// A protocol's name in results.
pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
