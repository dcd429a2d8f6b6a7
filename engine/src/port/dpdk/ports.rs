//! Ethernet ports of DPDK: brought up together, and parted among workers.

use core::ffi::{CStr, c_int};
use core::ptr::NonNull;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ctl::load::{Link, PortCounts};
use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;

use super::device::{Candidate, Device};
use super::eal::{Eal, describe, last_error};
use super::ffi::{self, RawPool, RawPortCounts, RawPortInfo, RawPortLink};
use super::queues::Queues;
use super::size::{DESCRIPTORS, POOL_CACHE, PortSetConfig};
use crate::config::MTU_MAX;
use crate::port::ReadPorts;
use crate::privilege;

/// Largest IP packet in a slot of DPDK's AF_PACKET ring, whose 2048 bytes hold headers of the
/// kernel's too.
const AF_PACKET_MTU_MAX: u16 = 1964;

/// A port that runs.
#[derive(Clone, Debug)]
pub struct StartedPort {
    /// DPDK's number of it.
    pub id: PortId,
    /// What it was named by.
    pub name: String,
    /// `AF_XDP`, `AF_PACKET`, or the kind of device.
    pub kind: &'static str,
    /// DPDK's driver.
    pub driver: String,
    /// Link-layer address.
    pub mac: Mac,
    /// Largest IP packet of the device.
    pub mtu: u32,
    /// Largest IP packet that the buffers have room for.
    pub mtu_max: u16,
    /// Whether the link is up.
    pub is_up: bool,
    /// Whether the device spreads flows over its queues.
    pub has_rss: bool,
    /// Whether the device checks header checksums.
    pub has_checksum: bool,
    /// Receive queues in use.
    pub rx_queues: u16,
    /// Transmit queues in use.
    pub tx_queues: u16,
    /// Why a better kind of port was not possible.
    pub fallback: Option<String>,
}

/// All ports, started; stopped and closed when dropped.
pub struct PortSet<'eal> {
    _eal: &'eal Eal,
    /// Never freed: frames in the rings between workers may outlive the set, and the process ends
    /// soon after it.
    pool: Pool,
    ports: Vec<StartedPort>,
    workers: u16,
    /// For each port, what its transmit queues are locked by when workers share them.
    tx_locks: Vec<Option<Mutex<()>>>,
    reader: PortReader,
}

/// Reads links and counts of the ports that are open.
#[derive(Clone, Default)]
pub struct PortReader(Arc<Mutex<Vec<(PortId, Device)>>>);

#[derive(Clone, Copy)]
pub(super) struct Pool(NonNull<RawPool>);

// SAFETY: DPDK pools may be used by any thread at once.
unsafe impl Send for Pool {}

impl<'eal> PortSet<'eal> {
    /// Brings up all devices.
    ///
    /// # Errors
    /// What failed, where, and what to do about it. Ports already started are closed again.
    pub fn open(
        eal: &'eal Eal,
        devices: &[Device],
        names: &[String],
        config: PortSetConfig,
    ) -> Result<Self, String> {
        if devices.is_empty() {
            return Err("no ports: name at least one with --port".into());
        }
        let frames = config.frames(devices);
        let pool = Pool::create(frames).ok_or_else(|| {
            format!("no memory for {frames} frames: {}. Raise --memory", last_error())
        })?;
        let mut set = Self {
            _eal: eal,
            pool,
            ports: Vec::new(),
            workers: config.workers,
            tx_locks: Vec::new(),
            reader: PortReader::default(),
        };
        for (device, name) in devices.iter().zip(names) {
            let port = set.start(device, name)?;
            let shared = port.tx_queues < config.workers;
            set.tx_locks.push(shared.then(Mutex::default));
            set.reader.lock().push((port.id, device.clone()));
            set.ports.push(port);
        }
        // Drivers leave their files open to programs that we start, and one that outlives us would
        // keep the ports' queues from the next daemon. A kernel before 5.11 cannot do this.
        // SAFETY: marks open files, and neither closes nor reads any.
        let _ = unsafe { ffi::pv_close_on_exec() };
        Ok(set)
    }

