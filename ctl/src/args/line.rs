//! The options of one line as they are met, left to right, each value judged when it is met.

use std::net::IpAddr;

use dataplane::service::{ClientMask, Family, Method, Protocol, TunnelKind};

use super::Failure;
use super::table::{Means, Opt, OptSet, Verb};
use super::values::{Endpoint, cut, endpoint, host_v4, leading_number, multicast_group, number};
use crate::command::Role;
use crate::names::Names;

/// Longest persistence or timeout, 31 days in seconds.
const LONGEST_S: i64 = 31 * 24 * 3600;
/// Persistence in seconds when `-p` has no value.
const DEFAULT_PERSISTENCE_S: u32 = 360;
/// Longest scheduler and interface name in bytes; the rest of a longer one is silently lost.
const LONGEST_NAME: usize = 15;
/// Longest name of a persistence engine in bytes.
const LONGEST_ENGINE_NAME: usize = 16;

/// What has been read of a line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) verb: Verb,
    pub(crate) seen: OptSet,
    /// Sync daemon of `--start-daemon` and `--stop-daemon`.
    pub(crate) role: Role,
    /// Protocol of the service; for a mark the one whose port names are used.
    pub(crate) protocol: Option<Protocol>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    /// 0 unless the service is a firewall mark.
    pub(crate) mark: u32,
    pub(crate) family: Family,
    pub(crate) scheduler: Option<String>,
    pub(crate) flag_words: String,
    pub(crate) persistence_s: Option<u32>,
    pub(crate) mask: ClientMask,
    pub(crate) engine: Option<String>,
    pub(crate) server: Option<IpAddr>,
    pub(crate) server_port: u16,
    pub(crate) method: Method,
    pub(crate) weight: i64,
    pub(crate) upper: u32,
    pub(crate) lower: u32,
    pub(crate) tunnel: TunnelKind,
    pub(crate) tunnel_port: u16,
    pub(crate) interface: Option<String>,
    pub(crate) sync_id: u8,
    pub(crate) max_length: Option<u16>,
    pub(crate) group: Option<IpAddr>,
    pub(crate) mcast_port: Option<u16>,
    pub(crate) ttl: Option<u8>,
}

impl Line {
    /// A line after its command and that command's value.
    pub(crate) fn new(verb: Verb, state: Option<&str>) -> Result<Self, Failure> {
        let role = match (verb, state) {
            (Verb::StartDaemon | Verb::StopDaemon, Some("backup")) => Role::Backup,
            (Verb::StartDaemon | Verb::StopDaemon, Some("master")) => Role::Master,
            (Verb::StartDaemon, _) => {
                return Err(Failure::check("illegal start-daemon parameter specified"));
            }
            (Verb::StopDaemon, _) => return Err(Failure::check("illegal start_daemon specified")),
            _ => Role::Master,
        };
        Ok(Self {
            verb,
            seen: OptSet::default(),
            role,
            protocol: None,
            address: None,
            port: 0,
            mark: 0,
            family: Family::V4,
            scheduler: None,
            flag_words: String::new(),
            persistence_s: None,
            mask: ClientMask::each_client(Family::V4),
            engine: None,
            server: None,
            server_port: 0,
            method: Method::Direct,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: TunnelKind::Ipip,
            tunnel_port: 0,
            interface: None,
            sync_id: 0,
            max_length: None,
            group: None,
            mcast_port: None,
            ttl: None,
        })
    }

    /// Takes one switch with its value.
    pub(crate) fn take(
        &mut self,
        means: Means,
        value: Option<&str>,
        names: &dyn Names,
    ) -> Result<(), Failure> {
        if let Some(opt) = means.opt() {
            if self.seen.has(opt) {
                let name = opt.name();
                return Err(Failure::check(format_args!("multiple '{name}' options specified")));
            }
            self.seen.insert(opt);
        }
        let text = value.unwrap_or_default();
        match means {
            Means::Command(_) | Means::Sort => Ok(()),
            Means::Tcp => self.take_service(Protocol::Tcp, text, names),
            Means::Udp => self.take_service(Protocol::Udp, text, names),
            Means::Sctp => self.take_service(Protocol::Sctp, text, names),
            Means::Mark => self.take_mark(text),
            Means::Ipv6 => self.take_ipv6(),
            Means::Gatewaying => self.set_method(Method::Direct),
            Means::Ipip => self.set_method(Method::Tunnel),
            Means::Masquerading => self.set_method(Method::Nat),
            Means::Option(Opt::Persistent) => self.take_persistence(value),
            Means::Option(opt) => self.take_option(opt, text, names),
        }
    }

    fn set_method(&mut self, method: Method) -> Result<(), Failure> {
        self.method = method;
        Ok(())
    }

    fn take_service(
        &mut self,
        protocol: Protocol,
        text: &str,
        names: &dyn Names,
    ) -> Result<(), Failure> {
        self.protocol = Some(protocol);
        let Some(Endpoint { address, port }) = endpoint(text, self.protocol, names) else {
            return Err(Failure::check("illegal virtual server address[:port] specified"));
        };
        self.address = Some(address);
        self.port = port.unwrap_or(0);
        self.set_family(Family::of(address));
        Ok(())
    }

