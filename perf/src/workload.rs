//! Shards and frames that are the same in every run: services of both families, clients by number,
//! and garbage. Clients are behind a router, so replies need one next hop only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::BURST;
use dataplane::command::Command;
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, Route, Topology};
use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, Traffic, TunnelSpec,
};
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId, ShardId, Verdict};
use etherparse::{PacketBuilder, PacketBuilderStep};

use crate::frames::{DUT_MAC, GENERATOR_MAC, PORT};
use crate::pool::{Nowhere, PoolFrame};

/// The secret of the connection hash: the same in every run, which a daemon's is not.
pub(crate) const KEY: HashKey = HashKey::new([0x1234, 0x5678, 0x9abc]);
/// Slots for servers.
pub(crate) const SERVER_SLOTS: usize = 128;

/// A virtual service and who serves it.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) method: Method,
    pub(crate) protocol: Protocol,
    pub(crate) family: Family,
    pub(crate) scheduler: &'static str,
    pub(crate) servers: u8,
    /// Room for connections.
    pub(crate) connections: u32,
}

impl Service {
    fn virtual_address(&self) -> IpAddr {
        self.address(9, 0xff01)
    }

    /// A real server, from 1.
    pub(crate) fn server(&self, number: u8) -> IpAddr {
        self.address(1, u16::from(number))
    }

    fn router(&self) -> IpAddr {
        self.address(9, 1)
    }

    fn address(&self, network: u8, host: u16) -> IpAddr {
        match self.family {
            Family::V4 => {
                let [high, low] = host.to_be_bytes();
                Ipv4Addr::new(10, network, high, low).into()
            }
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, network.into(), 0, 0, 0, 0, host).into(),
        }
    }

    /// A client's address and port.
    pub(crate) fn client(&self, number: u32) -> (IpAddr, u16) {
        let address = match self.family {
            Family::V4 => Ipv4Addr::from(0xac10_0000 + (number >> 4)).into(),
            Family::V6 => Ipv6Addr::from(0x2001_0db8_000c << 80 | u128::from(number >> 4)).into(),
        };
        (address, 1024 + (number & 15) as u16)
    }

    /// One of `shards` shards that know the service; its servers' and the router's link-layer
    /// addresses are known unless `is_strange`.
    pub(crate) fn shard<F: Frame>(
        &self,
        id: u16,
        shards: u16,
        is_strange: bool,
        counters: Arc<Counters>,
    ) -> Shard<F> {
        let prefixes =
            ["10.9.255.254/16", "10.1.255.254/16", "2001:db8:9::fffe/64", "2001:db8:1::fffe/64"];
        let interface = Interface {
            port: PortId(0),
            vlan: None,
            mac: DUT_MAC,
            mtu: 1500,
            addresses: prefixes.map(|text| text.parse().expect("a prefix")).to_vec(),
        };
        let route = |to: &str, gateway| Route { to: to.parse().expect("a prefix"), gateway };
        let route = match self.family {
            Family::V4 => route("0.0.0.0/0", self.router()),
            Family::V6 => route("::/0", self.router()),
        };
        let topology = Topology::new(vec![interface], &[route]).expect("one interface");
        let config = ShardConfig {
            id: ShardId(id),
            shards,
            key: KEY,
            table: TableSize { connections: self.connections },
            table6: TableSize { connections: self.connections },
            services: 16,
            servers: SERVER_SLOTS,
            neighbours: 256,
        };
        let templates = Arc::new(Templates::new(64, KEY));
        let mut shard = Shard::new(&config, Arc::new(topology), counters, templates);
        if !is_strange {
            let hops = (1..=self.servers).map(|number| self.server(number)).chain([self.router()]);
            for hop in hops {
                shard.fix_neighbour(hop, GENERATOR_MAC).expect("an on-link neighbour");
            }
        }
        for command in self.commands() {
            shard.apply(Tick(0), command);
        }
        shard
    }

    /// What makes the service and its servers known.
    fn commands(&self) -> Vec<Command> {
        let mut director = Director::new(16, SERVER_SLOTS);
        let (protocol, address) = (self.protocol, self.virtual_address());
        let key = ServiceKey::Address { protocol, address, port: PORT };
        let service = ServiceSpec {
            key,
            scheduler: self.scheduler.into(),
            scheduler_flags: 0,
            persistence_s: None,
            client_mask: ClientMask::each_client(self.family),
            persistence_engine: None,
            one_packet: false,
        };
        let mut commands = vec![director.add_service(service).expect("a plain service")];
        for number in 1..=self.servers {
            let server = ServerSpec {
                address: self.server(number),
                port: PORT,
                method: self.method,
                weight: 1,
                upper_threshold: 0,
                lower_threshold: 0,
                tunnel: TunnelSpec::default(),
            };
            let read = |_| Traffic::default();
            commands.push(director.add_server(&key, server, &read).expect("a plain server"));
        }
        commands
    }

    /// A small frame of a client, with `flags` when it is TCP. Flags alone carry no payload.
    pub(crate) fn request(&self, client: u32, flags: Tcp) -> Vec<u8> {
        let (address, port) = self.client(client);
        self.packet((address, port), (self.virtual_address(), PORT), flags)
    }

    /// What the first server sends back.
    pub(crate) fn reply(&self, client: u32, flags: Tcp) -> Vec<u8> {
        self.packet((self.server(1), PORT), self.client(client), flags)
    }

    fn packet(&self, from: (IpAddr, u16), to: (IpAddr, u16), flags: Tcp) -> Vec<u8> {
        let link = PacketBuilder::ethernet2(GENERATOR_MAC.0, DUT_MAC.0);
        let ip: PacketBuilderStep<_> = match (from.0, to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
            _ => unreachable!("both ends are of the service's family"),
        };
        let mut bytes = Vec::new();
        if self.protocol == Protocol::Tcp {
            let tcp = ip.tcp(from.1, to.1, 1, 1024);
            match flags {
                Tcp::Syn => tcp.syn().write(&mut bytes, &[]),
                Tcp::SynAck => tcp.syn().ack(1).write(&mut bytes, &[]),
                Tcp::Data => tcp.ack(1).write(&mut bytes, &[0; 6]),
            }
        } else {
            ip.udp(from.1, to.1).write(&mut bytes, &[0; 18])
        }
        .expect("a small packet can be written");
        bytes
    }

    /// Opens connections for clients from 0 on, as far as established.
    pub(crate) fn open(&self, shard: &mut Shard<PoolFrame>, connections: u32) {
        let mut steps = vec![(true, Tcp::Syn)];
        if self.protocol == Protocol::Tcp {
            if self.method == Method::Nat {
                steps.push((false, Tcp::SynAck));
            }
            steps.push((true, Tcp::Data));
        }
        for (is_request, flags) in steps {
            for first in (0..connections).step_by(BURST) {
                let clients = first..connections.min(first + BURST as u32);
                let bytes = |client| match is_request {
                    true => self.request(client, flags),
                    false => self.reply(client, flags),
                };
                let mut burst: Vec<_> =
                    clients.map(|client| PoolFrame::holding(&bytes(client))).collect();
                let mut verdicts = [Verdict::Consumed; BURST];
                shard.process(Tick(1), &Nowhere, &mut burst, &mut verdicts);
                let sent = |verdict: &Verdict| matches!(verdict, Verdict::Transmit(_));
                assert!(verdicts[..burst.len()].iter().all(sent), "{verdicts:?}");
            }
        }
        assert_eq!(shard.connections(), connections);
    }
}

