//! port
pub(crate) fn run(_: impl Iterator<Item = String>) -> Result<(), String> { Ok(()) }
pub(crate) fn generate(_: impl Iterator<Item = String>) -> Result<(), String> { Ok(()) }
