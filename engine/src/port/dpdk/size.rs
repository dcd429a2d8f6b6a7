//! How many frames the ports need, and how much memory that is.

use super::device::Device;
use super::eal::FrameMemory;

/// Descriptors of each queue, if the port takes as many.
pub(super) const DESCRIPTORS: u16 = 1024;
/// Mbufs that each thread keeps at hand.
pub(super) const POOL_CACHE: u32 = 256;
/// Frames in the fill ring of an AF_XDP queue.
const FILL_RING: u32 = 2048;
/// Bytes that an mbuf takes in hugepages: header, headroom, data, alignment.
const HUGE_BYTES: u64 = 2560;
/// Bytes that it takes in ordinary memory: it must not cross a page, so it has one.
const ORDINARY_BYTES: u64 = 4096;
/// What DPDK itself is likely to use, in MiB.
const DPDK_MIB: u64 = 32;

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
    pub fn frames(&self, devices: &[Device]) -> u32 {
        let queues: u32 = devices.iter().map(|d| u32::from(d.queues(self.workers))).sum();
        let of_queues = queues * (2 * u32::from(DESCRIPTORS) + FILL_RING);
        of_queues + self.ring_frames + u32::from(self.workers) * POOL_CACHE * 2
    }

    /// Memory for those frames.
    #[must_use]
    pub fn memory(&self, devices: &[Device]) -> FrameMemory {
        let frames = u64::from(self.frames(devices));
        let mib = |bytes: u64| ((frames * bytes).div_ceil(1 << 20) + DPDK_MIB) as u32;
        FrameMemory { huge_mib: mib(HUGE_BYTES), ordinary_mib: mib(ORDINARY_BYTES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_holds_a_page_for_every_frame() {
        for workers in 1..=8_u16 {
            for ports in 1..=4_u32 {
                let devices: Vec<_> =
                    (0..ports).map(|n| Device::Virtual(format!("net_null{n}"))).collect();
                let rings = u32::from(workers) * u32::from(workers - 1) * 1024;
                let config = PortSetConfig { workers, ring_frames: rings };
                let frames = config.frames(&devices);
                let worker_frames = ports * (1024 + 1024 + 2048) + 512;
                assert_eq!(frames, u32::from(workers) * worker_frames + rings);
                let memory = config.memory(&devices);
                let room = |mib: u32| u64::from(mib - 32) << 20;
                assert!(room(memory.ordinary_mib) >= u64::from(frames) * 4096);
                assert!(room(memory.huge_mib) >= u64::from(frames) * 2560);
            }
        }
        let two_by_four = PortSetConfig { workers: 2, ring_frames: 2048 };
        let devices = [0, 1, 2, 3].map(|n| Device::Virtual(format!("net_null{n}")));
        assert_eq!(two_by_four.memory(&devices).ordinary_mib, 172);
    }
}
