//! What this version can do: features that it refuses or lacks are left out of the simulation, so
//! that it widens by itself with the product. The only place that knows of them.

use std::net::IpAddr;

use dataplane::address::Prefix;
use dataplane::command::Command;
use dataplane::director::Director;
use dataplane::mark::MarkRule;
use dataplane::refusal::Refusal;
use dataplane::service::{Family, Method, ServiceKey, ServiceSpec};
use dataplane::settings::Settings;

use crate::common::lab::Lab;
use crate::common::names::{server, service, tcp, udp};
use crate::model::schedule::ALL;
use crate::model::{Knobs, Rule};

/// Which features are simulated.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) schedulers: Vec<&'static str>,
    pub(crate) six: bool,
    pub(crate) marks: bool,
    pub(crate) persistence: bool,
    pub(crate) one_packet: bool,
    pub(crate) thresholds: bool,
    /// Settings have effect, and closed connections are scheduled anew.
    pub(crate) knobs: bool,
    /// The director answers senders, and routes what is nobody's.
    pub(crate) answers: bool,
    /// A family without services is left alone.
    pub(crate) sleeps: bool,
    /// ICMP errors follow their connections.
    pub(crate) icmp: bool,
    /// Connections by mark to an address that is not the director's are dropped, not routed, once
    /// their service has been deleted.
    pub(crate) marks_elsewhere: bool,
    /// `expire_nodest_conn` is for the moment of a deletion, not for all that is gone already.
    pub(crate) nodest_at_deletion: bool,
}

impl Gate {
    pub(crate) fn open() -> Self {
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        let of_six = |spec: ServiceSpec| ServiceSpec {
            key: ServiceKey::Address {
                protocol: dataplane::service::Protocol::Tcp,
                address: v6("2001:db8:9::100"),
                port: 80,
            },
            client_mask: dataplane::service::ClientMask::V6(128),
            ..spec
        };
        let mark = ServiceKey::Mark { family: Family::V4, mark: 1 };
        let plain = service(tcp("10.9.0.100:80"), "rr");
        let is_taken = |spec: ServiceSpec| {
            let refused = Director::new(1, 1).add_service(spec).err();
            !matches!(refused, Some(Refusal::Unsupported(_) | Refusal::SchedulerOrEngineNotFound))
        };
        let has_thresholds = || {
            let mut director = Director::new(1, 1);
            director.add_service(plain.clone()).unwrap();
            let mut spec = server("10.1.0.1:80", Method::Nat, 1);
            spec.upper_threshold = 1;
            let refused = director.add_server(&plain.key, spec, &|_| Default::default()).err();
            !matches!(refused, Some(Refusal::Unsupported(_)))
        };
        let is_known = |name: &&str| is_taken(service(tcp("10.9.0.100:80"), name));
        let gate = Self {
            schedulers: ALL.iter().copied().filter(is_known).collect(),
            six: is_taken(of_six(plain.clone())),
            marks: is_taken(service(mark, "rr")),
            persistence: is_taken(ServiceSpec { persistence_s: Some(60), ..plain.clone() }),
            one_packet: is_taken(ServiceSpec {
                one_packet: true,
                ..service(udp("10.9.0.100:53"), "rr")
            }),
            thresholds: has_thresholds(),
            knobs: true,
            answers: true,
            sleeps: true,
            icmp: true,
            marks_elsewhere: false,
            nodest_at_deletion: false,
        };
        println!("simulated: {gate:?}");
        gate
    }
}

/// Settings from knobs; senders are told without limit.
fn settings(knobs: &Knobs) -> Settings {
    let mut timeouts = dataplane::connection::state::Timeouts::default();
    let [tcp, fin, udp] = knobs.timeouts.map(|seconds| seconds as u32);
    timeouts.set(tcp, fin, udp).unwrap();
    Settings {
        conn_reuse_mode: knobs.conn_reuse_mode,
        expire_nodest_conn: knobs.expire_nodest_conn,
        expire_quiescent_template: knobs.expire_quiescent_template,
        sloppy_tcp: knobs.sloppy_tcp,
        nat_icmp_send: knobs.nat_icmp_send,
        secure_tcp: knobs.secure_tcp,
        timeouts,
        icmp_ratelimit_ms: 0,
        icmp_msgs_per_sec: 1_000_000,
        icmp_msgs_burst: 1_000_000,
        ..Settings::default()
    }
}

/// Knobs as a director is born with.
pub(crate) fn first_knobs(gate: &Gate) -> Knobs {
    let conn_reuse_mode = if gate.knobs { Knobs::DEFAULT.conn_reuse_mode } else { 0 };
    Knobs { conn_reuse_mode, ..Knobs::DEFAULT }
}

pub(crate) fn put_knobs(lab: &mut Lab, knobs: &Knobs) {
    lab.apply(&Command::PutSettings(settings(knobs)));
}

pub(crate) fn put_rules(lab: &mut Lab, rules: &[Rule]) {
    let rule = |rule: &Rule| MarkRule {
        protocol: rule.protocol,
        source: None,
        destination: Prefix::new(
            rule.destination,
            if rule.destination.is_ipv4() { 32 } else { 128 },
        ),
        source_ports: None,
        destination_ports: Some(rule.ports),
        mark: rule.mark,
    };
    let rules: std::sync::Arc<[MarkRule]> = rules.iter().map(rule).collect();
    for shard in &mut lab.shards {
        shard.apply(lab.now, Command::PutMarks(std::sync::Arc::clone(&rules)));
    }
}

/// Protocol, client, virtual and real end, state, seconds left of every template.
pub(crate) fn templates(lab: &Lab) -> Vec<crate::driver::Listed> {
    let mut all = Vec::new();
    lab.templates.list(lab.now, |c| {
        let state = c.state.name().to_owned();
        all.push((c.protocol, c.client, c.virtual_end, c.real, state, u64::from(c.expires_s)));
    });
    all
}
