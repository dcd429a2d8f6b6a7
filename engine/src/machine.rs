//! What is wrong with a configuration on this very machine, found before anything is started.

use std::fs;

use ctl::names::{Names, SystemNames};

use crate::config::{Config, ConfigError};
use crate::origin::Key;
use crate::placement::Placement;
use crate::port::dpdk::Device;

/// Bytes of a connection, with its share of the table.
const CONNECTION_BYTES: u64 = 80;
/// Of an IPv6 one.
const CONNECTION_BYTES_IPV6: u64 = 144;
/// Of a persistence template.
const TEMPLATE_BYTES: u64 = 128;

/// A configuration's place on the machine.
pub struct Machine {
    /// Cores of the workers.
    pub placement: Placement,
    /// Devices of the ports.
    pub devices: Vec<Device>,
}

impl Machine {
    /// Checks devices, cores, memory and rules.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line when it is in the file.
    pub fn check(config: &Config) -> Result<Self, ConfigError> {
        let origin = &config.origin;
        let placement = Placement::new(config.workers, config.cores.as_deref(), config.idle)
            .map_err(|error| {
                let name = if config.cores.is_some() { "cores" } else { "workers" };
                origin.at(Key::top(name), error)
            })?;
        let device = |(n, port): (usize, &crate::config::PortConfig)| {
            Device::parse(&port.device).map_err(|error| {
                let key = Key { table: Some(("port", n)), name: "device", value: None };
                origin.at(key, ConfigError::Wrong(error.to_string()))
            })
        };
        let devices = config.ports.iter().enumerate().map(device).collect::<Result<_, _>>()?;
        check_table(config, available_bytes())?;
        check_rules(config)?;
        Ok(Self { placement, devices })
    }
}

/// An allocation that fails would end the daemon without a word for the user.
fn check_table(config: &Config, available: Option<u64>) -> Result<(), ConfigError> {
    let four = u64::from(config.connections_per_worker()) * CONNECTION_BYTES;
    let six = u64::from(config.connections_ipv6_per_worker()) * CONNECTION_BYTES_IPV6;
    let templates = u64::from(config.templates) * TEMPLATE_BYTES;
    let needed = (four + six) * u64::from(config.workers) + templates;
    match available {
        Some(available) if needed > available => {
            let text = format!(
                "{} connections, with IPv6's and templates, need {} MiB of memory, but {} MiB are \
                 available: lower --connections, or 'connections' in the config file",
                config.connections,
                needed >> 20,
                available >> 20
            );
            Err(config.origin.at(Key::top("connections"), ConfigError::Wrong(text)))
        }
        _ => Ok(()),
    }
}

/// `MemAvailable`; `None` on a system that does not say.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Rules are commands. Names in them are looked up here, as they will be later.
fn check_rules(config: &Config) -> Result<(), ConfigError> {
    let names = SystemNames::new();
    for rule in &config.rules {
        names.begin();
        if let Err(failure) = ctl::args::parse(&rule_words(rule), &names) {
            let error = ConfigError::Wrong(format!("rule {rule:?}: {}", failure.stderr.trim_end()));
            let key = Key { value: Some(rule), ..Key::top("rules") };
            return Err(config.origin.at(key, error));
        }
    }
    Ok(())
}

/// The argument vector of a configured command.
pub(crate) fn rule_words(rule: &str) -> Vec<String> {
    std::iter::once("pollvsd").chain(rule.split_whitespace()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::origin::Origin;

    fn check(text: &str) -> Result<(), String> {
        let mut config: Config = toml::from_str(text).unwrap();
        config.origin = Origin::of_file(PathBuf::from("x.toml"), text.to_owned());
        Machine::check(&config).map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_line_of_what_the_machine_lacks_is_named() {
        let sound = "[[port]]\ndevice = \"net_null0\"\n";
        assert_eq!(check(sound), Ok(()));
        for (text, line, what) in [
            (format!("workers = 128\n{sound}"), "line 1", "need a core each"),
            (format!("cores = [9999]\n{sound}"), "line 1", "core 9999"),
            ("\n[[port]]\ndevice = \"nosuch0\"\n".to_owned(), "line 3", "nosuch0"),
            (format!("rules = [\n\"-C\",\n\"-A -t x\",\n]\n{sound}"), "line 3", "-A -t x"),
        ] {
            let error = check(&text).unwrap_err();
            assert!(error.contains("x.toml") && error.contains(line), "{error}");
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_table_larger_than_memory_is_refused() {
        let config = Config { connections: 1 << 20, ..Config::default() };
        // 80 MiB for IPv4's, 36 for IPv6's, 8 for templates.
        let needed = 124 << 20;
        assert!(check_table(&config, Some(needed)).is_ok() && check_table(&config, None).is_ok());
        let error = check_table(&config, Some(needed - 1)).unwrap_err().to_string();
        assert!(error.contains("need 124 MiB") && error.contains("--connections"), "{error}");
    }
}
