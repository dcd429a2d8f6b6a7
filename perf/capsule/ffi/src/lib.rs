//! The names under which capsule 0.1.5 calls DPDK 19.11, on top of 22.11.
//!
//! Written for what capsule uses, so no bindgen: functions whose arguments have not changed are
//! linked as they are, structures that did go through the shim, and what 22.11 has no more is a
//! stub.

#![allow(non_camel_case_types, non_snake_case, clippy::missing_safety_doc)]

mod kni;

use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_uint, c_void};
use std::ptr;

pub use kni::*;

pub const RTE_MBUF_DEFAULT_BUF_SIZE: u32 = 2176;
pub const DEV_TX_OFFLOAD_MBUF_FAST_FREE: u32 = 1 << 16;
pub const ETH_RSS_IP: u32 = 0xa38c;
pub const ETH_RSS_TCP: u32 = 0x10410;
pub const ETH_RSS_UDP: u32 = 0x20820;
pub const ETH_RSS_SCTP: u32 = 0x1040;

pub mod rte_eth_rx_mq_mode {
    pub const ETH_MQ_RX_RSS: u32 = 1;
}

/// Laid out as DPDK's; the shim checks that.
#[repr(C)]
pub struct rte_mbuf {
    pub buf_addr: *mut c_void,
    _iova: u64,
    pub data_off: u16,
    _counts: [u16; 3],
    _flags: [u32; 3],
    pub pkt_len: u32,
    pub data_len: u16,
    _tags: [u16; 6],
    pub buf_len: u16,
    pub pool: *mut rte_mempool,
}

/// Laid out as DPDK's; the shim checks that.
#[repr(C)]
pub struct rte_mempool {
    pub name: [c_char; 32],
    _pointers: [*mut c_void; 3],
    pub flags: c_uint,
    pub socket_id: c_int,
    pub size: u32,
    pub cache_size: u32,
}

/// The shim's own.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_eth_dev_info {
    pub driver_name: *const c_char,
    pub rx_offload_capa: u64,
    pub tx_offload_capa: u64,
    pub flow_type_rss_offloads: u64,
    pub max_rx_queues: u16,
    pub max_tx_queues: u16,
}

impl Default for rte_eth_dev_info {
    fn default() -> Self {
        Self {
            driver_name: c"".as_ptr(),
            rx_offload_capa: 0,
            tx_offload_capa: 0,
            flow_type_rss_offloads: 0,
            max_rx_queues: 0,
            max_tx_queues: 0,
        }
    }
}

#[derive(Default)]
pub struct rte_eth_conf {
    pub rxmode: rte_eth_rxmode,
    pub rx_adv_conf: rte_eth_rx_adv_conf,
    pub txmode: rte_eth_txmode,
}

#[derive(Default)]
pub struct rte_eth_rxmode {
    pub mq_mode: u32,
}

#[derive(Default)]
pub struct rte_eth_rx_adv_conf {
    pub rss_conf: rte_eth_rss_conf,
}

#[derive(Default)]
pub struct rte_eth_rss_conf {
    pub rss_hf: u64,
}

