//! Configuration of what directors do together: connection sync beyond the kernel's settings.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::sync::{Key, SyncConfig};

/// A key of fewer bytes can be guessed.
const SHORTEST_KEY: usize = 16;

/// The `[sync]` section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyncSection {
    /// File with the key that all directors of the group share. Without one, messages are as the
    /// kernel's.
    pub key_file: Option<PathBuf>,
    /// Whether whole tables are served and asked for.
    pub whole_tables: bool,
    /// Milliseconds that a record may wait for others to fill its message.
    pub patience_ms: u16,
}

impl Default for SyncSection {
    fn default() -> Self {
        Self { key_file: None, whole_tables: true, patience_ms: 20 }
    }
}

impl SyncSection {
    /// Reads the key.
    ///
    /// # Errors
    /// In words for the user, when it cannot be read, is too short, or could not be used.
    pub fn load(&self) -> Result<SyncConfig, String> {
        if self.key_file.is_some() && !self.whole_tables {
            return Err("sync: key_file needs whole_tables = true: by that conversation a backup \
                        learns which messages of its master are new"
                .into());
        }
        let key = self.key_file.as_ref().map(|file| {
            let shown = file.display();
            let text = std::fs::read(file).map_err(|error| format!("sync key {shown}: {error}"))?;
            let secret = text.trim_ascii();
            if secret.len() < SHORTEST_KEY {
                return Err(format!(
                    "sync key {shown}: shorter than {SHORTEST_KEY} bytes; make one with: openssl \
                     rand -base64 32 > {shown}"
                ));
            }
            Ok(Key::new(secret))
        });
        Ok(SyncConfig {
            key: key.transpose()?,
            whole_tables: self.whole_tables,
            patience: Duration::from_millis(self.patience_ms.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_the_conversation_that_it_needs_is_refused() {
        let section: SyncSection =
            toml::from_str("key_file = \"/etc/pollvs/key\"\nwhole_tables = false").unwrap();
        assert!(section.load().unwrap_err().contains("whole_tables = true"));
    }
}
