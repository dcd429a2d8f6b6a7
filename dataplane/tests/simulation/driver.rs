//! The director and its model side by side: every step is done to both, and both are compared.

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane::BURST;
use dataplane::command::Command;
use dataplane::director::Director;
use dataplane::frame::Frame;
use dataplane::refusal::Refusal;
use dataplane::roster::ServerId;
use dataplane::service::{Method, Traffic};
use dataplane::time::Tick;
use dataplane::verdict::{DropReason, PortId, Verdict};

use crate::common::frame::TestFrame;
use crate::common::lab::{Lab, SIZE, Size};
use crate::common::names::own_mac;
use crate::frames::{self, Answer, LINK};
use crate::gate::{self, Gate};
use crate::met::Met;
use crate::model::{Datagram, End, Knobs, Model, Outcome, Room, Rule, SECOND, TCP, Unreachable};
use crate::step::Step;
use crate::watch;

/// A failure in words, or nothing.
pub(crate) type Checked = Result<(), String>;

/// Protocol, client, virtual and real end, state and seconds left, as listings show them.
pub(crate) type Listed = (u8, End, End, End, String, u64);

macro_rules! ensure {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}

/// What a life begins with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    /// Connections that a shard has room for.
    pub(crate) room: u32,
    pub(crate) start: Tick,
    pub(crate) rules: Vec<Rule>,
    /// Stations whose link-layer addresses are known.
    pub(crate) stations: Vec<IpAddr>,
    pub(crate) knobs: Knobs,
    /// Shards meet what has ended only when a packet does: nothing is swept, and loads lag behind.
    pub(crate) is_lazy: bool,
    /// The first steps, which belong to the setup.
    pub(crate) keepers: usize,
}

pub(crate) struct Rig {
    pub(crate) lab: Lab,
    pub(crate) model: Model,
    pub(crate) met: Met,
    gate: Gate,
    setup: Setup,
    /// The server of each connection as its client sees it.
    seen: HashMap<(u8, End, End), (End, Method)>,
    /// What became of the packets of the last step.
    pub(crate) said: String,
    given: u64,
    verdicts: u64,
    dropped: u64,
}

/// What a frame became.
#[derive(Clone, Debug)]
enum Fate {
    Sent(PortId, Vec<u8>),
    Held,
    Consumed,
    Dropped(DropReason),
}

impl Fate {
    fn is_full(&self) -> bool {
        matches!(self, Self::Dropped(DropReason::TableFull | DropReason::ChainFull))
    }
}

/// The director's own addresses in the laboratory.
pub(crate) fn own_addresses(gate: &Gate) -> Vec<IpAddr> {
    let four = ["10.9.255.254", "10.1.255.254", "10.7.255.254", "10.3.255.254"];
    let six = ["2001:db8:9::fffe", "2001:db8:1::fffe"];
    let six = six.iter().filter(|_| gate.six);
    four.iter().chain(six).map(|text| text.parse().unwrap()).collect()
}

/// The director's own address towards a station.
fn own_towards(to: IpAddr) -> IpAddr {
    let is_server = frames::port_of(to) == crate::common::names::SERVERS;
    let text = match (to.is_ipv4(), is_server) {
        (true, true) => "10.1.255.254",
        (true, false) => "10.9.255.254",
        (false, true) => "2001:db8:1::fffe",
        (false, false) => "2001:db8:9::fffe",
    };
    text.parse().unwrap()
}

impl Rig {
    pub(crate) fn new(setup: &Setup, gate: &Gate) -> Self {
        let mut lab = Lab::new(Size {
            shards: setup.shards,
            connections: setup.room,
            services: 32,
            servers: 256,
            neighbours: 128,
            start: setup.start,
            ..SIZE
        });
        for shard in &mut lab.shards {
            for &station in &setup.stations {
                shard.fix_neighbour(station, frames::mac_of(station)).unwrap();
            }
        }
        gate::put_knobs(&mut lab, &setup.knobs);
        gate::put_rules(&mut lab, &setup.rules);
        let mut model = Model::new(own_addresses(gate), setup.rules.clone(), setup.knobs);
        model.answers = gate.answers;
        model.nodest_at_deletion = gate.nodest_at_deletion;
        Self {
            lab,
            model,
            met: Met::default(),
            gate: gate.clone(),
            setup: setup.clone(),
            seen: HashMap::new(),
            said: String::new(),
            given: 0,
            verdicts: 0,
            dropped: 0,
        }
    }

