//! The tables of the configuration that tune packets' ways: `[sysctl]`, `[timeouts]`, `[[mark]]`.

use std::fmt;

use dataplane::address::Prefix;
use dataplane::connection::state::LONGEST_S;
use dataplane::mark::MarkRule;
use dataplane::packet::protocol;
use dataplane::service::Protocol;
use dataplane::settings::{PREFIX, SettingError, Settings};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::prefix;

/// Timeouts of connections in seconds, as `--set` has them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutConfig {
    /// Established TCP.
    #[serde(deserialize_with = "timeout")]
    pub tcp: Option<u32>,
    /// TCP after a FIN.
    #[serde(deserialize_with = "timeout")]
    pub tcpfin: Option<u32>,
    /// UDP.
    #[serde(deserialize_with = "timeout")]
    pub udp: Option<u32>,
}

impl TimeoutConfig {
    /// Puts those that are given into `settings`.
    pub(crate) fn put(&self, settings: &mut Settings) {
        let Self { tcp, tcpfin, udp } = *self;
        let [tcp, tcpfin, udp] = [tcp, tcpfin, udp].map(Option::unwrap_or_default);
        settings.timeouts.set(tcp, tcpfin, udp).expect("in range, or it had not been read");
    }
}

/// A rule that gives packets a firewall mark.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkConfig {
    /// Transport protocol number.
    #[serde(default, deserialize_with = "protocol_number")]
    pub protocol: Option<u8>,
    /// Network of the source.
    #[serde(default, deserialize_with = "network")]
    pub source: Option<Prefix>,
    /// Network of the destination.
    #[serde(default, deserialize_with = "network")]
    pub destination: Option<Prefix>,
    /// Source ports, first and last.
    #[serde(default, deserialize_with = "ports")]
    pub source_ports: Option<(u16, u16)>,
    /// Destination ports, first and last.
    #[serde(default, deserialize_with = "ports")]
    pub destination_ports: Option<(u16, u16)>,
    /// The mark.
    pub mark: u32,
}

impl MarkConfig {
    /// The rule for the dataplane.
    #[must_use]
    pub fn rule(&self) -> MarkRule {
        let Self { protocol, source, destination, source_ports, destination_ports, mark } = *self;
        // As iptables has it, 0 is every protocol.
        let protocol = protocol.filter(|&number| number != 0);
        MarkRule { protocol, source, destination, source_ports, destination_ports, mark }
    }

    /// What keeps it from ever fitting a packet: the key to blame, and words for the user.
    pub(crate) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let has_ports = matches!(self.protocol, Some(protocol::TCP | protocol::UDP | SCTP));
        let families =
            [self.source, self.destination].map(|it| it.map(|it| it.address().is_ipv4()));
        if self.destination_ports.is_some() && !has_ports {
            Some(("destination_ports", NEED_PROTOCOL))
        } else if self.source_ports.is_some() && !has_ports {
            Some(("source_ports", NEED_PROTOCOL))
        } else if matches!(families, [Some(a), Some(b)] if a != b) {
            Some(("destination", "is not of the same address family as source"))
        } else {
            None
        }
    }
}

const SCTP: u8 = Protocol::Sctp as u8;
const NEED_PROTOCOL: &str = "needs protocol = \"tcp\", \"udp\" or \"sctp\"";

/// `[sysctl]`: names with or without their beginning, quoted or as nested tables; integers or text.
pub(crate) fn sysctl<'de, D: Deserializer<'de>>(from: D) -> Result<Settings, D::Error> {
    let mut settings = Settings::default();
    Entry { settings: &mut settings, name: String::new() }.deserialize(from)?;
    Ok(settings)
}

/// A value of `[sysctl]`, or a table in it. The setting is changed while its value is read, so
/// that an error is placed there.
struct Entry<'a> {
    settings: &'a mut Settings,
    name: String,
}

impl Entry<'_> {
    fn set<E: Error>(self, value: &str) -> Result<(), E> {
        let Self { settings, name } = self;
        settings.set(&name, value).map_err(|error| {
            E::custom(match error {
                SettingError::Unknown if name.is_empty() => {
                    "expected a table of settings".to_owned()
                }
                SettingError::Unknown => format!(
                    "no setting is called {name:?}; 'pollvsadm --sysctl' lists all, and only those \
                     of {PREFIX}* may lack their beginning"
                ),
                SettingError::Invalid(_) => format!("{name}: {error}, not {value:?}"),
            })
        })
    }
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or text")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.set(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.set(&value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.set(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let name = if self.name.is_empty() { key } else { format!("{}.{key}", self.name) };
            map.next_value_seed(Entry { settings: &mut *self.settings, name })?;
        }
        Ok(())
    }
}

/// An integer or text, for values that have both forms.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let seconds = i64::deserialize(from)?;
    match u32::try_from(seconds) {
        Ok(seconds) if (1..=LONGEST_S).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(D::Error::custom(format!("expected seconds, 1 to {LONGEST_S}, not {seconds}"))),
    }
}

fn network<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Prefix>, D::Error> {
    prefix(from).map(Some)
}

fn protocol_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let number = match NumberOrText::deserialize(from) {
        Ok(NumberOrText::Number(number)) => u8::try_from(number).ok(),
        Ok(NumberOrText::Text(name)) => match name.as_str() {
            "tcp" => Some(protocol::TCP),
            "udp" => Some(protocol::UDP),
            "sctp" => Some(SCTP),
            "icmp" => Some(1),
            _ => None,
        },
        Err(_) => None,
    };
    let wrong =
        || D::Error::custom("expected \"tcp\", \"udp\", \"sctp\", \"icmp\" or a protocol number");
    number.map(Some).ok_or_else(wrong)
}

fn ports<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(u16, u16)>, D::Error> {
    let range = match NumberOrText::deserialize(from) {
        Ok(NumberOrText::Number(port)) => u16::try_from(port).ok().map(|port| (port, port)),
        Ok(NumberOrText::Text(text)) => {
            let (first, last) = text.split_once(':').unwrap_or((&text, &text));
            first.parse().ok().zip(last.parse().ok())
        }
        Err(_) => None,
    };
    let wrong = || D::Error::custom("expected a port or a range of ports like \"80:443\"");
    range.filter(|(first, last)| first <= last).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
#[path = "tuning_tests.rs"]
mod tests;