/// The flags of a TCP packet.
#[derive(Clone, Copy)]
pub(crate) enum Tcp {
    Syn,
    SynAck,
    /// Acknowledges, and carries a few bytes.
    Data,
}

/// Frames that nothing good can be made of: random bytes, random packets to the port's address,
/// packets cut short, packets damaged where a checksum or a length tells.
pub(crate) fn garbage(service: &Service, random: &mut Random) -> Vec<u8> {
    let mut good = service.request(random.below(1024), Tcp::Data);
    match random.below(4) {
        0 => (0..random.below(120)).map(|_| random.below(256) as u8).collect(),
        1 => {
            good.truncate(14);
            good.extend((0..random.below(100)).map(|_| random.below(256) as u8));
            good
        }
        2 => {
            good.truncate(random.below(good.len() as u32 - 20) as usize);
            good
        }
        _ => {
            // A byte under the checksum of IPv4, or the payload length of IPv6.
            let at = if service.family == Family::V4 { 22 } else { 18 };
            good[at] ^= 1 + random.below(255) as u8;
            good
        }
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number less than `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// Frames that shards dropped, by reason, for people: `name number` each, or nothing.
pub(crate) fn drops(shards: &[&Counters]) -> String {
    let count = |reason| shards.iter().map(|counters| counters.dropped(reason)).sum::<u64>();
    let counts = DropReason::ALL.iter().map(|&reason| (reason.name(), count(reason)));
    let words = counts.filter(|(_, count)| *count > 0);
    words.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
