//! The lab itself: what would make every other case fail for a reason that is not the daemon's.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};
use tests::client::{await_echo, echo_request, icmp_socket};
use tests::frames::ipv4;
use tests::ipip;
use tests::lab::{Lab, Method};
use tests::requirements::Binaries;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("decapsulator", decapsulator)]
}

/// Hand-made tunnel packets, good and bad, straight from the client to each tunnel server.
fn decapsulator(lab: &Lab, _: &Binaries) -> Result<()> {
    lab.set_method(Method::Tunnel)?;
    for (number, server) in (0..).zip(lab.servers()) {
        let to = SocketAddrV4::new(server.address(), 0);
        lab.client()
            .enter(|| through_tunnel(to, number))?
            .with_context(|| server.name().to_owned())?;
    }
    // Another method stops the decapsulators, which then say what they counted.
    lab.set_method(Method::Nat)?;
    let captured = lab.captured();
    let counted = "received=5 delivered=2 bad_outer=0 other_protocol=0 bad_inner=3 not_taken=0";
    ensure!(captured.matches(counted).count() == 2, "not twice {counted:?}:\n{captured}");
    Ok(())
}

fn through_tunnel(server: SocketAddrV4, number: u16) -> Result<()> {
    let protocol = Protocol::from(i32::from(ipip::PROTOCOL));
    let tunnel = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))?;
    tunnel.connect(&server.into())?;
    let answers = icmp_socket()?;
    let request = echo_request(number);
    let inner = ipv4(1, &request);
    // The answer has the VIP as its source and comes over the client's other leg.
    tunnel.send(&inner)?;
    await_echo(&answers, &request)?;
    for junk in [&inner[..19], &inner[..inner.len() - 1], b"what is this, it is no packet"] {
        tunnel.send(junk)?;
    }
    // Packets of one sender stay in order: with this answer the junk has been judged.
    let request = echo_request(number + 100);
    tunnel.send(&ipv4(1, &request))?;
    await_echo(&answers, &request)
}
