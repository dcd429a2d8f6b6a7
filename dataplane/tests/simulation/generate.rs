//! Random lives: what a director meets, drawn from a seed and from what the model knows.

use std::net::IpAddr;

use dataplane::service::{
    ClientMask, Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelSpec,
};
use dataplane::time::Tick;

use crate::driver::Setup;
use crate::gate::{self, Gate};
use crate::model::tcp::{ACK, FIN, RST, SYN};
use crate::model::{Datagram, End, Knobs, Life, Model, Rule, SECOND, State, TCP, UDP, Unreachable};
use crate::random::Random;
use crate::step::Step;

const CLIENTS: [&str; 5] = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.1.1", "10.9.1.2"];
const CLIENTS_6: [&str; 4] =
    ["2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::1:1", "2001:db8:9::1:2"];
const CLIENT_PORTS: [u16; 4] = [1000, 1001, 1002, 40_000];
const SERVERS: usize = 5;
const VIRTUAL_PORTS: [u16; 3] = [80, 443, 53];
/// Not the director's; a router of the laboratory leads there.
const ELSEWHERE: &str = "100.64.0.9";
/// Ends in digits that no state's timeout ends in, so that no two timers fire at once.
const PERSISTENCE_S: [u32; 4] = [45, 77, 333, 1001];

/// A conversation of a client: who says what, by TCP flags.
struct Talk {
    client: End,
    virtual_end: End,
    lines: Vec<(bool, u8)>,
    next: usize,
}

/// What one life is like, and what goes on in it.
pub(crate) struct Generator {
    random: Random,
    gate: Gate,
    /// Virtual addresses.
    virtuals: Vec<IpAddr>,
    marks: Vec<(Family, u32)>,
    schedulers: Vec<&'static str>,
    methods: Vec<Method>,
    talks: Vec<Talk>,
    uses_persistence: bool,
    uses_thresholds: bool,
    tunes: bool,
    /// Out of a hundred steps, those of control.
    control: usize,
    /// A service that stays, so that its address stays the director's.
    keepers: Vec<ServiceKey>,
}

impl Generator {
    pub(crate) fn new(seed: u64, gate: &Gate) -> (Self, Setup) {
        let mut random = Random::new(seed);
        let addresses = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let room = if random.percent(8) { random.between(1, 12) as u32 } else { 256 };
        let has_six = gate.six && room == 256 && random.percent(40);
        let has_four = !has_six || random.percent(70);
        let has_keeper = !gate.sleeps || random.percent(50);
        let mut virtuals = Vec::new();
        if has_four {
            virtuals.extend(addresses(&["10.9.255.254", "10.3.255.254"]));
        }
        if has_six {
            virtuals.extend(addresses(&["2001:db8:9::fffe", "2001:db8:1::fffe"]));
        }
        let mut keepers = Vec::new();
        if has_keeper && has_four {
            virtuals.extend(addresses(&["10.9.0.100"]));
            let address = virtuals[virtuals.len() - 1];
            keepers.push(ServiceKey::Address { protocol: Protocol::Tcp, address, port: 9 });
        }
        if has_keeper && has_six {
            virtuals.extend(addresses(&["2001:db8:9::100"]));
            let address = virtuals[virtuals.len() - 1];
            keepers.push(ServiceKey::Address { protocol: Protocol::Tcp, address, port: 9 });
        }
        let (mut rules, mut marks) = (Vec::new(), Vec::new());
        if gate.marks && random.percent(35) {
            let mut ends = virtuals.clone();
            if has_four && gate.marks_elsewhere {
                ends.extend(addresses(&[ELSEWHERE]));
            }
            for _ in 0..random.between(1, 3) {
                let (destination, mark) = (random.of(&ends), random.between(1, 2) as u32);
                rules.push(Rule {
                    protocol: random.of(&[None, Some(TCP), Some(UDP)]),
                    destination,
                    ports: random.of(&[(80, 80), (0, 65_535), (400, 500)]),
                    mark,
                });
                marks.push((Family::of(destination), mark));
            }
        }
        let mut stations = addresses(&CLIENTS);
        stations.extend((1..=SERVERS as u8).map(|n| IpAddr::from([10, 1, 0, n])));
        if gate.six {
            stations.extend(addresses(&CLIENTS_6));
            stations.extend((1..=SERVERS).map(server_6));
        }
        let is_lazy = room == 256 && random.percent(10);
        let schedulers = match random.below(3) {
            // Those that do not look at loads.
            _ if is_lazy => {
                let blind = |name: &&str| ["rr", "wrr", "sh", "dh", "mh", "fo"].contains(name);
                gate.schedulers.iter().copied().filter(blind).collect()
            }
            0 => vec![random.of(&gate.schedulers)],
            _ => gate.schedulers.clone(),
        };
        let all_methods = [Method::Nat, Method::Direct, Method::Tunnel];
        let methods = match random.below(3) {
            0 => vec![random.of(&all_methods)],
            _ => all_methods.to_vec(),
        };
        let setup = Setup {
            shards: random.of(&[1, 2, 4]),
            room,
            start: Tick(random.of(&[0, 12_345, u32::MAX - 3_000, i32::MAX as u32 - 9_000])),
            rules,
            stations,
            knobs: gate::first_knobs(gate),
            is_lazy,
            keepers: keepers.len(),
        };
        let generator = Self {
            gate: gate.clone(),
            virtuals,
            marks,
            schedulers,
            methods,
            talks: Vec::new(),
            uses_persistence: gate.persistence && !is_lazy && random.percent(50),
            uses_thresholds: gate.thresholds && !is_lazy && random.percent(40),
            tunes: gate.knobs && !is_lazy && random.percent(60),
            control: random.of(&[5, 12, 30]),
            keepers,
            random,
        };
        (generator, setup)
    }

