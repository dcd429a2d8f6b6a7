//! One life: the steps, and what is compared after each.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dataplane::command::Command;
use dataplane::connection::state::State;
use dataplane::service::{
    ClientMask, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelSpec,
};
use dataplane::settings::Settings;

use crate::choose::{Chooser, NAMES};
use crate::common::build::{Packet, Transport, reply, request};
use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, Outcome, SIZE, Size};
use crate::common::names::{CLIENTS, SERVERS, service};
use crate::model::{
    ACK, End, FIN, Fate, Flow, How, Key, Knobs, Model, RST, SYN, Server, Service, Stage, TCP,
};

const UDP: u8 = 17;

/// Random numbers, the same for the same seed everywhere (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, most: u64) -> u64 {
        self.roll() % most
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Life {
    dice: Dice,
    lab: Lab,
    model: Model,
    /// Packets of clients so far, from which those of servers are made up.
    flows: Vec<(Flow, Option<End>)>,
    story: Vec<String>,
}

/// Plays a seed; what happened comes back.
///
/// # Panics
/// When shards and model differ; the story so far is printed.
pub(crate) fn play(seed: u64) -> Vec<String> {
    let mut dice = Dice(seed);
    let shards = dice.one(&[1, 1, 2, 4]);
    let tiny = dice.chance(5);
    // A tiny table is there to be full, which the model knows nothing of.
    let connections = if tiny { 8 } else { 512 };
    let size = Size { shards, connections, servers: 256, ..SIZE };
    let mut life = Life {
        dice,
        lab: Lab::new(size),
        model: Model::default(),
        flows: Vec::new(),
        story: vec![format!("seed {seed}, {shards} shards")],
    };
    life.set(Knobs { conn_reuse_mode: 1, ..Knobs::default() });
    for _ in 0..1 + life.dice.below(3) {
        life.add_service();
    }
    let steps = 40 + life.dice.below(80);
    for _ in 0..steps {
        life.step();
        if tiny {
            assert!(life.lab.connection_count() <= u32::from(shards) * 8, "the table is bounded");
        } else {
            life.compare();
        }
    }
    life.end();
    life.story
}

impl Life {
    fn tell(&mut self, line: String) {
        if std::env::var_os("POLLVS_SIMULATION_SEED").is_some() {
            println!("{:6} s: {line}", self.model.now);
        }
        self.story.push(line);
    }

    fn is_tiny(&self) -> bool {
        self.lab.shards.len() as u32 * 8 >= self.capacity()
    }

