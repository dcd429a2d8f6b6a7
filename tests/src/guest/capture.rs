//! Who listens to the messages on the sync network.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::guest::topology::LISTENER;
use crate::interrupt;
use crate::lab::Lab;

const POLL: Duration = Duration::from_millis(100);
/// A message that is not full leaves 2 to 3 s after its first connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who sent it.
    pub from: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl Message {
    /// The sync id.
    #[must_use]
    pub fn sync_id(&self) -> u8 {
        self.bytes.get(1).copied().unwrap_or(0)
    }

    /// The version of its form: 0 or 1.
    #[must_use]
    pub fn version(&self) -> u8 {
        let is_one = self.bytes.first() == Some(&0) && self.bytes.get(5..8) == Some(&[1, 0, 0]);
        u8::from(is_one)
    }

    /// The connections in it.
    #[must_use]
    pub fn count(&self) -> usize {
        let place = if self.version() == 1 { 4 } else { 0 };
        self.bytes.get(place).copied().unwrap_or(0).into()
    }

    /// Whether it is what a master of ours says of itself: no connections, and its own mark.
    #[must_use]
    pub fn is_beacon(&self) -> bool {
        self.version() == 1 && self.count() == 0 && self.bytes.get(8..12) == Some(b"PVSb")
    }

    /// Walks through its entries, and returns the client's port of each.
    ///
    /// # Errors
    /// The first thing that no message may have.
    pub fn check(&self) -> Result<Vec<u16>> {
        let bytes = &self.bytes;
        let word = |at: usize| -> Result<u16> {
            let bytes = bytes.get(at..at + 2).with_context(|| format!("ends before byte {at}"))?;
            Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        ensure!(usize::from(word(2)?) == bytes.len(), "the size is not the message's: {bytes:?}");
        ensure!(self.count() > 0, "without connections: {bytes:?}");
        let (mut at, mut ports) = (if self.version() == 1 { 8 } else { 4 }, Vec::new());
        for _ in 0..self.count() {
            let (port, size) = if self.version() == 1 {
                at = usize::next_multiple_of(at, 4);
                (at + 10, usize::from(word(at + 2)? & 0xfff))
            } else {
                let is_long = word(at + 20)? & 0x600 != 0;
                (at + 2, if is_long { 48 } else { 24 })
            };
            ports.push(word(port)?);
            at += size;
        }
        ensure!(at == bytes.len(), "entries end at byte {at}: {bytes:?}");
        Ok(ports)
    }
}

/// A socket that has joined a group.
#[derive(Debug)]
pub struct Capture {
    socket: UdpSocket,
    port: u16,
    messages: RefCell<Vec<Message>>,
}

impl Capture {
    /// Joins a group on the sync network.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn join(lab: &Lab, group: Ipv4Addr, port: u16) -> Result<Self> {
        let socket = lab.switch().enter(|| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((group, port)).into())?;
            socket.join_multicast_v4(&group, &LISTENER)?;
            Ok(socket.into())
        })??;
        socket.set_read_timeout(Some(POLL))?;
        Ok(Self { socket, port, messages: RefCell::default() })
    }

    /// All that has come and was not found before.
    ///
    /// # Errors
    /// On a signal.
    pub fn heard(&self) -> Result<Vec<Message>> {
        while self.receive()? {}
        Ok(self.messages.take())
    }

    /// The first message that `wanted` takes, which is waited for. It is not found again.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn find(&self, wanted: impl Fn(&Message) -> bool) -> Result<Message> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut messages = self.messages.borrow_mut();
            if let Some(place) = messages.iter().position(&wanted) {
                return Ok(messages.remove(place));
            }
            let others = messages.len();
            drop(messages);
            ensure!(
                Instant::now() < deadline,
                "port {}: no such message within {PATIENCE:?}, but {others} others",
                self.port
            );
            self.receive()?;
        }
    }

    /// Takes a message, unless none comes for a moment; beacons are passed over.
    fn receive(&self) -> Result<bool> {
        interrupt::check()?;
        let mut buffer = vec![0; 65536];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                buffer.truncate(length);
                let message = Message { from, bytes: buffer };
                if !message.is_beacon() {
                    self.messages.borrow_mut().push(message);
                }
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