    /// What is there from the beginning.
    pub(crate) fn first_steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for &key in &self.keepers {
            steps.push(Step::AddService(plain(key, "rr")));
        }
        if self.tunes {
            let knobs = self.tuned(gate::first_knobs(&self.gate));
            steps.push(Step::Tune(knobs));
        }
        for _ in 0..self.random.between(1, 3) {
            let spec = self.service();
            let key = spec.key;
            steps.push(Step::AddService(spec));
            for _ in 0..self.random.between(1, 4) {
                let spec = self.server(&key);
                steps.push(Step::AddServer(key, spec));
            }
        }
        steps
    }

    pub(crate) fn next(&mut self, model: &Model) -> Step {
        let shard = self.random.below(4);
        let choice = self.random.below(100);
        if choice < self.control {
            return self.change(model);
        }
        if choice < self.control + 20 {
            return self.wait(model);
        }
        if choice >= 97 {
            let mut bytes: Vec<u8> =
                (0..self.random.between(1, 90)).map(|_| self.random.bits() as u8).collect();
            let ether_type = self.random.of(&[[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]]);
            if self.random.percent(80) && bytes.len() > 14 {
                bytes[..6].copy_from_slice(
                    &crate::common::names::own_mac(crate::common::names::CLIENTS).0,
                );
                bytes[12..14].copy_from_slice(&ether_type);
            }
            return Step::Garbage { shard: 0, port: 0, bytes };
        }
        if self.gate.icmp
            && self.random.percent(6)
            && let Some(error) = self.error(model)
        {
            return Step::Error { shard, error };
        }
        let mut packets = Vec::new();
        for _ in 0..self.random.of(&[1, 1, 1, 2, 3, 6]) {
            self.packet(model, &mut packets);
        }
        Step::Packets { shard, packets }
    }

    // Packets.

    fn packet(&mut self, model: &Model, packets: &mut Vec<Datagram>) {
        let choice = self.random.below(100);
        match choice {
            0..35 => self.talk(model, packets),
            35..60 if !model.connections.is_empty() => {
                let packet = self.going_on(model);
                packets.push(packet);
            }
            60..64 => {
                // Out of nowhere, by a server.
                let (source, destination) = (self.some_server(model), self.client());
                if let Some(source) = source
                    && source.0.is_ipv4() == destination.0.is_ipv4()
                {
                    let protocol = self.random.of(&[TCP, UDP]);
                    let flags = self.random.of(&[SYN, ACK, RST]);
                    packets.push(datagram(protocol, flags, source, destination));
                }
            }
            _ => {
                let packet = self.request(model);
                packets.push(packet);
            }
        }
        for packet in packets.iter_mut() {
            packet.payload = self.random.of(&[0, 0, 1, 30]);
        }
    }

    /// The next line of a conversation, which may get lost, come twice or too late.
    fn talk(&mut self, model: &Model, packets: &mut Vec<Datagram>) {
        if self.talks.len() < 3 {
            let request = self.request(model);
            let lines: &[(bool, u8)] = if request.protocol == TCP {
                &[
                    (true, SYN),
                    (false, SYN | ACK),
                    (true, ACK),
                    (true, ACK),
                    (false, ACK),
                    (true, FIN | ACK),
                    (false, ACK),
                    (false, FIN | ACK),
                    (true, ACK),
                    (true, SYN),
                ]
            } else {
                &[(true, 0), (false, 0), (true, 0), (false, 0)]
            };
            let (client, virtual_end) = (request.source, request.destination);
            self.talks.push(Talk { client, virtual_end, lines: lines.to_vec(), next: 0 });
        }
        let place = self.random.below(self.talks.len());
        let talk = &mut self.talks[place];
        if self.random.percent(6) {
            talk.next += 1;
        }
        if self.random.percent(8) && talk.next + 1 < talk.lines.len() {
            talk.lines.swap(talk.next, talk.next + 1);
        }
        let is_over = talk.next >= talk.lines.len();
        if is_over {
            self.talks.remove(place);
            return;
        }
        let (from_client, flags) = talk.lines[talk.next];
        talk.next += 1;
        let protocol = if talk.lines.len() == 4 { UDP } else { TCP };
        let mut packet = datagram(protocol, flags, talk.client, talk.virtual_end);
        if !from_client
            && let Some(place) = model.requested(&packet)
            && model.connections[place].method == Method::Nat
        {
            (packet.source, packet.destination) = (model.connections[place].real, talk.client);
        } else if !from_client {
            return;
        }
        packets.push(packet);
        if self.random.percent(8) {
            packets.push(packet);
        }
    }

    /// An error about a packet of a connection, or of none.
    fn error(&mut self, model: &Model) -> Option<Unreachable> {
        if model.connections.is_empty() {
            return None;
        }
        let c = &model.connections[self.random.below(model.connections.len())];
        // The documents do not say whether errors follow to a server that has been deleted.
        if model.servers[c.server].life != Life::Available {
            return None;
        }
        let (mut client, is_four) = (c.client, c.client.0.is_ipv4());
        client.1 += u16::from(self.random.percent(10));
        let is_from_server = c.method == Method::Nat && self.random.percent(50);
        let about = match is_from_server {
            true => datagram(c.protocol, ACK, client, c.real),
            false => datagram(c.protocol, ACK, c.virtual_end, client),
        };
        let is_ambiguous = is_from_server && {
            let answer = Datagram { source: c.real, destination: client, ..about };
            model.replied_to(&answer).len() > 1
        };
        let source = match is_from_server {
            true => c.real.0,
            false if self.random.percent(30) => self.client_of(is_four).0,
            false => client.0,
        };
        let destination = if is_from_server { client.0 } else { c.virtual_end.0 };
        (!is_ambiguous).then_some(Unreachable { source, destination, about })
    }

    /// A packet of a connection that is there.
    fn going_on(&mut self, model: &Model) -> Datagram {
        let c = &model.connections[self.random.below(model.connections.len())];
        let flags = match self.random.below(10) {
            0..4 => ACK,
            4 => FIN | ACK,
            5 => RST,
            6 => SYN,
            7 => self.random.of(&[SYN | ACK, 0, FIN, RST | ACK]),
            _ => match c.state {
                State::Tcp(state) if state.is("TIME_WAIT") || state.is("CLOSE") => SYN,
                _ => FIN | ACK,
            },
        };
        if c.method == Method::Nat && self.random.percent(40) {
            return datagram(c.protocol, flags, c.real, c.client);
        }
        let mut packet = datagram(c.protocol, flags, c.client, c.virtual_end);
        packet.ttl = if self.random.percent(3) { 1 } else { packet.ttl };
        packet
    }

    fn request(&mut self, model: &Model) -> Datagram {
        let mut source = self.client();
        let keys: Vec<_> = model.services.keys().collect();
        let mut protocol = self.random.of(&[TCP, TCP, UDP]);
        let mut destination =
            (self.random.of(&self.virtuals.clone()), self.random.of(&VIRTUAL_PORTS));
        if self.random.percent(85) && !keys.is_empty() {
            match *keys[self.random.below(keys.len())] {
                ServiceKey::Address { protocol: known, address, port } => {
                    protocol = known as u8;
                    destination.0 = address;
                    let is_data = port == 21 && self.random.percent(50);
                    if port != 0 && !is_data {
                        destination.1 = port;
                    }
                }
                ServiceKey::Mark { mark, .. } => {
                    let rule = model.rules.iter().find(|rule| rule.mark == mark).unwrap();
                    destination.0 = rule.destination;
                    destination.1 = if rule.ports.0 == 0 { destination.1 } else { rule.ports.0 };
                    protocol = rule.protocol.unwrap_or(protocol);
                }
            }
        }
        if self.random.percent(5) {
            destination.1 = self.random.of(&[5000, 5000, 20, 1024, 1023]);
        }
        while source.0.is_ipv4() != destination.0.is_ipv4() {
            source = self.client_of(destination.0.is_ipv4());
        }
        if self.gate.knobs && self.random.percent(1) {
            source.1 = 20;
        }
        let flags = match self.random.below(20) {
            0..15 => SYN,
            15..17 => ACK,
            17 => SYN | ACK,
            18 => RST,
            _ => self.random.of(&[0, FIN, SYN | RST, SYN | FIN]),
        };
        let mut packet = datagram(protocol, flags, source, destination);
        packet.ttl = if self.random.percent(2) { 1 } else { packet.ttl };
        packet
    }

    fn client(&mut self) -> End {
        let is_four = self.virtuals.iter().any(IpAddr::is_ipv4)
            && (self.virtuals.iter().all(IpAddr::is_ipv4) || self.random.percent(50));
        self.client_of(is_four)
    }

    fn client_of(&mut self, is_four: bool) -> End {
        let text = if is_four { self.random.of(&CLIENTS) } else { self.random.of(&CLIENTS_6) };
        (text.parse().unwrap(), self.random.of(&CLIENT_PORTS))
    }

    fn some_server(&mut self, model: &Model) -> Option<End> {
        let known: Vec<_> = model.servers.iter().map(|s| (s.spec.address, s.spec.port)).collect();
        (!known.is_empty()).then(|| {
            let (address, port) = self.random.of(&known);
            (address, if port == 0 || self.random.percent(10) { 80 } else { port })
        })
    }

    // Time.

    fn wait(&mut self, model: &Model) -> Step {
        let at_once = self.random.percent(40);
        let ticks = match self.random.below(20) {
            0..8 => self.random.between(1, 60) as u64,
            8..13 => {
                // To the very end of something, or a tick off.
                let timers = model.connections.iter().map(|c| c.expires);
                let timers: Vec<_> =
                    timers.chain(model.templates.iter().map(|t| t.expires)).collect();
                if timers.is_empty() {
                    1
                } else {
                    let at = self.random.of(&timers) - model.now;
                    (at + self.random.below(3) as u64).saturating_sub(1).max(1)
                }
            }
            13..18 => self.random.between(1, 130) as u64 * SECOND,
            _ => self.random.between(13_000, 100_000) as u64,
        };
        Step::Wait { ticks, at_once }
    }

    // Control.

    fn change(&mut self, model: &Model) -> Step {
        let keys = model.services.keys().filter(|key| !self.keepers.contains(key));
        let keys: Vec<_> = keys.copied().collect();
        if keys.is_empty() || self.random.percent(6) {
            return Step::AddService(self.service());
        }
        let key = self.random.of(&keys);
        let service = &model.services[&key];
        let end_of = |number: &usize| {
            let spec = &model.servers[*number].spec;
            (spec.address, spec.port)
        };
        let list: Vec<End> = service.list.iter().map(end_of).collect();
        let gone: Vec<End> = (0..model.servers.len())
            .filter(|&number| model.servers[number].service == key)
            .map(|number| end_of(&number))
            .collect();
        match self.random.below(100) {
            0..20 => Step::AddServer(key, self.server(&key)),
            20..30 if !gone.is_empty() => {
                // Back again.
                let (address, port) = self.random.of(&gone);
                let spec = self.server(&key);
                Step::AddServer(key, ServerSpec { address, port, ..spec })
            }
            30..50 if !list.is_empty() => {
                let (address, port) = self.random.of(&list);
                let mut spec = self.server(&key);
                if port == 0 && spec.method == Method::Nat && spec.port != 0 {
                    spec.method = Method::Direct;
                }
                Step::EditServer(key, ServerSpec { address, port, ..spec })
            }
            50..66 if !list.is_empty() => Step::DeleteServer(key, self.random.of(&list)),
            66..74 => Step::DeleteService(key),
            74..84 => {
                let spec = self.attributes(key);
                Step::EditService(spec)
            }
            84 if self.keepers.is_empty() && self.gate.sleeps => Step::Flush,
            85..88 => Step::Zero(self.random.of(&[None, Some(key)])),
            88..94 if self.tunes => Step::Tune(self.tuned(model.knobs)),
            _ => Step::Forget,
        }
    }

    fn service(&mut self) -> ServiceSpec {
        let key = if !self.marks.is_empty() && self.random.percent(40) {
            let (family, mark) = self.random.of(&self.marks.clone());
            ServiceKey::Mark { family, mark }
        } else {
            let port = if self.uses_persistence && self.random.percent(25) {
                self.random.of(if self.gate.knobs { &[0, 0, 21] } else { &[0] })
            } else {
                self.random.of(&VIRTUAL_PORTS)
            };
            ServiceKey::Address {
                protocol: self.random.of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp]),
                address: self.random.of(&self.virtuals.clone()),
                port,
            }
        };
        self.attributes(key)
    }

    fn attributes(&mut self, key: ServiceKey) -> ServiceSpec {
        let scheduler = self.random.of(&self.schedulers.clone());
        let needs_persistence = matches!(key, ServiceKey::Address { port: 0, .. });
        let is_persistent = needs_persistence || self.uses_persistence && self.random.percent(50);
        let is_udp = matches!(key, ServiceKey::Address { protocol: Protocol::Udp, .. });
        let client_mask = match key.family() {
            Family::V4 => ClientMask::V4(self.random.of(&[u32::MAX, 0xffff_ff00, 0xffff_0000])),
            Family::V6 => ClientMask::V6(self.random.of(&[128, 112, 64])),
        };
        ServiceSpec {
            scheduler_flags: self.random.of(&[0, 0, 0x08, 0x10, 0x18]),
            persistence_s: is_persistent.then(|| self.random.of(&PERSISTENCE_S)),
            client_mask,
            one_packet: is_udp && self.gate.one_packet && self.random.percent(20),
            ..plain(key, scheduler)
        }
    }

    fn server(&mut self, key: &ServiceKey) -> ServerSpec {
        let n = self.random.between(1, SERVERS);
        let address = match key.family() {
            Family::V4 => IpAddr::from([10, 1, 0, n as u8]),
            Family::V6 => server_6(n),
        };
        let method = self.random.of(&self.methods.clone());
        // A port of its own for each virtual end, so that replies tell their connection.
        let place = |address: IpAddr| {
            self.virtuals.iter().position(|&other| other == address).unwrap_or(9) as u16
        };
        let port = match *key {
            ServiceKey::Address { address, port, .. } if port != 0 => {
                8000 + port + 1000 * place(address)
            }
            // Of any port, or behind a mark.
            _ => self.random.of(&[0, 0, 9000]),
        };
        let upper =
            if self.uses_thresholds { self.random.of(&[0, 0, 1, 2, 3, 4, 4, 8]) } else { 0 };
        // 0 stands for three quarters.
        let lower = if self.random.percent(60) { 0 } else { self.random.below(upper as usize + 1) };
        let lower = lower as u32;
        ServerSpec {
            address,
            port: if method != Method::Nat && self.random.percent(20) { 0 } else { port },
            method,
            weight: self.random.of(&[0, 0, 1, 1, 1, 2, 3, 4, 6, 10]),
            upper_threshold: upper,
            lower_threshold: lower,
            tunnel: TunnelSpec::default(),
        }
    }

    fn tuned(&mut self, mut knobs: Knobs) -> Knobs {
        for _ in 0..self.random.between(1, 3) {
            match self.random.below(7) {
                0 => knobs.conn_reuse_mode = self.random.below(4) as i32,
                1 => knobs.expire_nodest_conn = self.random.below(2) as i32,
                2 => knobs.expire_quiescent_template = self.random.below(2) as i32,
                3 => knobs.sloppy_tcp = self.random.below(2) as i32,
                4 => knobs.nat_icmp_send = self.random.below(2) as i32,
                5 => knobs.secure_tcp = self.random.of(&[0, 0, 2, 3]),
                _ => {
                    let place = self.random.below(3);
                    knobs.timeouts[place] = self.random.of(&[10, 50, 120, 300, 900]);
                }
            }
        }
        knobs
    }
}

fn plain(key: ServiceKey, scheduler: &str) -> ServiceSpec {
    ServiceSpec {
        client_mask: ClientMask::each_client(key.family()),
        ..crate::common::names::service(key, scheduler)
    }
}

fn server_6(n: usize) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, n as u16])
}

fn datagram(protocol: u8, flags: u8, source: End, destination: End) -> Datagram {
    let flags = if protocol == TCP { flags } else { 0 };
    Datagram { protocol, flags, source, destination, ttl: 64, payload: 0 }
}
