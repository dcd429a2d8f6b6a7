//! Ethernet ports of DPDK: brought up together, then used by each worker through its own queues.

use core::ffi::{CStr, c_int};
use core::ptr::{self, NonNull};
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use dataplane::BURST;
use dataplane::packet::ethernet::Mac;
use dataplane::verdict::PortId;

use super::device::Device;
use super::eal::{Eal, describe, last_error};
use super::ffi::{self, RawPool, RawPortInfo};
use super::mbuf::Mbuf;
use crate::port::{Burst, Ports};

/// Descriptors of each queue, if the port takes as many.
const DESCRIPTORS: u16 = 1024;
/// Mbufs that each thread keeps at hand.
const POOL_CACHE: u32 = 256;
/// Bytes that an mbuf takes in its pool: header, headroom, data, alignment.
const MBUF_BYTES: u32 = 2560;

/// How many workers and frames the ports are to serve.
#[derive(Clone, Copy, Debug)]
pub struct PortSetConfig {
    /// Workers, each with a queue pair on every port that has enough of them.
    pub workers: u16,
    /// Frames that may wait in the rings between workers.
    pub ring_frames: u32,
}

impl PortSetConfig {
    /// Frames to have: what all queues, rings and caches may hold at once.
    #[must_use]
    pub fn frames(&self, ports: usize) -> u32 {
        let workers = u32::from(self.workers);
        let queues = ports as u32 * workers * 2 * u32::from(DESCRIPTORS);
        // AF_XDP keeps a fill ring of 2048 frames for each queue on top.
        let fill_rings = ports as u32 * workers * 2048;
        queues + fill_rings + self.ring_frames + workers * POOL_CACHE * 2
    }

    /// Memory for those frames in MiB, and as much again for DPDK itself as it is likely to use.
    #[must_use]
    pub fn memory_mib(&self, ports: usize) -> u32 {
        self.frames(ports) / (1024 * 1024 / MBUF_BYTES) + 32
    }
}

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
    /// Largest IP packet.
    pub mtu: u16,
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
    pool: Pool,
    ports: Vec<StartedPort>,
    /// For each port, what its transmit queues are locked by when workers share them.
    tx_locks: Vec<Option<Arc<Mutex<()>>>>,
}

/// A worker's queues, to be attached on its own thread.
pub struct Queues {
    pool: Pool,
    ids: Vec<PortId>,
    lanes: Vec<Lane>,
}

/// A worker's way to one port.
struct Lane {
    id: PortId,
    /// Absent when the port has fewer receive queues than there are workers.
    rx: Option<u16>,
    tx: u16,
    tx_lock: Option<Arc<Mutex<()>>>,
}

#[derive(Clone, Copy)]
struct Pool(NonNull<RawPool>);

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
        let frames = config.frames(devices.len());
        let pool = Pool::create(frames).ok_or_else(|| {
            format!("no memory for {frames} frames: {}. Raise --memory", last_error())
        })?;
        let mut set = Self { _eal: eal, pool, ports: Vec::new(), tx_locks: Vec::new() };
        for (device, name) in devices.iter().zip(names) {
            let port = set.start(device, name, config.workers)?;
            let shared = port.tx_queues < config.workers;
            set.tx_locks.push(shared.then(Arc::default));
            set.ports.push(port);
        }
        Ok(set)
    }

    /// The ports in the order of the devices.
    #[must_use]
    pub fn ports(&self) -> &[StartedPort] {
        &self.ports
    }

    /// The queues of a worker, numbered from 0. They must not outlive the set.
    #[must_use]
    pub fn queues(&self, worker: u16) -> Queues {
        let lane = |(port, lock): (&StartedPort, &Option<Arc<Mutex<()>>>)| Lane {
            id: port.id,
            rx: (worker < port.rx_queues).then_some(worker),
            tx: worker % port.tx_queues,
            tx_lock: lock.clone(),
        };
        Queues {
            pool: self.pool,
            ids: self.ports.iter().map(|port| port.id).collect(),
            lanes: self.ports.iter().zip(&self.tx_locks).map(lane).collect(),
        }
    }

    /// Starts a device by the first of its candidates that works.
    fn start(&self, device: &Device, name: &str, workers: u16) -> Result<StartedPort, String> {
        let mut failures: Vec<String> = Vec::new();
        for (kind, devargs) in device.candidates(workers) {
            match self.try_start(&devargs, workers) {
                Ok((id, info, rx_queues, tx_queues)) => {
                    let driver = CStr::from_bytes_until_nul(&info.driver).unwrap_or_default();
                    return Ok(StartedPort {
                        id: PortId(id),
                        name: name.to_owned(),
                        kind,
                        driver: driver.to_string_lossy().into_owned(),
                        mac: Mac(info.mac),
                        mtu: info.mtu,
                        rx_queues,
                        tx_queues,
                        fallback: (!failures.is_empty()).then(|| failures.join("; ")),
                    });
                }
                Err(error) => failures.push(format!("{kind}: {error}")),
            }
        }
        Err(format!("port {name}: {}", failures.join("; ")))
    }

    fn try_start(
        &self,
        devargs: &str,
        workers: u16,
    ) -> Result<(u16, RawPortInfo, u16, u16), String> {
        let id = probe(devargs)?;
        let started = self.configure(id, workers);
        if started.is_err() {
            // SAFETY: the port exists and no worker uses it yet.
            unsafe { ffi::pv_port_close(id) };
        }
        started
    }

    fn configure(&self, id: u16, workers: u16) -> Result<(u16, RawPortInfo, u16, u16), String> {
        let mut info = RawPortInfo::default();
        // SAFETY: `info` is a structure of the layout that the shim fills.
        check("cannot be asked", unsafe { ffi::pv_port_info(id, &raw mut info) })?;
        let rx_queues = workers.min(info.rx_queues_max.max(1));
        let tx_queues = workers.min(info.tx_queues_max.max(1));
        let pool = self.pool.0.as_ptr();
        // SAFETY: port and pool exist, and the pool outlives the port.
        let started = unsafe { ffi::pv_port_start(id, rx_queues, tx_queues, DESCRIPTORS, pool) };
        check("does not start", started)?;
        Ok((id, info, rx_queues, tx_queues))
    }
}

