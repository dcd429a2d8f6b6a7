//! What the dataplane asks of its host: frames it may rewrite, and a few services around them.

use crate::verdict::PortId;

/// A frame that the engine lends: an mbuf in production, a `Vec` in tests.
pub trait Frame {
    /// The port it came in on.
    fn port(&self) -> PortId;
    /// The frame from its Ethernet header on, without frame check sequence.
    fn bytes(&self) -> &[u8];
    /// The same, to rewrite.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Moves the start by `distance` bytes, where negative opens room in front, and makes the frame
    /// `length` bytes long, which come back. `None`, and nothing changed, when there is no such room
    /// in front, or when the frame would end behind its present end. Opened bytes hold anything.
    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]>;
    /// What the port found out about the IPv4 header checksum.
    fn header_checksum(&self) -> Checksum {
        Checksum::Unknown
    }
    /// False when the frame's bytes lie in more than one buffer, which the dataplane does not take.
    fn is_contiguous(&self) -> bool {
        true
    }
}

/// A port's word on a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Verified by the port.
    Good,
    /// Verified by the port, and wrong.
    Bad,
    /// Not looked at: software has to.
    Unknown,
}

/// The machine around a shard.
pub trait Host {
    /// The frames it gives and takes.
    type Frame: Frame;

    /// An empty frame of `length` bytes with room for a link header, or `None` when buffers are out.
    fn allocate(&mut self, length: usize) -> Option<Self::Frame>;
    /// Sends a frame of the shard's own making.
    fn send(&mut self, port: PortId, frame: Self::Frame);
    /// Takes back a frame that has served its purpose or was dropped.
    fn release(&mut self, frame: Self::Frame);
    /// Asks the processor to bring a value's first cache line closer; free to do nothing.
    ///
    /// It stands here because the instruction is `unsafe` in Rust and this crate has none.
    fn prefetch<T>(&self, at: &T) {
        let _ = at;
    }
}