    /// Does a step to both and compares everything.
    pub(crate) fn step(&mut self, step: &Step) -> Checked {
        self.said.clear();
        match step {
            // A connection of the same burst must not make a reply ambiguous.
            Step::Packets { shard, packets } if self.may_confuse(packets) => {
                packets.iter().try_for_each(|packet| self.packets(*shard, &[*packet]))?;
            }
            Step::Packets { shard, packets } => self.packets(*shard, packets)?,
            Step::Error { shard, error } => self.error(*shard, error)?,
            Step::Garbage { shard, port, bytes } => {
                let frame = TestFrame::new(PortId(*port), bytes);
                self.give(*shard, vec![frame]);
            }
            Step::Wait { ticks, at_once } => self.wait(*ticks, *at_once)?,
            other => self.control(other)?,
        }
        for event in self.model.events.drain(..) {
            self.met.count(event);
        }
        self.compare()
    }

    // Packets.

    /// Whether a burst holds a reply, and a request of the same client to another end.
    fn may_confuse(&self, packets: &[Datagram]) -> bool {
        packets.iter().any(|reply| {
            self.model.replied_to(reply).first().is_some_and(|&place| {
                let virtual_end = self.model.connections[place].virtual_end;
                packets.iter().any(|other| {
                    (other.protocol, other.source) == (reply.protocol, reply.destination)
                        && other.destination != virtual_end
                })
            })
        })
    }

    fn packets(&mut self, shard: usize, packets: &[Datagram]) -> Checked {
        // A server that answers the same client on two connections cannot be understood.
        let packets: Vec<_> =
            packets.iter().filter(|packet| self.model.replied_to(packet).len() < 2).collect();
        let frames = packets.iter().map(|packet| {
            let (port, bytes) = frames::arriving(packet);
            TestFrame::new(port, &bytes)
        });
        let fates = self.give(shard % self.lab.shards.len(), frames.collect());
        // The model meets them in the order in which the shards did: IPv4 before IPv6, and those
        // of other shards last.
        let mut order: Vec<_> = (0..packets.len()).collect();
        order.sort_by_key(|&n| (fates[n].1, packets[n].source.0.is_ipv6()));
        for n in order {
            let (packet, fate) = (packets[n], &fates[n].0);
            let room = Room { is_full: self.is_full_for(packet), fails: fate.is_full() };
            let (outcome, wanted_room) = self.model.packet(packet, room);
            let outcome = self.as_this_version(outcome);
            self.met.outcome(if packet.protocol == TCP { "TCP" } else { "UDP" }, &outcome);
            if wanted_room {
                self.met.count("opened");
                self.seen.remove(&(packet.protocol, packet.source, packet.destination));
            }
            self.said += &format!(" [{packet}] {outcome:?}");
            if fate.is_full() {
                self.met.count("no room");
                self.said += " (full)";
                ensure!(wanted_room, "{packet}: {fate:?}, but opens no connection");
                // Few clients make a crowd in a small table.
                let is_crowd =
                    matches!(fate, Fate::Dropped(DropReason::ChainFull)) && self.setup.room < 64;
                ensure!(room.is_full || is_crowd, "{packet}: {fate:?} though there is room");
                continue;
            }
            self.check(packet, &outcome, fate)?;
        }
        Ok(())
    }

