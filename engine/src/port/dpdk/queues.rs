//! A worker's own queues of all ports.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use dataplane::BURST;
use dataplane::verdict::PortId;

use super::eal::last_error;
use super::ffi;
use super::mbuf::Mbuf;
use super::ports::{Pool, StartedPort};
use crate::port::{Burst, Ports};

/// A worker's queues, to be attached on its own thread. They cannot outlive their set, and nobody
/// else has them.
pub struct Queues<'set> {
    pool: Pool,
    ids: Vec<PortId>,
    lanes: Vec<Lane<'set>>,
}

/// A worker's way to one port.
struct Lane<'set> {
    id: PortId,
    /// None of them when the port has fewer receive queues than there are workers.
    rx: Vec<u16>,
    /// Which of them is asked first the next time.
    first: usize,
    tx: u16,
    tx_lock: Option<&'set Mutex<()>>,
}

impl<'set> Queues<'set> {
    /// The queues `worker`, `worker + workers` and so on of every port. `tx_locks` has one for each
    /// port whose transmit queues workers share.
    pub(super) fn new(
        pool: Pool,
        ports: &[StartedPort],
        tx_locks: &'set [Option<Mutex<()>>],
        worker: u16,
        workers: u16,
    ) -> Self {
        let lane = |(port, lock): (&StartedPort, &'set Option<Mutex<()>>)| Lane {
            id: port.id,
            rx: own_queues(worker, workers, port.rx_queues),
            first: 0,
            tx: worker % port.tx_queues,
            tx_lock: lock.as_ref(),
        };
        Self {
            pool,
            ids: ports.iter().map(|port| port.id).collect(),
            lanes: ports.iter().zip(tx_locks).map(lane).collect(),
        }
    }
}

/// The receive queues of a worker: with those of all others, each queue once.
fn own_queues(worker: u16, workers: u16, queues: u16) -> Vec<u16> {
    (worker..queues).step_by(usize::from(workers)).collect()
}

/// A worker's ports, used on the thread that attached them.
pub struct DpdkPorts<'set> {
    queues: Queues<'set>,
    /// DPDK registers threads, so the value must stay on its own.
    _not_send: PhantomData<*const ()>,
}

impl<'set> DpdkPorts<'set> {
    /// Registers the calling thread with DPDK, which gives it caches of the pools.
    ///
    /// # Errors
    /// When DPDK has no place for another thread.
    pub fn attach(queues: Queues<'set>) -> Result<Self, String> {
        // SAFETY: the environment is initialised, as queues exist.
        match unsafe { ffi::pv_thread_register() } {
            0 => Ok(Self { queues, _not_send: PhantomData }),
            _ => Err(format!("DPDK cannot register another thread: {}", last_error())),
        }
    }

    fn lane(&mut self, port: PortId) -> &mut Lane<'set> {
        // A handful of ports: a search is as fast as a table.
        let found = self.queues.lanes.iter_mut().find(|lane| lane.id == port);
        found.expect("the dataplane names only ports of its topology")
    }
}

impl Drop for DpdkPorts<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `attach`, and the value has not left it.
        unsafe { ffi::pv_thread_unregister() };
    }
}

impl Ports for DpdkPorts<'_> {
    type Frame = Mbuf;

    fn ids(&self) -> &[PortId] {
        &self.queues.ids
    }

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let lane = self.lane(port);
        let queues = lane.rx.len();
        for step in 0..queues {
            let place = (lane.first + step) % queues;
            let room = burst.remaining_capacity() as u16;
            if room == 0 {
                // A busy queue does not keep the next ones waiting for ever.
                lane.first = place;
                return;
            }
            let mut raw = [ptr::null_mut(); BURST];
            // SAFETY: the array has room for BURST pointers; only this worker has the queue.
            let count = unsafe { ffi::pv_rx_burst(port.0, lane.rx[place], raw.as_mut_ptr(), room) };
            for &mbuf in &raw[..usize::from(count)] {
                // SAFETY: DPDK hands out valid mbufs, and each to us alone.
                burst.push(unsafe { Mbuf::from_raw(NonNull::new_unchecked(mbuf)) });
            }
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        let lane = self.lane(port);
        let _guard = lane.tx_lock.map(|lock| {
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
        // SAFETY: the pool lives as long as the process.
        let raw = NonNull::new(unsafe { ffi::pv_alloc(self.queues.pool.as_ptr()) })?;
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

    fn waiting(&self) -> Option<u64> {
        let mut all = None;
        for lane in &self.queues.lanes {
            for &queue in &lane.rx {
                // SAFETY: the port is started and has the queue, which only this worker uses, on
                // this very thread.
                let count = unsafe { ffi::pv_rx_queue_count(lane.id.0, queue) };
                // Negative when the driver cannot say.
                if let Ok(count) = u64::try_from(count) {
                    *all.get_or_insert(0) += count;
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::own_queues;

    #[test]
    fn every_queue_has_one_worker() {
        for (workers, queues) in [(1, 1), (1, 4), (2, 4), (3, 4), (4, 2)] {
            let mut all: Vec<u16> =
                (0..workers).flat_map(|worker| own_queues(worker, workers, queues)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..queues).collect::<Vec<_>>(), "{workers} workers");
        }
    }
}
