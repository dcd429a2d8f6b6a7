//! Where the values of a configuration come from, so that a message can name the line.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::ConfigError;

/// A configuration's file, and what flags put in its place.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    file: Option<(PathBuf, String)>,
    flags: BTreeSet<String>,
}

/// A value of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    /// The list of tables that it is in, such as `port`, and the place there.
    pub(crate) table: Option<(&'static str, usize)>,
    /// Its name.
    pub(crate) name: &'a str,
    /// What the line of one value has, when the key has several.
    pub(crate) value: Option<&'a str>,
}

impl Key<'_> {
    /// A value outside all tables.
    pub(crate) fn top(name: &str) -> Key<'_> {
        Key { table: None, name, value: None }
    }
}

impl Origin {
    /// Everything comes from a file.
    #[must_use]
    pub fn of_file(file: PathBuf, text: String) -> Self {
        Self { file: Some((file, text)), flags: BTreeSet::new() }
    }

    /// A value outside all tables comes from a flag.
    pub fn by_flag(&mut self, name: &str) {
        self.flags.insert(name.to_owned());
    }

    /// Puts file and line in front of an error, when the value is from the file.
    pub(crate) fn at(&self, key: Key<'_>, error: ConfigError) -> ConfigError {
        match self.place(key) {
            Some(place) => ConfigError::At(place, Box::new(error)),
            None => error,
        }
    }

    fn place(&self, key: Key<'_>) -> Option<String> {
        let (file, text) = self.file.as_ref()?;
        if key.table.is_none() && self.flags.contains(key.name) {
            return None;
        }
        Some(format!("{} line {}", file.display(), line_of(text, key)?))
    }
}

/// The number of a key's line, from 1. Lists of tables written inline are not looked into.
fn line_of(text: &str, key: Key<'_>) -> Option<usize> {
    let (mut inside, mut tables) = (key.table.is_none(), 0);
    let mut found = None;
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if let Some((name, _)) = line.strip_prefix("[[").and_then(|rest| rest.split_once("]]")) {
            if found.is_some() {
                break;
            }
            let is_it = key.table.is_some_and(|(table, _)| table == name.trim());
            tables += usize::from(is_it);
            inside = is_it && key.table.is_some_and(|(_, place)| tables == place + 1);
        }
        let value = line.strip_prefix(key.name).map(str::trim_start);
        if inside && value.is_some_and(|rest| rest.starts_with('=')) {
            found = Some(number);
        }
        if found.is_some() && key.value.is_none_or(|value| line.contains(value)) {
            return Some(number);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_their_tables() {
        let text = "workers = 1\nrules = [\n  \"a\",\n  \"b\",\n]\n[[port]]\nmtu = 1\n\
                    [[port.vlan]]\nid = 1\n[[port]]\n  mtu=2\n[[route]]\nto = 1\n";
        let line = |table, name, value| line_of(text, Key { table, name, value });
        assert_eq!(line(None, "workers", None), Some(1));
        assert_eq!(line(None, "rules", Some("\"b\"")), Some(4));
        assert_eq!(line(Some(("port", 0)), "mtu", None), Some(7));
        assert_eq!(line(Some(("port.vlan", 0)), "id", None), Some(9));
        assert_eq!(line(Some(("port", 1)), "mtu", None), Some(11));
        assert_eq!(line(Some(("port", 2)), "mtu", None), None);
        assert_eq!(line(None, "to", None), None);
    }
}
