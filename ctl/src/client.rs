//! The client side of the control socket. It never waits long: a dead daemon gives an error within seconds.

use std::ffi::OsStr;
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
use crate::help;
use crate::names::NumericNames;
use crate::protocol::{LONGEST_INPUT, read_reply, request_line};
use crate::session::{self, Reply};
use crate::trace;

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
    /// Takes a process's arguments apart. As `ipvsadm` it has exactly that tool's options, so no `--socket`.
    ///
    /// # Errors
    ///
    /// The reply to a `--socket` without a path.
    pub fn new(mut argv: Vec<String>, variable: Option<&OsStr>) -> Result<Self, Reply> {
        let mut socket = match variable {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => PathBuf::from(DEFAULT_SOCKET),
        };
        if !is_ipvsadm(&argv) && argv.get(1).is_some_and(|word| word == "--socket") {
            match argv.get(2) {
                Some(path) => socket = PathBuf::from(path),
                None => return Err(Reply::error("--socket: missing path of the control socket")),
            }
            argv.drain(1..3);
        }
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
        // These names look nothing up: the daemon does that.
        let command = args::parse(&self.argv, &NumericNames);
        let program = self.argv.first().map_or("pollvsadm", String::as_str);
        match command {
            Ok(Command::Help) => return output(help::text(program)),
            Ok(Command::Version) => return output(help::version_line()),
            _ => {}
        }
        let reads =
            matches!(command, Ok(Command::Restore)) || session::is_atomic_restore(&self.argv);
        let input = reads.then_some(input);
        match self.ask(&self.argv, input) {
            Ok(reply) => reply,
            Err(error) => self.no_answer(&error),
        }
    }

    /// Asks at the socket or, if that is not for this user, at the one beside it that only lists.
    pub(crate) fn ask(&self, argv: &[String], input: Option<&mut dyn Read>) -> io::Result<Reply> {
        let bytes = read_input(input)?;
        let answer = ask(&self.socket, argv, bytes.as_deref());
        match answer {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let listing = self.socket.with_file_name(READ_ONLY_NAME);
                ask(&listing, argv, bytes.as_deref()).map_err(|_| error)
            }
            answer => answer,
        }
    }

    /// The reply in place of one that the daemon did not give.
    pub(crate) fn no_answer(&self, error: &io::Error) -> Reply {
        let reason = match error.kind() {
            io::ErrorKind::PermissionDenied => "Permission denied (you must be root)".to_owned(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
            io::ErrorKind::UnexpectedEof => "the daemon closed the connection".to_owned(),
            _ => {
                let text = error.to_string();
                text.split(" (os error").next().unwrap_or(&text).to_owned()
            }
        };
        let mut message = format!("Can't initialize ipvs: {reason}");
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

fn is_ipvsadm(argv: &[String]) -> bool {
    argv.first().is_some_and(|program| session::is_ipvsadm(program))
}

fn output(text: String) -> Reply {
    Reply { status: 0, stdout: text.into_bytes(), stderr: Vec::new() }
}

/// What `-R` reads, whole: what writes it may be slow, and the daemon waits for nobody long.
fn read_input(input: Option<&mut dyn Read>) -> io::Result<Option<Vec<u8>>> {
    let Some(input) = input else { return Ok(None) };
    let mut bytes = Vec::new();
    // One byte more than the daemon takes, so that it can refuse it as too long.
    input.take(LONGEST_INPUT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Sends a request and reads its reply. `input` is sent after it: give it with `-R` only.
///
/// # Errors
///
/// What connecting, sending and receiving give, among them `TimedOut` or `WouldBlock` for a daemon that is silent for
/// 2 seconds (30 over a restore).
pub fn ask(socket: &Path, argv: &[String], input: Option<&[u8]>) -> io::Result<Reply> {
    let patience = if input.is_some() { RESTORE_PATIENCE } else { PATIENCE };
    let mut stream = connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let sent = send(&mut stream, argv, input.unwrap_or_default());
    // A daemon that refuses a request while it is being sent has said why.
    match (read_reply(&mut BufReader::new(&stream)), sent) {
        (Ok(reply), _) => Ok(reply),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
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
