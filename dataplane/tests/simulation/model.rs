//! IPVS as its documents tell it: plain lists, searched from end to end. Slow, and easy to check.

use std::net::Ipv4Addr;

use crate::choose::Chooser;

pub(crate) const TCP: u8 = 6;
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) type End = (Ipv4Addr, u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Nat,
    Tunnel,
    Direct,
}

/// A packet from a client, or from a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flow {
    pub(crate) protocol: u8,
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) flags: u8,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    ToServer(How, End),
    ToClient(End),
    /// A TCP reset comes back.
    Reset,
    /// ICMP port unreachable comes back.
    Unreachable,
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    None,
    Established,
    SynSent,
    SynRecv,
    FinWait,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    SynAck,
    Udp,
}
use Stage::*;

impl Stage {
    fn is_active(self) -> bool {
        matches!(self, Established | SynSent | SynRecv | SynAck)
    }

    fn seconds(self) -> u64 {
        match self {
            None => 2,
            Established => 900,
            SynSent | FinWait | TimeWait | Listen | SynAck => 120,
            SynRecv | CloseWait => 60,
            Close => 10,
            LastAck => 30,
            Udp => 300,
        }
    }

    /// The documented table, an event a line.
    fn next(self, way: &str, flags: u8) -> Self {
        let event = if flags & RST != 0 {
            "rst"
        } else if flags & SYN != 0 {
            "syn"
        } else if flags & FIN != 0 {
            "fin"
        } else if flags & ACK != 0 {
            "ack"
        } else {
            return Close;
        };
        let row = TABLE.iter().find(|row| row.starts_with(&format!("{way} {event} "))).unwrap();
        let cell = row.split_whitespace().nth(2 + self as usize).unwrap();
        let names = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];
        let all = [
            None,
            Established,
            SynSent,
            SynRecv,
            FinWait,
            TimeWait,
            Close,
            CloseWait,
            LastAck,
            Listen,
            SynAck,
        ];
        all[names.iter().position(|name| *name == cell).unwrap()]
    }
}

const TABLE: [&str; 12] = [
    "in  syn SR ES ES SR SR SR SR SR SR SR SR",
    "in  fin CL CW SS TW TW TW CL CW LA LI TW",
    "in  ack ES ES SS ES FW TW CL CW CL LI ES",
    "in  rst CL CL CL SR CL CL CL CL LA LI SR",
    "out syn SS ES SS SR SS SS SS SS SS LI SR",
    "out fin TW FW SS TW FW TW CL TW LA LI TW",
    "out ack ES ES SS ES FW TW CL CW LA ES ES",
    "out rst CL CL SS CL CL TW CL CL CL CL CL",
    "one syn SR ES ES SR SR SR SR SR SR SR SR",
    "one fin CL FW SS TW FW TW CL CW LA LI TW",
    "one ack ES ES SS ES FW TW CL CW CL LI ES",
    "one rst CL CL CL SR CL CL CL CL LA LI CL",
];

#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) end: End,
    pub(crate) how: How,
    pub(crate) weight: u32,
    pub(crate) upper: u32,
    pub(crate) lower: u32,
    pub(crate) is_overloaded: bool,
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    pub(crate) templates: u32,
    pub(crate) is_there: bool,
}

impl Server {
    fn total(&self) -> u32 {
        self.active + self.inactive
    }

    fn filled(&mut self) {
        if self.upper != 0 && self.total() >= self.upper {
            self.is_overloaded = true;
        }
    }

    fn emptied(&mut self) {
        let clears = if self.lower != 0 {
            self.total() < self.lower
        } else if self.upper != 0 {
            self.total() * 4 < self.upper * 3
        } else {
            true
        };
        if clears {
            self.is_overloaded = false;
        }
    }
}

