//! A server that sends back what it gets, by TCP and UDP, IPv4 and IPv6.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// The ports of every [`Echo`].
pub const ECHO_PORTS: [u16; 4] = [7, 9, 10, 11];

/// What makes it close the connection.
const QUIT: u8 = b'q';
const PAUSE: Duration = Duration::from_millis(2);

/// The server; dropping it stops it.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens on [`ECHO_PORTS`] of any address.
    ///
    /// # Errors
    /// When one of them is taken.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let (listeners, sockets) = namespace.enter(bind)??;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(&listeners, &sockets, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn bind() -> Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
    let (mut listeners, mut sockets) = (Vec::new(), Vec::new());
    for port in ECHO_PORTS {
        // Takes IPv4 as well, unless there is no IPv6.
        let any = |six: bool| if six { format!("[::]:{port}") } else { format!("0.0.0.0:{port}") };
        let listener = TcpListener::bind(any(true)).or_else(|_| TcpListener::bind(any(false)));
        let socket = UdpSocket::bind(any(true)).or_else(|_| UdpSocket::bind(any(false)));
        let (listener, socket) = (listener.context("echo")?, socket.context("echo")?);
        listener.set_nonblocking(true)?;
        socket.set_nonblocking(true)?;
        listeners.push(listener);
        sockets.push(socket);
    }
    Ok((listeners, sockets))
}

fn serve(listeners: &[TcpListener], sockets: &[UdpSocket], stop: &AtomicBool) {
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        for listener in listeners {
            while let Ok((stream, _)) = listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    streams.push(stream);
                }
            }
        }
        // A client that is gone is no concern of the server.
        streams.retain_mut(|stream| match stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(_) if buffer[0] == QUIT => false,
            Ok(length) => stream.write_all(&buffer[..length]).is_ok(),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        for socket in sockets {
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
        thread::sleep(PAUSE);
    }
}