impl Drop for PortSet<'_> {
    fn drop(&mut self) {
        for port in &self.ports {
            // SAFETY: the port was started by this set, and workers have ended before it.
            unsafe { ffi::pv_port_close(port.id.0) };
        }
        // SAFETY: no port uses the pool any more.
        unsafe { ffi::pv_pool_free(self.pool.0.as_ptr()) };
    }
}

/// Makes DPDK find a device, and returns its port.
fn probe(devargs: &str) -> Result<u16, String> {
    let name = devargs.split(',').next().unwrap_or(devargs);
    let zero = |_| format!("zero byte in {devargs:?}");
    let (devargs_c, name_c) =
        (CString::new(devargs).map_err(zero)?, CString::new(name).map_err(zero)?);
    // SAFETY: zero-terminated strings that live through the calls; `id` is written on success.
    unsafe {
        check("cannot be opened", ffi::pv_probe(devargs_c.as_ptr()))?;
        let mut id = 0;
        match ffi::pv_port_by_name(name_c.as_ptr(), &raw mut id) {
            0 => Ok(id),
            _ => Err(format!(
                "DPDK made no port of it. Packet sockets need root or CAP_NET_RAW, a PCI device \
                 the driver vfio-pci, and {name:?} must be a device that DPDK has"
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
            ". Packet sockets need root, or CAP_NET_RAW and CAP_NET_ADMIN; what DPDK printed says \
             more"
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
}

/// A worker's ports, used on the thread that attached them.
pub struct DpdkPorts {
    queues: Queues,
    /// DPDK registers threads, so the value must stay on its own.
    _not_send: core::marker::PhantomData<*const ()>,
}

impl DpdkPorts {
    /// Registers the calling thread with DPDK, which gives it caches of the pools.
    ///
    /// # Errors
    /// When DPDK has no place for another thread.
    pub fn attach(queues: Queues) -> Result<Self, String> {
        // SAFETY: the environment is initialised, as queues exist.
        match unsafe { ffi::pv_thread_register() } {
            0 => Ok(Self { queues, _not_send: core::marker::PhantomData }),
            _ => Err(format!("DPDK cannot register another thread: {}", last_error())),
        }
    }

    fn lane(&self, port: PortId) -> &Lane {
        // A handful of ports: a search is as fast as a table.
        let found = self.queues.lanes.iter().find(|lane| lane.id == port);
        found.expect("the dataplane names only ports of its topology")
    }
}

impl Drop for DpdkPorts {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `attach`, and the value has not left it.
        unsafe { ffi::pv_thread_unregister() };
    }
}

impl Ports for DpdkPorts {
    type Frame = Mbuf;

    fn ids(&self) -> &[PortId] {
        &self.queues.ids
    }

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let Some(queue) = self.lane(port).rx else { return };
        let mut raw = [ptr::null_mut(); BURST];
        let room = burst.remaining_capacity() as u16;
        // SAFETY: the array has room for BURST pointers; only this worker uses the queue.
        let count = unsafe { ffi::pv_rx_burst(port.0, queue, raw.as_mut_ptr(), room) };
        for &mbuf in &raw[..usize::from(count)] {
            // SAFETY: DPDK hands out valid mbufs, and each to us alone.
            burst.push(unsafe { Mbuf::from_raw(NonNull::new_unchecked(mbuf)) });
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let lane = self.lane(port);
        let _guard = lane.tx_lock.as_ref().map(|lock| {
            // A poisoned lock guards nothing but the queue, which is sound.
            lock.lock().unwrap_or_else(PoisonError::into_inner)
        });
        // SAFETY: `Mbuf` is a pointer (`repr(transparent)`) and the burst holds `len` of them.
        // DPDK takes over the first `sent`, which are then forgotten; `Mbuf` has no destructor.
        let sent = unsafe {
            let raw = burst.as_mut_ptr().cast();
            ffi::pv_tx_burst(port.0, lane.tx, raw, burst.len() as u16)
        };
        drop(burst.drain(..usize::from(sent)));
    }

    fn allocate(&mut self, length: usize) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as the queues.
        let raw = NonNull::new(unsafe { ffi::pv_alloc(self.queues.pool.0.as_ptr()) })?;
        // SAFETY: a fresh mbuf is ours alone.
        let mut mbuf = unsafe { Mbuf::from_raw(raw) };
        mbuf.fill(length);
        Some(mbuf)
    }

    #[inline]
    fn release(&mut self, burst: &mut Burst<Mbuf>) {
        // SAFETY: as in `transmit`; DPDK takes over all of them.
        unsafe { ffi::pv_free_bulk(burst.as_mut_ptr().cast(), burst.len() as u32) };
        burst.clear();
    }
}
