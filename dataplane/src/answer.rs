//! What the director itself says to senders, and plain routing: what becomes of packets that no
//! connection takes.

use crate::address_set::Role;
use crate::common::Common;
use crate::forward;
use crate::frame::Frame;
use crate::lane::{Lane, Staged, Way};
use crate::packet::checksum::Delta;
use crate::packet::icmp::{self, Complaint};
use crate::packet::{self, Header, Network, Packet, protocol, reset};
use crate::process::Refused;
use crate::service::Method;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

impl<A: Network> Lane<A> {
    /// A staged packet that could not be forwarded: its sender may be told, or a server's packet
    /// is routed as any other.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
        refused: Refused,
        verdict: &mut Verdict,
    ) {
        *verdict = self.answer(common, now, frame, staged, refused);
        common.counters.count_verdict(*verdict);
    }

    fn answer<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        staged: &Staged<A>,
        refused: Refused,
    ) -> Verdict {
        let packet = &staged.packet;
        let (l3, ip) = (packet.l3, &packet.ip);
        let answered = match refused.reason {
            DropReason::TtlExpired | DropReason::TooBig => {
                let answered = self.complain_of(common, now, frame, l3, ip, refused);
                if answered.is_some() {
                    self.count_complaint(common, staged);
                }
                answered
            }
            DropReason::NoDestination => {
                self.complain(common, now, frame, l3, ip, Complaint::PortUnreachable, false)
            }
            DropReason::NoConnection if staged.way == Way::Reply => {
                return self.stray_reply(common, now, frame, packet);
            }
            DropReason::NoConnection | DropReason::NoService | DropReason::LocalPort => {
                return self.unserved(common, now, frame, l3, ip, refused.reason);
            }
            _ => return refused.reason.into(),
        };
        settle(common, answered, refused.reason)
    }

    /// A packet that nothing here listens for: refused as a host would.
    fn unserved<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        reason: DropReason,
    ) -> Verdict {
        if !self.addresses.role(ip.destination).has(Role::OURS) {
            return self.route(common, now, frame, l3, ip);
        }
        let has_ports = matches!(ip.protocol, protocol::TCP | protocol::UDP);
        if has_ports && !packet::is_sound(&frame.bytes()[usize::from(l3)..], ip) {
            return DropReason::TransportChecksum.into();
        }
        let answered = match ip.protocol {
            protocol::TCP => self.reset(common, now, frame, l3, ip),
            protocol::UDP => {
                self.complain(common, now, frame, l3, ip, Complaint::PortUnreachable, false)
            }
            _ => None,
        };
        settle(common, answered, reason)
    }

    /// A server's packet without connection.
    fn stray_reply<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        packet: &Packet<A>,
    ) -> Verdict {
        let is_server = || {
            let address = packet.ip.source.into();
            common.is_nat_server(packet.ip.protocol, address, packet.source_port)
        };
        if common.settings.nat_icmp_send != 0 && !packet.resets() && is_server() {
            let ip = &packet.ip;
            let complaint = Complaint::PortUnreachable;
            let answered = self.complain(common, now, frame, packet.l3, ip, complaint, true);
            return settle(common, answered, DropReason::NoConnection);
        }
        if common.settings.ip_forward == 0 {
            return DropReason::NoConnection.into();
        }
        self.route(common, now, frame, packet.l3, &packet.ip)
    }

    /// A packet to the director, or to be routed, of which no service knows.
    pub(crate) fn pass<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
    ) -> Verdict {
        if self.addresses.role(ip.destination).has(Role::OURS) {
            let has_ports = matches!(ip.protocol, protocol::TCP | protocol::UDP);
            let reason = if has_ports { DropReason::LocalPort } else { DropReason::Protocol };
            return self.unserved(common, now, frame, l3, ip, reason);
        }
        self.route(common, now, frame, l3, ip)
    }

    /// Sends a packet on to where it is addressed, as any router does.
    fn route<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
    ) -> Verdict {
        let routed = self.try_route(common, now, frame, l3, ip);
        let refused = match routed {
            Ok(verdict) => return verdict,
            Err(refused) => refused,
        };
        let answered = self.complain_of(common, now, frame, l3, ip, refused);
        settle(common, answered, refused.reason)
    }

    fn try_route<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
    ) -> Result<Verdict, Refused> {
        if common.settings.ip_forward == 0 || ip.destination.is_martian() {
            return Err(DropReason::NotForUs.into());
        }
        self.check_source(ip)?;
        if ip.ttl <= 1 {
            return Err(DropReason::TtlExpired.into());
        }
        let to = ip.destination.into();
        let id = common.neighbours.towards(now, &common.topology, to)?;
        let hop = common.neighbours.hop(now, id);
        A::hop(forward::open(frame, l3, ip, 0, hop)?, Delta::NONE);
        Ok(forward::send(hop, id))
    }

    /// A source must be a host's address, and not one of ours.
    pub(crate) fn check_source(&self, ip: &Header<A>) -> Result<(), DropReason> {
        if ip.source.is_martian() {
            return Err(A::MARTIAN);
        }
        if self.addresses.role(ip.source).has(Role::OURS) {
            return Err(DropReason::SourceIsOurs);
        }
        Ok(())
    }

    /// Tells the sender of a packet that has used up its time, or is too big and must not be
    /// fragmented.
    fn complain_of<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        refused: Refused,
    ) -> Option<Verdict> {
        let complaint = match refused.reason {
            DropReason::TtlExpired => Complaint::TimeExceeded,
            DropReason::TooBig if !A::may_fragment(&frame.bytes()[usize::from(l3)..]) => {
                Complaint::TooBig(refused.mtu)
            }
            _ => return None,
        };
        self.complain(common, now, frame, l3, ip, complaint, false)
    }

    /// An error sent to the client of a tunnel or of direct routing passes the kernel's hooks as
    /// its server's packet, and counts as one.
    fn count_complaint(&self, common: &Common, staged: &Staged<A>) {
        let found = self.find(staged.hash, &staged.packet, staged.way);
        let found = found.map(|id| self.connections.get(id));
        if let Some(connection) = found
            && staged.way == Way::Request
            && connection.flags.method() != Method::Nat
            && common.servers[connection.server.index()].is_available
        {
            let traffic = common.counters.server(connection.server);
            traffic.out_packets.add(1);
            traffic.out_bytes.add(u64::from(error_length::<A>(&staged.packet.ip)));
        }
    }

    /// Makes a packet the ICMP error about it, to its sender, quoting it as it came or as it is
    /// after its hop. Nothing, and nothing has changed, when there is no way to the sender or it
    /// has been told often enough.
    pub(crate) fn complain<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
        complaint: Complaint,
        is_hopped: bool,
    ) -> Option<Verdict> {
        self.check_source(ip).ok()?;
        if ip.protocol == A::ICMP {
            // Nobody is told about an error, or errors would go to and fro (RFC 1812 4.3.2.7).
            let kind = frame.bytes().get(usize::from(l3) + usize::from(ip.header_length));
            if kind.is_none_or(|&kind| A::is_error(kind) || A::is_other_error(kind)) {
                return None;
            }
        }
        let is_about_size = matches!(complaint, Complaint::TooBig(_));
        if !is_about_size && !common.may_complain(now, self.connections.hash(ip.source, 0)) {
            common.counters.limited.add(1);
            return None;
        }
        let next = common.topology.next_hop(ip.source.into())?;
        let source = if self.addresses.role(ip.destination).has(Role::OURS) {
            ip.destination
        } else {
            common.topology.source_for(next).and_then(A::from_ip)?
        };
        let id = common.neighbours.entry(now, &common.topology, next).ok()?;
        let identification = common.identification.next();
        let hop = common.neighbours.hop(now, id);
        let in_front = hop.header.length() + icmp::error_room::<A>();
        let length = hop.header.length() + usize::from(error_length::<A>(ip));
        let bytes = frame.reframe(l3 as isize - in_front as isize, length)?;
        hop.header.write(bytes);
        let l3 = &mut bytes[hop.header.length()..];
        if is_hopped {
            A::hop(&mut l3[icmp::error_room::<A>()..], Delta::NONE);
        }
        icmp::write_error(l3, source, ip.source, complaint, identification);
        Some(forward::send(hop, id))
    }

    /// Makes a TCP packet the reset that answers it.
    fn reset<F: Frame>(
        &self,
        common: &mut Common,
        now: Tick,
        frame: &mut F,
        l3: u16,
        ip: &Header<A>,
    ) -> Option<Verdict> {
        self.check_source(ip).ok()?;
        let to = ip.source.into();
        let id = common.neighbours.towards(now, &common.topology, to).ok()?;
        let hop = common.neighbours.hop(now, id);
        let header = hop.header.length();
        let length = reset::write_reset(&mut frame.bytes_mut()[usize::from(l3)..], ip)?;
        hop.header.write(frame.reframe(l3 as isize - header as isize, header + length)?);
        Some(forward::send(hop, id))
    }
}

/// Length of the error about a packet: it quotes as much as there is room for.
fn error_length<A: Network>(ip: &Header<A>) -> u16 {
    let whole = icmp::error_room::<A>() + usize::from(ip.total_length);
    whole.min(A::MOST_ERROR) as u16
}

/// The verdict on a frame that became the answer to itself; the packet that it was is counted as
/// dropped in either case.
fn settle(common: &Common, answered: Option<Verdict>, reason: DropReason) -> Verdict {
    let Some(verdict) = answered else { return reason.into() };
    common.counters.count_drop(reason, 1);
    common.counters.answered.add(1);
    verdict
}