/// Protocol, address and port.
pub(crate) type Key = (u8, Ipv4Addr, u16);

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) key: Key,
    pub(crate) chooser: Chooser,
    pub(crate) persistence_s: Option<u32>,
    pub(crate) mask: u32,
    pub(crate) one_packet: bool,
    /// Newest first; indexes of all servers.
    pub(crate) list: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) protocol: u8,
    pub(crate) client: End,
    pub(crate) virtual_end: End,
    pub(crate) real: End,
    pub(crate) how: How,
    pub(crate) server: usize,
    pub(crate) stage: Stage,
    pub(crate) expires: u64,
    is_active: bool,
    sees_replies: bool,
    template: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Template {
    id: u64,
    key: (u8, Ipv4Addr, End),
    server: usize,
    expires: u64,
    timeout: u64,
    holds: u32,
    is_retired: bool,
}

/// Settings by their names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Knobs {
    pub(crate) conn_reuse_mode: i32,
    pub(crate) expire_nodest_conn: bool,
    pub(crate) expire_quiescent_template: bool,
    pub(crate) sloppy_tcp: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) knobs: Knobs,
    pub(crate) services: Vec<Service>,
    pub(crate) servers: Vec<Server>,
    /// Deleted servers by the service they were of.
    pub(crate) trash: Vec<(Key, usize)>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) templates: Vec<Template>,
    next_template: u64,
}

impl Model {
    // Control.

    pub(crate) fn service(&mut self, key: Key) -> &mut Service {
        self.services.iter_mut().find(|service| service.key == key).unwrap()
    }

    pub(crate) fn add_server(&mut self, key: Key, mut server: Server) {
        let known = self
            .trash
            .iter()
            .position(|&(of, index)| of == key && self.servers[index].end == server.end);
        let index = match known {
            Some(place) => {
                let (_, index) = self.trash.remove(place);
                let old = &self.servers[index];
                server.active = old.active;
                server.inactive = old.inactive;
                server.templates = old.templates;
                server.is_overloaded =
                    old.is_overloaded && server.upper != 0 && server.upper <= old.upper;
                self.servers[index] = server;
                index
            }
            Option::None => {
                self.servers.push(server);
                self.servers.len() - 1
            }
        };
        self.service(key).list.insert(0, index);
        self.changed(key);
    }

    pub(crate) fn edit_server(&mut self, key: Key, index: usize, change: &Server) {
        let server = &mut self.servers[index];
        if change.upper == 0 || change.upper > server.upper {
            server.is_overloaded = false;
        }
        (server.how, server.weight) = (change.how, change.weight);
        (server.upper, server.lower) = (change.upper, change.lower);
        self.changed(key);
    }

    pub(crate) fn delete_server(&mut self, key: Key, index: usize) {
        let service = self.services.iter_mut().find(|service| service.key == key).unwrap();
        service.chooser.deleting(&service.list, index);
        service.list.retain(|&other| other != index);
        self.servers[index].is_there = false;
        self.trash.push((key, index));
        self.changed(key);
        self.abandon();
    }

    pub(crate) fn delete_service(&mut self, key: Key) {
        let place = self.services.iter().position(|service| service.key == key).unwrap();
        for index in self.services.remove(place).list {
            self.servers[index].is_there = false;
            self.trash.push((key, index));
        }
        self.abandon();
    }

    pub(crate) fn choose_by(&mut self, key: Key, name: &'static str) {
        if self.service(key).chooser.name() == name {
            return;
        }
        let service = self.services.iter_mut().find(|service| service.key == key).unwrap();
        service.chooser = Chooser::new(name);
        self.changed(key);
    }

    fn changed(&mut self, key: Key) {
        let service = self.services.iter_mut().find(|service| service.key == key).unwrap();
        service.chooser.changed(&service.list, &self.servers);
    }

    /// Connections and idle templates of deleted servers end, when the setting says so.
    fn abandon(&mut self) {
        if !self.knobs.expire_nodest_conn {
            return;
        }
        while let Some(place) =
            self.connections.iter().position(|c| !self.servers[c.server].is_there)
        {
            self.end(place);
        }
        while let Some(place) =
            self.templates.iter().position(|t| t.holds == 0 && !self.servers[t.server].is_there)
        {
            self.end_template(place);
        }
    }

    pub(crate) fn set(&mut self, knobs: Knobs) {
        self.knobs = knobs;
        self.abandon();
    }

