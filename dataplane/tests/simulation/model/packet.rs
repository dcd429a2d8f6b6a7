//! What becomes of a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::service::{ClientMask, Family, Method, Protocol, ServiceKey};

use super::schedule::Query;
use super::tcp::{self, Direction, RST, SYN};
use super::{
    Connection, Datagram, End, Model, Outcome, Room, SECOND, Service, State, TCP, Template, UDP,
};

/// Port of a template that is not found any more.
const INVALID: u16 = 0xffff;
/// Source port whose packets never open a connection.
const FTP_DATA: u16 = 20;
/// Port of FTP's control connections, whose service takes the data connections, too.
const FTP: u16 = 21;
const FALLBACK: u32 = 0x08;
const WITH_PORT: u32 = 0x10;

/// Why no connection has been made.
enum Failure {
    /// Nobody takes it.
    NoDestination,
    /// There is no room.
    Full,
}

impl Model {
    /// A packet arrives: what becomes of it, and whether it opens a connection or would, had it
    /// room.
    pub(crate) fn packet(&mut self, packet: &Datagram, room: Room) -> (Outcome, bool) {
        if !self.is_awake(packet.family()) {
            self.events.push("asleep");
            return (self.host(packet), false);
        }
        let replies = self.replied_to(packet);
        if let Some(&place) = replies.first() {
            return (self.reply(packet, place), false);
        }
        let is_server = self.is_nat_server(packet.protocol, packet.source);
        let resets = packet.protocol == TCP && packet.flags & RST != 0;
        if self.knobs.nat_icmp_send != 0 && is_server && !resets {
            return (Outcome::PortUnreachable, false);
        }
        self.request(packet, room)
    }

    /// The connections that a packet may answer: one, unless servers are shared.
    pub(crate) fn replied_to(&self, packet: &Datagram) -> Vec<usize> {
        let is_answer = |c: &Connection| {
            c.method == Method::Nat
                && c.protocol == packet.protocol
                && (c.real, c.client) == (packet.source, packet.destination)
        };
        let places = self.connections.iter().enumerate();
        places.filter(|(_, c)| is_answer(c)).map(|(place, _)| place).collect()
    }

    /// The connection that a request belongs to.
    pub(crate) fn requested(&self, packet: &Datagram) -> Option<usize> {
        self.connections.iter().position(|c| {
            c.protocol == packet.protocol
                && (c.client, c.virtual_end) == (packet.source, packet.destination)
        })
    }

    fn is_nat_server(&self, protocol: u8, end: End) -> bool {
        self.services.values().any(|service| {
            let fits = match service.spec.key {
                ServiceKey::Address { protocol: other, .. } => other as u8 == protocol,
                // Kept as TCP.
                ServiceKey::Mark { .. } => protocol == TCP,
            };
            fits && service.list.iter().any(|&server| {
                let spec = &self.servers[server].spec;
                spec.method == Method::Nat && (spec.address, spec.port) == end
            })
        })
    }

    /// What the host makes of a packet that is not balanced.
    fn host(&self, packet: &Datagram) -> Outcome {
        if !self.is_ours(packet.destination.0) {
            return if packet.ttl <= 1 { Outcome::TimeExceeded } else { Outcome::Routed };
        }
        match packet.protocol {
            TCP if packet.flags & RST != 0 => Outcome::Dropped,
            TCP => Outcome::Reset,
            _ => Outcome::PortUnreachable,
        }
    }

    fn reply(&mut self, packet: &Datagram, place: usize) -> Outcome {
        let connection = &mut self.connections[place];
        connection.no_output = false;
        let (from, server) = (connection.virtual_end, connection.server);
        self.count(server, [0, 0, 1, 0, packet.length()]);
        self.move_on(place, Direction::Out, packet);
        Outcome::ToClient { from }
    }

    fn request(&mut self, packet: &Datagram, room: Room) -> (Outcome, bool) {
        let mut found = self.requested(packet);
        let mut dying = None;
        if let Some(place) = found
            && self.is_replaced(packet, place)
        {
            dying = found.take();
        }
        if let Some(place) = found
            && !self.is_available(self.connections[place].server)
        {
            if self.knobs.expire_nodest_conn == 0 {
                return (Outcome::Dropped, false);
            }
            dying = found.take();
        }
        if room.is_full
            && let Some(place) = dying.take()
        {
            self.remove(place);
        }
        let outcome = match found {
            Some(place) => (self.forward(packet, place), false),
            None => self.open(packet, room.fails),
        };
        // It has been counted while its successor was scheduled.
        if let Some(place) = dying {
            self.events.push("rescheduled");
            self.remove(place);
        }
        outcome
    }

