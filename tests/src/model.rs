//! A table of a few services as text, changed by the same lines as the daemon's: what `-Sn` has to
//! say after each of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Services by name (`-t 10.9.1.0:80`), each with its scheduler, and the options of its servers by
/// their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model(BTreeMap<String, (String, BTreeMap<String, String>)>);

impl Model {
    /// Makes a change that the daemon would not refuse; the words in the order of [`Story`].
    fn change(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let name = words[1..3].join(" ");
        match words[0] {
            "-A" => drop(self.0.insert(name, (words[3..].join(" "), BTreeMap::new()))),
            "-E" => {
                let service = self.0.get_mut(&name).expect("a service");
                service.0 = words[3..].join(" ");
            }
            "-D" => drop(self.0.remove(&name)),
            "-a" | "-e" => {
                let (_, servers) = self.0.get_mut(&name).expect("a service");
                servers.insert(words[4].to_owned(), words[5..].join(" "));
            }
            "-d" => {
                let (_, servers) = self.0.get_mut(&name).expect("a service");
                servers.remove(words[4]);
            }
            other => panic!("{other}"),
        }
    }

    /// The lines of `-Sn`, sorted.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, (scheduler, servers)) in &self.0 {
            lines.push(format!("-A {name} {scheduler}"));
            lines.extend(
                servers.iter().map(|(server, rest)| format!("-a {name} -r {server} {rest}")),
            );
        }
        lines.sort();
        lines
    }
}

/// Changes of one client to services that are its own, none of which is refused.
#[derive(Debug)]
pub struct Story {
    prefix: String,
    /// In the words of `-Sn`.
    pub lines: Vec<String>,
}

impl Story {
    /// So many changes to at most four services with at most 16 servers each; `client` tells its
    /// services from those of others.
    #[must_use]
    pub fn new(seed: u64, client: u8, changes: usize) -> Self {
        let mut random = Random::new(seed ^ u64::from(client) << 32);
        let prefix = format!("-t 10.9.{client}.");
        let (mut model, mut lines) = (Model::default(), Vec::new());
        while lines.len() < changes {
            let name = format!("{prefix}{}:80", random.below(4));
            let server = format!("10.1.{client}.{}:80", random.below(16));
            let scheduler = ["rr", "wlc", "mh", "sh"][random.below(4)];
            let weight = random.below(100);
            let rest = match random.below(3) {
                0 => format!("-m -w {weight}"),
                1 => format!("-g -w {weight}"),
                _ => format!("-i -w {weight} --tun-type ipip"),
            };
            let line = match model.0.get(&name) {
                None => format!("-A {name} -s {scheduler}"),
                Some(_) if random.below(50) == 0 => format!("-D {name}"),
                Some(_) if random.below(20) == 0 => format!("-E {name} -s {scheduler}"),
                Some((_, servers)) => match (servers.contains_key(&server), random.below(2)) {
                    (false, _) => format!("-a {name} -r {server} {rest}"),
                    (true, 0) => format!("-e {name} -r {server} {rest}"),
                    (true, _) => format!("-d {name} -r {server}"),
                },
            };
            model.change(&line);
            lines.push(line);
        }
        Self { prefix, lines }
    }

    /// How many of the changes a saved table has, if it is the table after so many as allowed.
    #[must_use]
    pub fn progress(&self, saved: &str, allowed: RangeInclusive<usize>) -> Option<usize> {
        let mut ours: Vec<_> =
            saved.lines().filter(|line| line[3..].starts_with(&self.prefix)).collect();
        ours.sort_unstable();
        let mut model = Model::default();
        for done in 0..=*allowed.end() {
            if allowed.contains(&done) && model.lines() == ours {
                return Some(done);
            }
            if let Some(line) = self.lines.get(done) {
                model.change(line);
            }
        }
        None
    }
}

/// Numbers that only look random: the same seed, the same story.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_followed_change_by_change() {
        let story = Story::new(7, 3, 500);
        assert_eq!(story.lines, Story::new(7, 3, 500).lines);
        let mut model = Model::default();
        for line in &story.lines[..400] {
            model.change(line);
        }
        let saved = model.lines().join("\n") + "\n-A -t 10.9.30.1:80 -s rr\n";
        assert_eq!(story.progress(&saved, 400..=401), Some(400));
        assert_eq!(story.progress(&saved, 401..=500), None);
        assert!(story.progress(&saved, 0..=399).is_none_or(|at| at < 400));
        for word in ["-A", "-E", "-D", "-a", "-e", "-d"] {
            assert!(story.lines.iter().any(|line| line.starts_with(word)), "no {word}");
        }
    }
}
