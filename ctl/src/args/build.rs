//! A complete line to a command: the checks that need the whole line, in the real tool's order.

use dataplane::service::{
    Family, Method, Protocol, ServerSpec, ServiceKey, ServiceSpec, TunnelChecksum, TunnelKind,
    TunnelSpec,
};

use super::Failure;
use super::line::{Line, timeout};
use super::table::{GRE_RULES, GUE_RULES, IPIP_RULES, Opt, OptSet, Rules, TUNNEL_OPTS, Verb};
use crate::command::{Change, Command, DaemonSpec, Format, ListOptions, Listing, Timeouts};

/// Scheduler of a service without `-s`.
const DEFAULT_SCHEDULER: &str = "wlc";
/// Interface of a sync daemon without `--mcast-interface`.
const DEFAULT_INTERFACE: &str = "eth0";

/// Makes the command of a line; `loose` are the words that are no switches.
pub(crate) fn command(line: Line, loose: &[&str]) -> Result<Command, Failure> {
    let timeouts = if line.verb == Verb::Set { Some(set_values(loose)?) } else { None };
    let used = if timeouts.is_some() { 3 } else { 0 };
    if let Some(word) = loose.get(used) {
        return Err(Failure::check(format_args!("unexpected argument {word}")));
    }
    let scheduler = line.scheduler.as_deref().unwrap_or(DEFAULT_SCHEDULER);
    let flags = scheduler_flags(&line.flag_words, scheduler)?;
    let rules = line.verb.rules();
    let all = Opt::NAMES.map(|(opt, _)| opt);
    obey(line.seen, &all, rules, &format_args!("'{}' command", line.verb.name()))?;

    let key = service_key(&line);
    match (line.verb, key) {
        (Verb::AddService, Some(key)) => change(Change::AddService(service(line, key, flags)?)),
        (Verb::EditService, Some(key)) => change(Change::EditService(service(line, key, flags)?)),
        (Verb::DeleteService, Some(key)) => change(Change::DeleteService(key)),
        (Verb::AddServer, Some(service)) => {
            change(Change::AddServer { service, server: server(&line, &service)? })
        }
        (Verb::EditServer, Some(service)) => {
            change(Change::EditServer { service, server: server(&line, &service)? })
        }
        (Verb::DeleteServer, Some(service)) => change(Change::DeleteServer {
            service,
            address: line.server.ok_or_else(|| missing(Opt::Server, &line))?,
            port: line.server_port,
        }),
        (Verb::List, service) => list(line.seen, service),
        (Verb::Zero, service) => change(Change::Zero(service)),
        (Verb::Flush, _) => change(Change::Flush),
        (Verb::Restore, _) => Ok(Command::Restore),
        (Verb::Save, _) => Ok(Command::Save { numeric: line.seen.has(Opt::Numeric) }),
        (Verb::Help, _) => Ok(Command::Help),
        (Verb::Version, _) => Ok(Command::Version),
        (Verb::StopDaemon, _) => {
            change(Change::StopDaemon { role: line.role, sync_id: line.sync_id })
        }
        (Verb::StartDaemon, _) => change(Change::StartDaemon(DaemonSpec {
            role: line.role,
            interface: line.interface.unwrap_or_else(|| DEFAULT_INTERFACE.to_owned()),
            sync_id: line.sync_id,
            max_length: line.max_length,
            group: line.group,
            port: line.mcast_port,
            ttl: line.ttl,
        })),
        (Verb::Set, _) => match timeouts {
            Some(timeouts) => change(Change::SetTimeouts(timeouts)),
            None => Err(Failure::check("--set option requires 3 timeout values")),
        },
        // The matrix has refused these already: the service is required.
        (_, None) => Err(missing(Opt::Service, &line)),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all arms of the match above")]
fn change(change: Change) -> Result<Command, Failure> {
    Ok(change.into())
}

/// The three words of `--set`.
fn set_values(loose: &[&str]) -> Result<Timeouts, Failure> {
    let [tcp, tcp_fin, udp, ..] = loose else {
        return Err(Failure::check("--set option requires 3 timeout values"));
    };
    Ok(Timeouts {
        tcp_s: timeout(tcp, 0)?,
        tcp_fin_s: timeout(tcp_fin, 0)?,
        udp_s: timeout(udp, 0)?,
    })
}

/// The bits of `-b`. The words of `sh` and `mh` are theirs alone.
fn scheduler_flags(words: &str, scheduler: &str) -> Result<u32, Failure> {
    let mut flags = 0;
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (bit, only_with) = match word {
            "flag-1" => (0x08, None),
            "flag-2" => (0x10, None),
            "flag-3" => (0x20, None),
            "sh-fallback" => (0x08, Some("sh")),
            "sh-port" => (0x10, Some("sh")),
            "mh-fallback" => (0x08, Some("mh")),
            "mh-port" => (0x10, Some("mh")),
            _ => return Err(Failure::check(format_args!("invalid scheduler flag `{word}'"))),
        };
        if only_with.is_some_and(|only| only != scheduler) {
            return Err(Failure::check(format_args!("incompatible scheduler flag `{word}'")));
        }
        flags |= bit;
    }
    Ok(flags)
}

fn missing(opt: Opt, line: &Line) -> Failure {
    lacks(opt, &format_args!("'{}' command", line.verb.name()))
}

fn lacks(opt: Opt, owner: &std::fmt::Arguments<'_>) -> Failure {
    let name = opt.name();
    Failure::check(format_args!("You need to supply the '{name}' option for the {owner}"))
}

/// Checks the options that were seen against the rules of a command or tunnel type; the first offence counts.
fn obey(
    seen: OptSet,
    opts: &[Opt],
    rules: Rules,
    owner: &std::fmt::Arguments<'_>,
) -> Result<(), Failure> {
    let mut earlier: Option<Opt> = None;
    for &opt in opts {
        let (present, name) = (seen.has(opt), opt.name());
        if !present {
            if rules.required.contains(&opt) {
                return Err(lacks(opt, owner));
            }
        } else if rules.exclusive.contains(&opt) {
            if let Some(earlier) = earlier {
                return Err(Failure::check(format_args!(
                    "The option '{name}' conflicts with the '{}' option in the {owner}",
                    earlier.name()
                )));
            }
            earlier = Some(opt);
        } else if !rules.required.contains(&opt) && !rules.optional.contains(&opt) {
            return Err(Failure::check(format_args!("Illegal '{name}' option with the {owner}")));
        }
    }
    Ok(())
}

fn service_key(line: &Line) -> Option<ServiceKey> {
    if line.mark != 0 {
        return Some(ServiceKey::Mark { family: line.family, mark: line.mark });
    }
    Some(ServiceKey::Address { protocol: line.protocol?, address: line.address?, port: line.port })
}

fn service(line: Line, key: ServiceKey, scheduler_flags: u32) -> Result<ServiceSpec, Failure> {
    let one_packet = line.seen.has(Opt::OnePacket);
    if let ServiceKey::Address { protocol, port, .. } = key {
        if port == 0 && line.persistence_s.is_none() {
            return Err(Failure::check("Zero port specified for non-persistent service"));
        }
        if one_packet && protocol != Protocol::Udp {
            let message = "One-Packet Scheduling is only for UDP virtual services";
            return Err(Failure::check(message));
        }
    }
    Ok(ServiceSpec {
        key,
        scheduler: line.scheduler.unwrap_or_else(|| DEFAULT_SCHEDULER.to_owned()),
        scheduler_flags,
        persistence_s: line.persistence_s,
        client_mask: line.mask,
        persistence_engine: line.engine,
        one_packet,
    })
}

fn server(line: &Line, service: &ServiceKey) -> Result<ServerSpec, Failure> {
    let address = line.server.ok_or_else(|| missing(Opt::Server, line))?;
    let mut port = line.server_port;
    // Only NAT can change the port; the other methods keep the service's, whatever was given.
    if let ServiceKey::Address { port: service_port, .. } = *service
        && line.method != Method::Nat
    {
        port = service_port;
    }
    if Family::of(address) != service.family() && line.method != Method::Tunnel {
        let message = "Different address family is allowed only for tunneling servers";
        return Err(Failure::check(message));
    }
    let tunnel = tunnel(line)?;
    Ok(ServerSpec {
        address,
        port,
        method: line.method,
        weight: line.weight,
        upper_threshold: line.upper,
        lower_threshold: line.lower,
        tunnel,
    })
}

fn tunnel(line: &Line) -> Result<TunnelSpec, Failure> {
    let seen = line.seen;
    if line.method != Method::Tunnel {
        if seen.has(Opt::TunType) || seen.has_any(&TUNNEL_OPTS) {
            return Err(Failure::check("Tunnel options conflict with forward method"));
        }
        return Ok(TunnelSpec::default());
    }
    let (rules, name) = match line.tunnel {
        TunnelKind::Ipip => (IPIP_RULES, "ipip"),
        TunnelKind::Gue => (GUE_RULES, "gue"),
        TunnelKind::Gre => (GRE_RULES, "gre"),
    };
    obey(seen, &TUNNEL_OPTS, rules, &format_args!("'{name}' tunnel type"))?;
    let checksum = if seen.has(Opt::TunRemcsum) {
        TunnelChecksum::Remote
    } else if seen.has(Opt::TunCsum) {
        TunnelChecksum::Full
    } else {
        TunnelChecksum::None
    };
    Ok(TunnelSpec { kind: line.tunnel, port: line.tunnel_port, checksum })
}

fn list(seen: OptSet, service: Option<ServiceKey>) -> Result<Command, Failure> {
    let not_services = seen.has_any(&[Opt::Connection, Opt::Timeout, Opt::Daemon]);
    let layout = seen.has_any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
    let own_lines = seen.has_any(&[Opt::Timeout, Opt::Daemon]);
    if (not_services && layout) || (own_lines && seen.has(Opt::PersistentConn)) {
        return Err(Failure::check("options conflicts in the list command"));
    }
    let listing = if seen.has(Opt::Connection) {
        Listing::Connections
    } else if seen.has(Opt::Timeout) {
        Listing::Timeouts
    } else if seen.has(Opt::Daemon) {
        Listing::Daemons
    } else {
        Listing::Services
    };
    // The first of these that is there wins.
    let format = [
        (Opt::Stats, Format::Stats),
        (Opt::Rate, Format::Rate),
        (Opt::Thresholds, Format::Thresholds),
        (Opt::PersistentConn, Format::PersistentConn),
        (Opt::TunInfo, Format::TunInfo),
    ]
    .into_iter()
    .find(|&(opt, _)| seen.has(opt))
    .map_or(Format::Plain, |(_, format)| format);
    Ok(Command::List(ListOptions {
        listing,
        format,
        service,
        numeric: seen.has(Opt::Numeric),
        sorted: !seen.has(Opt::Nosort),
        exact: seen.has(Opt::Exact),
    }))
}
