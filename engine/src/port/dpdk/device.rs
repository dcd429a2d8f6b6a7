//! What a port is named by: an EAL device, or a plain Linux interface.

use core::fmt;
use std::fs;
use std::path::Path;

/// A device as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A PCI address; its driver must be bound to a module DPDK can use.
    Pci(String),
    /// A virtual device with its arguments, such as `net_memif0,role=server`.
    Virtual(String),
    /// A Linux network interface.
    Interface(String),
}

/// Why a device name means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name) = self;
        write!(
            f,
            "no such device: {name:?} is no Linux interface here (see 'ip link'), no PCI address \
             like 0000:03:00.0, and no EAL device like net_memif0,role=server"
        )
    }
}

impl std::error::Error for DeviceError {}

impl Device {
    /// Reads a device name. An interface must exist.
    ///
    /// # Errors
    /// When it is none of the three.
    pub fn parse(name: &str) -> Result<Self, DeviceError> {
        if name.starts_with("net_") {
            return Ok(Self::Virtual(name.to_owned()));
        }
        if is_pci_address(name) {
            return Ok(Self::Pci(name.to_owned()));
        }
        let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if is_plain && Path::new("/sys/class/net").join(name).exists() {
            return Ok(Self::Interface(name.to_owned()));
        }
        Err(DeviceError(name.to_owned()))
    }

    /// The EAL device strings to try in turn, each with the name of its kind of port.
    pub(super) fn candidates(&self, workers: u16) -> Vec<(&'static str, String)> {
        match self {
            Self::Pci(address) => vec![("PCI device", address.clone())],
            Self::Virtual(devargs) => vec![("virtual device", devargs.clone())],
            Self::Interface(name) => {
                // A veth or NIC queue carries one AF_XDP socket; AF_PACKET sockets can be many.
                let queues = rx_queues(name).min(usize::from(workers)).max(1);
                let xdp = format!("net_af_xdp_{name},iface={name},queue_count={queues}");
                let packet = format!("net_af_packet_{name},iface={name},qpairs={workers}");
                vec![("AF_XDP", xdp), ("AF_PACKET", packet)]
            }
        }
    }
}

/// `domain:bus:device.function`, the domain optional, all hexadecimal.
fn is_pci_address(name: &str) -> bool {
    let hex = |text: &str, digits| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some((bus, rest)) = name.rsplit_once(':') else { return false };
    let bus_is_sound = match bus.split_once(':') {
        Some((domain, bus)) => hex(domain, 4) && hex(bus, 2),
        None => hex(bus, 2),
    };
    let device_is_sound =
        rest.split_once('.').is_some_and(|(device, function)| hex(device, 2) && hex(function, 1));
    bus_is_sound && device_is_sound
}

/// Receive queues of an interface.
fn rx_queues(interface: &str) -> usize {
    let folder = Path::new("/sys/class/net").join(interface).join("queues");
    let Ok(queues) = fs::read_dir(folder) else { return 1 };
    let is_rx = |name: &str| name.starts_with("rx-");
    queues.flatten().filter(|queue| queue.file_name().to_str().is_some_and(is_rx)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let parse = |name| Device::parse(name).ok();
        assert_eq!(parse("0000:03:00.0"), Some(Device::Pci("0000:03:00.0".into())));
        assert_eq!(parse("03:00.1"), Some(Device::Pci("03:00.1".into())));
        assert_eq!(parse("net_null0"), Some(Device::Virtual("net_null0".into())));
        assert_eq!(parse("lo"), Some(Device::Interface("lo".into())));
        for bad in ["", "no-such-if0", "../lo", "0000:03:00", "zz:00.0", "1:2:03:00.0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_interface_is_tried_by_af_xdp_first() {
        let candidates = Device::Interface("lo".into()).candidates(3);
        assert_eq!(candidates[0].0, "AF_XDP");
        assert_eq!(candidates[1].1, "net_af_packet_lo,iface=lo,qpairs=3");
    }
}
