//! The client side of the control socket. It never waits long: a dead daemon gives an error within seconds.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::args;
use crate::command::Command;
use crate::drain;
use crate::handover;
use crate::help;
use crate::json;
use crate::names::NumericNames;
use crate::protocol::{LONGEST_INPUT, read_reply, request_line};
use crate::session::{self, Reply};
use crate::trace;
use crate::words::multiple;

/// The daemon's control socket unless something else is said.
pub const DEFAULT_SOCKET: &str = "/run/pollvs/pollvsd.sock";
/// Environment variable that names the control socket.
pub const SOCKET_VARIABLE: &str = "POLLVS_SOCKET";

/// Name, beside the control socket, of the socket that only lists.
pub const READ_ONLY_NAME: &str = "read-only.sock";

/// How long the daemon may be silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may be silent over a restore.
const RESTORE_PATIENCE: Duration = Duration::from_secs(30);

/// What a process was called with: where the daemon is, and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The control socket.
    pub socket: PathBuf,
    /// The argument vector without `--socket PATH`.
    pub argv: Vec<String>,
}

impl Invocation {
    /// Takes a process's arguments apart; `--socket PATH` may stand among the words that come before a command. As
    /// `ipvsadm` it has exactly that tool's options, so no `--socket`.
    ///
    /// # Errors
    ///
    /// The reply to a `--socket` without a path, or to a second one.
    pub fn new(mut argv: Vec<String>, variable: Option<&OsStr>) -> Result<Self, Reply> {
        let mut named = None;
        let mut at = 1;
        while !is_ipvsadm(&argv) {
            match argv.get(at).map(String::as_str) {
                Some(json::WORD | session::ATOMIC) => at += 1,
                Some("--socket") if named.is_some() => return Err(multiple("socket")),
                Some("--socket") => {
                    let missing = || Reply::error("--socket: missing path of the control socket");
                    named = Some(PathBuf::from(argv.get(at + 1).ok_or_else(missing)?));
                    argv.drain(at..at + 2);
                }
                _ => break,
            }
        }
        let given = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
        let socket = named.or(given).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
        Ok(Self { socket, argv })
    }

    /// Has the daemon do what the words ask; `input` is what `-R` reads.
    pub fn run(&self, input: &mut dyn Read) -> Reply {
        if let Some(reply) = trace::follow(self) {
            return reply;
        }
        match drain::Order::new(&self.argv) {
            Some(Ok(order)) => return drain::wait(&order, self),
            Some(Err(reply)) => return reply,
            None => {}
        }
        match handover::Order::new(&self.argv) {
            Some(Ok(order)) => return handover::wait(&order, self),
            Some(Err(reply)) => return reply,
            None => {}
        }
        // These names look nothing up: the daemon does that.
        let command = args::parse(&self.argv, &NumericNames);
        let program = self.argv.first().map_or("pollvsadm", String::as_str);
        match command {
            Ok(Command::Help) => return Reply::output(help::text(program)),
            Ok(Command::Version) => return Reply::output(help::version_line()),
            _ => {}
        }
        let reads =
            matches!(command, Ok(Command::Restore)) || session::is_atomic_restore(&self.argv);
        let input = reads.then_some(input);
        self.ask(&self.argv, input).unwrap_or_else(|failure| self.no_answer(&failure))
    }

    /// Asks at the socket or, if that is not for this user, at the one beside it that only lists.
    pub(crate) fn ask(
        &self,
        argv: &[String],
        input: Option<&mut dyn Read>,
    ) -> Result<Reply, Failure> {
        let connect = || self.connect().map_err(Failure::NotConnected);
        let Some(input) = input else { return exchange(connect()?, argv, None) };
        // What writes the input may be slow, and the daemon waits for nobody long: so it is read before the request
        // begins, and the connection before that only shows that there is a daemon.
        drop(connect()?);
        let bytes = read_input(input).map_err(Failure::NoInput)?;
        exchange(connect()?, argv, Some(&bytes))
    }