    fn error(&mut self, shard: usize, error: &Unreachable) -> Checked {
        let (port, bytes) = frames::arriving_error(error);
        let shard = shard % self.lab.shards.len();
        let fate = self.give(shard, vec![TestFrame::new(port, &bytes)]).remove(0).0;
        let (outcome, sent) = self.model.error(error);
        self.said = format!("{outcome:?}");
        self.met.outcome("error", &outcome);
        let leaving = |to| frames::leaving_error(&sent, &error.about, to);
        let expected = match outcome {
            Outcome::ToServer { real, method: Method::Tunnel } => {
                frames::tunnelled(leaving(real.0), own_towards(real.0), real.0)
            }
            Outcome::ToServer { real, .. } => leaving(real.0),
            Outcome::Dropped => {
                let is_dropped = matches!(fate, Fate::Dropped(_));
                ensure!(is_dropped, "expected to be dropped, was {}", tell(&fate));
                return Ok(());
            }
            _ => leaving(sent.destination),
        };
        Self::check_sent(&outcome, expected, &fate)
    }

    fn check_sent(outcome: &Outcome, expected: (PortId, Vec<u8>), fate: &Fate) -> Checked {
        let is_it = match fate {
            Fate::Sent(port, bytes) => (*port, bytes) == (expected.0, &expected.1),
            _ => false,
        };
        let expected = tell(&Fate::Sent(expected.0, expected.1));
        ensure!(is_it, "expected {outcome:?}, so {expected}, was {}", tell(fate));
        Ok(())
    }

