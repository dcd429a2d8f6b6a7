//! A laboratory for pollvs on one machine: network namespaces with a client, a director, a switch
//! and two web servers, the programs that run in them, and the tools that drive them.
//!
//! Nothing here replaces a program of ours: the daemon and the control command are the built
//! binaries, the servers are nginx, the clients are curl and ab.
//!
//! ```text
//!  client                     director                switch            real servers
//!  c0 10.9.0.7/16 ----------- d0 (VIP by ARP)
//!                             d1 10.1.255.254 ------- br0 ------------- rs1 eth0 10.1.0.1/16
//!  c1 10.1.0.254/16 --------------------------------- br0 ------------- rs2 eth0 10.1.0.2/16
//! ```
//!
//! The client's second leg is the router through which direct and tunnel servers answer it.
//!
//! [`guest`] puts the real kernel's director beside ours on the same networks.
//!
//! Who stops what: every child process and every namespace belongs to a value whose `Drop` ends
//! it, so a panic and a failed case clean up too. Signals only raise a flag ([`interrupt`]), which
//! makes the running step fail, and the way out is the same. After SIGKILL the kernel ends the
//! programs, and the next lab removes the namespaces (`pollvs-PID-...`).

pub mod client;
pub mod daemon;
pub mod drop_in;
pub mod frames;
pub mod guest;
pub mod interrupt;
pub mod ipip;
pub mod lab;
pub mod ldirectord;
pub mod model;
pub mod namespace;
pub mod pair;
pub mod process;
pub mod requirements;
pub mod server;
pub mod session;
pub mod traffic;
