//! Options of commands that ipvsadm lacks: what they have in common.

use crate::session::{REFUSED, Reply};

/// Longest `--wait`, 31 days in seconds, as for other times.
pub(crate) const LONGEST_S: u32 = 31 * 24 * 3600;

/// A word's name, and its value if that is in the same word.
pub(crate) fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    }
}

/// A whole number that is written in digits alone, and not more than `most`.
pub(crate) fn whole(text: &str, most: u32) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| is_number && number <= most)
}

/// The refusal of an option that has no value.
pub(crate) fn missing(name: &str) -> Reply {
    Reply::failure(REFUSED, &format!("{name}: missing argument"))
}

/// The refusal of an option, named without its dashes, that is there twice.
pub(crate) fn multiple(name: &str) -> Reply {
    Reply::error(&format!("multiple '{name}' options specified"))
}
