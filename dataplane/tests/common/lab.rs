//! Shards with one director, and a driver that does with verdicts what the engine does.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use dataplane::BURST;
use dataplane::command::{Command, Reply};
use dataplane::connection::TableSize;
use dataplane::counters::Counters;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::hash::HashKey;
use dataplane::interface::{Interface, InterfaceId, Route, Topology};
use dataplane::refusal::Refusal;
use dataplane::roster::ServerId;
use dataplane::service::{ServerSpec, ServiceKey, ServiceSpec, Traffic};
use dataplane::settings::Settings;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::template::Templates;
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId, ShardId, Verdict};

use super::build::Packet;
use super::frame::{TestFrame, TestHost};
use super::names::{CLIENTS, GATEWAY, JUMBO, SERVERS, VLAN, end, ip, mac_of, own_mac};
use super::questions::sum;

/// How large a laboratory is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) shards: u16,
    pub(crate) connections: u32,
    pub(crate) services: usize,
    pub(crate) servers: usize,
    pub(crate) neighbours: u16,
    /// Whether every next hop is configured, so that no ARP is needed.
    pub(crate) knows_hops: bool,
    /// When it begins.
    pub(crate) start: Tick,
}

pub(crate) const SIZE: Size = Size {
    shards: 1,
    connections: 4096,
    services: 16,
    servers: 32,
    neighbours: 64,
    knows_hops: true,
    start: Tick(0),
};

/// What became of a frame, all said and done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Sent(PortId, Vec<u8>),
    /// Waits for its next hop.
    Held,
    Consumed,
    Dropped(DropReason),
}

impl Outcome {
    /// The bytes sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Sent(_, bytes) => bytes,
            other => panic!("not sent but {other:?}"),
        }
    }
}

pub(crate) struct Lab {
    pub(crate) size: Size,
    pub(super) key: HashKey,
    pub(crate) shards: Vec<Shard<TestFrame>>,
    pub(crate) counters: Vec<Arc<Counters>>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) director: Director,
    pub(crate) host: TestHost,
    pub(crate) now: Tick,
    /// Verdicts given so far: all of them, and `ToOwner` alone.
    pub(crate) verdicts: u64,
    pub(crate) handed_over: u64,
    /// What frames became that were dropped, but answered.
    pub(crate) answers: Vec<(PortId, Vec<u8>)>,
    /// Answers that could not wait for their next hop: drops beyond those of the frames.
    pub(crate) lost_answers: u64,
}

impl Lab {
    pub(crate) fn new(size: Size) -> Self {
        Self::keyed(size, HashKey::new([0x1234_5678, 0x9abc_def0, 0x0fed_cba9]))
    }

    /// With a secret of the connection hash's.
    pub(crate) fn keyed(size: Size, key: HashKey) -> Self {
        let topology = Arc::new(topology());
        let templates = Arc::new(Templates::new(4096, key));
        let counters: Vec<_> =
            (0..size.shards).map(|_| Arc::new(Counters::new(size.servers))).collect();
        let mut shards: Vec<Shard<TestFrame>> = (0..size.shards)
            .map(|n| {
                let config = ShardConfig {
                    id: ShardId(n),
                    shards: size.shards,
                    key,
                    table: TableSize { connections: size.connections },
                    table6: TableSize { connections: size.connections },
                    services: size.services,
                    servers: size.servers,
                    neighbours: size.neighbours,
                };
                let counters = Arc::clone(&counters[usize::from(n)]);
                Shard::new(&config, Arc::clone(&topology), counters, Arc::clone(&templates))
            })
            .collect();
        if size.knows_hops {
            for shard in &mut shards {
                for address in known_hops() {
                    shard.fix_neighbour(address.into(), mac_of(address)).unwrap();
                }
            }
        }
        for shard in &mut shards {
            // Most tests are about what is not routed.
            let settings = Settings { ip_forward: 0, ..Settings::default() };
            let _ = shard.apply(size.start, Command::PutSettings(settings));
        }
        let director = Director::new(size.services, size.servers);
        let (host, now) = (TestHost::new(), size.start);
        Self {
            size,
            key,
            shards,
            counters,
            templates,
            director,
            host,
            now,
            verdicts: 0,
            handed_over: 0,
            answers: Vec::new(),
            lost_answers: 0,
        }
    }

    // Time.

    pub(crate) fn wait_ticks(&mut self, ticks: u32) {
        self.now = self.now.after(ticks);
    }

