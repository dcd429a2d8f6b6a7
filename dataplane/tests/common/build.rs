//! Packets as values: built whole by etherparse, so an expected frame is a packet too.

use std::net::Ipv4Addr;

use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;
use etherparse::{IpNumber, Ipv4Header, Ipv4Options, TcpHeader, UdpHeader};

use super::check::sum16;
use super::frame::{HEADROOM, TestFrame};
use super::names::{CLIENTS, SERVERS, end, ip, mac_of, own_mac};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transport {
    /// With these flags.
    Tcp(u8),
    /// With a checksum, or with 0 in place of one.
    Udp(bool),
    /// The payload is all there is behind the IP header.
    Raw(u8),
}

/// An IPv4 packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// The port it comes in or goes out on.
    pub(crate) port: PortId,
    pub(crate) vlan: Option<u16>,
    pub(crate) link: (Mac, Mac),
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) options: Vec<u8>,
    pub(crate) transport: Transport,
    pub(crate) payload: Vec<u8>,
    /// Bytes behind the IP packet.
    pub(crate) padding: Vec<u8>,
    pub(crate) headroom: usize,
}

/// From a client on its port.
pub(crate) fn request(transport: Transport, client: &str, virtual_end: &str) -> Packet {
    request_from(transport, end(client), end(virtual_end))
}

pub(crate) fn request_from(
    transport: Transport,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
) -> Packet {
    Packet {
        port: CLIENTS,
        vlan: None,
        link: (mac_of(source.0), own_mac(CLIENTS)),
        source,
        destination,
        ttl: 64,
        tos: 0,
        id: 0x1111,
        dont_fragment: true,
        options: Vec::new(),
        transport,
        payload: b"what is the time?".to_vec(),
        padding: Vec::new(),
        headroom: HEADROOM,
    }
}

/// From a server on its port.
pub(crate) fn reply(transport: Transport, server: &str, client: &str) -> Packet {
    let mut packet = request(transport, server, client);
    packet.port = SERVERS;
    packet.link.1 = own_mac(SERVERS);
    packet.payload = b"late".to_vec();
    packet
}

impl Packet {
    pub(crate) fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub(crate) fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    pub(crate) fn may_fragment(mut self) -> Self {
        self.dont_fragment = false;
        self
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Header options, a multiple of four bytes.
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(crate) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn padding(mut self, padding: &[u8]) -> Self {
        self.padding = padding.to_vec();
        self
    }

    pub(crate) fn headroom(mut self, headroom: usize) -> Self {
        self.headroom = headroom;
        self
    }

    pub(crate) fn vlan(mut self, vlan: u16) -> Self {
        self.vlan = Some(vlan);
        self
    }

    pub(crate) fn from(mut self, source: &str) -> Self {
        self.source = end(source);
        self
    }

    pub(crate) fn to(mut self, destination: &str) -> Self {
        self.destination = end(destination);
        self
    }

    pub(crate) fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// As it leaves the director: one hop less to live, from the port's address to a station's.
    pub(crate) fn sent(mut self, port: PortId, vlan: Option<u16>, to: &str) -> Self {
        self.ttl -= 1;
        self.port = port;
        self.vlan = vlan;
        self.link = (own_mac(port), mac_of(ip(to)));
        self
    }

    /// Wrapped in an outer header between these addresses, which takes what it can from inside.
    pub(crate) fn wrapped(self, from: &str, to: &str, tos: u8, id: u16) -> Self {
        let mut outer = self.clone();
        outer.source = (ip(from), 0);
        outer.destination = (ip(to), 0);
        outer.tos = tos;
        outer.id = id;
        outer.options = Vec::new();
        outer.transport = Transport::Raw(4);
        outer.padding = Vec::new();
        outer.payload = self.packet();
        outer
    }

    pub(crate) fn frame(&self) -> TestFrame {
        TestFrame::with_headroom(self.port, &self.bytes(), self.headroom)
    }

    /// The whole frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = link(self.link, self.vlan, 0x0800);
        bytes.extend(self.packet());
        bytes.extend(&self.padding);
        bytes
    }

    /// The frame after a change to its IP packet, whose header checksum is made good again.
    pub(crate) fn frame_with(&self, change: impl FnOnce(&mut [u8])) -> TestFrame {
        let mut bytes = self.bytes();
        let l3 = &mut bytes[if self.vlan.is_some() { 18 } else { 14 }..];
        change(l3);
        let header_length = (usize::from(l3[0] & 0xf) * 4).clamp(20, l3.len());
        l3[10..12].fill(0);
        let checksum = !sum16(&[&l3[..header_length]]);
        l3[10..12].copy_from_slice(&checksum.to_be_bytes());
        TestFrame::with_headroom(self.port, &bytes, self.headroom)
    }