    fn capacity(&self) -> u32 {
        self.lab.size.connections * self.lab.shards.len() as u32
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..45 => self.request(),
            45..65 => self.reply(),
            65..68 => self.garbage(),
            68..78 => self.wait(),
            78..82 => self.add_service(),
            82..88 => self.add_server(),
            88..92 => self.edit_server(),
            92..95 => self.delete_server(),
            95..96 => self.delete_service(),
            96..98 => self.edit_service(),
            _ => self.turn_knob(),
        }
    }

    // Packets.

    fn request(&mut self) {
        let flow = if self.dice.chance(60) && !self.flows.is_empty() {
            let recent = self.flows.len().saturating_sub(6);
            let at = recent + self.dice.below((self.flows.len() - recent) as u64) as usize;
            let flags = self.dice.one(&[ACK, ACK, ACK, FIN | ACK, RST, SYN, SYN | ACK, 0]);
            Flow { flags, ..self.flows[at].0 }
        } else {
            let to = self.virtual_end();
            let client = Ipv4Addr::new(100, 64, self.dice.below(2) as u8, self.dice.below(2) as u8);
            Flow {
                protocol: self.dice.one(&[TCP, TCP, UDP]),
                from: (client, 1000 + self.dice.below(3) as u16),
                to,
                flags: self.dice.one(&[SYN, SYN, SYN, SYN, ACK, RST]),
            }
        };
        let flow = Flow { flags: if flow.protocol == TCP { flow.flags } else { 0 }, ..flow };
        let expected = self.model.request(&flow);
        let real = match expected {
            Fate::ToServer(_, real) => Some(real),
            _ => None,
        };
        self.flows.push((flow, real));
        let got = self.offer(&build(&flow, false), &flow);
        self.tell(format!("{flow:?} -> {expected:?}"));
        self.check(expected, got);
    }

    fn reply(&mut self) {
        let Some(&(flow, Some(real))) = self.flows.last() else { return self.request() };
        let port = if self.dice.chance(95) { real.1 } else { real.1.wrapping_add(1) };
        let flow = Flow {
            from: (real.0, port),
            to: flow.from,
            flags: match flow.protocol {
                TCP => self.dice.one(&[SYN | ACK, SYN | ACK, ACK, ACK, FIN | ACK, RST]),
                _ => 0,
            },
            ..flow
        };
        let expected = self.model.reply(&flow);
        let got = self.offer(&build(&flow, true), &flow);
        self.tell(format!("reply {flow:?} -> {expected:?}"));
        self.check(expected, got);
    }

    fn garbage(&mut self) {
        let length = self.dice.below(90) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.dice.roll() as u8).collect();
        if let Some(kind) = bytes.get_mut(12..14) {
            kind.copy_from_slice(&[0x08, 0]);
        }
        let outcome = self.lab.one_frame(TestFrame::new(CLIENTS, &bytes));
        assert!(matches!(outcome, Outcome::Dropped(_)), "{outcome:?}");
    }

    /// Gives a packet to some shard: what becomes of it, read from the frame that comes out.
    fn offer(&mut self, packet: &Packet, flow: &Flow) -> Fate {
        let shard = self.dice.below(self.lab.shards.len() as u64) as usize;
        let outcome = self.lab.offer(shard, vec![packet.frame()]).remove(0);
        let answer = self.lab.answers.pop();
        match (outcome, answer) {
            (Outcome::Sent(port, bytes), None) => {
                let out = Seen::of(&bytes);
                if port == SERVERS {
                    assert_eq!(out.from, flow.from, "the server sees the client");
                    let how = match out {
                        Seen { is_wrapped: true, .. } => How::Tunnel,
                        Seen { to, .. } if to == flow.to => How::Direct,
                        _ => How::Nat,
                    };
                    let address = Ipv4Addr::new(10, 1, bytes[4], bytes[5]);
                    let real = if how == How::Nat { out.to } else { (address, out.to.1) };
                    assert_eq!(real.0, address, "addressed to the link of the server");
                    Fate::ToServer(how, real)
                } else {
                    assert_eq!(out.to, flow.to, "to the client");
                    Fate::ToClient(out.from)
                }
            }
            (Outcome::Dropped(_), Some((_, bytes))) => match bytes[14 + 9] {
                1 => {
                    assert_eq!(bytes[34..36], [3, 3]);
                    Fate::Unreachable
                }
                _ => Fate::Reset,
            },
            (Outcome::Dropped(_), None) => Fate::Silence,
            other => panic!("{other:?}"),
        }
    }

    fn check(&self, expected: Fate, got: Fate) {
        let same = match (expected, got) {
            // A port that is not rewritten cannot be seen.
            (Fate::ToServer(a, real), Fate::ToServer(b, seen)) if a != How::Nat && a == b => {
                real.0 == seen.0
            }
            // By NAT to the very port that was asked for looks the same only if the address does.
            _ => expected == got,
        };
        if !same && !self.is_tiny() {
            panic!("expected {expected:?}, got {got:?}\n{}", self.tail());
        }
    }

    fn tail(&self) -> String {
        self.story[self.story.len().saturating_sub(12)..].join("\n")
    }

    // Time.

    fn wait(&mut self) {
        let seconds = self.dice.one(&[1, 1, 3, 10, 10, 59, 61, 119, 125, 310, 1000]);
        self.tell(format!("{seconds} seconds pass"));
        self.let_pass(seconds);
    }

    fn let_pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.lab.wait(1);
            self.lab.sweep_all();
        }
        self.model.wait(seconds);
        self.lab.forget_deleted();
    }

    // Control.

    fn virtual_end(&mut self) -> End {
        let address = Ipv4Addr::new(10, 9, 0, self.dice.one(&[100, 101]));
        (address, self.dice.one(&[80, 80, 80, 81, 9000]))
    }

    fn add_service(&mut self) {
        let (address, port) = self.virtual_end();
        let persistence_s = self.dice.one(&[None, None, Some(30), Some(100)]);
        let port = if persistence_s.is_some() && self.dice.chance(30) { 0 } else { port };
        let protocol = self.dice.one(&[TCP, TCP, UDP]);
        let key = (protocol, address, port);
        if self.model.services.iter().any(|service| service.key == key) {
            return;
        }
        let service = Service {
            key,
            chooser: Chooser::new(self.dice.one(&NAMES)),
            persistence_s,
            mask: self.dice.one(&[u32::MAX, 0xffff_ff00]),
            one_packet: protocol == UDP && persistence_s.is_none() && self.dice.chance(30),
            list: Vec::new(),
        };
        self.tell(format!("new {service:?}"));
        self.lab.add_service(spec(&service));
        self.model.services.push(service);
        for _ in 0..self.dice.below(4) {
            self.add_server_to(key);
        }
    }

    fn some_service(&mut self) -> Option<Key> {
        let keys: Vec<Key> = self.model.services.iter().map(|service| service.key).collect();
        (!keys.is_empty()).then(|| self.dice.one(&keys))
    }

    fn add_server(&mut self) {
        if let Some(key) = self.some_service() {
            self.add_server_to(key);
        }
    }

    fn add_server_to(&mut self, key: Key) {
        let address = Ipv4Addr::new(10, 1, 0, 1 + self.dice.below(5) as u8);
        let how = self.dice.one(&[How::Nat, How::Nat, How::Direct, How::Tunnel]);
        let port = if key.2 == 0 {
            0
        } else if how == How::Nat {
            8080
        } else {
            key.2
        };
        let servers = &self.model.servers;
        let list = &self.model.services.iter().find(|s| s.key == key).unwrap().list;
        if list.iter().any(|&index| servers[index].end.0 == address) {
            return;
        }
        let server = self.draw_server((address, port), how);
        self.tell(format!("{key:?} gets {server:?}"));
        self.lab.add_server(&key_of(key), server_spec(&server));
        self.model.add_server(key, server);
    }

    fn draw_server(&mut self, end: End, how: How) -> Server {
        let upper = self.dice.one(&[0, 0, 0, 1, 2, 4]);
        Server {
            end,
            how,
            weight: self.dice.one(&[0, 1, 1, 1, 2, 3, 6]),
            upper,
            lower: self.dice.below(u64::from(upper) + 1) as u32,
            is_overloaded: false,
            active: 0,
            inactive: 0,
            templates: 0,
            is_there: true,
        }
    }

    fn some_server(&mut self) -> Option<(Key, usize)> {
        let services = self.model.services.iter();
        let all: Vec<(Key, usize)> =
            services.flat_map(|s| s.list.iter().map(|&index| (s.key, index))).collect();
        (!all.is_empty()).then(|| self.dice.one(&all))
    }

    fn edit_server(&mut self) {
        let Some((key, index)) = self.some_server() else { return };
        let (end, how) = (self.model.servers[index].end, self.model.servers[index].how);
        // Another port than the service's is for NAT only.
        let may_change = end.1 == key.2;
        let how = if may_change {
            self.dice.one(&[how, How::Nat, How::Direct, How::Tunnel])
        } else {
            how
        };
        let change = self.draw_server(end, how);
        self.tell(format!("edit {key:?} {change:?}"));
        self.lab.edit_server(&key_of(key), server_spec(&change));
        self.model.edit_server(key, index, &change);
    }

    fn delete_server(&mut self) {
        let Some((key, index)) = self.some_server() else { return };
        let (address, port) = self.model.servers[index].end;
        self.tell(format!("delete {key:?} {address}:{port}"));
        self.lab.delete_server(&key_of(key), &format!("{address}:{port}"));
        self.model.delete_server(key, index);
        self.lab.sweep_all();
    }

    fn delete_service(&mut self) {
        let Some(key) = self.some_service() else { return };
        self.tell(format!("delete {key:?}"));
        self.lab.delete_service(&key_of(key));
        self.model.delete_service(key);
        self.lab.sweep_all();
    }

    fn edit_service(&mut self) {
        let Some(key) = self.some_service() else { return };
        let name = self.dice.one(&NAMES);
        self.tell(format!("{key:?} is scheduled by {name}"));
        self.model.choose_by(key, name);
        let spec = spec(self.model.service(key));
        self.lab.edit_service(spec);
    }

    fn turn_knob(&mut self) {
        let mut knobs = self.model.knobs;
        match self.dice.below(4) {
            0 => knobs.conn_reuse_mode = self.dice.below(4) as i32,
            1 => knobs.expire_nodest_conn ^= true,
            2 => knobs.expire_quiescent_template ^= true,
            _ => knobs.sloppy_tcp ^= true,
        }
        self.tell(format!("{knobs:?}"));
        self.set(knobs);
        self.lab.sweep_all();
    }

    fn set(&mut self, knobs: Knobs) {
        self.model.set(knobs);
        self.lab.apply(&Command::PutSettings(Settings {
            conn_reuse_mode: knobs.conn_reuse_mode,
            expire_nodest_conn: knobs.expire_nodest_conn.into(),
            expire_quiescent_template: knobs.expire_quiescent_template.into(),
            sloppy_tcp: knobs.sloppy_tcp.into(),
            ip_forward: 0,
            icmp_ratelimit_ms: 0,
            icmp_msgs_per_sec: 1_000_000,
            icmp_msgs_burst: 1_000_000,
            ..Settings::default()
        }));
    }

    // What both say of themselves.

    fn compare(&mut self) {
        let mut ours = BTreeSet::new();
        for connection in self.lab.connections() {
            let (client, virtual_end, real) =
                (connection.client, connection.virtual_end, connection.real);
            let state = connection.state.name();
            ours.insert(format!(
                "{} {client:?} {virtual_end:?} {real:?} {state} {}",
                connection.protocol, connection.expires_s
            ));
        }
        let now = self.model.now;
        let theirs: BTreeSet<String> = self
            .model
            .connections
            .iter()
            .map(|c| {
                let ends = [c.client, c.virtual_end, c.real];
                let [client, virtual_end, real] =
                    ends.map(|(address, port)| (std::net::IpAddr::V4(address), port));
                let state = name_of(c.stage);
                let left = c.expires - now;
                format!("{} {client:?} {virtual_end:?} {real:?} {state} {left}", c.protocol)
            })
            .collect();
        let story = self.tail();
        assert_eq!(ours, theirs, "connections: ours, and the model's\n{story}");
        let read = |id| self.lab.read(id);
        for service in &self.model.services {
            let view = self.lab.director.service(&key_of(service.key), &read).unwrap();
            for (server, &index) in view.servers.iter().zip(&service.list) {
                let theirs = &self.model.servers[index];
                let (load, name) = (server.load, server.spec.address);
                assert_eq!(
                    (load.active(), load.inactive(), load.templates(), load.is_overloaded()),
                    (theirs.active, theirs.inactive, theirs.templates, theirs.is_overloaded),
                    "{name} of {:?}: active, inactive, templates, overload\n{story}",
                    service.key
                );
            }
            assert_eq!(view.servers.len(), service.list.len());
        }
    }

    /// All has an end, and then nothing is counted any more.
    fn end(&mut self) {
        self.let_pass(901);
        self.let_pass(121);
        assert_eq!(self.lab.connection_count(), 0);
        assert_eq!(self.lab.templates.len(), 0);
        let read = |id| self.lab.read(id);
        for service in self.lab.director.services(&read) {
            for server in &service.servers {
                assert!(server.load.is_idle(), "{:?}: {}", service.spec.key, self.tail());
            }
        }
    }
}

