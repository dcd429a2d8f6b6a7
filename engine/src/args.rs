//! The daemon's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use dataplane::address::Prefix;
use lexopt::prelude::*;

use crate::config::{
    Config, NeighbourConfig, PortConfig, RouteConfig, parse_idle, parse_mac, parse_path,
};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Run with this configuration.
    Run(Box<Config>),
    /// Check it and say so.
    Check(Box<Config>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The help text.
pub const HELP: &str = "\
pollvsd: a Linux Virtual Server director in user space

Usage: pollvsd [--config FILE] [OPTIONS]

Ports (repeat as needed; --address and --mtu belong to the --port before them):
  --port DEVICE            Linux interface (AF_XDP, else AF_PACKET), PCI address
                           (0000:03:00.0, arguments after a comma), or EAL
                           device such as net_memif0,role=server
  --address ADDR/LENGTH    an address of the director on that port
  --mtu BYTES              largest IP packet there, up to 2030 and to the
                           device's own [that]
  --route PREFIX=GATEWAY   static route
  --neighbour ADDR=MAC     next hop whose link-layer address is fixed

Size and place:
  --workers N              worker threads, a core each [1]
  --cores LIST             their cores, as 2,3 [the machine's last ones]
  --idle spin|yield        what a worker without packets does
                           [spin; yield when no core is left over]
  --connections N          connections kept at most [1048576]
  --memory MIB             memory for frames [by ports and workers]
  --hugepages yes|no       [yes when there are enough free ones]

Control:
  --config FILE            TOML file; flags replace its values, and ports, routes
                           and neighbours given by flags are added to its own;
                           only there: rules, [sysctl], [timeouts], [[mark]],
                           [[vrrp]], [sync], connections_ipv6, templates and
                           VLANs (see configs/)
  --socket PATH            control socket [/run/pollvs/pollvsd.sock]
  --socket-group GROUP     who may use it, besides root [nobody]
  --read-only-socket PATH  a second socket, for listing only [none]; pollvsadm
                           finds it if it is read-only.sock beside the first
  --read-only-group GROUP  who may use that, besides root [nobody]
  --state FILE|none        the table, saved at every change and read at the start;
                           the configured rules are for when there is none
                           [/var/lib/pollvs/table]
  --run DIR|none           folder of files like /proc/net/ip_vs, a second old at
                           most, in proc/net [/run/pollvs]
  --check                  check the configuration, then end
  --help, --version

SIGTERM, SIGINT or SIGHUP stops the daemon. It is controlled by pollvsadm.
";

/// Reads the command line.
///
/// # Errors
/// What is wrong with it, in words for the user.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let words: Vec<OsString> = words.into_iter().collect();
    let mut config = match config_file(&words)? {
        Some(file) => Config::load(&file).map_err(|error| error.to_string())?,
        None => Config::default(),
    };
    let mut check = false;
    let mut flag_ports: Vec<PortConfig> = Vec::new();
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next().map_err(text)? {
        let Long(name) = argument else { return Err(text(argument.unexpected())) };
        let name = name.to_owned();
        match name.as_str() {
            "help" => return Ok(Invocation::Help),
            "version" => return Ok(Invocation::Version),
            "check" => check = true,
            _ => {
                let value = value_of(&mut parser, &name)?;
                config.origin.by_flag(&name);
                set(&mut config, &mut flag_ports, &name, &value)?;
            }
        }
    }
    config.ports.extend(flag_ports);
    config.validate().map_err(|error| error.to_string())?;
    let config = Box::new(config);
    Ok(if check { Invocation::Check(config) } else { Invocation::Run(config) })
}

/// The value of `--config`, which has to be known before all other flags.
fn config_file(words: &[OsString]) -> Result<Option<PathBuf>, String> {
    let mut parser = lexopt::Parser::from_args(words.to_vec());
    let mut file = None;
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("config") => file = Some(parser.value().map_err(text)?.into()),
            Long("help" | "version" | "check") => {}
            Long(_) => {
                // Whatever it is: complained about later, in order.
                let _ = parser.value();
            }
            _ => {}
        }
    }
    Ok(file)
}

fn value_of(parser: &mut lexopt::Parser, name: &str) -> Result<String, String> {
    const KNOWN: [&str; 18] = [
        "config",
        "port",
        "address",
        "mtu",
        "route",
        "neighbour",
        "workers",
        "cores",
        "idle",
        "connections",
        "memory",
        "hugepages",
        "socket",
        "socket-group",
        "read-only-socket",
        "read-only-group",
        "state",
        "run",
    ];
    if !KNOWN.contains(&name) {
        return Err(format!("unknown option --{name}; see pollvsd --help"));
    }
    parser.value().map_err(text)?.string().map_err(text)
}

