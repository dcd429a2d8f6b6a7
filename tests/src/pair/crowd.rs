//! Very many TCP connections of the client, of which one thread takes care.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::interrupt;
use crate::namespace::Namespace;

/// Connections that are being opened at a time.
const OPENING: usize = 256;
/// How many are begun between two looks, a millisecond apart: the queue of frames that all namespaces
/// of a core share holds a thousand, and what it drops may be an advertisement.
const BEGUN: usize = 2;
/// Ports of an address, of those that nobody else takes.
const FIRST_PORT: u16 = 2000;
const PORTS: usize = 28_000;
/// As [`Crowd::set_pace`] has it, unless it is called.
const PACE: usize = 20;
/// How long an answer may take, or all of them to be there when opening.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections that exchange a byte when they are told to.
#[derive(Debug)]
pub struct Crowd {
    epoll: Epoll,
    members: Vec<Member>,
    round: u8,
    /// Members that have not answered in this round.
    awaited: usize,
    /// Bytes sent in each millisecond of a round, one a connection.
    pace: usize,
}

#[derive(Debug)]
struct Member {
    socket: Socket,
    opened: Option<Instant>,
    is_awaited: bool,
    broken: Option<String>,
}

impl Crowd {
    /// Opens so many connections to the targets in turn, from the sources one after another: each
    /// crowd of a client has its own sources or targets.
    ///
    /// # Errors
    /// When some are not there in time.
    pub fn open(
        client: &Namespace,
        sources: &[Ipv4Addr],
        targets: &[SocketAddrV4],
        number: usize,
    ) -> Result<Self> {
        let never = AtomicBool::new(false);
        client.enter(|| Self::open_here(sources, targets, number, &never))?
    }

    /// The same in the namespace of this thread. A `stop` that is raised ends it early.
    ///
    /// # Errors
    /// When some are not there in time, unless stopped.
    pub fn open_here(
        sources: &[Ipv4Addr],
        targets: &[SocketAddrV4],
        number: usize,
        stop: &AtomicBool,
    ) -> Result<Self> {
        ensure!(number <= sources.len() * PORTS, "{number} connections need more sources");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut crowd = Self { epoll, members: Vec::new(), round: 0, awaited: 0, pace: PACE };
        let member = |n: usize| {
            let port = FIRST_PORT + (n % PORTS) as u16;
            let source = SocketAddrV4::new(sources[n / PORTS], port);
            (source, targets[n % targets.len()])
        };
        crowd.open_all(number, member, stop)?;
        Ok(crowd)
    }

