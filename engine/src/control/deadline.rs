//! A client's stream with a time limit for each whole request and each whole reply.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::clients::Client;

/// Reads and writes until a deadline that starts anew with each reply: a byte now and then keeps
/// no client's thread longer.
pub struct Deadline {
    stream: UnixStream,
    client: Client,
    patience: Duration,
    ends: Instant,
    replying: bool,
}

impl Deadline {
    /// On the thread that serves the client, whose time begins here.
    pub(super) fn new(stream: UnixStream, patience: Duration, mut client: Client) -> Self {
        client.next();
        Self { stream, client, patience, ends: Instant::now() + patience, replying: false }
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Deadline {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.client.wait();
        self.stream.set_read_timeout(self.left()?)?;
        let read = self.stream.read(buffer);
        self.client.work()?;
        if matches!(read, Ok(0)) && !buffer.is_empty() {
            // The end of what a client sends, or of the client? Then what it sent may be cut, and
            // writing fails, even nothing.
            let _ = self.stream.write(&[])?;
        }
        read
    }
}

impl Write for Deadline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.replying {
            // The work between request and reply is ours, not the client's.
            self.replying = true;
            self.client.next();
            self.ends = Instant::now() + self.patience;
        }
        self.stream.set_write_timeout(self.left()?)?;
        self.client.wait();
        let written = self.stream.write(bytes);
        self.client.work()?;
        written
    }

    /// The reply is complete: the time for the next request begins.
    fn flush(&mut self) -> io::Result<()> {
        self.replying = false;
        self.client.next();
        self.ends = Instant::now() + self.patience;
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_client_is_not_the_end_of_its_input() {
        for is_gone in [false, true] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut ours = Deadline::new(ours, Duration::from_secs(5), Client::default());
            theirs.write_all(b"-C").unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            if is_gone {
                drop(theirs);
            }
            let mut input = Vec::new();
            assert_eq!(ours.read_to_end(&mut input).is_err(), is_gone);
            assert_eq!(input, b"-C");
        }
    }

    #[test]
    fn bytes_one_by_one_do_not_extend_a_request() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut ours = Deadline::new(ours, Duration::from_millis(100), Client::default());
        let trickle = std::thread::spawn(move || {
            let mut theirs = theirs;
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        ours.write_all(b"reply").unwrap();
        ours.flush().unwrap();
        let started = Instant::now();
        let error = io::copy(&mut ours, &mut io::sink()).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock));
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(ours);
        trickle.join().unwrap();
    }
}
