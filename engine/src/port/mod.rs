//! Ports: where bursts of frames come from and go to.

#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod huge_pages;
pub mod memory;
pub mod prefetch;

use arrayvec::ArrayVec;
use ctl::load::{Link, PortCounts};
use dataplane::BURST;
use dataplane::frame::Frame;
use dataplane::verdict::PortId;

/// Frames received or to be sent together.
pub type Burst<F> = ArrayVec<F, BURST>;

/// One worker's queues on all ports, and its buffers.
pub trait Ports {
    /// The frames of these ports.
    type Frame: Frame;

    /// The ports, in the order of the configuration.
    fn ids(&self) -> &[PortId];
    /// Appends what has come in on a port to an empty burst.
    fn receive(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// Sends frames from the front of a burst; those the port does not take stay.
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Self::Frame>);
    /// A frame of `length` bytes with room in front, or `None` when buffers are out.
    fn allocate(&mut self, length: usize) -> Option<Self::Frame>;
    /// Takes all frames of a burst back.
    fn release(&mut self, burst: &mut Burst<Self::Frame>);
    /// Frames that wait to be received, at the ports that can say it; `None` when none can.
    fn waiting(&self) -> Option<u64>;
}

/// Reads what ports say of themselves, from any thread and in the order of the configuration.
/// Nothing comes from ports that are closed.
pub trait ReadPorts: Send {
    /// What each has counted since it was started; what workers count is left at 0.
    fn counts(&self) -> Vec<PortCounts>;
    /// The link of each.
    fn links(&self) -> Vec<Link>;
}
