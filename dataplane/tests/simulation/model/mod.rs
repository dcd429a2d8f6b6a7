//! A director as the documents of IPVS describe it: vectors, searched from end to end, and timers
//! that fire one after the other. Slow, and meant to be compared by eye with the description.

pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod packet;
pub(crate) mod schedule;
pub(crate) mod tcp;
pub(crate) mod timer;

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::service::{Family, Method, ServerSpec, ServiceKey, ServiceSpec};

use schedule::Scheduler;

/// An address and a port.
pub(crate) type End = (IpAddr, u16);

/// Ticks in a second.
pub(crate) const SECOND: u64 = 100;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;

/// What an administrator may tune.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Knobs {
    pub(crate) conn_reuse_mode: i32,
    pub(crate) expire_nodest_conn: i32,
    pub(crate) expire_quiescent_template: i32,
    pub(crate) sloppy_tcp: i32,
    pub(crate) nat_icmp_send: i32,
    pub(crate) secure_tcp: i32,
    /// Seconds of established TCP, of TCP after a FIN, of UDP.
    pub(crate) timeouts: [u64; 3],
}

impl Knobs {
    pub(crate) const DEFAULT: Self = Self {
        conn_reuse_mode: 1,
        expire_nodest_conn: 0,
        expire_quiescent_template: 0,
        sloppy_tcp: 0,
        nat_icmp_send: 0,
        secure_tcp: 0,
        timeouts: [900, 120, 300],
    };
}

/// Packets of this protocol to these ports of an address get a mark; the last rule that fits
/// decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) protocol: Option<u8>,
    pub(crate) destination: IpAddr,
    pub(crate) ports: (u16, u16),
    pub(crate) mark: u32,
}

/// A TCP or UDP packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Datagram {
    pub(crate) protocol: u8,
    /// TCP flags.
    pub(crate) flags: u8,
    pub(crate) source: End,
    pub(crate) destination: End,
    pub(crate) ttl: u8,
    /// Bytes behind the transport header.
    pub(crate) payload: u16,
}

impl Datagram {
    pub(crate) fn family(&self) -> Family {
        Family::of(self.source.0)
    }

    /// Length of the IP packet.
    pub(crate) fn length(&self) -> u64 {
        let ip = if self.source.0.is_ipv4() { 20 } else { 40 };
        let transport = if self.protocol == TCP { 20 } else { 8 };
        ip + transport + u64::from(self.payload)
    }
}

/// An ICMP destination-unreachable message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unreachable {
    /// Who complains, of whom it is not known whether it is a router or the end itself.
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// The packet complained of, as it came there.
    pub(crate) about: Datagram,
}

/// The room for a connection, of which the documents know no end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Room {
    /// No connection can be added, so that one that is replaced ends before its successor.
    pub(crate) is_full: bool,
    /// A new connection does not find room.
    pub(crate) fails: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Sent to a real server.
    ToServer { real: End, method: Method },
    /// Sent to the client, from the virtual end.
    ToClient { from: End },
    /// ICMP port unreachable to its sender.
    PortUnreachable,
    /// ICMP time exceeded to its sender.
    TimeExceeded,
    /// TCP reset to its sender.
    Reset,
    /// Sent on as it is.
    Routed,
    /// Nothing.
    Dropped,
}

/// Connections, packets in and out, bytes in and out.
pub(crate) type Traffic = [u64; 5];

/// A virtual service.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) spec: ServiceSpec,
    pub(crate) scheduler: Scheduler,
    /// Places in [`Model::servers`], newest first.
    pub(crate) list: Vec<usize>,
    pub(crate) traffic: Traffic,
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Life {
    Available,
    /// Deleted, remembered: since when nobody refers to it, as far as has been looked.
    Deleted(Option<u64>),
    Forgotten,
}

/// A real server of one service.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) service: ServiceKey,
    pub(crate) spec: ServerSpec,
    /// The last weight that was not 0.
    pub(crate) last_weight: i64,
    pub(crate) is_overloaded: bool,
    pub(crate) life: Life,
    /// Whether the service has been deleted since the server was in it.
    pub(crate) is_orphan: bool,
    pub(crate) traffic: Traffic,
}

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    Tcp(tcp::State),
    Udp,
}

/// A connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) protocol: u8,
    pub(crate) client: End,
    pub(crate) virtual_end: End,
    pub(crate) real: End,
    pub(crate) server: usize,
    pub(crate) method: Method,
    pub(crate) state: State,
    pub(crate) expires: u64,
    /// No reply has been seen.
    pub(crate) no_output: bool,
    /// Number of the template that controls it.
    pub(crate) template: Option<u64>,
    /// It is for one packet, and nobody finds it.
    pub(crate) is_one_packet: bool,
}

