//! Servers that send back what they get, for very many connections.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;

/// Its port, TCP and UDP.
pub const ECHO_PORT: u16 = 7;

/// Connections that wait to be accepted, as far as the system allows.
const BACKLOG: i32 = 4096;
/// Milliseconds between two looks whether it is to stop.
const LOOK_MS: u16 = 50;

/// One thread serves all namespaces; dropping this stops it.
#[derive(Debug)]
pub struct EchoServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoServer {
    /// Listens in all of these namespaces.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start<'n>(namespaces: impl IntoIterator<Item = &'n Namespace>) -> Result<Self> {
        Self::of(namespaces.into_iter().map(|namespace| Ok(namespace.enter(bind)??)))
    }

    /// Listens in the namespace of this thread.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn here() -> Result<Self> {
        Self::of([bind().map_err(Into::into)])
    }

    fn of(sockets: impl IntoIterator<Item = Result<(Socket, UdpSocket)>>) -> Result<Self> {
        let mut server = Server::new()?;
        for pair in sockets {
            let (listener, socket) = pair.context("echo")?;
            server.add(Thing::Listener(listener))?;
            server.add(Thing::Datagrams(socket))?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("echo".into());
        let thread = thread.spawn(move || server.run(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn bind() -> std::io::Result<(Socket, UdpSocket)> {
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ECHO_PORT);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Several programs share the port.
    listener.set_reuse_port(true)?;
    listener.bind(&any.into())?;
    listener.listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.bind(&any.into())?;
    socket.set_nonblocking(true)?;
    Ok((listener, socket.into()))
}

enum Thing {
    Listener(Socket),
    Datagrams(UdpSocket),
    Connection(TcpStream),
}

struct Server {
    epoll: Epoll,
    things: HashMap<u64, Thing>,
    next: u64,
}

impl Server {
    fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, things: HashMap::new(), next: 0 })
    }

    fn add(&mut self, thing: Thing) -> nix::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next);
        match &thing {
            Thing::Listener(socket) => self.epoll.add(socket, event)?,
            Thing::Datagrams(socket) => self.epoll.add(socket, event)?,
            Thing::Connection(stream) => self.epoll.add(stream, event)?,
        }
        self.things.insert(self.next, thing);
        self.next += 1;
        Ok(())
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events = vec![EpollEvent::empty(); 1024];
        while !stop.load(Ordering::Relaxed) {
            let count = self.epoll.wait(&mut events, LOOK_MS).unwrap_or(0);
            for event in &events[..count] {
                self.serve(event.data());
            }
        }
    }

    fn serve(&mut self, key: u64) {
        let mut buffer = [0; 2048];
        let mut accepted = Vec::new();
        match self.things.get_mut(&key) {
            Some(Thing::Listener(listener)) => {
                while let Ok((socket, _)) = listener.accept() {
                    accepted.push(socket);
                }
            }
            Some(Thing::Datagrams(socket)) => {
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
            Some(Thing::Connection(stream)) => {
                let is_open = match stream.read(&mut buffer) {
                    Ok(0) => false,
                    Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                };
                if !is_open {
                    // Closing it takes it out of the set as well.
                    self.things.remove(&key);
                }
            }
            None => {}
        }
        for socket in accepted {
            // A client that is not served notices.
            if socket.set_nonblocking(true).is_ok() {
                let _ = self.add(Thing::Connection(socket.into()));
            }
        }
    }
}
