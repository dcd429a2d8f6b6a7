//! What becomes of an ICMP error: it follows the connection whose packet it quotes.

use dataplane::service::Method;

use super::{Datagram, Model, Outcome, Unreachable};

/// Length of the ICMP header.
const ICMP: u64 = 8;
/// Bytes quoted behind the IP header.
pub(crate) const QUOTED: u64 = 8;

impl Unreachable {
    /// Length of the IP packet.
    fn length(&self) -> u64 {
        let ip = if self.source.is_ipv4() { 20 } else { 40 };
        ip + ICMP + ip + QUOTED
    }
}

impl Model {
    /// An error arrives: what becomes of it, and as what it is sent on.
    pub(crate) fn error(&mut self, error: &Unreachable) -> (Outcome, Unreachable) {
        let about = error.about;
        if !self.is_awake(about.family()) {
            return self.host_error(error);
        }
        // From a server, about what it was sent.
        let is_it = |c: &super::Connection| {
            c.method == Method::Nat
                && c.protocol == about.protocol
                && (c.client, c.real) == (about.source, about.destination)
        };
        if let Some(c) = self.connections.iter().find(|c| is_it(c)).cloned() {
            self.count(c.server, [0, 0, 1, 0, error.length()]);
            let about = Datagram { destination: c.virtual_end, ..about };
            let sent = Unreachable { source: c.virtual_end.0, about, ..*error };
            return (Outcome::ToClient { from: c.virtual_end }, sent);
        }
        // From the client's side, about what it was sent.
        let asked = Datagram { source: about.destination, destination: about.source, ..about };
        let Some(place) = self.requested(&asked) else { return self.host_error(error) };
        let c = self.connections[place].clone();
        self.count(c.server, [0, 1, 0, error.length(), 0]);
        let outcome = Outcome::ToServer { real: c.real, method: c.method };
        let sent = match c.method {
            Method::Nat => {
                let about = Datagram { source: c.real, ..about };
                Unreachable { destination: c.real.0, about, ..*error }
            }
            Method::Direct | Method::Tunnel => *error,
        };
        (outcome, sent)
    }

    fn host_error(&self, error: &Unreachable) -> (Outcome, Unreachable) {
        let is_ours = self.is_ours(error.destination);
        (if is_ours { Outcome::Dropped } else { Outcome::Routed }, *error)
    }
}