    fn as_this_version(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Reset | Outcome::PortUnreachable | Outcome::TimeExceeded | Outcome::Routed
                if !self.gate.answers =>
            {
                Outcome::Dropped
            }
            other => other,
        }
    }

    /// Hands frames to a shard and takes them to what becomes of them; tells of each whether it
    /// was another shard's.
    fn give(&mut self, shard: usize, frames: Vec<TestFrame>) -> Vec<(Fate, bool)> {
        self.given += frames.len() as u64;
        let mut fates = Vec::new();
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let burst = frames.by_ref().take(BURST).collect();
            fates.extend(self.burst(shard, burst, false));
        }
        while let Some(learned) = self.lab.shards[shard].take_learned() {
            for other in &mut self.lab.shards {
                other.learn(self.lab.now, &mut self.lab.host, &learned);
            }
        }
        fates
    }

    fn burst(
        &mut self,
        shard: usize,
        mut burst: Vec<TestFrame>,
        is_handed: bool,
    ) -> Vec<(Fate, bool)> {
        let mut verdicts = [Verdict::Transmit(PortId(999)); BURST];
        let Lab { shards, host, now, .. } = &mut self.lab;
        let watcher = &mut shards[shard];
        // Whoever is watched gets his packets one by one, so not everybody is.
        // In a table that is full, a connection goes before its successor is scheduled; no trace
        // tells of that.
        let is_watched = self.setup.start.0.is_multiple_of(4) && self.setup.room > 100;
        if is_watched {
            assert!(watcher.watch(Some(watch::all())).is_none());
        }
        watcher.process(*now, host, &mut burst, &mut verdicts);
        if let Some(watch) = watcher.watch(None) {
            for record in &watch.records {
                watch::check(record);
                self.met.count("watched");
            }
        }
        self.verdicts += burst.len() as u64;
        let mut fates = Vec::new();
        for (frame, verdict) in burst.into_iter().zip(verdicts) {
            let fate = match verdict {
                Verdict::Transmit(port) => Fate::Sent(port, frame.bytes().to_vec()),
                Verdict::Consumed => Fate::Consumed,
                Verdict::Drop(reason) => {
                    self.dropped += 1;
                    Fate::Dropped(reason)
                }
                Verdict::Hold(id) => {
                    let Lab { shards, host, now, .. } = &mut self.lab;
                    match shards[shard].hold(*now, host, id, frame) {
                        Ok(()) => Fate::Held,
                        Err((_, reason)) => {
                            self.dropped += 1;
                            Fate::Dropped(reason)
                        }
                    }
                }
                Verdict::ToOwner(owner) => {
                    assert!(!is_handed, "its owner must not pass it on");
                    let owner = usize::from(owner.0);
                    assert_ne!(owner, shard, "it has gone to where it was");
                    let fate = self.burst(owner, vec![frame], true).remove(0).0;
                    fates.push((fate, true));
                    continue;
                }
            };
            fates.push((fate, is_handed));
        }
        fates
    }

    /// Whether the shard that owns a packet's connection has as many as it can.
    fn is_full_for(&self, packet: &Datagram) -> bool {
        let owner = |(address, port): End| match address {
            IpAddr::V4(address) => Some(self.lab.owner((address, port))),
            // Small tables are for IPv4 alone.
            IpAddr::V6(_) => None,
        };
        let Some(shard) = owner(packet.source) else { return false };
        let connections = self.model.connections.iter();
        let there = connections.filter(|c| owner(c.client) == Some(shard)).count();
        there >= self.setup.room as usize
    }

    fn check(&mut self, packet: &Datagram, outcome: &Outcome, fate: &Fate) -> Checked {
        let expected = match *outcome {
            Outcome::ToServer { real, method } => {
                self.check_constancy(packet, (real, method))?;
                match method {
                    Method::Nat => {
                        let packet = Datagram { destination: real, ..*packet };
                        frames::leaving(&packet, real.0)
                    }
                    Method::Direct => frames::leaving(packet, real.0),
                    Method::Tunnel => {
                        let inner = frames::leaving(packet, real.0);
                        frames::tunnelled(inner, own_towards(real.0), real.0)
                    }
                }
            }
            Outcome::ToClient { from } => {
                frames::leaving(&Datagram { source: from, ..*packet }, packet.destination.0)
            }
            Outcome::Routed => frames::leaving(packet, packet.destination.0),
            Outcome::Dropped => {
                let is_dropped = matches!(fate, Fate::Dropped(_));
                ensure!(is_dropped, "{packet}: expected to be dropped, was {}", tell(fate));
                return Ok(());
            }
            Outcome::Reset | Outcome::PortUnreachable | Outcome::TimeExceeded => {
                return self.check_answer(packet, *outcome, fate);
            }
        };
        Self::check_sent(outcome, expected, fate).map_err(|text| format!("{packet}: {text}"))
    }

    /// A client never sees another server within one connection.
    fn check_constancy(&mut self, packet: &Datagram, server: (End, Method)) -> Checked {
        let client = (packet.protocol, packet.source, packet.destination);
        let before = self.seen.insert(client, server);
        let is_constant = before.is_none_or(|before| before == server);
        ensure!(is_constant, "{packet}: another server within a connection, {before:?} before");
        Ok(())
    }

    fn check_answer(&self, packet: &Datagram, outcome: Outcome, fate: &Fate) -> Checked {
        let Fate::Sent(port, bytes) = fate else {
            return Err(format!("{packet}: expected {outcome:?}, was {}", tell(fate)));
        };
        let to = packet.source.0;
        let ends = (*port, &bytes[..6], &bytes[6..12]);
        let expected = frames::port_of(to);
        let (mac, own) = (frames::mac_of(to), own_mac(expected));
        ensure!(ends == (expected, &mac.0[..], &own.0[..]), "{packet}: answered to {ends:x?}");
        let answer = frames::answer(bytes);
        let from = match self.model.is_ours(packet.destination.0) {
            true => packet.destination.0,
            false => own_towards(to),
        };
        let is_it = match (outcome, &answer) {
            (Outcome::Reset, Answer::Reset(from, to)) => {
                (*from, *to) == (packet.destination, packet.source)
            }
            (_, Answer::Icmp(kind, code, source, destination, quote)) => {
                let number = match (outcome, to.is_ipv4()) {
                    (Outcome::PortUnreachable, true) => (3, 3),
                    (Outcome::PortUnreachable, false) => (1, 4),
                    (_, true) => (11, 0),
                    (_, false) => (3, 0),
                };
                // Behind the time to live and the header checksum.
                let behind = if to.is_ipv4() { 12 } else { 8 };
                let original = frames::arriving(packet).1;
                ((*kind, *code), *source, *destination) == (number, from, to)
                    && quote[behind..] == original[LINK + behind..]
            }
            _ => false,
        };
        ensure!(is_it, "{packet}: expected {outcome:?} from {from}, was {answer:x?}");
        Ok(())
    }

    // Time.

    fn wait(&mut self, ticks: u64, at_once: bool) -> Checked {
        let to = self.model.now + ticks;
        // Templates live on as long as connections do at a certain moment.
        if !at_once || !self.model.templates.is_empty() {
            while let Some(next) = self.model.next_event().filter(|&next| next <= to) {
                self.advance(next);
                self.compare()?;
            }
        }
        self.advance(to);
        Ok(())
    }

    fn advance(&mut self, to: u64) {
        self.model.advance(to);
        self.lab.now = self.setup.start.after(to as u32);
        if !self.setup.is_lazy {
            self.lab.sweep_all();
        }
    }

    /// Lets everything end, and looks whether it has.
    pub(crate) fn end(&mut self) -> Checked {
        while let Some(next) = self.model.next_event() {
            self.advance(next);
        }
        self.lab.sweep_all();
        self.setup.is_lazy = false;
        self.compare()?;
        let count = self.lab.connection_count();
        ensure!(count == 0, "{count} connections after the end");
        let left = gate::templates(&self.lab);
        ensure!(left.is_empty(), "templates after the end: {left:?}");
        let received = self.lab.received();
        ensure!(received == self.verdicts, "{received} received, {} verdicts", self.verdicts);
        let counted = self.lab.dropped_in_all();
        ensure!(counted >= self.dropped, "{counted} drops counted of {}", self.dropped);
        ensure!(self.verdicts >= self.given, "a frame without verdict");
        Ok(())
    }

    // Control.

    fn control(&mut self, step: &Step) -> Checked {
        let counters = self.lab.counters.clone();
        let read = |id: ServerId| {
            counters.iter().fold(Traffic::default(), |mut sum, shard| {
                sum += shard.traffic(id);
                sum
            })
        };
        let director: &mut Director = &mut self.lab.director;
        let model = &mut self.model;
        let one = |command: Result<Command, Refusal>| command.map(|command| vec![command]);
        let (theirs, ours) = match step {
            Step::AddService(spec) => {
                (one(director.add_service(spec.clone())), model.add_service(spec.clone()))
            }
            Step::EditService(spec) => {
                (one(director.edit_service(spec.clone())), model.edit_service(spec.clone()))
            }
            Step::DeleteService(key) => {
                (one(director.delete_service(key)), model.delete_service(key))
            }
            Step::AddServer(key, spec) => {
                (one(director.add_server(key, *spec, &read)), model.add_server(key, *spec))
            }
            Step::EditServer(key, spec) => {
                (one(director.edit_server(key, *spec)), model.edit_server(key, *spec))
            }
            Step::DeleteServer(key, end) => (
                one(director.delete_server(key, end.0, end.1, &read)),
                model.delete_server(key, *end),
            ),
            Step::Flush => {
                model.flush();
                (Ok(director.flush()), Ok(()))
            }
            Step::Forget => {
                if self.setup.is_lazy {
                    self.lab.shards.iter_mut().for_each(|shard| shard.sweep_all(self.lab.now));
                }
                model.forget_deleted();
                (Ok(director.forget_deleted(self.lab.now)), Ok(()))
            }
            Step::Zero(key) => {
                let zeroed = director.zero(key.as_ref(), &read);
                (zeroed.map(|()| Vec::new()), model.zero(key.as_ref()))
            }
            Step::Tune(knobs) => {
                model.set_knobs(*knobs);
                gate::put_knobs(&mut self.lab, knobs);
                (Ok(Vec::new()), Ok(()))
            }
            other => unreachable!("{other} is not control's"),
        };
        let refusals = (theirs.as_ref().err(), ours.as_ref().err());
        ensure!(
            refusals.0 == refusals.1,
            "refused for {:?}, expected {:?}",
            refusals.0,
            refusals.1
        );
        for command in theirs.unwrap_or_default() {
            self.lab.apply(&command);
        }
        Ok(())
    }

    // What both say of themselves.

    fn compare(&mut self) -> Checked {
        let mut theirs: Vec<Listed> = self
            .lab
            .connections()
            .into_iter()
            .map(|c| {
                let state = c.state.name().to_owned();
                (c.protocol, c.client, c.virtual_end, c.real, state, u64::from(c.expires_s))
            })
            .collect();
        let now = self.model.now;
        let connections = self.model.connections.iter();
        let mut ours: Vec<Listed> = connections
            .map(|c| {
                let left = (c.expires - now) / SECOND;
                (c.protocol, c.client, c.virtual_end, c.real, c.state.name().to_owned(), left)
            })
            .collect();
        same("connections", &mut theirs, &mut ours)?;
        let mut theirs = gate::templates(&self.lab);
        let templates = self.model.templates.iter();
        let mut ours: Vec<Listed> = templates
            .map(|t| {
                let state = if t.is_assured { "ASSURED" } else { "NONE" };
                let left = (t.expires - now) / SECOND;
                (t.protocol, (t.client, 0), t.virtual_end, t.real, state.to_owned(), left)
            })
            .collect();
        same("templates", &mut theirs, &mut ours)?;
        let room = u64::from(self.setup.room) * 2;
        for shard in &self.lab.shards {
            ensure!(u64::from(shard.connections()) <= room, "more connections than there is room");
        }
        self.compare_services()
    }

    fn compare_services(&self) -> Checked {
        let read = |id| self.lab.read(id);
        let mut count = 0;
        for view in self.lab.director.services(&read) {
            count += 1;
            let key = view.spec.key;
            let Some(service) = self.model.services.get(&key) else {
                return Err(format!("{key:?} should not be there"));
            };
            ensure!(*view.spec == service.spec, "{key:?} is another: {:?}", view.spec);
            let ours = (service.traffic, service.list.len());
            let theirs = (figures(view.traffic), view.servers.len());
            ensure!(theirs == ours, "{key:?} has traffic, servers {theirs:?}, expected {ours:?}");
            for (server, &number) in view.servers.iter().zip(&service.list) {
                let expected = &self.model.servers[number];
                ensure!(
                    *server.spec == expected.spec,
                    "{key:?}: {:?}, expected {:?}",
                    server.spec,
                    expected.spec
                );
                let (active, inactive) = self.model.load(number);
                let persistent = self.model.persistent(number);
                let ours = (active, inactive, persistent, expected.is_overloaded);
                let load = server.load;
                let theirs = (
                    u64::from(load.active()),
                    u64::from(load.inactive()),
                    u64::from(load.templates()),
                    load.is_overloaded(),
                );
                let address = (server.spec.address, server.spec.port);
                ensure!(
                    theirs == ours || self.setup.is_lazy,
                    "{key:?} {address:?}: active, inactive, persistent, overloaded {theirs:?}, \
                     expected {ours:?}"
                );
                let theirs = figures(server.traffic);
                ensure!(
                    theirs == expected.traffic,
                    "{key:?} {address:?}: traffic {theirs:?}, expected {:?}",
                    expected.traffic
                );
            }
        }
        ensure!(count == self.model.services.len(), "{count} services");
        Ok(())
    }
}

fn same(what: &str, theirs: &mut Vec<Listed>, ours: &mut Vec<Listed>) -> Checked {
    theirs.sort();
    ours.sort();
    if theirs == ours {
        return Ok(());
    }
    let only = |these: &[Listed], those: &[Listed]| {
        let only: Vec<_> = these.iter().filter(|listed| !those.contains(listed)).collect();
        format!("{only:?}")
    };
    Err(format!("{what}: listed {}, expected {}", only(theirs, ours), only(ours, theirs)))
}

fn figures(traffic: Traffic) -> [u64; 5] {
    let Traffic { connections, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    [connections, in_packets, out_packets, in_bytes, out_bytes]
}

fn tell(fate: &Fate) -> String {
    match fate {
        Fate::Sent(port, bytes) => {
            let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sent on port {}: {bytes}", port.0)
        }
        other => format!("{other:?}"),
    }
}
