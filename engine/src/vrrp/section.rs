//! The `[[vrrp]]` tables.

use std::path::Path;

use serde::{Deserialize, Deserializer};

/// Milliseconds between advertisements, unless something is said: a backup takes over within 280.
const INTERVAL_MS: u32 = 70;
/// The same in version 2, which knows whole seconds only.
const INTERVAL_V2_MS: u32 = 1000;

/// A virtual router as configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VrrpSection {
    /// What it is called in listings and by hooks.
    pub name: String,
    /// Identifier, the same at all directors that share the addresses.
    pub vrid: u8,
    /// Port of its advertisements, as `[[port]]` names it.
    pub port: String,
    /// VLAN of that port.
    pub vlan: Option<u16>,
    /// Version of the protocol, 2 or 3.
    #[serde(default = "version")]
    pub version: u8,
    /// Priority, 1 to 255.
    #[serde(default = "priority")]
    pub priority: u8,
    /// Milliseconds between advertisements.
    interval_ms: Option<u32>,
    /// Whether it takes over from a master of lower priority.
    #[serde(default = "yes")]
    pub preempt: bool,
    /// Seconds for which such a master is put up with.
    #[serde(default)]
    pub preempt_delay_s: u32,
    /// Seconds after its start in which it does nothing.
    #[serde(default)]
    pub initial_delay_s: u32,
    /// The virtual addresses: each an address, or `ADDRESS dev PORT[.VLAN]`.
    pub addresses: Vec<String>,
    /// Password of version 2.
    pub password: Option<String>,
    /// Routers of one group move together.
    pub group: Option<String>,
    /// Announcements at a takeover.
    #[serde(default = "garp_repeat")]
    pub garp_repeat: u32,
    /// Milliseconds between these.
    #[serde(default = "garp_interval_ms")]
    pub garp_interval_ms: u32,
    /// Seconds after a takeover at which there are as many again; 0: none.
    #[serde(default = "garp_delay_s")]
    pub garp_delay_s: u32,
    /// Seconds between further announcements of a master; 0: none.
    #[serde(default)]
    pub garp_refresh_s: u32,
    /// What it watches.
    #[serde(default)]
    pub track: Vec<Track>,
    /// Program called at each change, with keepalived's arguments.
    #[serde(default)]
    pub notify: Command,
    /// Program called when it becomes master.
    #[serde(default)]
    pub notify_master: Command,
    /// The same for backup.
    #[serde(default)]
    pub notify_backup: Command,
    /// The same for a fault.
    #[serde(default)]
    pub notify_fault: Command,
    /// Program called when it stops.
    #[serde(default)]
    pub notify_stop: Command,
}

/// Something that a virtual router watches.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Track {
    /// The link of a port.
    Port(TrackPort),
    /// The exit status of a program.
    Script(TrackScript),
}

/// A port whose link must be up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackPort {
    /// As `[[port]]` names it.
    pub port: String,
    /// What the priority gains while it is up (positive) or loses while it is down (negative);
    /// 0: a link that is down is a fault.
    #[serde(default)]
    pub weight: i16,
}

/// A program that must succeed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackScript {
    /// Path and arguments.
    pub script: Command,
    /// Seconds from one start to the next.
    #[serde(default = "script_interval_s")]
    pub interval_s: u32,
    /// Seconds after which it is ended and has failed.
    #[serde(default = "script_timeout_s")]
    pub timeout_s: u32,
    /// Successes in a row after which it is up.
    #[serde(default = "once")]
    pub rise: u32,
    /// Failures in a row after which it is down.
    #[serde(default = "once")]
    pub fall: u32,
    /// What the priority gains while it is up (positive) or loses while it is down (negative);
    /// 0: a script that is down is a fault.
    #[serde(default)]
    pub weight: i16,
}

/// A program with its arguments, separated by blanks; no shell sees it. Empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command(pub Vec<String>);

impl Command {
    /// The program, unless there is none.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.0.first().map(Path::new)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Ok(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

impl VrrpSection {
    /// Milliseconds between advertisements.
    #[must_use]
    pub fn interval_ms(&self) -> u32 {
        self.interval_ms.unwrap_or(if self.version == 2 { INTERVAL_V2_MS } else { INTERVAL_MS })
    }

    /// Every program that it names, with the key.
    pub(super) fn commands(&self) -> impl Iterator<Item = (&'static str, &Command)> {
        let hooks = [
            ("notify", &self.notify),
            ("notify_master", &self.notify_master),
            ("notify_backup", &self.notify_backup),
            ("notify_fault", &self.notify_fault),
            ("notify_stop", &self.notify_stop),
        ];
        let scripts = self.track.iter().filter_map(|track| match track {
            Track::Script(script) => Some(("track", &script.script)),
            Track::Port(_) => None,
        });
        hooks.into_iter().filter(|(_, command)| !command.0.is_empty()).chain(scripts)
    }
}

fn version() -> u8 {
    3
}

fn priority() -> u8 {
    100
}

fn yes() -> bool {
    true
}

fn garp_repeat() -> u32 {
    5
}

fn garp_interval_ms() -> u32 {
    100
}

fn garp_delay_s() -> u32 {
    5
}

fn script_interval_s() -> u32 {
    1
}

fn script_timeout_s() -> u32 {
    5
}

fn once() -> u32 {
    1
}
