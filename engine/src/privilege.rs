//! What the process may do.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// Whether it runs as root: then the advice to become root is of no use.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What to do when the system forbids a port.
pub(crate) fn advice() -> &'static str {
    if is_root() {
        ". What DPDK printed says more; in a container, CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF may \
         be missing"
    } else {
        ". Packet sockets need root, or CAP_NET_RAW and CAP_NET_ADMIN; what DPDK printed says more"
    }
}
