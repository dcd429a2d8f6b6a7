//! The control protocol: requests and replies on a stream, usually a Unix socket.
//!
//! A request is one line, ended by `\n`, of at most 64 KiB:
//!
//! - plain words, divided by blanks: `-A -t 10.0.0.1:80 -s rr`. The program's name is `ipvsadm` then, and may be
//!   written before the words. So `socat` is a client.
//! - or `@` and a JSON array of strings, the whole argument vector from the program's name on. This form can hold any
//!   words; `pollvsadm` sends it.
//!
//! If the command is `-R`, everything up to the end of the stream is its input, and its reply is the last one.
//! Otherwise any number of requests may follow each other.
//!
//! A reply is the line `STATUS STDOUT_LENGTH STDERR_LENGTH\n`, then so many bytes for standard output and for
//! standard error. The status is what the process exits with.
//!
//! [`serve`] does a whole connection. A server that reads in one thread and works in another uses
//! [`read_request`], [`answer`], [`commit`] and [`write_reply`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backend::Backend;
use crate::names::Names;
use crate::session::{Reply, run_with_input, takes_input};

/// Longest line of a request in bytes, without its end.
pub const LONGEST_LINE: usize = 64 << 10;
/// Longest restore input in bytes.
pub const LONGEST_INPUT: usize = 64 << 20;
/// Requests that are made safe from a crash together, and about how many bytes of replies.
const MOST_TOGETHER: usize = 64;
const MOST_BYTES_TOGETHER: usize = 1 << 20;
/// Bytes of a restore's input that room is taken for at a time.
const INPUT_STEP: usize = 64 << 10;

/// Room for the restore input of all clients of a server together: what they send is kept until it is carried out.
#[derive(Debug)]
pub struct Room(AtomicUsize);

/// What one client has of it, given back at the end.
#[derive(Debug)]
pub struct Share<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Room {
    /// Room for so many bytes.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// A share that has nothing yet.
    #[must_use]
    pub fn share(&self) -> Share<'_> {
        Share { room: self, bytes: 0 }
    }
}

impl Share<'_> {
    /// Takes more, if there is that much.
    fn grow(&mut self, bytes: usize) -> bool {
        let fits = |left: usize| left.checked_sub(bytes);
        let grown = self.room.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command line, from the program's name on, with the input of `-R`.
    Command {
        /// The argument vector.
        argv: Vec<String>,
        /// Input of a restore, else empty.
        input: Vec<u8>,
    },
    /// Not a request; the text says why.
    Malformed {
        /// Message to the client.
        message: String,
        /// The stream cannot be followed any further.
        close: bool,
    },
}

impl Request {
    fn malformed(message: &str, close: bool) -> Self {
        Self::Malformed { message: message.to_owned(), close }
    }

    /// Whether the connection ends with the reply to this request.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Self::Command { argv, .. } => takes_input(argv),
            Self::Malformed { close, .. } => *close,
        }
    }
}

/// Reads one request; `None` at the end of the stream. Input of a restore takes its room from `share`.
///
/// # Errors
///
/// What reading from the stream gives.
pub fn read_request(
    stream: &mut impl BufRead,
    share: &mut Share<'_>,
) -> io::Result<Option<Request>> {
    let mut line = Vec::new();
    stream.take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        let message = if line.len() > LONGEST_LINE {
            "request is longer than 65536 bytes"
        } else {
            // It may have been cut anywhere: "-D -t 10.0.0.1:8" could be the start of port 80.
            "request has no end of line; nothing was done"
        };
        return Ok(Some(Request::malformed(message, true)));
    }
    let argv = match argv_of(line) {
        Ok(argv) => argv,
        Err(message) => return Ok(Some(Request::malformed(message, false))),
    };
    let mut input = Vec::new();
    if takes_input(&argv)
        && let Err(message) = read_input(stream, share, &mut input)?
    {
        return Ok(Some(Request::malformed(message, true)));
    }
    Ok(Some(Request::Command { argv, input }))
}

/// Reads to the end of the stream, or says why that is too much.
fn read_input(
    stream: &mut impl BufRead,
    share: &mut Share<'_>,
    input: &mut Vec<u8>,
) -> io::Result<Result<(), &'static str>> {
    loop {
        if !share.grow(INPUT_STEP) {
            return Ok(Err("there is no room for so much restore input now; nothing was done"));
        }
        let read = stream.take(INPUT_STEP as u64).read_to_end(input)?;
        if input.len() > LONGEST_INPUT {
            return Ok(Err("restore input is longer than 64 MiB; nothing was done"));
        }
        if read < INPUT_STEP {
            return Ok(Ok(()));
        }
    }
}