    fn connect(&self) -> io::Result<UnixStream> {
        match connect(&self.socket) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                connect(&self.socket.with_file_name(READ_ONLY_NAME)).map_err(|_| error)
            }
            result => result,
        }
    }

    /// The reply in place of one that the daemon did not give.
    pub(crate) fn no_answer(&self, failure: &Failure) -> Reply {
        let error = match failure {
            Failure::NotConnected(error) => error,
            Failure::NoInput(_) => return Reply::error(&failure.to_string()),
            Failure::NotAnswered(error, _) => {
                let mut message = format!("{failure}; the command may have been carried out");
                if !is_time_out(error) {
                    // Perhaps it is another program's.
                    message += &format!("\nAsked at the socket {}.", self.socket.display());
                }
                return Reply::error(&message);
            }
        };
        let mut message = format!("Can't initialize ipvs: {failure}");
        let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
        let is_ipvsadm = is_ipvsadm(&self.argv);
        if is_ipvsadm {
            message += "\nAre you sure that IP Virtual Server is built in the kernel or as module?";
        }
        let socket = self.socket.display();
        if is_refused && !is_ipvsadm {
            message += &format!("\nThe socket {socket} is for root and its group.");
        } else if !is_refused {
            let choice = if is_ipvsadm { "" } else { "--socket PATH or " };
            message += &format!(
                "\nIs pollvsd running? Tried its socket {socket}; start pollvsd (systemctl start \
                 pollvsd), or name another socket with {choice}{SOCKET_VARIABLE}."
            );
        }
        Reply::error(&message)
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Failure {
    /// There is nobody, or not for this user: nothing was asked.
    NotConnected(io::Error),
    /// The input of `-R` could not be read: nothing was asked.
    NoInput(io::Error),
    /// The daemon was silent for so long, or has hung up, or said something else. What it did is not known.
    NotAnswered(io::Error, Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use io::ErrorKind::{
            BrokenPipe, ConnectionReset, InvalidData, PermissionDenied, UnexpectedEof,
        };
        let (Self::NotConnected(error) | Self::NoInput(error) | Self::NotAnswered(error, _)) = self;
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        match (self, error.kind()) {
            (Self::NotConnected(_), PermissionDenied) => {
                f.write_str("Permission denied (you must be root)")
            }
            (Self::NotConnected(error), _) if is_time_out(error) => {
                f.write_str("no answer in time")
            }
            (Self::NotConnected(_), _) => f.write_str(text),
            (Self::NoInput(_), _) => write!(f, "standard input: {text}"),
            (Self::NotAnswered(error, patience), _) if is_time_out(error) => {
                write!(f, "pollvsd has not answered within {} s", patience.as_secs())
            }
            (Self::NotAnswered(..), UnexpectedEof | BrokenPipe | ConnectionReset) => {
                f.write_str("pollvsd has closed the connection without an answer")
            }
            (Self::NotAnswered(..), InvalidData) => {
                f.write_str("pollvsd's answer is not understood")
            }
            (Self::NotAnswered(..), _) => write!(f, "no answer of pollvsd: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn is_ipvsadm(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| session::is_ipvsadm(program))
}

/// What `-R` reads, whole.
fn read_input(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than the daemon takes, so that it can refuse it as too long.
    input.take(LONGEST_INPUT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sends a request and reads its reply. `input` is sent after it: give it with `-R` only.
///
/// # Errors
///
/// When there is no daemon, or no reply from it; it may be silent for 2 seconds (30 over a restore).
pub fn ask(socket: &Path, argv: &[String], input: Option<&[u8]>) -> Result<Reply, Failure> {
    exchange(connect(socket).map_err(Failure::NotConnected)?, argv, input)
}

fn exchange(
    mut stream: UnixStream,
    argv: &[String],
    input: Option<&[u8]>,
) -> Result<Reply, Failure> {
    let patience = if input.is_some() { RESTORE_PATIENCE } else { PATIENCE };
    let limited = stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)));
    limited.map_err(Failure::NotConnected)?;
    let sent = send(&mut stream, argv, input.unwrap_or_default());
    // A daemon that refuses a request while it is being sent has said why.
    match (read_reply(&mut BufReader::new(&stream)), sent) {
        (Ok(reply), _) => Ok(reply),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(Failure::NotAnswered(error, patience)),
    }
}

fn send(stream: &mut UnixStream, argv: &[String], input: &[u8]) -> io::Result<()> {
    stream.write_all(&request_line(argv))?;
    stream.write_all(input)?;
    stream.shutdown(Shutdown::Write)
}

/// Connects. That waits while the daemon's queue of new connections is full, and a Unix socket has no timeout for it:
/// so a thread does it.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (result, results) = mpsc::sync_channel(1);
    let path = socket.to_owned();
    thread::Builder::new().name("connect".to_owned()).spawn(move || {
        // If nobody waits any more, the result is of no use.
        let _ = result.send(UnixStream::connect(path));
    })?;
    results.recv_timeout(PATIENCE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
