//! Frames that were not forwarded, by reason.

use std::collections::BTreeMap;
use std::fmt;

use dataplane::counters::Counters;
use dataplane::verdict::DropReason;

/// How often each reason was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// Those of shards together.
    pub(crate) fn of(shards: &[&Counters]) -> Self {
        let count = |reason| shards.iter().map(|counters| counters.dropped(reason)).sum::<u64>();
        DropReason::ALL.iter().map(|&reason| (reason.name().to_owned(), count(reason))).collect()
    }

    /// What has come since `before`.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (name, count) in &mut self.0 {
            *count = count.saturating_sub(before.0.get(name).copied().unwrap_or(0));
        }
        self
    }

    pub(crate) fn add(&mut self, more: &Self) {
        for (name, count) in &more.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(|&count| count == 0)
    }
}

impl FromIterator<(String, u64)> for Drops {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = self.0.iter().filter(|(_, count)| **count > 0);
        let words: Vec<_> = some.map(|(name, count)| format!("{name} {count}")).collect();
        f.write_str(&if words.is_empty() { "none".to_owned() } else { words.join(", ") })
    }
}

/// Fails unless every frame has been forwarded.
pub(crate) fn check_none(counters: &Counters) {
    let drops = Drops::of(&[counters]);
    assert!(drops.is_empty(), "frames were dropped: {drops}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_told_by_reason() {
        let list = |pairs: &[(&str, u64)]| -> Drops {
            pairs.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        let mut during = list(&[("a", 5), ("b", 7), ("c", 9)]).since(&list(&[("a", 5), ("b", 3)]));
        assert_eq!(during.to_string(), "b 4, c 9");
        during.add(&list(&[("c", 1), ("d", 2)]));
        assert_eq!(during.to_string(), "b 4, c 10, d 2");
        assert_eq!(Drops::default().to_string(), "none");
    }
}
