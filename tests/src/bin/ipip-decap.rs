//! Unwraps IP-in-IP packets for a tunnel real server whose kernel has no `ipip`: what arrives as
//! protocol 4 comes out of the TUN device `ipip0` as if it had been sent to this host directly.
//!
//! Stops on SIGTERM or SIGINT and prints what it counted.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tests::interrupt;
use tests::ipip::{self, Counters};
use tun_rs::{DeviceBuilder, Layer};

fn main() -> Result<()> {
    ensure!(std::env::args().len() == 1, "usage: ipip-decap (in a network namespace, as root)");
    interrupt::catch_signals()?;
    let device = DeviceBuilder::new()
        .name("ipip0")
        .layer(Layer::L3)
        .build_sync()
        .context("cannot make the TUN device ipip0")?;
    let protocol = Protocol::from(i32::from(ipip::PROTOCOL));
    let socket =
        Socket::new(Domain::IPV4, Type::RAW, Some(protocol)).context("cannot open a raw socket")?;
    // As much as the system allows: a burst should wait here while the device is written.
    socket.set_recv_buffer_size(4 << 20)?;
    // How often the flag of the signals is looked at while nothing comes.
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    println!("ready");

    let mut counters = Counters::default();
    let mut buffer = vec![0; 1 << 16];
    while !interrupt::raised() {
        let length = match (&socket).read(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_passing(error.kind()) => continue,
            Err(error) => return Err(error).context("reading the raw socket"),
        };
        counters.received += 1;
        match ipip::unwrap(&buffer[..length]) {
            // The kernel refuses while the device is down; that is a lost packet, not our end.
            Ok(inner) => match device.send(inner) {
                Ok(_) => counters.delivered += 1,
                Err(_) => counters.not_taken += 1,
            },
            Err(refusal) => counters.refuse(refusal),
        }
    }
    println!("{counters}");
    Ok(())
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
