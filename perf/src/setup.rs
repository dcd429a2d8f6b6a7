//! A shard with one virtual service and one real server.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::command::Command;
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Topology};
use dataplane::packet::ethernet::Mac;
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId};

use crate::frames::{DUT_MAC, GENERATOR_MAC, PORT, SERVER, VIP};

/// The shard's port.
pub(crate) const OUR_MAC: Mac = DUT_MAC;
/// Slots for servers.
pub(crate) const SERVERS: usize = 64;

/// A shard with room for `connections`, whose one server is reached by `method`.
pub(crate) fn shard<F: Frame>(
    method: Method,
    protocol: Protocol,
    connections: u32,
    counters: Arc<Counters>,
) -> Shard<F> {
    let network = "10.1.255.254/8".parse().expect("a prefix");
    let interface = Interface {
        port: PortId(0),
        vlan: None,
        mac: OUR_MAC,
        mtu: 1500,
        addresses: vec![network],
    };
    let topology = Arc::new(Topology::new(vec![interface], &[]).expect("one interface"));
    let key = HashKey::new([0x1234, 0x5678, 0x9abc]);
    let templates = Arc::new(Templates::new(64, key));
    let config = ShardConfig {
        id: ShardId(0),
        shards: 1,
        key,
        table: TableSize { connections },
        table6: TableSize { connections: 64 },
        services: 16,
        servers: SERVERS,
        neighbours: 64,
    };
    let mut shard = Shard::new(&config, topology, counters, templates);
    shard.fix_neighbour(IpAddr::V4(SERVER), GENERATOR_MAC).expect("an on-link neighbour");
    for command in commands(method, protocol) {
        shard.apply(Tick(0), command);
    }
    shard
}

fn commands(method: Method, protocol: Protocol) -> [Command; 2] {
    let mut director = Director::new(16, SERVERS);
    let key = ServiceKey::Address { protocol, address: IpAddr::V4(VIP), port: PORT };
    let service = ServiceSpec {
        key,
        scheduler: "rr".into(),
        scheduler_flags: 0,
        persistence_s: None,
        client_mask: ClientMask::each_client(Family::V4),
        persistence_engine: None,
        one_packet: false,
    };
    let server = ServerSpec {
        address: IpAddr::V4(SERVER),
        port: PORT,
        method,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelSpec::default(),
    };
    let added = director.add_service(service).expect("a plain service");
    let read = |_| Traffic::default();
    [added, director.add_server(&key, server, &read).expect("a plain server")]
}

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