    /// The frame cut after `length` bytes.
    pub(crate) fn cut(&self, length: usize) -> TestFrame {
        TestFrame::with_headroom(self.port, &self.bytes()[..length], self.headroom)
    }

    /// The IP packet.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let protocol = match self.transport {
            Transport::Tcp(_) => 6,
            Transport::Udp(_) => 17,
            Transport::Raw(protocol) => protocol,
        };
        let (source, destination) = (self.source.0.octets(), self.destination.0.octets());
        let ports = (self.source.1, self.destination.1);
        let mut ip = Ipv4Header::new(0, self.ttl, IpNumber(protocol), source, destination).unwrap();
        ip.options = Ipv4Options::try_from(&self.options[..]).unwrap();
        ip.dscp = (self.tos >> 2).try_into().unwrap();
        ip.ecn = (self.tos & 3).try_into().unwrap();
        ip.identification = self.id;
        ip.dont_fragment = self.dont_fragment;
        let l4 = match self.transport {
            Transport::Tcp(flags) => {
                let mut tcp = TcpHeader::new(ports.0, ports.1, 0x0102_0304, 0x7fff);
                tcp.fin = flags & FIN != 0;
                tcp.syn = flags & SYN != 0;
                tcp.rst = flags & RST != 0;
                tcp.ack = flags & ACK != 0;
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, &self.payload).unwrap();
                [&tcp.to_bytes()[..], &self.payload].concat()
            }
            Transport::Udp(has_checksum) => {
                let mut udp =
                    UdpHeader::without_ipv4_checksum(ports.0, ports.1, self.payload.len()).unwrap();
                if has_checksum {
                    udp.checksum = udp.calc_checksum_ipv4(&ip, &self.payload).unwrap();
                }
                [&udp.to_bytes()[..], &self.payload].concat()
            }
            Transport::Raw(_) => self.payload.clone(),
        };
        ip.set_payload_len(l4.len()).unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        [&ip.to_bytes()[..], &l4].concat()
    }
}

/// A link header from one station to another.
pub(crate) fn link((from, to): (Mac, Mac), vlan: Option<u16>, ether_type: u16) -> Vec<u8> {
    let mut bytes = [to.0, from.0].concat();
    if let Some(id) = vlan {
        bytes.extend([0x81, 0x00]);
        bytes.extend(id.to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

/// An ICMP message of a type and code, with a good checksum.
pub(crate) fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    let checksum = !sum16(&[&message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// A ping from a client.
pub(crate) fn echo(from: &str, to: &str) -> Packet {
    let message = icmp(8, 0, [0x12, 0x34, 0, 7], b"0123456789abcdef!");
    let ends = ((ip(from), 0), (ip(to), 0));
    request_from(Transport::Raw(1), ends.0, ends.1).payload(&message)
}

/// An error message about a packet, quoting its header and eight bytes more.
pub(crate) fn error_about(about: &Packet, from: &str, to: &str) -> Packet {
    let quoted = about.packet();
    let message = icmp(3, 3, [0; 4], &quoted[..20 + about.options.len() + 8]);
    let ends = ((ip(from), 0), (ip(to), 0));
    request_from(Transport::Raw(1), ends.0, ends.1).payload(&message)
}

/// An ARP packet.
#[derive(Clone, Debug)]
pub(crate) struct Arp {
    pub(crate) port: PortId,
    pub(crate) vlan: Option<u16>,
    pub(crate) link: (Mac, Mac),
    pub(crate) operation: u16,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

/// A station on the clients' port asks who has `target`.
pub(crate) fn who_has(target: &str, sender: &str) -> Arp {
    let sender = (mac_of(ip(sender)), ip(sender));
    let target = (Mac::default(), ip(target));
    let link = (sender.0, Mac::BROADCAST);
    Arp { port: CLIENTS, vlan: None, link, operation: 1, sender, target }
}

/// A station on `port` tells the director, whose address there is `own`, its own.
pub(crate) fn is_at(port: PortId, sender: &str, own: &str) -> Arp {
    let sender = (mac_of(ip(sender)), ip(sender));
    let target = (own_mac(port), ip(own));
    Arp { port, vlan: None, link: (sender.0, target.0), operation: 2, sender, target }
}

impl Arp {
    pub(crate) fn frame(&self) -> TestFrame {
        TestFrame::new(self.port, &self.bytes())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = link(self.link, self.vlan, 0x0806);
        bytes.extend([0, 1, 8, 0, 6, 4]);
        bytes.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            bytes.extend(mac.0);
            bytes.extend(address.octets());
        }
        bytes
    }
}