    pub(crate) fn wait(&mut self, seconds: u32) {
        self.now = self.now.after_seconds(seconds);
    }

    /// What shards do between bursts.
    pub(crate) fn tick(&mut self) {
        for shard in &mut self.shards {
            shard.tick(self.now, &mut self.host);
        }
    }

    /// Lets seconds pass as on a quiet machine: ten ticks of the shards in each.
    pub(crate) fn idle(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.wait_ticks(10);
            self.tick();
        }
    }

    pub(crate) fn sweep_all(&mut self) {
        for shard in &mut self.shards {
            shard.sweep_all(self.now);
        }
        self.shards[0].sweep_all_templates(self.now);
    }

    // Control.

    pub(crate) fn apply(&mut self, command: &Command) {
        for shard in &mut self.shards {
            assert!(matches!(
                shard.apply(self.now, command.clone()),
                Reply::Done(_) | Reply::Held(_)
            ));
        }
    }

    fn change(
        &mut self,
        change: impl FnOnce(&mut Director, &dyn Fn(ServerId) -> Traffic) -> Result<Command, Refusal>,
    ) {
        let counters = self.counters.clone();
        let command = change(&mut self.director, &|id| sum(&counters, id)).unwrap();
        self.apply(&command);
    }

    pub(crate) fn add_service(&mut self, spec: ServiceSpec) {
        self.change(|director, _| director.add_service(spec));
    }

    pub(crate) fn edit_service(&mut self, spec: ServiceSpec) {
        self.change(|director, _| director.edit_service(spec));
    }

    pub(crate) fn delete_service(&mut self, key: &ServiceKey) {
        self.change(|director, _| director.delete_service(key));
    }

    pub(crate) fn add_server(&mut self, key: &ServiceKey, spec: ServerSpec) {
        self.change(|director, read| director.add_server(key, spec, read));
    }

    pub(crate) fn edit_server(&mut self, key: &ServiceKey, spec: ServerSpec) {
        self.change(|director, _| director.edit_server(key, spec));
    }

    pub(crate) fn delete_server(&mut self, key: &ServiceKey, text: &str) {
        let (address, port) = end(text);
        self.change(|director, read| director.delete_server(key, address.into(), port, read));
    }

    pub(crate) fn forget_deleted(&mut self) -> usize {
        let commands = self.director.forget_deleted(self.now);
        for command in &commands {
            self.apply(command);
        }
        commands.len()
    }

    // Packets.

    /// One packet, by the first shard.
    pub(crate) fn one(&mut self, packet: &Packet) -> Outcome {
        self.one_frame(packet.frame())
    }

    pub(crate) fn one_frame(&mut self, frame: TestFrame) -> Outcome {
        self.offer(0, vec![frame]).remove(0)
    }

    pub(crate) fn burst(&mut self, packets: &[Packet]) -> Vec<Outcome> {
        self.offer(0, packets.iter().map(Packet::frame).collect())
    }

    /// Gives frames to a shard as the engine does, in bursts, and takes them to what becomes of
    /// them. Checks on the way what must hold for every frame.
    pub(crate) fn offer(&mut self, shard: usize, mut frames: Vec<TestFrame>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while !frames.is_empty() {
            let burst: Vec<_> = frames.drain(..frames.len().min(BURST)).collect();
            outcomes.extend(self.process(shard, burst, false));
            self.spread_learned();
        }
        outcomes
    }

    fn process(&mut self, shard: usize, mut burst: Vec<TestFrame>, is_owner: bool) -> Vec<Outcome> {
        let before = burst.clone();
        // A verdict left over from another burst must not survive.
        let mut verdicts = [Verdict::Transmit(PortId(999)); BURST];
        let counted = self.drop_counts(shard);
        let (host, now) = (&mut self.host, self.now);
        self.shards[shard].process(now, host, &mut burst, &mut verdicts);
        self.verdicts += burst.len() as u64;
        let answered = self.answered(shard, &verdicts[..burst.len()], &counted);
        let mut outcomes = Vec::new();
        for ((frame, before), verdict) in burst.into_iter().zip(before).zip(verdicts) {
            outcomes.push(match verdict {
                Verdict::Transmit(port) if answered.is_some() && is_answer(&frame, &before) => {
                    self.answers.push((port, frame.bytes().to_vec()));
                    Outcome::Dropped(answered.unwrap())
                }
                Verdict::Transmit(port) => Outcome::Sent(port, frame.bytes().to_vec()),
                Verdict::Consumed => Outcome::Consumed,
                Verdict::Drop(reason) => {
                    assert_eq!(frame, before, "dropped for {reason:?}, so unchanged");
                    Outcome::Dropped(reason)
                }
                Verdict::ToOwner(owner) => {
                    assert!(!is_owner, "its owner must not pass it on");
                    assert_ne!(usize::from(owner.0), shard);
                    assert_eq!(frame, before, "handed over unchanged");
                    self.handed_over += 1;
                    self.process(owner.0.into(), vec![frame], true).remove(0)
                }
                Verdict::Hold(id) => {
                    let answered = answered.filter(|_| is_answer(&frame, &before));
                    match self.shards[shard].hold(self.now, &mut self.host, id, frame) {
                        Ok(()) => answered.map_or(Outcome::Held, Outcome::Dropped),
                        Err((_, reason)) => {
                            self.lost_answers += u64::from(answered.is_some());
                            Outcome::Dropped(reason)
                        }
                    }
                }
            });
        }
        outcomes
    }

    fn drop_counts(&self, shard: usize) -> Vec<u64> {
        DropReason::ALL.iter().map(|&reason| self.counters[shard].dropped(reason)).collect()
    }

    /// The reason that was counted beyond the verdicts, by frames that became answers; one of
    /// them, if there are several.
    fn answered(&self, shard: usize, verdicts: &[Verdict], before: &[u64]) -> Option<DropReason> {
        let now = self.drop_counts(shard);
        let mut reasons = DropReason::ALL.iter().filter(|&&reason| {
            let said = verdicts.iter().filter(|&&verdict| verdict == Verdict::Drop(reason)).count();
            now[reason as usize] - before[reason as usize] > said as u64
        });
        reasons.next().copied()
    }

    /// Tells every shard what any of them has heard.
    fn spread_learned(&mut self) {
        for teller in 0..self.shards.len() {
            while let Some(learned) = self.shards[teller].take_learned() {
                for shard in &mut self.shards {
                    shard.learn(self.now, &mut self.host, &learned);
                }
            }
        }
    }

    /// What shards have sent by themselves since this was last asked.
    pub(crate) fn take_sent(&mut self) -> Vec<(PortId, Vec<u8>)> {
        std::mem::take(&mut self.host.sent)
    }

    pub(crate) fn take_released(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.host.released)
    }
}

