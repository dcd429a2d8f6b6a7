//! The shard in the pipeline: one virtual service, one real server, direct routing.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Topology};
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, ShardId};

use crate::frames::{DUT_MAC, GENERATOR_MAC, PORT, SERVER, VIP};

/// Room for connections, as the daemon has it in the same comparison.
const CONNECTIONS: u32 = 65_536;
/// Slots for servers and for services.
const SLOTS: usize = 64;

/// A shard that forwards the traffic of [`crate::frames`].
pub(crate) fn shard<F: Frame>() -> Shard<F> {
    let interface = Interface {
        port: PortId(0),
        vlan: None,
        mac: DUT_MAC,
        mtu: 1500,
        addresses: vec!["10.1.255.254/8".parse().expect("a prefix")],
    };
    let topology = Arc::new(Topology::new(vec![interface], &[]).expect("one interface"));
    let key = HashKey::new([0x1234, 0x5678, 0x9abc]);
    let config = ShardConfig {
        id: ShardId(0),
        shards: 1,
        key,
        table: TableSize { connections: CONNECTIONS },
        table6: TableSize { connections: 64 },
        services: SLOTS,
        servers: SLOTS,
        neighbours: 64,
    };
    let (counters, templates) = (Counters::new(SLOTS), Templates::new(64, key));
    let mut shard = Shard::new(&config, topology, Arc::new(counters), Arc::new(templates));
    shard.fix_neighbour(IpAddr::V4(SERVER), GENERATOR_MAC).expect("an on-link neighbour");

    let mut director = Director::new(SLOTS, SLOTS);
    let key = ServiceKey::Address { protocol: Protocol::Udp, address: VIP.into(), port: PORT };
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
        address: SERVER.into(),
        port: PORT,
        method: Method::Direct,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelSpec::default(),
    };
    let added = director.add_service(service).expect("a plain service");
    shard.apply(Tick(0), added);
    let added = director.add_server(&key, server, &|_| Traffic::default());
    shard.apply(Tick(0), added.expect("a plain server"));
    shard
}
