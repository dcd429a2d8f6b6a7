//! The options of all benchmarks.

use anyhow::{Context, Result};
use dataplane::service::{Family, Method};

use crate::setup::{METHODS, method_name};

/// Connections that may be asked for, at least and at most.
pub(crate) const FEWEST: u32 = 32;
const MOST: u32 = 1 << 24;

/// What may be asked of a benchmark. Each has defaults of its own, and not all options.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) is_json: bool,
    /// As asked for; every benchmark has a list of its own.
    pub(crate) connections: Option<Vec<u32>>,
    /// In a sample.
    pub(crate) packets: u32,
    /// Samples of each figure.
    pub(crate) repeats: u32,
    /// Length of a sample.
    pub(crate) seconds: f64,
    pub(crate) families: Vec<Family>,
    pub(crate) methods: Vec<Method>,
    /// Shares of a rate, in percent.
    pub(crate) loads: Vec<u32>,
    /// Kinds of ports.
    pub(crate) ports: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_json: false,
            connections: None,
            packets: 1 << 20,
            repeats: 5,
            seconds: 0.5,
            families: vec![Family::V4, Family::V6],
            methods: METHODS.to_vec(),
            loads: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl Options {
    /// Reads options, of which only those in `known` and `--json` are accepted.
    pub(crate) fn parse(
        mut self,
        known: &[&str],
        words: impl Iterator<Item = String>,
    ) -> Result<Self> {
        use lexopt::prelude::*;
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Long("json") => {
                    self.is_json = true;
                    continue;
                }
                Long(name) if known.contains(&name) => name.to_owned(),
                other => return Err(other.unexpected().into()),
            };
            let value = parser.value()?.string()?;
            self.set(&name, &value).with_context(|| format!("--{name}: not {value:?}"))?;
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let number = |least, most| number(value, least, most);
        match name {
            "connections" => self.connections = Some(numbers(value, FEWEST, MOST)?),
            "loads" => self.loads = numbers(value, 1, 100)?,
            "ports" => self.ports = value.split(',').map(str::to_owned).collect(),
            "packets" => self.packets = number(1024, u32::MAX)?,
            "repeats" => self.repeats = number(1, 1000)?,
            "seconds" => {
                let seconds = value.parse().ok();
                self.seconds = seconds.filter(|seconds| (0.01..=3600.0).contains(seconds))?;
            }
            "family" => {
                self.families = match value {
                    "4" => vec![Family::V4],
                    "6" => vec![Family::V6],
                    _ => return None,
                }
            }
            "method" => {
                let named = |name| METHODS.into_iter().find(|&method| method_name(method) == name);
                self.methods = value.split(',').map(named).collect::<Option<_>>()?;
            }
            _ => unreachable!("{name} is known to somebody, but not here"),
        }
        Some(())
    }
}

fn number(word: &str, least: u32, most: u32) -> Option<u32> {
    word.parse().ok().filter(|number| (least..=most).contains(number))
}

fn numbers(list: &str, least: u32, most: u32) -> Option<Vec<u32>> {
    list.split(',').map(|word| number(word, least, most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options> {
        let known =
            ["connections", "packets", "repeats", "seconds", "family", "method", "loads", "ports"];
        Options::default().parse(&known, words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read() {
        let options = parse(
            "--json --connections 1024,65536 --repeats=3 --family 6 --method nat,dr \
                   --loads 1,100 --ports a,b",
        )
        .unwrap();
        let expected = Options {
            is_json: true,
            connections: Some(vec![1024, 65_536]),
            repeats: 3,
            families: vec![Family::V6],
            methods: vec![Method::Nat, Method::Direct],
            loads: vec![1, 100],
            ports: vec!["a".into(), "b".into()],
            ..Options::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "--connections 1024,x",
            "--connections 31",
            "--connections",
            "--packets 1",
            "--repeats 0",
            "--seconds 0",
            "--family 5",
            "--method gre",
            "--method dr,",
            "--loads 0,10",
            "--frob",
            "1024",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
        let words = ["--seconds", "1"].map(str::to_owned).into_iter();
        assert!(Options::default().parse(&["packets"], words).is_err());
    }
}
