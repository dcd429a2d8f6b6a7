//! The words after `mark`, as a line of iptables has them.

use dataplane::mark::MarkRule;
use dataplane::service::Protocol;

use super::words::{self, WrongMark};
use super::{MarkChange, Request};
use crate::names::Names;

/// The only table and the only chain.
const TABLE: &str = "mangle";
const CHAIN: &str = "PREROUTING";
/// The only target.
const TARGET: &str = "MARK";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Append,
    Insert,
    Delete,
    Flush,
    List,
}

/// What a line has said so far; values as written, with the words that they stood after.
#[derive(Debug, Default)]
struct Line<'a> {
    verb: Option<(&'a str, Verb)>,
    chain: Option<&'a str>,
    number: Option<&'a str>,
    /// The last word that only lists have.
    list_word: Option<&'a str>,
    line_numbers: bool,
    source: Option<Given<'a>>,
    destination: Option<Given<'a>>,
    protocol: Option<Given<'a>>,
    source_ports: Option<Given<'a>>,
    destination_ports: Option<Given<'a>>,
    mark: Option<Given<'a>>,
    target: Option<Given<'a>>,
    table: Option<Given<'a>>,
    /// `-m`: may be said of tcp and udp in one line, and then the protocol decides.
    matches: Vec<Given<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Given<'a> {
    word: &'a str,
    value: &'a str,
}

/// The request, or what is wrong.
pub(super) fn parse(words: &[String], names: &dyn Names) -> Result<Request, String> {
    let mut line = Line::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        // Long options may have their value in the same word.
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word, None),
        };
        let mut next = || {
            let value = value.or_else(|| words.next()).filter(|value| *value != "!");
            value.ok_or_else(|| format!("{name} lacks its value"))
        };
        match name {
            "-A" | "--append" => line.verb(word, Verb::Append)?,
            "-I" | "--insert" => line.verb(word, Verb::Insert)?,
            "-D" | "--delete" => line.verb(word, Verb::Delete)?,
            "-F" | "--flush" => line.verb(word, Verb::Flush)?,
            "-L" | "--list" => line.verb(word, Verb::List)?,
            "-s" | "--source" | "--src" => set(&mut line.source, name, next()?)?,
            "-d" | "--destination" | "--dst" => set(&mut line.destination, name, next()?)?,
            "-p" | "--protocol" | "--proto" => set(&mut line.protocol, name, next()?)?,
            "--sport" | "--source-port" => set(&mut line.source_ports, name, next()?)?,
            "--dport" | "--destination-port" => set(&mut line.destination_ports, name, next()?)?,
            "--set-mark" | "--set-xmark" => set(&mut line.mark, name, next()?)?,
            "-j" | "--jump" => set(&mut line.target, name, next()?)?,
            "-t" | "--table" => set(&mut line.table, name, next()?)?,
            "-m" | "--match" => line.matches.push(Given { word: name, value: next()? }),
            "--line-numbers" => (line.list_word, line.line_numbers) = (Some(word), true),
            // Lists are numeric without it.
            "-n" | "--numeric" => line.list_word = Some(word),
            "!" => return Err("!: what does not fit cannot be asked for".to_owned()),
            _ => line.loose(word)?,
        }
    }
    line.finish(names)
}

fn set<'a>(slot: &mut Option<Given<'a>>, word: &'a str, value: &'a str) -> Result<(), String> {
    match slot.replace(Given { word, value }) {
        None => Ok(()),
        Some(_) => Err(format!("{word} is given twice")),
    }
}

impl<'a> Line<'a> {
    fn verb(&mut self, word: &'a str, verb: Verb) -> Result<(), String> {
        match self.verb.replace((word, verb)) {
            None => Ok(()),
            Some((before, _)) => Err(format!("{word} does not go with {before}")),
        }
    }

    /// A word without a dash: the chain or the number, both after the command.
    fn loose(&mut self, word: &'a str) -> Result<(), String> {
        let verb = self.verb.map(|(_, verb)| verb);
        let takes_number = matches!(verb, Some(Verb::Insert | Verb::Delete));
        if verb.is_some() && word == CHAIN && self.chain.is_none() {
            self.chain = Some(word);
        } else if takes_number && self.number.is_none() && words::number(word).is_some() {
            self.number = Some(word);
        } else if word.starts_with('-') {
            return Err(format!(
                "{word} is not known here; a rule is made of -s, -d, -p, --sport, --dport and --set-mark"
            ));
        } else if verb.is_some() && self.chain.is_none() {
            return Err(format!("unexpected {word}: the only chain is {CHAIN}"));
        } else {
            return Err(format!("unexpected {word}"));
        }
        Ok(())
    }

