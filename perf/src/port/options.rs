//! What the benchmarks over ports can be told.

use anyhow::{Result, bail, ensure};
use dataplane::service::Method;
use lexopt::prelude::*;

/// Options that all of them have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Length of a sample.
    pub(crate) seconds: u32,
    /// Samples of each figure.
    pub(crate) repeats: u32,
    pub(crate) is_json: bool,
}

impl Options {
    /// Reads the command line; `more` takes the value of an option that only one benchmark has,
    /// or says that it has none of that name.
    pub(crate) fn parse(
        mut self,
        words: impl Iterator<Item = String>,
        mut more: impl FnMut(&str, &str) -> Result<bool>,
    ) -> Result<Self> {
        let mut parser = lexopt::Parser::from_args(words);
        while let Some(argument) = parser.next()? {
            let Long(name) = argument else { return Err(argument.unexpected().into()) };
            let name = name.to_owned();
            if name == "json" {
                self.is_json = true;
                continue;
            }
            let value = parser.value()?.string()?;
            match name.as_str() {
                "seconds" => self.seconds = count(&value)?,
                "repeats" => self.repeats = count(&value)?,
                _ if more(&name, &value)? => {}
                _ => bail!("unknown option --{name}; see perf --help"),
            }
        }
        Ok(self)
    }
}

fn count(value: &str) -> Result<u32> {
    let number = value.parse().unwrap_or(0);
    ensure!((1..=3600).contains(&number), "{value}: seconds and repeats are 1 to 3600");
    Ok(number)
}

/// A forwarding method by its name in results.
pub(crate) fn method(name: &str) -> Result<Method> {
    match name {
        "dr" => Ok(Method::Direct),
        "ipip" => Ok(Method::Tunnel),
        "nat" => Ok(Method::Nat),
        _ => bail!("{name}: methods are dr, ipip and nat"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(Options, Vec<String>)> {
        let mut seen = Vec::new();
        let words = line.split_whitespace().map(str::to_owned);
        let options =
            Options { seconds: 3, repeats: 2, is_json: false }.parse(words, |name, value| {
                seen.push(format!("{name}={value}"));
                Ok(name == "method")
            })?;
        Ok((options, seen))
    }

    #[test]
    fn own_options_and_common_ones_are_told_apart() {
        let (options, seen) = parse("--method nat --seconds 5 --json").unwrap();
        assert_eq!((options.seconds, options.repeats, options.is_json), (5, 2, true));
        assert_eq!(seen, ["method=nat"]);
        for bad in ["--seconds 0", "--repeats many", "--speed 3", "--method", "stray"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