    /// The ports in the order of the devices.
    #[must_use]
    pub fn ports(&self) -> &[StartedPort] {
        &self.ports
    }

    /// Reads the ports' links and counts as long as they are open.
    #[must_use]
    pub fn reader(&self) -> PortReader {
        self.reader.clone()
    }

    /// Every worker's queues: each queue has one owner.
    pub fn split(&mut self) -> Vec<Queues<'_>> {
        let set = &*self;
        let queues = |worker| Queues::new(set.pool, &set.ports, &set.tx_locks, worker, set.workers);
        (0..set.workers).map(queues).collect()
    }

    /// Starts a device by the first of its candidates that works.
    fn start(&self, device: &Device, name: &str) -> Result<StartedPort, String> {
        let mut failures: Vec<String> = Vec::new();
        for candidate in device.candidates(self.workers) {
            let (kind, started) = (candidate.kind, self.try_start(&candidate));
            let (id, info, queues) = match started {
                Ok(started) => started,
                Err(error) => {
                    failures.push(format!("{kind}: {error}"));
                    continue;
                }
            };
            let driver = CStr::from_bytes_until_nul(&info.driver).unwrap_or_default();
            let mtu = device.linux_mtu().unwrap_or(u32::from(info.mtu));
            let most = if driver == c"net_af_packet" { AF_PACKET_MTU_MAX } else { MTU_MAX };
            return Ok(StartedPort {
                id: PortId(id),
                name: name.to_owned(),
                kind,
                driver: driver.to_string_lossy().into_owned(),
                mac: Mac(info.mac),
                mtu,
                mtu_max: mtu.min(u32::from(most)) as u16,
                is_up: link(PortId(id), device).is_up,
                has_rss: info.can_rss != 0,
                has_checksum: info.can_checksum != 0,
                rx_queues: queues.0,
                tx_queues: queues.1,
                fallback: (!failures.is_empty()).then(|| failures.join("; ")),
            });
        }
        Err(format!("port {name}: {}", failures.join("; ")))
    }

    fn try_start(&self, candidate: &Candidate) -> Result<Started, String> {
        let id = probe(&candidate.devargs)?;
        let started = self.configure(id, candidate.queues);
        if started.is_err() {
            // SAFETY: the port exists and no worker uses it yet.
            unsafe { ffi::pv_port_close(id) };
        }
        started
    }

    fn configure(&self, id: u16, queues: u16) -> Result<Started, String> {
        let mut info = RawPortInfo::default();
        // SAFETY: `info` is a structure of the layout that the shim fills.
        check("cannot be asked", unsafe { ffi::pv_port_info(id, &raw mut info) })?;
        let rx_queues = queues.min(info.rx_queues_max.max(1));
        let tx_queues = queues.min(info.tx_queues_max.max(1));
        let pool = self.pool.as_ptr();
        // SAFETY: port and pool exist, and the pool outlives the port.
        let started = unsafe { ffi::pv_port_start(id, rx_queues, tx_queues, DESCRIPTORS, pool) };
        check("does not start", started)?;
        Ok((id, info, (rx_queues, tx_queues)))
    }
}

/// A port's number, what it says of itself, and its receive and transmit queues in use.
type Started = (u16, RawPortInfo, (u16, u16));

impl Drop for PortSet<'_> {
    fn drop(&mut self) {
        // Whoever reads of the ports is done with them before they are closed.
        self.reader.lock().clear();
        for port in &self.ports {
            // SAFETY: the port was started by this set, and queues borrow the set, so that no
            // worker has any.
            unsafe { ffi::pv_port_close(port.id.0) };
        }
    }
}