#[derive(Default)]
pub struct rte_eth_txmode {
    pub offloads: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct rte_ether_addr {
    pub addr_bytes: [u8; 6],
}

#[repr(C)]
pub struct rte_cpuset_t([u64; 16]);

unsafe extern "C" {
    pub fn _rte_errno() -> c_int;
    pub fn _rte_pktmbuf_alloc(pool: *mut rte_mempool) -> *mut rte_mbuf;
    pub fn _rte_pktmbuf_free(mbuf: *mut rte_mbuf);
    pub fn _rte_pktmbuf_alloc_bulk(
        pool: *mut rte_mempool,
        mbufs: *mut *mut rte_mbuf,
        count: c_uint,
    ) -> c_int;
    pub fn _rte_mempool_put_bulk(
        pool: *mut rte_mempool,
        objects: *const *mut c_void,
        count: c_uint,
    );
    pub fn _rte_eth_rx_burst(port: u16, queue: u16, mbufs: *mut *mut rte_mbuf, count: u16) -> u16;
    pub fn _rte_eth_tx_burst(port: u16, queue: u16, mbufs: *mut *mut rte_mbuf, count: u16) -> u16;

    pub fn numa_node_of_cpu(cpu: c_int) -> c_int;
    pub fn rte_eal_cleanup() -> c_int;
    pub fn rte_eth_allmulticast_disable(port: u16) -> c_int;
    pub fn rte_eth_allmulticast_enable(port: u16) -> c_int;
    pub fn rte_eth_dev_adjust_nb_rx_tx_desc(port: u16, rx: *mut u16, tx: *mut u16) -> c_int;
    pub fn rte_eth_dev_close(port: u16) -> c_int;
    pub fn rte_eth_dev_get_port_by_name(name: *const c_char, port: *mut u16) -> c_int;
    pub fn rte_eth_dev_socket_id(port: u16) -> c_int;
    pub fn rte_eth_dev_start(port: u16) -> c_int;
    pub fn rte_eth_dev_stop(port: u16) -> c_int;
    pub fn rte_eth_macaddr_get(port: u16, address: *mut rte_ether_addr) -> c_int;
    pub fn rte_eth_promiscuous_disable(port: u16) -> c_int;
    pub fn rte_eth_promiscuous_enable(port: u16) -> c_int;
    pub fn rte_eth_rx_queue_setup(
        port: u16,
        queue: u16,
        descriptors: u16,
        socket: c_uint,
        config: *const c_void,
        pool: *mut rte_mempool,
    ) -> c_int;
    pub fn rte_eth_tx_queue_setup(
        port: u16,
        queue: u16,
        descriptors: u16,
        socket: c_uint,
        config: *const c_void,
    ) -> c_int;
    pub fn rte_mempool_free(pool: *mut rte_mempool);
    pub fn rte_pktmbuf_pool_create(
        name: *const c_char,
        count: c_uint,
        cache: c_uint,
        private: u16,
        room: u16,
        socket: c_int,
    ) -> *mut rte_mempool;
    pub fn rte_socket_count() -> c_uint;
    pub fn rte_socket_id() -> c_uint;
    pub fn rte_socket_id_by_idx(index: c_uint) -> c_int;
    pub fn rte_strerror(number: c_int) -> *const c_char;

    fn shim_info_get(port: u16, info: *mut rte_eth_dev_info) -> c_int;
    fn shim_configure(
        port: u16,
        rx_queues: u16,
        tx_queues: u16,
        rss: c_int,
        hash: u64,
        offloads: u64,
    ) -> c_int;
    fn rte_thread_register() -> c_int;
}

/// DPDK's own functions, where ours of the same name stand in front of them.
mod real {
    use super::{c_char, c_int, rte_cpuset_t};

    unsafe extern "C" {
        pub(crate) fn rte_eal_init(count: c_int, words: *mut *mut c_char) -> c_int;
        pub(crate) fn rte_thread_set_affinity(set: *mut rte_cpuset_t) -> c_int;
    }
}

/// Starts DPDK, with today's names for options of 19.11.
pub unsafe fn rte_eal_init(count: c_int, words: *mut *mut c_char) -> c_int {
    let today = |word: &CStr| match word.to_bytes() {
        b"--master-lcore" => c"--main-lcore".to_owned(),
        b"--pci-whitelist" => c"--allow".to_owned(),
        _ => word.to_owned(),
    };
    // SAFETY: the caller has `count` pointers to strings.
    let mut words: Vec<*mut c_char> = (0..count as usize)
        .map(|n| unsafe { CString::into_raw(today(CStr::from_ptr(*words.add(n)))) })
        .collect();
    words.push(ptr::null_mut());
    // SAFETY: an argument vector that is never freed, as DPDK may keep parts of it.
    unsafe { real::rte_eal_init(count, words.leak().as_mut_ptr()) }
}

/// Binds the thread to cores and makes it known to DPDK: without that 22.11 gives it no cache of
/// buffers, and each one costs an atomic operation.
pub unsafe fn rte_thread_set_affinity(set: *mut rte_cpuset_t) -> c_int {
    // SAFETY: the caller's set; a thread that is known already is refused, which is as good.
    unsafe {
        let result = real::rte_thread_set_affinity(set);
        rte_thread_register();
        result
    }
}

pub unsafe fn rte_eth_dev_info_get(port: u16, info: *mut rte_eth_dev_info) -> c_int {
    // SAFETY: the caller's place for the description.
    unsafe { shim_info_get(port, info) }
}

pub unsafe fn rte_eth_dev_configure(
    port: u16,
    rx_queues: u16,
    tx_queues: u16,
    conf: *const rte_eth_conf,
) -> c_int {
    // SAFETY: the caller's configuration.
    unsafe {
        let conf = &*conf;
        let rss = c_int::from(conf.rxmode.mq_mode == rte_eth_rx_mq_mode::ETH_MQ_RX_RSS);
        let hash = conf.rx_adv_conf.rss_conf.rss_hf;
        shim_configure(port, rx_queues, tx_queues, rss, hash, conf.txmode.offloads)
    }
}