    /// An IPv6 service overwrites the mask that stood before it on the line; the real tool does so.
    fn set_family(&mut self, family: Family) {
        self.family = family;
        if family == Family::V6 {
            self.mask = ClientMask::each_client(family);
        }
    }

    fn take_mark(&mut self, text: &str) -> Result<(), Failure> {
        let mark = number(text, 1, i64::from(u32::MAX)).and_then(|mark| u32::try_from(mark).ok());
        let Some(mark) = mark else {
            return Err(Failure::check(format_args!("invalid fwmark value `{text}' specified")));
        };
        self.mark = mark;
        self.protocol = Some(Protocol::Tcp);
        Ok(())
    }

    fn take_ipv6(&mut self) -> Result<(), Failure> {
        if self.mark == 0 {
            // The empty line belongs to the message.
            return Err(Failure::check("-6 used before -f\n"));
        }
        self.set_family(Family::V6);
        Ok(())
    }

    fn take_persistence(&mut self, value: Option<&str>) -> Result<(), Failure> {
        self.persistence_s = Some(match value {
            Some(text) => timeout(text, 1)?,
            None => DEFAULT_PERSISTENCE_S,
        });
        Ok(())
    }

    fn take_option(&mut self, opt: Opt, text: &str, names: &dyn Names) -> Result<(), Failure> {
        match opt {
            Opt::Scheduler => self.scheduler = Some(cut(text, LONGEST_NAME).to_owned()),
            Opt::SchedFlags => text.clone_into(&mut self.flag_words),
            Opt::Netmask => self.mask = mask(text, self.family, names)?,
            // To the kernel an empty name is no engine.
            Opt::Engine if text.is_empty() => {}
            Opt::Engine => self.engine = Some(cut(text, LONGEST_ENGINE_NAME).to_owned()),
            Opt::Server => {
                let Some(server) = endpoint(text, self.protocol, names) else {
                    return Err(Failure::check("illegal real server address[:port] specified"));
                };
                self.server = Some(server.address);
                // The service's port as known so far: 0 if the service comes later on the line.
                self.server_port = server.port.unwrap_or(self.port);
            }
            Opt::Weight => self.weight = bounded(text, 0, i64::from(i32::MAX), "weight")?,
            Opt::Upper => self.upper = bounded(text, 0, i32::MAX as u32, "u_threshold")?,
            Opt::Lower => self.lower = bounded(text, 0, i32::MAX as u32, "l_threshold")?,
            Opt::TunType => {
                self.tunnel = match text {
                    "ipip" => TunnelKind::Ipip,
                    "gue" => TunnelKind::Gue,
                    "gre" => TunnelKind::Gre,
                    _ => return Err(Failure::check("illegal tunnel type specified")),
                }
            }
            Opt::TunPort => self.tunnel_port = bounded(text, 1, u16::MAX, "tunnel port")?,
            Opt::Interface => self.interface = Some(cut(text, LONGEST_NAME).to_owned()),
            Opt::SyncId => self.sync_id = bounded(text, 0, u8::MAX, "syncid")?,
            Opt::MaxLength => {
                self.max_length = Some(bounded(text, 1, 65535 - 20 - 8, "sync-maxlen")?);
            }
            Opt::Group => {
                self.group = Some(multicast_group(text).map_err(|family| {
                    Failure::check(format_args!("invalid {family} mcast-group `{text}'"))
                })?);
            }
            Opt::McastPort => self.mcast_port = Some(bounded(text, 1, u16::MAX, "mcast-port")?),
            Opt::Ttl => self.ttl = Some(bounded(text, 1, u8::MAX, "mcast-ttl")?),
            // The others have no value: that they were seen says all.
            _ => {}
        }
        Ok(())
    }
}

/// A number between bounds, or `illegal … specified`.
fn bounded<T>(text: &str, least: T, most: T, what: &str) -> Result<T, Failure>
where
    T: TryFrom<i64> + Into<i64>,
{
    number(text, least.into(), most.into())
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| Failure::check(format_args!("illegal {what} specified")))
}

/// A time in seconds of `-p` or `--set`.
pub(crate) fn timeout(text: &str, least: i64) -> Result<u32, Failure> {
    number(text, least, LONGEST_S)
        .and_then(|value| u32::try_from(value).ok())
        .ok_or_else(|| Failure::check(format_args!("invalid timeout value `{text}' specified")))
}

/// The value of `-M`, read by the family that is known so far.
fn mask(text: &str, family: Family, names: &dyn Names) -> Result<ClientMask, Failure> {
    match family {
        Family::V4 => host_v4(text, names)
            .map(|mask| ClientMask::V4(mask.into()))
            .ok_or_else(|| Failure::check("illegal virtual server persistent mask specified")),
        Family::V6 => u8::try_from(leading_number(text))
            .ok()
            .filter(|length| (1..=128).contains(length))
            .map(ClientMask::V6)
            .ok_or_else(|| Failure::check("illegal ipv6 netmask specified")),
    }
}
