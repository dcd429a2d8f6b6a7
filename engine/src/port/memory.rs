//! Ports in memory, for tests and benches: frames go in and come out through channels.

use crossbeam_channel::{Receiver, Sender};
use dataplane::frame::Frame;
use dataplane::verdict::PortId;

use super::{Burst, Ports};

const HEADROOM: usize = 128;

/// A frame in a vector.
#[derive(Clone, Debug)]
pub struct MemoryFrame {
    buffer: Vec<u8>,
    start: usize,
    port: PortId,
}

impl MemoryFrame {
    /// A frame that comes in on `port`.
    #[must_use]
    pub fn new(port: PortId, bytes: &[u8]) -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer, start: HEADROOM, port }
    }
}

impl Frame for MemoryFrame {
    fn port(&self) -> PortId {
        self.port
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_add_signed(distance)?;
        if start + length > self.buffer.len() {
            return None;
        }
        self.start = start;
        self.buffer.truncate(start + length);
        Some(self.bytes_mut())
    }
}

/// One worker's ends of ports in memory.
pub struct MemoryPorts {
    ids: Vec<PortId>,
    /// What comes in and what goes out, for each port.
    wires: Vec<(Receiver<MemoryFrame>, Sender<MemoryFrame>)>,
}

impl MemoryPorts {
    /// Ports numbered from 0, each with a channel in and a channel out. A full or closed channel
    /// out takes no frames.
    #[must_use]
    pub fn new(wires: Vec<(Receiver<MemoryFrame>, Sender<MemoryFrame>)>) -> Self {
        let ids = (0..wires.len()).map(|n| PortId(n as u16)).collect();
        Self { ids, wires }
    }
}

impl Ports for MemoryPorts {
    type Frame = MemoryFrame;

    fn ids(&self) -> &[PortId] {
        &self.ids
    }

    fn receive(&mut self, port: PortId, burst: &mut Burst<MemoryFrame>) {
        let room = burst.remaining_capacity();
        burst.extend(self.wires[usize::from(port.0)].0.try_iter().take(room));
    }

    fn transmit(&mut self, port: PortId, burst: &mut Burst<MemoryFrame>) {
        let out = &self.wires[usize::from(port.0)].1;
        while let Some(frame) = burst.pop_at(0) {
            if let Err(refused) = out.try_send(frame) {
                burst.insert(0, refused.into_inner());
                return;
            }
        }
    }

    fn allocate(&mut self, length: usize) -> Option<MemoryFrame> {
        Some(MemoryFrame::new(PortId(0), &vec![0; length]))
    }

    fn release(&mut self, burst: &mut Burst<MemoryFrame>) {
        burst.clear();
    }

    fn waiting(&self) -> Option<u64> {
        Some(self.wires.iter().map(|(incoming, _)| incoming.len() as u64).sum())
    }
}
