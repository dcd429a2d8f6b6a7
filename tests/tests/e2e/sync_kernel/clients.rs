//! Clients that keep their connections, so that both directors can be asked about them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::namespace::Namespace;

const LIMIT: Duration = Duration::from_secs(3);
const WORD: &[u8] = b"hello";

/// Opens a connection and says something: three packets of the client, so it is synchronised.
pub(crate) fn tcp(client: &Namespace, service: &str) -> Result<TcpStream> {
    let to: SocketAddr = service.parse()?;
    let connect = || TcpStream::connect_timeout(&to, LIMIT);
    let mut stream = client.enter(connect)?.with_context(|| format!("connecting to {service}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    say(&mut stream).with_context(|| service.to_owned())?;
    Ok(stream)
}

/// Says something, and hears it.
pub(crate) fn say(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(WORD)?;
    let mut answer = [0; WORD.len()];
    stream.read_exact(&mut answer).context("no answer")?;
    ensure!(answer == *WORD, "not what was said: {answer:?}");
    Ok(())
}

/// Has the server close a connection, and closes it then.
pub(crate) fn quit(mut stream: TcpStream) -> Result<()> {
    stream.write_all(b"q")?;
    let length = stream.read(&mut [0; 16]).context("the server does not close")?;
    ensure!(length == 0, "{length} bytes instead of an end");
    Ok(())
}

/// Three datagrams and their answers.
pub(crate) fn udp(client: &Namespace, service: &str) -> Result<UdpSocket> {
    let to: SocketAddr = service.parse()?;
    let local = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = client.enter(|| UdpSocket::bind(local))??;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LIMIT))?;
    for _ in 0..3 {
        socket.send(WORD)?;
        let mut answer = [0; 16];
        let length = socket.recv(&mut answer).with_context(|| format!("no answer of {service}"))?;
        ensure!(answer[..length] == *WORD, "not what was said: {answer:?}");
    }
    Ok(socket)
}
