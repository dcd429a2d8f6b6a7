//! IPv6 through the daemon: neighbours found on both sides, datagrams by NAT there and back, and a
//! refused port.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::daemon::Daemon;
use tests::lab::{DIRECTOR_IPV6, Lab};
use tests::requirements::Binaries;

use crate::Case;

const VIP: &str = "2001:db8:9::100";
const CLIENT: &str = "2001:db8:9::7/64";
const PORT: u16 = 7;
const DATAGRAMS: usize = 20;
/// The daemon asks for a neighbour once a second.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("ipv6", ipv6)]
}

fn ipv6(lab: &Lab, binaries: &Binaries) -> Result<()> {
    if !lab.client().enable_ipv6("c0", CLIENT)? {
        println!("ipv6: this kernel has none, so nothing is shown");
        return Ok(());
    }
    let (_, inside) = DIRECTOR_IPV6;
    let daemon = Daemon::start(lab, binaries, 2)?;
    let control = daemon.control();
    control.must(&format!("-A -u [{VIP}]:{PORT} -s rr"))?;
    let mut echoes = Vec::new();
    for (server, n) in lab.servers().iter().zip(1..) {
        let address = format!("2001:db8:1::{n}");
        let namespace = server.namespace();
        namespace.enable_ipv6("eth0", &format!("{address}/64"))?;
        namespace.ip(&format!("-6 route replace default via {inside}"))?;
        control.must(&format!("-a -u [{VIP}]:{PORT} -r [{address}]:{PORT} -m"))?;
        let address: Ipv6Addr = address.parse()?;
        let socket = namespace.enter(|| UdpSocket::bind((address, PORT)))??;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        echoes.push(socket);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (socket, n) in echoes.iter().zip(1_u8..) {
            let stop = &stop;
            scope.spawn(move || {
                let mut buffer = [0; 64];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((_, from)) = socket.recv_from(&mut buffer) {
                        // Whoever asked is told which server it was.
                        let _ = socket.send_to(&[n], from);
                    }
                }
            });
        }
        let asked = lab.client().enter(ask).and_then(|asked| asked);
        stop.store(true, Ordering::Relaxed);
        asked
    })?;
    let listing = control.must("-Lnc")?;
    let rows = listing.lines().filter(|line| line.contains(&format!("[{VIP}]:{PORT}")));
    ensure!(rows.count() == DATAGRAMS, "not {DATAGRAMS} connections:\n{listing}");
    Ok(())
}

/// From the client: each datagram from a port of its own, and a connection that nobody serves.
fn ask() -> Result<()> {
    let to: SocketAddr = format!("[{VIP}]:{PORT}").parse()?;
    let mut answers = [0; 3];
    for _ in 0..DATAGRAMS {
        let socket = UdpSocket::bind("[::]:0")?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"who are you?")?;
        let mut answer = [0];
        socket.recv(&mut answer).context("no answer from the virtual address")?;
        answers[usize::from(answer[0])] += 1;
    }
    ensure!(answers == [0, DATAGRAMS / 2, DATAGRAMS / 2], "not in turn: {answers:?}");
    let nobody: SocketAddr = format!("[{VIP}]:81").parse()?;
    let refused = TcpStream::connect_timeout(&nobody, PATIENCE).map_err(|error| error.kind());
    ensure!(refused.as_ref().err() == Some(&ErrorKind::ConnectionRefused), "{refused:?}");
    Ok(())
}
