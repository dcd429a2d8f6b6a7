//! Declarations of `shim.c`.

use core::ffi::{c_char, c_int, c_uint};
use core::mem::{offset_of, size_of};

/// The first cache line of an mbuf, as `shim.c` asserts it to be.
#[repr(C)]
pub(super) struct RawMbuf {
    pub(super) buf_addr: *mut u8,
    _buf_iova: u64,
    pub(super) data_off: u16,
    _refcnt: u16,
    pub(super) nb_segs: u16,
    pub(super) port: u16,
    pub(super) ol_flags: u64,
    _packet_type: u32,
    pub(super) pkt_len: u32,
    pub(super) data_len: u16,
    _vlan_tci: u16,
    _hash: [u32; 2],
    _vlan_tci_outer: u16,
    pub(super) buf_len: u16,
}

const _: () = assert!(offset_of!(RawMbuf, buf_addr) == 0);
const _: () = assert!(offset_of!(RawMbuf, data_off) == 16);
const _: () = assert!(offset_of!(RawMbuf, nb_segs) == 20);
const _: () = assert!(offset_of!(RawMbuf, port) == 22);
const _: () = assert!(offset_of!(RawMbuf, ol_flags) == 24);
const _: () = assert!(offset_of!(RawMbuf, pkt_len) == 36);
const _: () = assert!(offset_of!(RawMbuf, data_len) == 40);
const _: () = assert!(offset_of!(RawMbuf, buf_len) == 54);

/// Checksum flags of an mbuf, as `shim.c` asserts them to be.
pub(super) const RX_IP_CKSUM_BAD: u64 = 1 << 4;
pub(super) const RX_IP_CKSUM_GOOD: u64 = 1 << 7;

/// A `struct rte_mempool`, only ever behind a pointer.
#[repr(C)]
pub(super) struct RawPool {
    _opaque: [u8; 0],
}

/// `struct pv_port_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawPortInfo {
    pub(super) driver: [u8; 32],
    pub(super) mac: [u8; 6],
    pub(super) mtu: u16,
    pub(super) rx_queues_max: u16,
    pub(super) tx_queues_max: u16,
    pub(super) can_rss: u8,
    pub(super) can_checksum: u8,
}

const _: () = assert!(size_of::<RawPortInfo>() == 46);
const _: () = assert!(offset_of!(RawPortInfo, driver) == 0);
const _: () = assert!(offset_of!(RawPortInfo, mac) == 32);
const _: () = assert!(offset_of!(RawPortInfo, mtu) == 38);
const _: () = assert!(offset_of!(RawPortInfo, rx_queues_max) == 40);
const _: () = assert!(offset_of!(RawPortInfo, tx_queues_max) == 42);
const _: () = assert!(offset_of!(RawPortInfo, can_rss) == 44);
const _: () = assert!(offset_of!(RawPortInfo, can_checksum) == 45);

/// `struct pv_port_counts`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawPortCounts {
    pub(super) frames_in: u64,
    pub(super) bytes_in: u64,
    pub(super) frames_out: u64,
    pub(super) bytes_out: u64,
    pub(super) missed: u64,
    pub(super) receive_errors: u64,
    pub(super) no_buffer: u64,
    pub(super) transmit_errors: u64,
}

const _: () = assert!(size_of::<RawPortCounts>() == 64);
const _: () = assert!(offset_of!(RawPortCounts, frames_in) == 0);
const _: () = assert!(offset_of!(RawPortCounts, bytes_in) == 8);
const _: () = assert!(offset_of!(RawPortCounts, frames_out) == 16);
const _: () = assert!(offset_of!(RawPortCounts, bytes_out) == 24);
const _: () = assert!(offset_of!(RawPortCounts, missed) == 32);
const _: () = assert!(offset_of!(RawPortCounts, receive_errors) == 40);
const _: () = assert!(offset_of!(RawPortCounts, no_buffer) == 48);
const _: () = assert!(offset_of!(RawPortCounts, transmit_errors) == 56);

/// `struct pv_port_link`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawPortLink {
    pub(super) speed_mbps: u32,
    pub(super) is_up: u8,
    pub(super) full_duplex: u8,
}

const _: () = assert!(size_of::<RawPortLink>() == 8);
const _: () = assert!(offset_of!(RawPortLink, speed_mbps) == 0);
const _: () = assert!(offset_of!(RawPortLink, is_up) == 4);
const _: () = assert!(offset_of!(RawPortLink, full_duplex) == 5);

unsafe extern "C" {
    pub(super) fn pv_errno() -> c_int;
    pub(super) fn pv_strerror(error: c_int) -> *const c_char;
    pub(super) fn pv_tsc_hz() -> u64;
    pub(super) fn pv_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int;
    pub(super) fn pv_probe(devargs: *const c_char) -> c_int;
    pub(super) fn pv_port_by_name(name: *const c_char, port: *mut u16) -> c_int;
    pub(super) fn pv_port_info(port: u16, info: *mut RawPortInfo) -> c_int;
    pub(super) fn pv_pool_create(
        name: *const c_char,
        mbufs: c_uint,
        cache: c_uint,
        socket: c_int,
    ) -> *mut RawPool;
    pub(super) fn pv_port_start(
        port: u16,
        rx_queues: u16,
        tx_queues: u16,
        descriptors: u16,
        pool: *mut RawPool,
    ) -> c_int;
    pub(super) fn pv_port_counts(port: u16, counts: *mut RawPortCounts) -> c_int;
    pub(super) fn pv_port_link(port: u16, link: *mut RawPortLink);
    pub(super) fn pv_close_on_exec() -> c_int;
    pub(super) fn pv_port_close(port: u16);
    pub(super) fn pv_thread_register() -> c_int;
    pub(super) fn pv_thread_unregister();
    pub(super) fn pv_rx_burst(port: u16, queue: u16, mbufs: *mut *mut RawMbuf, count: u16) -> u16;
    pub(super) fn pv_tx_burst(port: u16, queue: u16, mbufs: *mut *mut RawMbuf, count: u16) -> u16;
    pub(super) fn pv_rx_queue_count(port: u16, queue: u16) -> c_int;
    pub(super) fn pv_alloc(pool: *mut RawPool) -> *mut RawMbuf;
    pub(super) fn pv_free_bulk(mbufs: *mut *mut RawMbuf, count: c_uint);
}