    // Time, second by second.

    pub(crate) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            while let Some(place) = self.connections.iter().position(|c| c.expires <= self.now) {
                self.end(place);
            }
            for template in &mut self.templates {
                while template.expires <= self.now && template.holds > 0 {
                    template.timeout = 60;
                    template.expires += 60;
                }
            }
            while let Some(place) = self.templates.iter().position(|t| t.expires <= self.now) {
                self.end_template(place);
            }
            self.abandon();
        }
    }

    fn end(&mut self, place: usize) {
        let connection = self.connections.remove(place);
        self.unbind(&connection);
    }

    fn unbind(&mut self, connection: &Connection) {
        let server = &mut self.servers[connection.server];
        let count = if connection.is_active { &mut server.active } else { &mut server.inactive };
        *count = count.checked_sub(1).expect("counts never go negative");
        server.emptied();
        if let Some(id) = connection.template {
            self.templates.iter_mut().find(|t| t.id == id).unwrap().holds -= 1;
        }
    }

    fn end_template(&mut self, place: usize) {
        let template = self.templates.remove(place);
        let server = &mut self.servers[template.server];
        server.templates = server.templates.checked_sub(1).expect("counts never go negative");
        server.emptied();
    }

    // Packets.

    /// A packet of a client.
    pub(crate) fn request(&mut self, flow: &Flow) -> Fate {
        if !self.services.iter().any(|service| service.key.1 == flow.to.0) {
            return Fate::Silence; // nobody's address
        }
        let found = self.connections.iter().position(|c| {
            (c.protocol, c.client, c.virtual_end) == (flow.protocol, flow.from, flow.to)
        });
        let mut old = Option::None;
        if let Some(place) = found {
            let connection = &self.connections[place];
            let server = &self.servers[connection.server];
            if flow.flags & SYN != 0 && self.is_replaced(connection) {
                old = Some(connection.clone());
            } else if server.is_there {
                return self.forward(place, flow);
            } else if self.knobs.expire_nodest_conn {
                old = Some(connection.clone());
            } else {
                return Fate::Silence;
            }
        }
        let made = self.schedule(flow);
        if let Some(old) = old {
            let place = self.connections.iter().position(|c| {
                (c.protocol, c.client, c.virtual_end) == (old.protocol, old.client, old.virtual_end)
            });
            self.end(place.unwrap());
        }
        let made = match made {
            Ok(made) => made,
            Err(fate) => return fate,
        };
        if made.1 {
            let fate = Fate::ToServer(made.0.how, made.0.real);
            self.unbind(&made.0);
            return fate;
        }
        self.connections.push(made.0);
        self.forward(self.connections.len() - 1, flow)
    }

    fn is_replaced(&self, connection: &Connection) -> bool {
        if self.knobs.expire_nodest_conn && self.servers[connection.server].weight == 0 {
            return true;
        }
        let mode = self.knobs.conn_reuse_mode;
        mode != 0
            && connection.template.is_none()
            && (matches!(connection.stage, TimeWait | Close)
                || mode & 2 != 0 && connection.stage == FinWait && !connection.sees_replies)
    }

    fn forward(&mut self, place: usize, flow: &Flow) -> Fate {
        let way = if self.connections[place].sees_replies { "in " } else { "one" };
        self.advance(place, way, flow.flags);
        let connection = &self.connections[place];
        Fate::ToServer(connection.how, connection.real)
    }

    fn advance(&mut self, place: usize, way: &str, flags: u8) {
        let connection = &mut self.connections[place];
        connection.stage =
            if connection.protocol == TCP { connection.stage.next(way, flags) } else { Udp };
        connection.expires = self.now + connection.stage.seconds();
        let is_active = connection.stage.is_active();
        if is_active != connection.is_active {
            connection.is_active = is_active;
            let server = &mut self.servers[connection.server];
            if is_active {
                server.active += 1;
                server.inactive -= 1;
            } else {
                server.active -= 1;
                server.inactive += 1;
            }
        }
    }

    /// A new connection, bound to its server, and whether it is for this packet only.
    fn schedule(&mut self, flow: &Flow) -> Result<(Connection, bool), Fate> {
        let unserved = if flow.protocol != TCP {
            Fate::Unreachable
        } else if flow.flags & RST != 0 {
            Fate::Silence
        } else {
            Fate::Reset
        };
        if flow.protocol == TCP
            && (flow.flags & RST != 0 || flow.flags & SYN == 0 && !self.knobs.sloppy_tcp)
        {
            return Err(unserved);
        }
        let find = |key: Key| self.services.iter().position(|service| service.key == key);
        let exact = find((flow.protocol, flow.to.0, flow.to.1));
        let place = exact.or_else(|| find((flow.protocol, flow.to.0, 0))).ok_or(unserved)?;
        let service = &self.services[place];
        let (port, one_packet) = (service.key.2, service.one_packet);
        let (server, template) = match service.persistence_s {
            Some(timeout_s) => self.keep(place, timeout_s, flow)?,
            Option::None if port == flow.to.1 => {
                (self.choose(place, flow).ok_or(Fate::Unreachable)?, Option::None)
            }
            Option::None => return Err(Fate::Unreachable),
        };
        let chosen = &mut self.servers[server];
        let keeps_port = chosen.end.1 == 0 || port != flow.to.1;
        let real = (chosen.end.0, if keeps_port { flow.to.1 } else { chosen.end.1 });
        chosen.inactive += 1;
        chosen.filled();
        let connection = Connection {
            protocol: flow.protocol,
            client: flow.from,
            virtual_end: flow.to,
            real,
            how: chosen.how,
            server,
            stage: None,
            expires: self.now + 3,
            is_active: false,
            sees_replies: chosen.how == How::Nat,
            template,
        };
        Ok((connection, one_packet && flow.protocol != TCP))
    }

    fn choose(&mut self, place: usize, flow: &Flow) -> Option<usize> {
        let service = &mut self.services[place];
        service.chooser.choose(&service.list, &self.servers, flow)
    }

    /// The server that the client stays with, and its template.
    fn keep(
        &mut self,
        place: usize,
        timeout_s: u32,
        flow: &Flow,
    ) -> Result<(usize, Option<u64>), Fate> {
        let service = &self.services[place];
        let client = Ipv4Addr::from(u32::from(flow.from.0) & service.mask);
        let port = if service.key.2 == flow.to.1 { flow.to.1 } else { 0 };
        let key = (flow.protocol, client, (flow.to.0, port));
        let found = self.templates.iter().position(|t| t.key == key && !t.is_retired);
        let valid = found.filter(|&place| {
            let server = &self.servers[self.templates[place].server];
            server.is_there && !(self.knobs.expire_quiescent_template && server.weight == 0)
        });
        let place = match (found, valid) {
            (_, Some(place)) => place,
            (found, _) => {
                if let Some(place) = found {
                    self.templates[place].is_retired = true;
                }
                let server = self.choose(place, flow).ok_or(Fate::Unreachable)?;
                self.next_template += 1;
                self.templates.push(Template {
                    id: self.next_template,
                    key,
                    server,
                    expires: 0,
                    timeout: timeout_s.into(),
                    holds: 0,
                    is_retired: false,
                });
                self.servers[server].templates += 1;
                self.servers[server].filled();
                self.templates.len() - 1
            }
        };
        let template = &mut self.templates[place];
        template.holds += 1;
        template.expires = self.now + template.timeout;
        Ok((template.server, Some(template.id)))
    }

    /// A packet of a server.
    pub(crate) fn reply(&mut self, flow: &Flow) -> Fate {
        if self.services.is_empty() {
            return Fate::Silence;
        }
        let found = self.connections.iter().position(|c| {
            (c.protocol, c.client, c.real) == (flow.protocol, flow.to, flow.from)
                && c.how == How::Nat
        });
        let Some(place) = found else { return Fate::Silence };
        self.advance(place, "out", flow.flags);
        Fate::ToClient(self.connections[place].virtual_end)
    }
}
