//! Frames over a TCP stream: four bytes of length, a kind, what it says, and with a key a code.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::seal::{Key, TAG};
use super::{GREETING, LONGEST};

const MAGIC: &[u8; 4] = b"PVSt";
const VERSION: u8 = 1;
const NONCE: usize = 16;
/// Magic, version, whether sealed, sync id, nothing, nonce.
const HELLO: usize = 4 + 4 + NONCE;
/// Epoch, last number sealed, messages sent.
const STANDING: usize = 24;

/// Room for what is received: more than the longest frame takes.
const ROOM: usize = 4 * LONGEST;

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Want = 1,
    Message = 2,
    End = 3,
    Probe = 4,
    Step = 5,
    Alive = 6,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        let all = [Self::Want, Self::Message, Self::End, Self::Probe, Self::Step, Self::Alive];
        all.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// How far a master has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sync) struct Standing {
    pub(in crate::sync) epoch: u64,
    /// Last number sealed.
    pub(in crate::sync) number: u64,
    /// Messages sent.
    pub(in crate::sync) sent: u64,
}

/// A stream of frames.
pub(super) struct Channel {
    stream: TcpStream,
    /// Keys for what is sent and what is received, with the number of frames so far.
    outgoing: Option<(Key, u64)>,
    incoming: Option<(Key, u64)>,
    /// Bytes received and not read yet are in `unread`.
    buffer: Vec<u8>,
    unread: Range<usize>,
    heard: Instant,
    /// When the greeting has to be over, however slowly it comes.
    greeted_by: Instant,
    unsent: Vec<u8>,
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Channel {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(GREETING))?;
        Ok(Self {
            stream,
            outgoing: None,
            incoming: None,
            buffer: vec![0; ROOM],
            unread: 0..0,
            heard: Instant::now(),
            greeted_by: Instant::now() + GREETING,
            unsent: Vec::new(),
        })
    }

    /// Greets a master, as a backup of this group.
    pub(super) fn ask(
        stream: TcpStream,
        sync_id: u8,
        key: Option<&Key>,
    ) -> io::Result<(Self, Standing)> {
        let mut channel = Self::new(stream)?;
        let own = hello(sync_id, key)?;
        channel.stream.write_all(&own)?;
        let mut answer = [0; HELLO + STANDING];
        channel.read_greeting(&mut answer)?;
        let (theirs, standing) = answer.split_at(HELLO);
        check_hello(theirs, &own)?;
        if let Some(key) = key {
            let mut tag = [0; TAG];
            channel.read_greeting(&mut tag)?;
            if !key.is_tag(&[b"master", &own, &answer], &tag) {
                return Err(broken("the master has another key"));
            }
            channel.stream.write_all(&key.tag(&[b"backup", &own, &answer]))?;
            channel.outgoing = Some((key.derive(&[b"from backup", &own, &answer]), 0));
            channel.incoming = Some((key.derive(&[b"from master", &own, &answer]), 0));
        }
        let word = |n: usize| u64::from_be_bytes(standing.as_chunks::<8>().0[n]);
        Ok((channel, Standing { epoch: word(0), number: word(1), sent: word(2) }))
    }

    /// Greets a backup, as the master. How far it has come is read once the backup has said hello.
    pub(super) fn answer(
        stream: TcpStream,
        sync_id: u8,
        key: Option<&Key>,
        standing: impl FnOnce() -> Standing,
    ) -> io::Result<Self> {
        let mut channel = Self::new(stream)?;
        let mut theirs = [0; HELLO];
        channel.read_greeting(&mut theirs)?;
        let own = hello(sync_id, key)?;
        check_hello(&theirs, &own)?;
        let Standing { epoch, number, sent } = standing();
        let mut answer = own.to_vec();
        [epoch, number, sent].iter().for_each(|word| answer.extend(word.to_be_bytes()));
        channel.stream.write_all(&answer)?;
        if let Some(key) = key {
            channel.stream.write_all(&key.tag(&[b"master", &theirs, &answer]))?;
            let mut tag = [0; TAG];
            channel.read_greeting(&mut tag)?;
            if !key.is_tag(&[b"backup", &theirs, &answer], &tag) {
                return Err(broken("the backup has another key"));
            }
            channel.outgoing = Some((key.derive(&[b"from master", &theirs, &answer]), 0));
            channel.incoming = Some((key.derive(&[b"from backup", &theirs, &answer]), 0));
        }
        Ok(channel)
    }

    /// Reads a part of the greeting.
    fn read_greeting(&mut self, mut room: &mut [u8]) -> io::Result<()> {
        while !room.is_empty() {
            let left = self.greeted_by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => room = &mut room[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.heard = Instant::now();
        Ok(())
    }

    /// How long [`Channel::receive`] waits from now on.
    pub(super) fn be_patient(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(patience))
    }

    /// How long nothing has been heard.
    pub(super) fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Puts a frame among those to be sent.
    pub(super) fn put(&mut self, kind: Kind, says: &[u8]) {
        debug_assert!(says.len() <= LONGEST);
        let tag_length = if self.outgoing.is_some() { TAG } else { 0 };
        let length = (1 + says.len() + tag_length) as u32;
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.push(kind as u8);
        self.unsent.extend_from_slice(says);
        if let Some((key, number)) = &mut self.outgoing {
            let tag = key.tag(&[&number.to_be_bytes(), &[kind as u8], says]);
            *number += 1;
            self.unsent.extend_from_slice(&tag);
        }
    }

    /// Bytes put and not sent yet.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Sends what has been put.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.unsent);
        self.unsent.clear();
        sent
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, kind: Kind, says: &[u8]) -> io::Result<()> {
        self.put(kind, says);
        self.flush()
    }

    /// The next frame, if there is one in time.
    pub(super) fn receive(&mut self) -> io::Result<Option<(Kind, &[u8])>> {
        if self.ready()?.is_none() {
            self.fill()?;
        }
        let Some(end) = self.ready()? else { return Ok(None) };
        let frame = &self.buffer[self.unread.start + 4..end];
        self.unread.start = end;
        let (&number, says) = frame.split_first().ok_or_else(|| broken("empty frame"))?;
        let kind = Kind::from_number(number).ok_or_else(|| broken("unknown frame"))?;
        let says = match &mut self.incoming {
            None => says,
            Some((key, count)) => {
                let split = says.len().checked_sub(TAG).ok_or_else(|| broken("short frame"))?;
                let (says, tag) = says.split_at(split);
                if !key.is_tag(&[&count.to_be_bytes(), &[number], says], tag) {
                    return Err(broken("a frame was changed"));
                }
                *count += 1;
                says
            }
        };
        Ok(Some((kind, says)))
    }

    /// Where the first frame in the buffer ends, if it is whole.
    fn ready(&self) -> io::Result<Option<usize>> {
        let unread = &self.buffer[self.unread.clone()];
        let Some(length) = unread.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > 1 + LONGEST + TAG {
            return Err(broken("frame too long"));
        }
        let end = 4 + length;
        Ok((unread.len() >= end).then_some(self.unread.start + end))
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        match self.stream.read(&mut self.buffer[self.unread.end..]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.unread.end += read;
                self.heard = Instant::now();
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The first bytes of either side.
fn hello(sync_id: u8, key: Option<&Key>) -> io::Result<[u8; HELLO]> {
    let mut hello = [0; HELLO];
    hello[..4].copy_from_slice(MAGIC);
    hello[4..8].copy_from_slice(&[VERSION, u8::from(key.is_some()), sync_id, 0]);
    getrandom::fill(&mut hello[8..]).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(hello)
}

fn check_hello(theirs: &[u8], own: &[u8]) -> io::Result<()> {
    if theirs[..5] != own[..5] {
        return Err(broken("it is not a director of this version"));
    }
    if theirs[5] != own[5] {
        return Err(broken("one side has a key and the other has none"));
    }
    if theirs[6] != own[6] && own[6] != 0 && theirs[6] != 0 {
        return Err(broken("it has another sync id"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
