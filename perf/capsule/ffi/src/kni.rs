//! Kernel interfaces, which DPDK 22.11 does not have any more: capsule asks for none unless told to.

use std::os::raw::{c_char, c_int, c_uint};
use std::ptr;

use crate::{rte_mbuf, rte_mempool};

pub struct rte_kni(());

#[derive(Default)]
pub struct rte_kni_conf {
    pub name: [c_char; 32],
    pub group_id: u16,
    pub mbuf_size: u32,
    pub mac_addr: [u8; 6],
}

#[derive(Default)]
pub struct rte_kni_ops {
    pub port_id: u16,
    pub change_mtu: Option<unsafe extern "C" fn(u16, c_uint) -> c_int>,
    pub config_network_if: Option<unsafe extern "C" fn(u16, u8) -> c_int>,
    pub config_mac_address: Option<unsafe extern "C" fn(u16, *mut u8) -> c_int>,
    pub config_promiscusity: Option<unsafe extern "C" fn(u16, u8) -> c_int>,
}

pub unsafe fn rte_kni_init(_: c_uint) -> c_int {
    -1
}

pub unsafe fn rte_kni_close() {}

pub unsafe fn rte_kni_alloc(
    _: *mut rte_mempool,
    _: *const rte_kni_conf,
    _: *mut rte_kni_ops,
) -> *mut rte_kni {
    ptr::null_mut()
}

pub unsafe fn rte_kni_release(_: *mut rte_kni) -> c_int {
    -1
}

pub unsafe fn rte_kni_get_name(_: *const rte_kni) -> *const c_char {
    c"".as_ptr()
}

pub unsafe fn rte_kni_handle_request(_: *mut rte_kni) -> c_int {
    -1
}

pub unsafe fn rte_kni_rx_burst(_: *mut rte_kni, _: *mut *mut rte_mbuf, _: c_uint) -> c_uint {
    0
}

pub unsafe fn rte_kni_tx_burst(_: *mut rte_kni, _: *mut *mut rte_mbuf, _: c_uint) -> c_uint {
    0
}
