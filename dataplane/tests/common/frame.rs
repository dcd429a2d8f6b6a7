//! Frames in vectors, and the machine around the shards.

use dataplane::frame::{Checksum, Frame, Host};
use dataplane::verdict::PortId;

/// Room in front of a frame unless a test says otherwise.
pub(crate) const HEADROOM: usize = 64;

/// A frame with room in front of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TestFrame {
    buffer: Vec<u8>,
    start: usize,
    pub(crate) port: PortId,
    /// What the port says of the header checksum.
    pub(crate) checksum: Checksum,
    pub(crate) is_contiguous: bool,
}

impl TestFrame {
    pub(crate) fn new(port: PortId, bytes: &[u8]) -> Self {
        Self::with_headroom(port, bytes, HEADROOM)
    }

    pub(crate) fn with_headroom(port: PortId, bytes: &[u8], headroom: usize) -> Self {
        // What lies in front is not zero, so that a header field left out shows.
        let mut buffer = vec![0xa5; headroom];
        buffer.extend_from_slice(bytes);
        let checksum = Checksum::Unknown;
        Self { buffer, start: headroom, port, checksum, is_contiguous: true }
    }
}

impl Frame for TestFrame {
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

    fn header_checksum(&self) -> Checksum {
        self.checksum
    }

    fn is_contiguous(&self) -> bool {
        self.is_contiguous
    }
}

/// Remembers what shards send and give back by themselves.
#[derive(Debug)]
pub(crate) struct TestHost {
    /// Frames that may still be allocated.
    pub(crate) buffers: usize,
    pub(crate) sent: Vec<(PortId, Vec<u8>)>,
    pub(crate) released: Vec<Vec<u8>>,
}

impl TestHost {
    pub(crate) fn new() -> Self {
        Self { buffers: 1000, sent: Vec::new(), released: Vec::new() }
    }
}

impl Host for TestHost {
    type Frame = TestFrame;

    fn allocate(&mut self, length: usize) -> Option<TestFrame> {
        self.buffers = self.buffers.checked_sub(1)?;
        Some(TestFrame::new(PortId(u16::MAX), &vec![0x5a; length]))
    }

    fn send(&mut self, port: PortId, frame: TestFrame) {
        self.sent.push((port, frame.bytes().to_vec()));
    }

    fn release(&mut self, frame: TestFrame) {
        self.released.push(frame.bytes().to_vec());
    }
}