    /// Whether a packet that opens a connection ends the one there is.
    fn is_replaced(&self, packet: &Datagram, place: usize) -> bool {
        if packet.protocol != TCP || packet.flags & SYN == 0 {
            return false;
        }
        let connection = &self.connections[place];
        if self.knobs.expire_nodest_conn != 0 && self.servers[connection.server].spec.weight == 0 {
            return true;
        }
        let State::Tcp(state) = connection.state else { return false };
        let mode = self.knobs.conn_reuse_mode;
        let is_over = state.is("TIME_WAIT")
            || state.is("CLOSE")
            || mode & 2 != 0 && state.is("FIN_WAIT") && connection.no_output;
        mode != 0 && connection.template.is_none() && is_over
    }

    /// A packet without connection: makes one if it may.
    fn open(&mut self, packet: &Datagram, is_full: bool) -> (Outcome, bool) {
        let may_open = packet.protocol == UDP
            || packet.flags & RST == 0 && (packet.flags & SYN != 0 || self.knobs.sloppy_tcp != 0);
        let key = self.service_of(packet);
        let Some(key) = key.filter(|_| may_open && packet.source.1 != FTP_DATA) else {
            return (self.host(packet), false);
        };
        match self.schedule(packet, &key, is_full) {
            Ok(()) => {
                let place = self.connections.len() - 1;
                let outcome = self.forward(packet, place);
                if matches!(key, ServiceKey::Mark { .. }) {
                    self.events.push("by mark");
                }
                if packet.source.0.is_ipv6() {
                    self.events.push("IPv6");
                }
                if self.connections[place].is_one_packet {
                    self.events.push("one packet");
                    self.remove(place);
                }
                (outcome, true)
            }
            Err(Failure::NoDestination) => {
                let is_ftp = matches!(key, ServiceKey::Address { port: FTP, .. });
                let is_other = is_ftp && packet.destination.1 != FTP;
                (if is_other { self.host(packet) } else { Outcome::PortUnreachable }, false)
            }
            Err(Failure::Full) => (Outcome::Dropped, true),
        }
    }

    pub(crate) fn mark_of(&self, packet: &Datagram) -> u32 {
        let (address, port) = packet.destination;
        let mut fits = self.rules.iter().filter(|rule| {
            rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
                && rule.destination == address
                && rule.ports.0 <= port
                && port <= rule.ports.1
        });
        fits.next_back().map_or(0, |rule| rule.mark)
    }

    /// The service that takes a packet: by mark, by its very end, as data of FTP, or by any port.
    fn service_of(&self, packet: &Datagram) -> Option<ServiceKey> {
        let protocol = if packet.protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
        let (address, port) = packet.destination;
        let (mark, family) = (self.mark_of(packet), packet.family());
        let by_mark = (mark != 0).then_some(ServiceKey::Mark { family, mark });
        let by_end = |port| ServiceKey::Address { protocol, address, port };
        let is_data = protocol == Protocol::Tcp && (port == FTP_DATA || port >= 1024);
        let ftp = is_data.then_some(by_end(FTP));
        let keys = by_mark.into_iter().chain([by_end(port)]).chain(ftp).chain([by_end(0)]);
        keys.into_iter().find(|key| self.services.contains_key(key))
    }

    fn schedule(
        &mut self,
        packet: &Datagram,
        key: &ServiceKey,
        is_full: bool,
    ) -> Result<(), Failure> {
        let port = match *key {
            ServiceKey::Address { port, .. } => port,
            ServiceKey::Mark { .. } => 0,
        };
        let service = &self.services[key];
        let is_mark = matches!(key, ServiceKey::Mark { .. });
        let Some(persistence_s) = service.spec.persistence_s else {
            if !is_mark && packet.destination.1 != port {
                return Err(Failure::NoDestination);
            }
            let server = self.pick(packet, key).ok_or(Failure::NoDestination)?;
            let real_port = match self.servers[server].spec.port {
                0 => packet.destination.1,
                port => port,
            };
            return self.connect(packet, key, server, real_port, None, is_full);
        };
        let client = masked(packet.source.0, service.spec.client_mask);
        let is_exact = !is_mark && packet.destination.1 == port;
        let (protocol, virtual_end) = match *key {
            ServiceKey::Mark { family, mark } => (0, (address_of(family, mark), 0)),
            _ if is_exact && port != FTP => (packet.protocol, packet.destination),
            _ => (packet.protocol, (packet.destination.0, 0)),
        };
        let found = self.templates.iter().position(|template| {
            !template.is_invalid
                && (template.protocol, template.client, template.virtual_end)
                    == (protocol, client, virtual_end)
        });
        let valid = found.filter(|&place| {
            let server = self.templates[place].server;
            let is_quiescent = self.servers[server].spec.weight == 0;
            self.is_available(server)
                && !(is_quiescent && self.knobs.expire_quiescent_template != 0)
        });
        let place = match valid {
            Some(place) => place,
            None => {
                if let Some(place) = found {
                    self.events.push("template invalidated");
                    let template = &mut self.templates[place];
                    template.is_invalid = true;
                    template.virtual_end.1 = INVALID;
                    template.real.1 = INVALID;
                }
                let server = self.pick(packet, key).ok_or(Failure::NoDestination)?;
                let spec = &self.servers[server].spec;
                let timeout = u64::from(persistence_s) * SECOND;
                self.events.push("template");
                self.templates_so_far += 1;
                self.templates.push(Template {
                    number: self.templates_so_far,
                    protocol,
                    client,
                    virtual_end,
                    real: (spec.address, if is_exact && port != FTP { spec.port } else { 0 }),
                    server,
                    timeout,
                    expires: self.now + timeout,
                    is_assured: false,
                    is_invalid: false,
                });
                self.bound(server);
                self.templates.len() - 1
            }
        };
        let Template { number, server, timeout, .. } = self.templates[place];
        let real_port = match self.servers[server].spec.port {
            port if is_exact && port != 0 => port,
            _ => packet.destination.1,
        };
        self.templates[place].expires = self.now + timeout;
        self.connect(packet, key, server, real_port, Some(number), is_full)
    }

