//! A client that stays: one connection to the control socket, one command after another.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Longer than any command takes, even with a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reply to a command.
#[derive(Debug)]
pub struct Answer {
    /// Exit status.
    pub status: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// One connection to the control socket.
#[derive(Debug)]
pub struct Session(BufReader<UnixStream>);

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a command; its reply is to be read later.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, line: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(format!("{line}\n").as_bytes())?)
    }

    /// Reads the next reply.
    ///
    /// # Errors
    /// When the connection is gone, or what comes is no reply.
    pub fn answer(&mut self) -> Result<Answer> {
        let mut head = String::new();
        self.0.read_line(&mut head)?;
        let numbers: Vec<u64> = head.split_whitespace().flat_map(str::parse).collect();
        let [status, out, err] = numbers[..] else {
            anyhow::bail!("no reply, but {head:?}");
        };
        let mut text = |length: u64| -> Result<String> {
            let mut text = String::new();
            self.0.by_ref().take(length).read_to_string(&mut text)?;
            ensure!(text.len() as u64 == length, "the reply ends early");
            Ok(text)
        };
        Ok(Answer { status: status.try_into()?, out: text(out)?, err: text(err)? })
    }

    /// Has a command done.
    ///
    /// # Errors
    /// When the connection is gone; a refusal is in the answer.
    pub fn ask(&mut self, line: &str) -> Result<Answer> {
        self.send(line)?;
        self.answer()
    }

    /// Has a command done that succeeds in silence. False when the connection is gone.
    ///
    /// # Errors
    /// When the answer is anything else.
    pub fn change(&mut self, line: &str) -> Result<bool> {
        let Ok(answer) = self.ask(line) else { return Ok(false) };
        let is_silent = answer.status == 0 && answer.out.is_empty() && answer.err.is_empty();
        ensure!(is_silent, "`{line}`: {answer:?}");
        Ok(true)
    }

    /// Restores lines, which is the last thing that a connection can be used for.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn restore(mut self, lines: &str) -> Result<Answer> {
        self.send("-R")?;
        let stream = self.0.get_mut();
        stream.write_all(lines.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        self.answer().context("-R")
    }
}
