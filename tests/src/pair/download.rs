//! A download that takes its time, and a session in which little is said.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::{Lab, VIP};
use crate::namespace::Namespace;
use crate::server::write_big_file;

/// Bytes that a client's system takes before it is asked for them: little, so that nearly all of
/// the file is still to come.
const WINDOW: usize = 64 << 10;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A page on its way.
#[derive(Debug)]
pub struct Download {
    expected: String,
    has: Arc<AtomicU64>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<String>>>,
}

impl Download {
    /// Begins to download a file of so many MiB at so many bytes a second.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn start(lab: &Lab, mebibytes: u64, rate: u64) -> Result<Self> {
        let expected = write_big_file(lab.directory(), mebibytes)?;
        let mut stream = lab.client().enter(connect)??;
        stream.write_all(b"GET /big HTTP/1.0\r\n\r\n")?;
        let (has, hurry) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let run = {
            let (has, hurry) = (Arc::clone(&has), Arc::clone(&hurry));
            move || sum(stream, mebibytes << 20, rate, &has, &hurry)
        };
        let thread = Some(thread::Builder::new().name("download".into()).spawn(run)?);
        Ok(Self { expected, has, hurry, thread })
    }

    /// Bytes that have come.
    #[must_use]
    pub fn has(&self) -> u64 {
        self.has.load(Ordering::Relaxed)
    }

    /// Waits until it has gone on, or is complete.
    ///
    /// # Errors
    /// When it has ended before, or does not go on.
    pub fn goes_on(&mut self) -> Result<()> {
        let (before, end) = (self.has(), Instant::now() + PATIENCE);
        while self.has() == before && Instant::now() < end {
            if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return self.check();
            }
            thread::sleep(Duration::from_millis(5));
        }
        ensure!(self.has() > before, "the download stands still at {before} bytes");
        Ok(())
    }

    /// Takes the rest as fast as it comes, and compares the whole.
    ///
    /// # Errors
    /// When something is missing or not as it was sent.
    pub fn check(&mut self) -> Result<()> {
        self.hurry.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let at = self.has();
        let result = thread.join().unwrap_or_else(|_| Err(anyhow!("panic")));
        let sum = result.with_context(|| format!("the download, after {at} bytes"))?;
        ensure!(sum == self.expected, "SHA-256 {sum} of the download, sent was {}", self.expected);
        Ok(())
    }
}

fn connect() -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_recv_buffer_size(WINDOW)?;
    socket.connect(&SocketAddrV4::new(VIP, 80).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// The SHA-256 of a page of a known length.
fn sum(
    mut stream: TcpStream,
    length: u64,
    rate: u64,
    has: &AtomicU64,
    hurry: &AtomicBool,
) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(stream.read(&mut byte)? == 1 && head.len() < 4096, "no page");
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("sha256sum")?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    let (began, mut buffer) = (Instant::now(), vec![0; 16 << 10]);
    loop {
        let count = stream.read(&mut buffer);
        let count = match count {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => {
                drop(pipe);
                child.wait()?;
                return Err(error.into());
            }
        };
        pipe.write_all(&buffer[..count])?;
        let so_far = has.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        let due = Duration::from_micros(so_far * 1_000_000 / rate);
        while !hurry.load(Ordering::Relaxed) && began.elapsed() < due {
            thread::sleep(Duration::from_millis(1));
        }
    }
    drop(pipe);
    let output = child.wait_with_output()?;
    let so_far = has.load(Ordering::Relaxed);
    ensure!(so_far == length, "{so_far} of {length} bytes");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// A connection on which a line is said now and then, and answered.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    said: u32,
}

impl Session {
    /// Opens it.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn open(client: &Namespace, to: SocketAddrV4) -> Result<Self> {
        let stream = client.enter(|| TcpStream::connect_timeout(&to.into(), PATIENCE))??;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, said: 0 })
    }

    /// Says a line and waits for the answer.
    ///
    /// # Errors
    /// When it does not come, or is another.
    pub fn say(&mut self) -> Result<()> {
        self.said += 1;
        let line = format!("line {}\n", self.said);
        self.stream.write_all(line.as_bytes())?;
        let mut answer = vec![0; line.len()];
        self.stream.read_exact(&mut answer)?;
        ensure!(answer == line.as_bytes(), "another answer: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
