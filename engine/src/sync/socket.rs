//! Sockets of the sync daemons (sync protocol reference §1).

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, UdpSocket,
};
use std::time::Duration;

use ctl::backend::DaemonRow;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// Where messages go unless something else is said (sync protocol reference §1).
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
/// How long a receiver waits before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The group and port of a daemon's thread.
fn target(row: &DaemonRow, thread: u16, index: u32) -> io::Result<SocketAddr> {
    let port = row.port.checked_add(thread).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(match row.group.unwrap_or(GROUP.into()) {
        IpAddr::V4(group) => SocketAddrV4::new(group, port).into(),
        IpAddr::V6(group) => SocketAddrV6::new(group, port, 0, index).into(),
    })
}

/// A socket that sends to a daemon's group, and nowhere else: from the interface's own address, by
/// that interface, never back to this machine.
pub(super) fn sender(row: &DaemonRow, thread: u16, buffer: i32) -> io::Result<Socket> {
    let index = if_nametoindex(row.interface.as_str())?;
    let target = target(row, thread, index)?;
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(row.interface.as_bytes()))?;
    let hops = u32::from(row.ttl.max(1));
    if target.is_ipv4() {
        let source = address_of(&row.interface).unwrap_or(Ipv4Addr::UNSPECIFIED);
        socket.set_multicast_if_v4(&source)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(hops)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    } else {
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_hops_v6(hops)?;
    }
    if let Some(size) = usize::try_from(buffer).ok().filter(|&size| size > 0) {
        socket.set_send_buffer_size(size)?;
    }
    socket.connect(&target.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A socket that receives what is sent to a daemon's group on its interface.
pub(super) fn receiver(row: &DaemonRow, thread: u16, buffer: i32) -> io::Result<UdpSocket> {
    let index = if_nametoindex(row.interface.as_str())?;
    let target = target(row, thread, index)?;
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(row.interface.as_bytes()))?;
    if let Some(size) = usize::try_from(buffer).ok().filter(|&size| size > 0) {
        socket.set_recv_buffer_size(size)?;
    }
    socket.bind(&target.into())?;
    match target.ip() {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index)?,
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// The first IPv4 address of an interface.
fn address_of(interface: &str) -> Option<Ipv4Addr> {
    let of_interface = getifaddrs().ok()?.filter(|found| found.interface_name == interface);
    of_interface
        .filter_map(|found| found.address.and_then(|address| address.as_sockaddr_in().copied()))
        .map(|address| address.ip())
        .next()
}

/// Where backups ask for the whole table: the group's port, by TCP, at the interface only.
pub(super) fn listener(row: &DaemonRow) -> io::Result<TcpListener> {
    let index = if_nametoindex(row.interface.as_str())?;
    let target = target(row, 0, index)?;
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(row.interface.as_bytes()))?;
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            Ipv6Addr::UNSPECIFIED.into()
        }
    };
    socket.bind(&SocketAddr::new(any, row.port).into())?;
    socket.listen(16)?;
    Ok(socket.into())
}