/// The argument vector of a line.
fn argv_of(line: Vec<u8>) -> Result<Vec<String>, &'static str> {
    let Ok(line) = String::from_utf8(line) else {
        return Err("request is not UTF-8 text");
    };
    let argv: Vec<String> = if let Some(json) = line.strip_prefix('@') {
        serde_json::from_str(json).map_err(|_| "request is not @ and a JSON array of strings")?
    } else {
        let mut words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty()).peekable();
        let program = words.next_if(|word| matches!(*word, "ipvsadm" | "pollvsadm"));
        std::iter::once(program.unwrap_or("ipvsadm")).chain(words).map(str::to_owned).collect()
    };
    if argv.is_empty() {
        return Err("request lacks the name of the program");
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err("request has a NUL byte");
    }
    Ok(argv)
}

/// Does what a request asks. The change is safe from a crash once [`commit`] has returned.
pub fn answer(request: &Request, backend: &mut dyn Backend, names: &dyn Names) -> Reply {
    match request {
        Request::Command { argv, input } => run_with_input(argv, input, backend, names),
        Request::Malformed { message, .. } => Reply::error(message),
    }
}

/// Makes what was done safe from a crash, or warns in all replies that it is not.
pub fn commit(replies: &mut [Reply], backend: &mut dyn Backend) {
    if replies.is_empty() {
        return;
    }
    if let Err(message) = backend.commit() {
        let warning = format!("warning: the change is made, but {message}\n");
        replies.iter_mut().for_each(|reply| reply.stderr.extend(warning.as_bytes()));
    }
}

/// Writes one reply.
///
/// # Errors
///
/// What writing to the stream gives.
pub fn write_reply(stream: &mut impl Write, reply: &Reply) -> io::Result<()> {
    let Reply { status, stdout, stderr } = reply;
    let mut bytes = format!("{status} {} {}\n", stdout.len(), stderr.len()).into_bytes();
    bytes.reserve(stdout.len() + stderr.len());
    bytes.extend_from_slice(stdout);
    bytes.extend_from_slice(stderr);
    stream.write_all(&bytes)?;
    stream.flush()
}

/// Reads one reply.
///
/// # Errors
///
/// What reading from the stream gives, `InvalidData` for bytes that are no reply, `UnexpectedEof` for a reply that
/// ends early.
pub fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut head = Vec::new();
    stream.take(64).read_until(b'\n', &mut head)?;
    if head.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some((status, stdout_length, stderr_length)) = parse_head(&head) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not a reply"));
    };
    let mut reply = Reply { status, stdout: Vec::new(), stderr: Vec::new() };
    for (bytes, length) in [(&mut reply.stdout, stdout_length), (&mut reply.stderr, stderr_length)]
    {
        stream.take(length).read_to_end(bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(reply)
}

fn parse_head(head: &[u8]) -> Option<(u8, u64, u64)> {
    let text = std::str::from_utf8(head).ok()?.strip_suffix('\n')?;
    let mut numbers = text.split(' ');
    let status = numbers.next()?.parse().ok()?;
    let stdout_length = numbers.next()?.parse().ok()?;
    let stderr_length = numbers.next()?.parse().ok()?;
    numbers.next().is_none().then_some((status, stdout_length, stderr_length))
}

/// The line of a request in its lossless form.
#[must_use]
pub fn request_line(argv: &[String]) -> Vec<u8> {
    let mut line = format!("@{}", serde_json::Value::from(argv)).into_bytes();
    line.push(b'\n');
    line
}

/// Answers the requests of a connection until it ends; `room` is for restores of all connections. Set the stream's timeouts before: this waits for the client.
///
/// # Errors
///
/// What reading from and writing to the stream give.
pub fn serve(
    stream: impl Read + Write,
    backend: &mut dyn Backend,
    names: &dyn Names,
    room: &Room,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut share = room.share();
    let (mut replies, mut bytes) = (Vec::new(), 0);
    loop {
        let request = match read_request(&mut stream, &mut share) {
            Ok(Some(request)) => request,
            end => {
                // A client that goes amid its requests leaves what it has changed.
                commit(&mut replies, backend);
                return end.map(drop);
            }
        };
        let reply = answer(&request, backend, names);
        bytes += reply.stdout.len() + reply.stderr.len();
        replies.push(reply);
        // Requests that are here already are made safe together: that is what takes the time.
        let has_more = !request.is_last() && stream.buffer().contains(&b'\n');
        if has_more && replies.len() < MOST_TOGETHER && bytes < MOST_BYTES_TOGETHER {
            continue;
        }
        commit(&mut replies, backend);
        for reply in replies.drain(..) {
            write_reply(stream.get_mut(), &reply)?;
        }
        bytes = 0;
        if request.is_last() {
            return Ok(());
        }
    }
}
