//! Ports by DPDK: our own thin binding to libdpdk.
//!
//! All `unsafe` of the project is here and in `../prefetch.rs`. `shim.c` turns what DPDK has as inline functions
//! and large structures into plain functions; `ffi.rs` declares them.

#![allow(unsafe_code)] // the one place that talks to C

mod device;
mod eal;
mod ffi;
mod mbuf;
mod ports;
mod queues;
mod size;

pub use device::{Device, DeviceError};
pub use eal::{Eal, EalConfig, EalError, FrameMemory, Hugepages};
pub use mbuf::Mbuf;
pub use ports::{PortReader, PortSet, StartedPort};
pub use queues::{DpdkPorts, Queues};
pub use size::PortSetConfig;