fn set(
    config: &mut Config,
    ports: &mut Vec<PortConfig>,
    name: &str,
    value: &str,
) -> Result<(), String> {
    let wrong = |expected: &str| format!("--{name} {value}: expected {expected}");
    match name {
        "config" => {}
        "port" => ports.push(PortConfig { device: value.to_owned(), ..PortConfig::default() }),
        "address" => {
            let prefix: Prefix = value.parse().map_err(|()| wrong("ADDRESS/LENGTH"))?;
            let port = ports.last_mut().ok_or_else(|| wrong("a --port before it"))?;
            port.addresses.push(prefix);
        }
        "mtu" => {
            let mtu = value.parse().map_err(|_| wrong("a number of bytes"))?;
            ports.last_mut().ok_or_else(|| wrong("a --port before it"))?.mtu = Some(mtu);
        }
        "route" => config.routes.push(route(value).ok_or_else(|| wrong("PREFIX=GATEWAY"))?),
        "neighbour" => {
            let fixed = neighbour(value).ok_or_else(|| wrong("ADDRESS=MAC"))?;
            config.static_neighbours.push(fixed);
        }
        "workers" => config.workers = value.parse().map_err(|_| wrong("a number of workers"))?,
        "cores" => {
            let cores: Result<_, _> = value.split(',').map(str::parse).collect();
            config.cores = Some(cores.map_err(|_| wrong("core numbers like 2,3"))?);
        }
        "idle" => {
            config.idle = Some(parse_idle(value).ok_or_else(|| wrong("spin or yield"))?);
        }
        "connections" => {
            config.connections = value.parse().map_err(|_| wrong("a number of connections"))?;
        }
        "memory" => config.memory = Some(value.parse().map_err(|_| wrong("a number of MiB"))?),
        "hugepages" => {
            config.hugepages = Some(match value {
                "yes" => true,
                "no" => false,
                _ => return Err(wrong("yes or no")),
            });
        }
        "socket" => config.socket = PathBuf::from(value),
        "socket-group" => config.socket_group = Some(value.to_owned()),
        "read-only-socket" => config.read_only_socket = Some(PathBuf::from(value)),
        "read-only-group" => config.read_only_group = Some(value.to_owned()),
        "state" => config.state = parse_path(value),
        "run" => config.run = parse_path(value),
        _ => unreachable!("value_of lets only known options through"),
    }
    Ok(())
}

fn route(value: &str) -> Option<RouteConfig> {
    let (to, via) = value.split_once('=')?;
    Some(RouteConfig { to: to.parse().ok()?, via: via.parse().ok()? })
}

fn neighbour(value: &str) -> Option<NeighbourConfig> {
    let (address, mac) = value.split_once('=')?;
    Some(NeighbourConfig { address: address.parse().ok()?, mac: parse_mac(mac)? })
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error}; see pollvsd --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Invocation, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn addresses_belong_to_the_port_before_them() {
        let line = "--port d0 --address 10.9.0.1/16 --port d1 --address 10.1.0.1/16 --mtu 1400 \
                    --route 0.0.0.0/0=10.9.0.254 --neighbour 10.1.0.2=02:00:00:00:00:02 \
                    --workers 2 --cores 0,1 --idle spin --hugepages no";
        let Ok(Invocation::Run(config)) = parse_words(line) else { panic!("refused") };
        assert_eq!(config.ports[0].addresses[0].to_string(), "10.9.0.1/16");
        assert_eq!((config.ports[0].mtu, config.ports[1].mtu), (None, Some(1400)));
        assert_eq!((config.workers, config.cores), (2, Some(vec![0, 1])));
        assert_eq!(config.routes.len() + config.static_neighbours.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("--port d0 --wokers 2", "unknown option --wokers"),
            ("--port d0 --workers", "missing argument"),
            ("--port d0 --workers many", "--workers many: expected a number"),
            ("--address 10.0.0.1/8", "a --port before it"),
            ("--port d0 --address 10.0.0.1/99", "ADDRESS/LENGTH"),
            ("--port d0 --route 10.0.0.0/8", "PREFIX=GATEWAY"),
            ("--port d0 stray", "stray"),
            ("--workers 1", "no ports"),
            ("--config /no/such/file", "/no/such/file"),
        ] {
            let error = parse_words(line).err().unwrap_or_else(|| panic!("accepted: {line}"));
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(matches!(parse_words("--help"), Ok(Invocation::Help)));
        assert!(matches!(parse_words("--port d0 --check"), Ok(Invocation::Check(_))));
    }
}