/// Whether a frame that is sent is an answer to itself: an ICMP error, or a reset.
fn is_answer(frame: &TestFrame, before: &TestFrame) -> bool {
    let ends = |frame: &TestFrame| {
        let link = if frame.bytes()[12..14] == [0x81, 0] { 18 } else { 14 };
        let l3 = &frame.bytes()[link..];
        let is_four = l3[0] >> 4 == 4 || l3.len() < 40;
        let (addresses, protocol) =
            if is_four { (&l3[12..20], l3[9]) } else { (&l3[8..40], l3[6]) };
        let (source, destination) = addresses.split_at(addresses.len() / 2);
        (source.to_vec(), destination.to_vec(), matches!(protocol, 1 | 58))
    };
    let (was, is) = (ends(before), ends(frame));
    is.1 == was.0 && !was.2 && (is.0 == was.1 || is.2)
}

fn topology() -> Topology {
    let interface = |port, vlan, mtu, address: &str| Interface {
        port,
        vlan,
        mac: own_mac(port),
        mtu,
        addresses: address.split(' ').map(|address| address.parse().unwrap()).collect(),
    };
    let interfaces = vec![
        interface(CLIENTS, None, 1500, "10.9.255.254/16 2001:db8:9::fffe/64"),
        interface(SERVERS, None, 1500, "10.1.255.254/16 2001:db8:1::fffe/64"),
        interface(SERVERS, Some(VLAN), 1500, "10.7.255.254/16"),
        interface(JUMBO, None, u16::MAX, "10.3.255.254/16"),
    ];
    let route = Route { to: "100.64.0.0/10".parse().unwrap(), gateway: IpAddr::V4(ip(GATEWAY)) };
    let floating = vec![(InterfaceId(0), IpAddr::V4(ip("10.9.0.200")))];
    Topology::new(interfaces, &[route]).unwrap().with_floating(floating)
}

fn known_hops() -> impl Iterator<Item = Ipv4Addr> {
    let servers = (1..=8).map(|n| Ipv4Addr::new(10, 1, 0, n));
    let others = ["10.9.0.1", "10.9.0.2", GATEWAY, "10.7.0.1", "10.3.0.1"];
    servers.chain(others.map(ip))
}
