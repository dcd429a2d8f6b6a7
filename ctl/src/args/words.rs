//! Words of a command line to switches and their values, with the habits of the popt library.

use super::table::{SWITCHES, Switch, Takes};

/// The next thing on a line.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A switch and its value.
    Switch { switch: &'static Switch, value: Option<&'a str> },
    /// A word that is no known switch.
    Unknown,
    /// A switch whose value is missing.
    NoValue,
    /// A `=value` at a switch that takes none.
    UnwantedValue,
}

/// Walks over a line. Words that are not switches collect on the side.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    words: &'a [String],
    next: usize,
    /// What is left of a cluster of short switches.
    cluster: Option<&'a str>,
    /// A `--` has been seen.
    only_words: bool,
    loose: Vec<&'a str>,
}

impl<'a> Scanner<'a> {
    /// Starts before the first of the words; the program's name is not among them.
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self { words, next: 0, cluster: None, only_words: false, loose: Vec::new() }
    }

    /// The word that was read last, which is the one that messages show.
    pub(crate) fn word(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|last| self.words.get(last)).map_or("", String::as_str)
    }

    /// The words that are not switches; complete once [`Self::next_item`] has given `None`.
    pub(crate) fn into_loose(self) -> Vec<&'a str> {
        self.loose
    }

    /// The next switch, or what is wrong with it, or `None` at the end of the line.
    pub(crate) fn next_item(&mut self) -> Option<Item<'a>> {
        if let Some(rest) = self.cluster.take() {
            return Some(self.short(rest));
        }
        loop {
            let word = self.words.get(self.next)?.as_str();
            self.next += 1;
            if self.only_words || word == "-" || !word.starts_with('-') {
                self.loose.push(word);
            } else if word == "--" {
                self.only_words = true;
            } else if let Some(long) = word.strip_prefix("--") {
                return Some(self.long(long));
            } else {
                return Some(self.short(&word[1..]));
            }
        }
    }

    fn long(&mut self, text: &'a str) -> Item<'a> {
        let (name, given) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let Some(switch) = SWITCHES.iter().find(|switch| switch.long == name) else {
            return Item::Unknown;
        };
        if given.is_some() && switch.takes == Takes::Nothing {
            return Item::UnwantedValue;
        }
        self.with_value(switch, given)
    }

    /// Takes the first switch of a cluster; the rest is its value or the next switches.
    fn short(&mut self, cluster: &'a str) -> Item<'a> {
        let mut letters = cluster.chars();
        let letter = letters.next();
        let Some(switch) = SWITCHES.iter().find(|s| s.short.is_some() && s.short == letter) else {
            return Item::Unknown;
        };
        let rest = letters.as_str();
        // An `=` between letter and value is dropped, even where no value is due.
        let given =
            if rest.is_empty() { None } else { Some(rest.strip_prefix('=').unwrap_or(rest)) };
        if switch.takes == Takes::Nothing {
            self.cluster = given;
            return Item::Switch { switch, value: None };
        }
        self.with_value(switch, given)
    }

    fn with_value(&mut self, switch: &'static Switch, given: Option<&'a str>) -> Item<'a> {
        let following = self.words.get(self.next).map(String::as_str);
        let value = match (switch.takes, given, following) {
            (Takes::Nothing, ..) => None,
            (_, Some(given), _) => Some(given),
            (Takes::MaybeValue, None, Some(word)) if word.starts_with('-') => None,
            (Takes::MaybeValue, None, None) => None,
            (Takes::Value, None, None) => return Item::NoValue,
            (_, None, Some(word)) => {
                self.next += 1;
                Some(word)
            }
        };
        Item::Switch { switch, value }
    }
}
