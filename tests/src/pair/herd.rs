//! Crowds in programs of their own: a process may have only so many files open.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::process::shown;
use crate::requirements::own_binary;

/// Connections of one program.
pub const MOST: usize = 12_500;

/// A program `crowd`, which ends when this is dropped.
#[derive(Debug)]
pub struct Part {
    child: Child,
    lines: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Part {
    /// Starts it in a namespace, without `ip netns exec`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(namespace: &Namespace, words: &str, log: &Path) -> Result<Self> {
        // Behind the directors and the kernel's own threads, for want of machines.
        let mut command = Command::new("nice");
        command.args(["-n", "10"]).arg(own_binary("crowd")?).args(words.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let child = namespace.enter(|| command.spawn())?;
        let mut child = child.with_context(|| shown(&command))?;
        let lines = Some(child.stdin.take().context("no pipe")?);
        let answers = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, lines, answers })
    }

    /// Tells it something.
    ///
    /// # Errors
    /// When it has ended.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let pipe = self.lines.as_mut().context("no pipe")?;
        Ok(pipe.write_all(format!("{line}\n").as_bytes())?)
    }

    /// What it answers, after `word`.
    ///
    /// # Errors
    /// When it has ended, or answers something else.
    pub fn hear(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let rest = line.trim().strip_prefix(word);
        Ok(rest.with_context(|| format!("a crowd says {line:?}, not {word}"))?.trim().to_owned())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.lines = None;
        drop(self.child.wait());
    }
}

/// Several of them with connections.
#[derive(Debug)]
pub struct Herd {
    parts: Vec<Part>,
    number: usize,
}

impl Herd {
    /// Begins to open so many connections to the targets, each part from a source of its own.
    ///
    /// # Errors
    /// When the programs cannot be started.
    pub fn begin(
        client: &Namespace,
        sources: &[Ipv4Addr],
        targets: &[SocketAddrV4],
        number: usize,
        logs: &Path,
    ) -> Result<Self> {
        let count = number.div_ceil(MOST);
        ensure!(count <= sources.len(), "{number} connections need {count} sources");
        let targets: String = targets.iter().map(|target| format!(" {target}")).collect();
        // About 20 exchanges in a millisecond.
        let pace = (20 / count.max(1)).max(1);
        let mut herd = Self { parts: Vec::new(), number };
        for (part, source) in sources.iter().enumerate().take(count) {
            let size = number / count + usize::from(part < number % count);
            let words = format!("hold {size} {pace} {source}{targets}");
            let log = logs.join(format!("crowd-{part}.err"));
            herd.parts.push(Part::start(client, &words, &log)?);
        }
        Ok(herd)
    }

    /// Waits until all connections are there.
    ///
    /// # Errors
    /// When some do not come.
    pub fn opened(&mut self) -> Result<()> {
        let mut number = 0;
        for part in &mut self.parts {
            number += part.hear("opened")?.parse::<usize>()?;
        }
        self.number = number;
        Ok(())
    }

    /// Opens no more.
    ///
    /// # Errors
    /// When a program has ended.
    pub fn stop_opening(&mut self) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.say("stop"))?;
        self.opened()
    }

    /// Connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.number
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Has every connection exchange a byte, and returns why some are broken.
    ///
    /// # Errors
    /// When a program has ended.
    pub fn exchange(&mut self) -> Result<Vec<String>> {
        self.each("exchange")
    }

    /// The same of those that [`Herd::split`] has taken away.
    ///
    /// # Errors
    /// When a program has ended.
    pub fn exchange_young(&mut self) -> Result<Vec<String>> {
        self.each("young")
    }

    fn each(&mut self, word: &str) -> Result<Vec<String>> {
        self.parts.iter_mut().try_for_each(|part| part.say(word))?;
        let mut broken = Vec::new();
        for part in &mut self.parts {
            for _ in 0..part.hear("broken")?.parse::<usize>()? {
                broken.push(part.hear("")?);
            }
        }
        Ok(broken)
    }

    /// Takes those away that were not established before `moment`, and says how many they are.
    ///
    /// # Errors
    /// When a program has ended.
    pub fn split(&mut self, moment: Instant) -> Result<usize> {
        let mut young = 0;
        for part in &mut self.parts {
            // A little more, for the way there.
            let age = moment.elapsed() + Duration::from_millis(1);
            part.say(&format!("split {}", age.as_micros()))?;
            young += part.hear("young")?.parse::<usize>()?;
        }
        self.number -= young;
        Ok(young)
    }
}