/// Addresses and ports of a frame, inside a tunnel if it is one.
#[derive(Clone, Copy)]
struct Seen {
    is_wrapped: bool,
    from: End,
    to: End,
}

impl Seen {
    fn of(frame: &[u8]) -> Self {
        let is_wrapped = frame[14 + 9] == 4;
        let l3 = &frame[if is_wrapped { 34 } else { 14 }..];
        let address = |at: usize| Ipv4Addr::new(l3[at], l3[at + 1], l3[at + 2], l3[at + 3]);
        let port = |at: usize| u16::from_be_bytes([l3[at], l3[at + 1]]);
        Self { is_wrapped, from: (address(12), port(20)), to: (address(16), port(22)) }
    }
}

fn build(flow: &Flow, is_reply: bool) -> Packet {
    let transport =
        if flow.protocol == TCP { Transport::Tcp(flow.flags) } else { Transport::Udp(true) };
    let [from, to] = [flow.from, flow.to].map(|(address, port)| format!("{address}:{port}"));
    if is_reply { reply(transport, &from, &to) } else { request(transport, &from, &to) }
}

fn key_of((protocol, address, port): Key) -> ServiceKey {
    let protocol = if protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
    ServiceKey::Address { protocol, address: address.into(), port }
}

fn spec(of: &Service) -> ServiceSpec {
    ServiceSpec {
        persistence_s: of.persistence_s,
        client_mask: ClientMask::V4(of.mask),
        one_packet: of.one_packet,
        ..service(key_of(of.key), of.chooser.name())
    }
}

fn server_spec(server: &Server) -> ServerSpec {
    ServerSpec {
        address: server.end.0.into(),
        port: server.end.1,
        method: match server.how {
            How::Nat => Method::Nat,
            How::Tunnel => Method::Tunnel,
            How::Direct => Method::Direct,
        },
        weight: server.weight.into(),
        upper_threshold: server.upper,
        lower_threshold: server.lower,
        tunnel: TunnelSpec::default(),
    }
}

fn name_of(stage: Stage) -> &'static str {
    let state = match stage {
        Stage::None => State::None,
        Stage::Established => State::Established,
        Stage::SynSent => State::SynSent,
        Stage::SynRecv => State::SynRecv,
        Stage::FinWait => State::FinWait,
        Stage::TimeWait => State::TimeWait,
        Stage::Close => State::Close,
        Stage::CloseWait => State::CloseWait,
        Stage::LastAck => State::LastAck,
        Stage::Listen => State::Listen,
        Stage::SynAck => State::SynAck,
        Stage::Udp => State::Udp,
    };
    state.name()
}
