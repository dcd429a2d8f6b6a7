//! What a port is named by: an EAL device, or a plain Linux interface.

use core::fmt;
use std::fs;
use std::path::Path;

use ctl::load::Link;

/// A device as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A PCI address in full, with its arguments if any; the device must be bound to a module that
    /// DPDK can use.
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
        if is_pci_address(name.split(',').next().unwrap_or(name)) {
            // DPDK names ports by the whole address.
            let has_domain = name.split(',').next().is_some_and(|a| a.matches(':').count() == 2);
            return Ok(Self::Pci(if has_domain { name.into() } else { format!("0000:{name}") }));
        }
        let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if is_plain && Path::new("/sys/class/net").join(name).exists() {
            return Ok(Self::Interface(name.to_owned()));
        }
        Err(DeviceError(name.to_owned()))
    }

    /// The most queue pairs that a port of it has.
    pub(super) fn queues(&self, workers: u16) -> u16 {
        match self {
            Self::Interface(name) => workers.max(rx_queues(name)),
            Self::Pci(_) | Self::Virtual(_) => workers,
        }
    }

    /// The ways to open it, to be tried in turn.
    pub(super) fn candidates(&self, workers: u16) -> Vec<Candidate> {
        let all =
            |kind, devargs: &str| Candidate { kind, devargs: devargs.into(), queues: workers };
        match self {
            Self::Pci(devargs) => vec![all("PCI device", devargs)],
            Self::Virtual(devargs) => vec![all("virtual device", devargs)],
            Self::Interface(name) => {
                // An AF_XDP socket takes what arrives on its own queue and nothing else, so every
                // queue of the interface needs one, however few workers there are.
                let queues = rx_queues(name);
                let xdp = format!("net_af_xdp_{name},iface={name},queue_count={queues}");
                let packet = format!("net_af_packet_{name},iface={name},qpairs={workers}");
                vec![Candidate { queues, ..all(AF_XDP, &xdp) }, all(AF_PACKET, &packet)]
            }
        }
    }

    /// The interface's own largest IP packet; DPDK has another idea of it.
    pub(super) fn linux_mtu(&self) -> Option<u32> {
        self.attribute("mtu")?.parse().ok()
    }

    /// The interface's link as Linux sees it; DPDK makes one up.
    pub(super) fn linux_link(&self) -> Option<Link> {
        let Self::Interface(_) = self else { return None };
        Some(Link {
            // Unreadable while the interface is down.
            is_up: self.attribute("carrier").is_some_and(|carrier| carrier == "1"),
            // -1 or unreadable when it is not known.
            speed_mbps: self.attribute("speed").and_then(|speed| speed.parse().ok()),
            full_duplex: match self.attribute("duplex").as_deref() {
                Some("full") => Some(true),
                Some("half") => Some(false),
                _ => None,
            },
        })
    }

    fn attribute(&self, attribute: &str) -> Option<String> {
        let Self::Interface(name) = self else { return None };
        let file = Path::new("/sys/class/net").join(name).join(attribute);
        Some(fs::read_to_string(file).ok()?.trim().to_owned())
    }
}

/// The kinds of port of a Linux interface.
pub(super) const AF_XDP: &str = "AF_XDP";
pub(super) const AF_PACKET: &str = "AF_PACKET";

/// One way to open a device.
pub(super) struct Candidate {
    /// What kind of port that makes.
    pub(super) kind: &'static str,
    /// DPDK's words for it.
    pub(super) devargs: String,
    /// Queue pairs to use, if the port has as many.
    pub(super) queues: u16,
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

/// Receive queues of an interface, at least one.
fn rx_queues(interface: &str) -> u16 {
    let folder = Path::new("/sys/class/net").join(interface).join("queues");
    let Ok(queues) = fs::read_dir(folder) else { return 1 };
    let is_rx = |name: &str| name.starts_with("rx-");
    let count =
        queues.flatten().filter(|queue| queue.file_name().to_str().is_some_and(is_rx)).count();
    u16::try_from(count).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let parse = |name| Device::parse(name).ok();
        assert_eq!(parse("0000:03:00.0"), Some(Device::Pci("0000:03:00.0".into())));
        assert_eq!(parse("03:00.1"), Some(Device::Pci("0000:03:00.1".into())));
        let with_arguments = "0000:03:00.0,mac=02:00:00:00:00:01";
        assert_eq!(parse(with_arguments), Some(Device::Pci(with_arguments.into())));
        assert_eq!(parse("net_null0"), Some(Device::Virtual("net_null0".into())));
        assert_eq!(parse("lo"), Some(Device::Interface("lo".into())));
        for bad in ["", "no-such-if0", "../lo", "0000:03:00", "zz:00.0", "1:2:03:00.0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_interface_is_tried_by_af_xdp_first() {
        let candidates = Device::Interface("lo".into()).candidates(3);
        assert_eq!((candidates[0].kind, candidates[0].queues), (AF_XDP, 1));
        assert_eq!(candidates[1].devargs, "net_af_packet_lo,iface=lo,qpairs=3");
    }
}
