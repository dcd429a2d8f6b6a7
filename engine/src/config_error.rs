//! What may be wrong with a configuration, in words for the user.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with a configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// The file is not what is expected, with line and column.
    Malformed(PathBuf, Box<toml::de::Error>),
    /// A number is out of its range.
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// Least it may be.
        least: u64,
        /// Most it may be.
        most: u64,
    },
    /// Anything else, in words for the user.
    Wrong(String),
    /// The same, with the file and the line that it is about.
    At(String, Box<ConfigError>),
    /// No port is named.
    NoPorts,
    /// Two ports are the same device.
    DuplicatePort(String),
    /// More workers than cores to run them on.
    TooManyWorkers {
        /// Workers asked for.
        workers: u16,
        /// Cores there are.
        cores: usize,
    },
    /// A core that the machine does not have, or not for us.
    NoSuchCore(usize),
    /// The list of cores is not as long as there are workers, or names one twice.
    CoresMismatch,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "{}: {error}", file.display()),
            Self::Malformed(file, error) => write!(f, "{}: {error}", file.display()),
            Self::OutOfRange { name, value, least, most } => {
                write!(f, "{name} is {value}, but must be {least} to {most}")
            }
            Self::Wrong(text) => f.write_str(text),
            Self::At(place, error) => write!(f, "{place}: {error}"),
            Self::NoPorts => write!(
                f,
                "no ports: name at least one, with --port DEVICE or [[port]] in the config file"
            ),
            Self::DuplicatePort(device) => write!(f, "port {device} is named twice"),
            Self::TooManyWorkers { workers, cores } => write!(
                f,
                "{workers} workers need a core each, but there are only {cores}: lower --workers"
            ),
            Self::NoSuchCore(core) => {
                write!(f, "core {core} is not there, or not for this process: see 'taskset -p $$'")
            }
            Self::CoresMismatch => {
                write!(f, "the list of cores must name a different core for each worker")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