    fn open_all(
        &mut self,
        number: usize,
        member: impl Fn(usize) -> (SocketAddrV4, SocketAddrV4),
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            interrupt::check()?;
            for _ in 0..BEGUN {
                if self.members.len() < number && self.awaited < OPENING {
                    let (from, to) = member(self.members.len());
                    self.connect(from, to)?;
                }
            }
            thread::sleep(Duration::from_millis(1));
            if self.awaited == 0 && self.members.len() == number {
                return Ok(());
            }
            if self.take_events(0)? > 0 {
                last = Instant::now();
            }
            if last.elapsed() > PATIENCE {
                let opened = self.members.len() - self.awaited;
                anyhow::bail!("{opened} of {number} connections are there, and no more come");
            }
        }
        // What is not there now has not been promised to anybody.
        self.members.retain(|member| member.opened.is_some());
        self.renumber()
    }

    /// Keys are places, which have changed.
    fn renumber(&mut self) -> Result<()> {
        self.awaited = 0;
        for (n, member) in self.members.iter_mut().enumerate() {
            let mut event = EpollEvent::new(flags(), n as u64);
            self.epoll.modify(&member.socket, &mut event)?;
            member.is_awaited = false;
        }
        Ok(())
    }

    fn connect(&mut self, from: SocketAddrV4, to: SocketAddrV4) -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error.into());
            }
            _ => {}
        }
        self.epoll.add(&socket, EpollEvent::new(flags(), self.members.len() as u64))?;
        self.members.push(Member { socket, opened: None, is_awaited: true, broken: None });
        self.awaited += 1;
        Ok(())
    }

    /// Sets how many bytes are sent in each millisecond of a round; at least one.
    pub fn set_pace(&mut self, pace: usize) {
        self.pace = pace.max(1);
    }

    /// Has every connection exchange a byte; those that do not are broken from now on.
    ///
    /// # Errors
    /// On a signal.
    pub fn exchange(&mut self) -> Result<()> {
        self.round = self.round.wrapping_add(1);
        let mut began = Instant::now();
        for n in 0..self.members.len() {
            self.say(n);
            if n % self.pace == self.pace - 1 {
                interrupt::check()?;
                self.take_events(0)?;
                let left = Duration::from_millis(1).saturating_sub(began.elapsed());
                thread::sleep(left);
                began = Instant::now();
            }
        }
        let end = Instant::now() + PATIENCE;
        while self.awaited > 0 && Instant::now() < end {
            interrupt::check()?;
            self.take_events(10)?;
        }
        for member in &mut self.members {
            if std::mem::take(&mut member.is_awaited) {
                member.broken = Some("no answer".to_owned());
            }
        }
        self.awaited = 0;
        Ok(())
    }

    fn say(&mut self, n: usize) {
        let member = &mut self.members[n];
        if member.broken.is_some() {
            return;
        }
        match (&member.socket).write_all(&[self.round]) {
            Ok(()) => {
                member.is_awaited = true;
                self.awaited += 1;
            }
            Err(error) => member.broken = Some(error.to_string()),
        }
    }

    fn take_events(&mut self, patience_ms: u16) -> Result<usize> {
        let mut events = [EpollEvent::empty(); 512];
        let count = match self.epoll.wait(&mut events, patience_ms) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            let member = &mut self.members[event.data() as usize];
            let was_awaited = member.is_awaited;
            member.take(event.events(), self.round);
            self.awaited -= usize::from(was_awaited && !member.is_awaited);
        }
        Ok(count)
    }

    /// Connections, whatever has become of them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The client's address and port of those that are broken, and what is wrong, in order; they
    /// are forgotten.
    pub fn take_broken(&mut self) -> Vec<String> {
        let why = |member: &mut Member| {
            let why = member.broken.take()?;
            let from = member.socket.local_addr().ok()?.as_socket()?;
            Some(format!("{from} {why}"))
        };
        let mut broken: Vec<_> = self.members.iter_mut().filter_map(why).collect();
        broken.sort_unstable();
        broken
    }

    /// Leaves those that were established before `moment`, and returns the others.
    ///
    /// # Errors
    /// When the system does not do its part.
    pub fn split_at(&mut self, moment: Instant) -> Result<Self> {
        let is_young = |member: &mut Member| member.opened.is_none_or(|opened| opened >= moment);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut young = Self { epoll, members: Vec::new(), round: 0, awaited: 0, pace: self.pace };
        for member in self.members.extract_if(.., is_young) {
            self.epoll.delete(&member.socket)?;
            young.epoll.add(&member.socket, EpollEvent::new(flags(), 0))?;
            young.members.push(member);
        }
        self.renumber()?;
        young.renumber()?;
        Ok(young)
    }
}

impl Member {
    /// Does what an event asks for.
    fn take(&mut self, events: EpollFlags, round: u8) {
        if self.broken.is_some() {
            return;
        }
        if let Ok(Some(error)) = self.socket.take_error() {
            return self.break_off(error.to_string());
        }
        if self.opened.is_none() {
            if events.contains(EpollFlags::EPOLLOUT) {
                self.opened = Some(Instant::now());
                self.is_awaited = false;
            }
            return;
        }
        let mut buffer = [0; 16];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return self.break_off("closed by the server".to_owned()),
                Ok(1) if buffer[0] == round => self.is_awaited = false,
                Ok(_) => return self.break_off("a wrong answer".to_owned()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.break_off(error.to_string()),
            }
        }
    }

    fn break_off(&mut self, why: String) {
        self.broken = Some(why);
        self.is_awaited = false;
    }
}

/// Each change once, so that a connection that is broken is not told of for ever.
fn flags() -> EpollFlags {
    EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
}