impl PortReader {
    fn lock(&self) -> MutexGuard<'_, Vec<(PortId, Device)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadPorts for PortReader {
    fn counts(&self) -> Vec<PortCounts> {
        let ports = self.lock();
        let counts = |(id, _): &(PortId, Device)| {
            let mut raw = RawPortCounts::default();
            // SAFETY: the port is open while it is listed, and the list is locked; `raw` has the
            // layout that the shim fills. A port that keeps no count leaves zeros.
            unsafe { ffi::pv_port_counts(id.0, &raw mut raw) };
            PortCounts {
                frames_in: raw.frames_in,
                bytes_in: raw.bytes_in,
                frames_out: raw.frames_out,
                bytes_out: raw.bytes_out,
                missed: raw.missed,
                receive_errors: raw.receive_errors,
                no_buffer: raw.no_buffer,
                transmit_errors: raw.transmit_errors,
                queue_full: 0,
            }
        };
        ports.iter().map(counts).collect()
    }

    fn links(&self) -> Vec<Link> {
        self.lock().iter().map(|(id, device)| link(*id, device)).collect()
    }
}

/// The link of a port that is open.
fn link(id: PortId, device: &Device) -> Link {
    device.linux_link().unwrap_or_else(|| {
        let mut raw = RawPortLink::default();
        // SAFETY: the callers see to it that the port is open; `raw` has the layout that the shim
        // fills.
        unsafe { ffi::pv_port_link(id.0, &raw mut raw) };
        let speed_mbps = Some(raw.speed_mbps).filter(|&speed| speed > 0);
        Link {
            is_up: raw.is_up != 0,
            speed_mbps,
            full_duplex: speed_mbps.map(|_| raw.full_duplex != 0),
        }
    })
}

/// Makes DPDK find a device, and returns its port.
fn probe(devargs: &str) -> Result<u16, String> {
    const EXISTS: c_int = -17;
    let name = devargs.split(',').next().unwrap_or(devargs);
    let zero = |_| format!("zero byte in {devargs:?}");
    let (devargs_c, name_c) =
        (CString::new(devargs).map_err(zero)?, CString::new(name).map_err(zero)?);
    // SAFETY: zero-terminated strings that live through the calls; `id` is written on success.
    unsafe {
        match ffi::pv_probe(devargs_c.as_ptr()) {
            // A PCI device that was found at the start.
            EXISTS => {}
            result => check("cannot be opened", result)?,
        }
        let mut id = 0;
        match ffi::pv_port_by_name(name_c.as_ptr(), &raw mut id) {
            0 => Ok(id),
            _ => Err(format!(
                "DPDK made no port of it. A PCI device needs the driver vfio-pci, and {name:?} \
                 must be a device that DPDK has{}",
                privilege::advice()
            )),
        }
    }
}

/// The error of a call that returned it, with what to do.
fn check(what: &str, result: c_int) -> Result<(), String> {
    const EPERM: c_int = 1;
    const ENOMEM: c_int = 12;
    const EACCES: c_int = 13;
    const EFAULT: c_int = 14;
    const ENODEV: c_int = 19;
    const ENOTSUP: c_int = 95;
    if result >= 0 {
        return Ok(());
    }
    let advice = match -result {
        EPERM | EACCES => {
            return Err(format!("{what}: {}{}", describe(result), privilege::advice()));
        }
        ENOMEM => ". Raise --memory",
        EFAULT => ". DPDK has no driver of that name",
        ENODEV => ". Is it there, up, and not in use?",
        ENOTSUP => ". No DPDK driver takes it: is it bound to vfio-pci?",
        _ => ". What DPDK printed says more",
    };
    Err(format!("{what}: {}{advice}", describe(result)))
}

impl Pool {
    fn create(frames: u32) -> Option<Self> {
        const ANY_SOCKET: c_int = -1;
        // SAFETY: a zero-terminated name, used only during the call.
        let pool =
            unsafe { ffi::pv_pool_create(c"frames".as_ptr(), frames, POOL_CACHE, ANY_SOCKET) };
        NonNull::new(pool).map(Self)
    }

    pub(super) fn as_ptr(self) -> *mut RawPool {
        self.0.as_ptr()
    }
}