    fn pick(&mut self, packet: &Datagram, key: &ServiceKey) -> Option<usize> {
        let service: &Service = &self.services[key];
        let candidates = self.candidates(service);
        let flags = service.spec.scheduler_flags;
        let query = Query {
            client: packet.source,
            destination: packet.destination.0,
            falls_back: flags & FALLBACK != 0,
            counts_port: flags & WITH_PORT != 0,
        };
        self.services.get_mut(key).unwrap().scheduler.pick(&candidates, &query)
    }

    fn connect(
        &mut self,
        packet: &Datagram,
        key: &ServiceKey,
        server: usize,
        real_port: u16,
        template: Option<u64>,
        is_full: bool,
    ) -> Result<(), Failure> {
        if is_full {
            return Err(Failure::Full);
        }
        let spec = &self.servers[server].spec;
        self.connections.push(Connection {
            protocol: packet.protocol,
            client: packet.source,
            virtual_end: packet.destination,
            real: (spec.address, real_port),
            server,
            method: spec.method,
            state: match packet.protocol {
                TCP => State::Tcp(tcp::State::NONE),
                _ => State::Udp,
            },
            expires: self.now + 3 * SECOND,
            no_output: spec.method != Method::Nat,
            template,
            is_one_packet: self.services[key].spec.one_packet && packet.protocol == UDP,
        });
        self.bound(server);
        self.count(server, [1, 0, 0, 0, 0]);
        Ok(())
    }

    /// Forwards a request on its connection.
    fn forward(&mut self, packet: &Datagram, place: usize) -> Outcome {
        let Connection { real, method, server, no_output, is_one_packet, .. } =
            self.connections[place];
        self.count(server, [0, 1, 0, packet.length(), 0]);
        let direction = if no_output { Direction::InOnly } else { Direction::In };
        self.move_on(place, direction, packet);
        if packet.ttl <= 1 {
            if method != Method::Nat && !is_one_packet && self.answers {
                let (headers, most) = if real.0.is_ipv4() { (28, 576) } else { (48, 1280) };
                self.count(server, [0, 0, 1, 0, (headers + packet.length()).min(most)]);
            }
            return Outcome::TimeExceeded;
        }
        Outcome::ToServer { real, method }
    }

    /// A packet moves its connection on and restarts its timer.
    fn move_on(&mut self, place: usize, direction: Direction, packet: &Datagram) {
        let connection = &mut self.connections[place];
        let (timeout, assures) = match &mut connection.state {
            State::Tcp(state) => {
                *state = state.next(&self.knobs, direction, packet.flags);
                (state.timeout(&self.knobs), state.is("ESTABLISHED"))
            }
            State::Udp => (self.knobs.timeouts[2] * SECOND, direction == Direction::Out),
        };
        connection.expires = self.now + timeout;
        let number = connection.template;
        let template = self.templates.iter_mut().find(|template| Some(template.number) == number);
        if let Some(template) = template {
            template.is_assured |= assures;
        }
    }
}

fn masked(address: IpAddr, mask: ClientMask) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), ClientMask::V4(mask)) => {
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        (IpAddr::V6(address), ClientMask::V6(bits)) => {
            let kept = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
            Ipv6Addr::from(u128::from(address) & kept).into()
        }
        other => panic!("mask of another family: {other:?}"),
    }
}

/// A mark in place of an address, most significant byte first.
fn address_of(family: Family, mark: u32) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(mark).into(),
        Family::V6 => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&mark.to_be_bytes());
            bytes.into()
        }
    }
}
