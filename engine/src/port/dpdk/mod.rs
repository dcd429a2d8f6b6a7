//! Ports by DPDK: our own thin binding to libdpdk.
//!
//! All `unsafe` of the project is in this folder. `shim.c` turns what DPDK has as inline functions
//! and large structures into plain functions; `ffi.rs` declares them.

#![allow(unsafe_code)] // the one place that talks to C

mod device;
mod eal;
mod ffi;
mod mbuf;
mod ports;

pub use device::{Device, DeviceError};
pub use eal::{Eal, EalConfig, EalError, Hugepages};
pub use mbuf::Mbuf;
pub use ports::{DpdkPorts, PortSet, PortSetConfig, StartedPort};