/// A persistence template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) number: u64,
    /// 0 for a firewall mark.
    pub(crate) protocol: u8,
    pub(crate) client: IpAddr,
    pub(crate) virtual_end: End,
    pub(crate) real: End,
    pub(crate) server: usize,
    pub(crate) timeout: u64,
    pub(crate) expires: u64,
    pub(crate) is_assured: bool,
    pub(crate) is_invalid: bool,
}

/// The whole director.
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) knobs: Knobs,
    pub(crate) rules: Vec<Rule>,
    /// The director's own addresses, and those of which it answers for its services.
    pub(crate) own: Vec<IpAddr>,
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    /// Every server there has been.
    pub(crate) servers: Vec<Server>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) templates: Vec<Template>,
    pub(crate) templates_so_far: u64,
    /// When connections of deleted servers are to be removed.
    pub(crate) nodest_sweep: Option<u64>,
    /// Names of what has happened, to be counted.
    pub(crate) events: Vec<&'static str>,
    /// Whether senders are told what has become of their packets.
    pub(crate) answers: bool,
    /// Whether connections of deleted servers are looked for after a deletion alone, and not also
    /// when that is switched on.
    pub(crate) nodest_at_deletion: bool,
}

impl Model {
    pub(crate) fn new(own: Vec<IpAddr>, rules: Vec<Rule>, knobs: Knobs) -> Self {
        Self {
            now: 0,
            knobs,
            rules,
            own,
            services: BTreeMap::new(),
            servers: Vec::new(),
            connections: Vec::new(),
            templates: Vec::new(),
            templates_so_far: 0,
            nodest_sweep: None,
            events: Vec::new(),
            answers: true,
            nodest_at_deletion: true,
        }
    }

    /// Active and inactive connections of a server.
    pub(crate) fn load(&self, server: usize) -> (u64, u64) {
        let of_server = self.connections.iter().filter(|c| c.server == server);
        let (active, inactive): (Vec<_>, Vec<_>) = of_server.partition(|c| c.state.is_active());
        (active.len() as u64, inactive.len() as u64)
    }

    fn total(&self, server: usize) -> u64 {
        let (active, inactive) = self.load(server);
        active + inactive
    }

    /// Templates of a server.
    pub(crate) fn persistent(&self, server: usize) -> u64 {
        self.templates.iter().filter(|template| template.server == server).count() as u64
    }

    pub(crate) fn controlled(&self, template: u64) -> usize {
        self.connections.iter().filter(|c| c.template == Some(template)).count()
    }

    /// After a connection or a template has been bound to a server.
    fn bound(&mut self, server: usize) {
        let upper = u64::from(self.servers[server].spec.upper_threshold);
        if upper != 0 && self.total(server) >= upper {
            self.events.push("overloaded");
            self.servers[server].is_overloaded = true;
        }
    }

    /// After a connection or a template has been taken from a server.
    fn unbound(&mut self, server: usize) {
        let total = self.total(server);
        let ServerSpec { upper_threshold, lower_threshold, .. } = self.servers[server].spec;
        let (upper, lower) = (u64::from(upper_threshold), u64::from(lower_threshold));
        let clears = match (lower, upper) {
            (0, 0) => true,
            (0, upper) => total * 4 < upper * 3,
            (lower, _) => total < lower,
        };
        if clears {
            self.servers[server].is_overloaded = false;
        }
    }

    fn is_available(&self, server: usize) -> bool {
        self.servers[server].life == Life::Available
    }

    /// Adds to the counters of a server and its service, unless it has been deleted.
    fn count(&mut self, server: usize, what: Traffic) {
        if !self.is_available(server) {
            return;
        }
        let key = self.servers[server].service;
        let service = self.services.get_mut(&key).unwrap();
        for (place, more) in what.into_iter().enumerate() {
            self.servers[server].traffic[place] += more;
            service.traffic[place] += more;
        }
    }

    /// Takes a connection out.
    fn remove(&mut self, place: usize) {
        let gone = self.connections.remove(place);
        self.unbound(gone.server);
    }

    /// Whether packets of a family are looked at, which they are while it has a service.
    fn is_awake(&self, family: Family) -> bool {
        self.services.keys().any(|key| key.family() == family)
    }

    /// Whether an address is the director's own, or one that services have.
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        let is_it = |key: &ServiceKey| matches!(key, ServiceKey::Address { address: other, .. } if *other == address);
        self.own.contains(&address) || self.services.keys().any(is_it)
    }
}

impl State {
    pub(crate) fn is_active(self) -> bool {
        matches!(self, Self::Tcp(state) if state.is_active())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp(state) => state.name(),
            Self::Udp => "UDP",
        }
    }
}
