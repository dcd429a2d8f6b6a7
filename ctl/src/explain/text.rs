//! Steps of packets in words.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use dataplane::explain::{Step, Why};
use dataplane::service::{Method, ServiceKey};

use super::Explanation;

/// An explanation, a line for each step.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let Explanation { steps, scheduler, .. } = explanation;
    let mut text = String::new();
    for step in steps {
        let (name, words) = self::step(step, scheduler.as_deref());
        line(&mut text, "", name, &words);
    }
    text
}

/// Adds a line: what it is about, and what there is to say.
pub(crate) fn line(text: &mut String, indent: &str, name: &str, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{indent}{name:<12}{words}");
}

/// What a step is about, and what there is to say.
pub(crate) fn step(step: &Step, scheduler: Option<&str>) -> (&'static str, String) {
    match *step {
        Step::Ordinary => (
            "ordinary",
            "no virtual service has part in it: routed, or for the director".to_owned(),
        ),
        Step::Owner { owner, workers } => {
            ("owner", format!("worker {} of {workers} has the client's connections", owner.0))
        }
        Step::Mark(mark) => ("mark", format!("{mark}, by the rules of 'mark -L'")),
        Step::Connection { is_reply, state, expires_s, virtual_end, real } => {
            let way = if is_reply { "an answer on the connection" } else { "the connection" };
            let (virtual_end, real, state) = (end(virtual_end), end(real), state.name());
            let text = format!("{way} {virtual_end} to {real}: {state}, ends in {expires_s} s");
            ("connection", text)
        }
        Step::Replaced(why) => ("replaced", format!("it ends for a new one: {}", replaced(why))),
        Step::Service(key) => {
            let scheduler = scheduler.unwrap_or("?");
            ("service", format!("{}, scheduler {scheduler}", service(&key)))
        }
        Step::Kept { client, expires_s } => {
            ("persistence", format!("{client} stays with its server, {expires_s} s more"))
        }
        Step::NotKept(why) => {
            ("persistence", format!("the client loses its server: {}", not_kept(why)))
        }
        Step::WillKeep { client, timeout_s } => {
            ("persistence", format!("{client} will stay with the server, {timeout_s} s"))
        }
        Step::Scheduled { servers, quiet, overloaded } => {
            let able = servers - quiet - overloaded;
            let scheduler = scheduler.unwrap_or("the scheduler");
            let mut text = format!("{scheduler} chooses among {able} of {servers} servers");
            for (count, what) in [(quiet, "of weight 0"), (overloaded, "at their upper threshold")]
            {
                if count > 0 {
                    let _ = write!(text, ", {count} {what}");
                }
            }
            ("scheduler", text)
        }
        Step::Server { real, method, weight, active, inactive } => {
            let (real, method) = (end(real), self::method(method));
            let load = format!("{active} active and {inactive} inactive connections");
            ("server", format!("{real} by {method}, weight {weight}, {load}"))
        }
        Step::NextHop { address, port, mac } => {
            let mac = mac.map_or("a station not known yet".to_owned(), |mac| mac.to_string());
            ("next hop", format!("{address}, {mac}, by port {}", port.0))
        }
        Step::Dropped(reason) => ("dropped", format!("{}: {}", reason.name(), reason.text())),
    }
}

/// Address and port.
pub(crate) fn end((address, port): (IpAddr, u16)) -> SocketAddr {
    SocketAddr::new(address, port)
}

/// A method of forwarding.
pub(crate) fn method(method: Method) -> &'static str {
    match method {
        Method::Direct => "direct routing",
        Method::Nat => "NAT",
        Method::Tunnel => "tunnelling",
    }
}

fn service(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address { protocol, address, port: 0 } => {
            format!("{} {address}, every port that has no service of its own", protocol.name())
        }
        ServiceKey::Address { protocol, address, port } => {
            format!("{} {}", protocol.name(), end((address, port)))
        }
        ServiceKey::Mark { mark, .. } => format!("firewall mark {mark}"),
    }
}

fn replaced(why: Why) -> &'static str {
    match why {
        Why::ServerDeleted => "its server has been deleted (expire_nodest_conn)",
        Why::ServerQuiet => "its server has weight 0 (expire_nodest_conn)",
        Why::PortReused => "the client uses the port again (conn_reuse_mode)",
    }
}

fn not_kept(why: Why) -> &'static str {
    match why {
        Why::ServerQuiet => "it has weight 0 (expire_quiescent_template)",
        Why::ServerDeleted | Why::PortReused => "it has been deleted",
    }
}