    /// The first word that only a rule has.
    fn rule_word(&self) -> Option<&'a str> {
        let given = [self.source, self.destination, self.protocol, self.source_ports, self.mark];
        let more = [self.destination_ports, self.target, self.matches.first().copied()];
        given.into_iter().chain(more).flatten().next().map(|given| given.word)
    }

    fn finish(self, names: &dyn Names) -> Result<Request, String> {
        if let Some(Given { word, value }) = self.table.filter(|table| table.value != TABLE) {
            return Err(format!("{word} {value}: the only table is {TABLE}"));
        }
        let (word, verb) = match (self.verb, self.rule_word()) {
            (Some(verb), _) => verb,
            (None, None) => ("-L", Verb::List),
            (None, Some(word)) => {
                return Err(format!("{word} needs -A, -I or -D before it: what is to be done?"));
            }
        };
        let bare = match verb {
            Verb::Flush | Verb::List => true,
            // By number there is nothing else to say.
            Verb::Delete => self.number.is_some(),
            Verb::Append | Verb::Insert => false,
        };
        if let Some(other) = self.rule_word().filter(|_| bare) {
            let number = self.number.map(|number| format!(" {number}")).unwrap_or_default();
            return Err(format!("{other} does not go with {word}{number}"));
        }
        if let Some(other) = self.list_word.filter(|_| verb != Verb::List) {
            return Err(format!("{other} does not go with {word}"));
        }
        let number = self.number.map_or(1, |number| words::number(number).unwrap_or(0) as usize);
        Ok(Request::Change(match verb {
            Verb::List => return Ok(Request::List { numbers: self.line_numbers }),
            Verb::Flush => MarkChange::Flush,
            Verb::Append => MarkChange::Append(self.rule(names)?),
            Verb::Insert => MarkChange::Insert(number, self.rule(names)?),
            Verb::Delete if bare => MarkChange::DeleteNumber(number),
            Verb::Delete => MarkChange::Delete(self.rule(names)?),
        }))
    }

    fn rule(&self, names: &dyn Names) -> Result<MarkRule, String> {
        let wrong = |given: Given<'_>, expected: &str| {
            format!("{} {}: expected {expected}", given.word, given.value)
        };
        if let Some(target) = self.target.filter(|target| target.value != TARGET) {
            return Err(wrong(target, TARGET));
        }
        let network = |given: Option<Given<'_>>| {
            let expected = "an address like 10.0.0.1, or a network like 10.0.0.0/8";
            given
                .map(|it| words::network_of(it.value, names).ok_or_else(|| wrong(it, expected)))
                .transpose()
        };
        let (source, destination) = (network(self.source)?, network(self.destination)?);
        if let (Some(a), Some(b)) = (source, destination)
            && a.address().is_ipv4() != b.address().is_ipv4()
        {
            return Err("-s and -d are not of the same address family".to_owned());
        }
        let protocol = match self.protocol {
            None => None,
            Some(given) => words::protocol(given.value)
                .ok_or_else(|| wrong(given, "tcp, udp, sctp, icmp, all or a number up to 255"))?,
        };
        self.check_matches(protocol)?;
        let ports = |given: Option<Given<'_>>| {
            let Some(given) = given else { return Ok(None) };
            let Some(protocol) = protocol.and_then(Protocol::from_number) else {
                return Err(format!("{} needs -p tcp, -p udp or -p sctp", given.word));
            };
            let ports = words::ports(given.value, protocol, names);
            ports.map(Some).ok_or_else(|| wrong(given, "a port like 80, or ports like 80:443"))
        };
        let (source_ports, destination_ports) =
            (ports(self.source_ports)?, ports(self.destination_ports)?);
        let given = self.mark.ok_or("--set-mark is missing: what mark is to be given?")?;
        let mark = words::mark(given.value).map_err(|error| {
            wrong(
                given,
                match error {
                    WrongMark::Number => "a mark like 1 or 0x1, up to 0xffffffff",
                    WrongMark::Mask => "no mask but 0xffffffff: a mark is set as a whole",
                },
            )
        })?;
        Ok(MarkRule { protocol, source, destination, source_ports, destination_ports, mark })
    }

    /// `-m` asks for nothing when it names the protocol that `-p` has named; nothing else is supported.
    fn check_matches(&self, protocol: Option<u8>) -> Result<(), String> {
        for Given { word, value } in &self.matches {
            let named = matches!(*value, "tcp" | "udp" | "sctp");
            if !named {
                return Err(format!(
                    "{word} {value} is not known here; only tcp, udp and sctp are"
                ));
            }
            if words::protocol(value).flatten() != protocol {
                return Err(format!("{word} {value} needs -p {value}"));
            }
        }
        Ok(())
    }
}
