//! The order of listings.

use std::net::IpAddr;

use dataplane::service::{Family, ServiceKey};

use crate::backend::ServerRow;

/// Sorts as glibc's `qsort` did up to 2.36: a stable top-down merge sort.
///
/// The comparisons below are not transitive, as the real tool's are not. For such sets the result depends on the
/// algorithm, and `slice::sort_by` may panic on them.
pub(crate) fn merge_sort<T: Copy>(rows: Vec<T>, compare: &dyn Fn(&T, &T) -> i32) -> Vec<T> {
    if rows.len() < 2 {
        return rows;
    }
    let mut left = rows;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (merge_sort(left, compare), merge_sort(right, compare));
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b) <= 0 { left.next() } else { right.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// The signed result of an unsigned subtraction: wrong for numbers that are more than 2³¹ apart, as in the real tool.
fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// An address as 32-bit words, and how many of them its family has.
fn words(address: IpAddr) -> ([u32; 4], usize) {
    match address {
        IpAddr::V4(address) => ([address.into(), 0, 0, 0], 1),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            ([96, 64, 32, 0].map(|shift| (bits >> shift) as u32), 4)
        }
    }
}

/// Compares as many words as the left address has.
fn addresses(a: IpAddr, b: IpAddr) -> i32 {
    let ((a, count), (b, _)) = (words(a), words(b));
    a.iter().zip(&b).take(count).map(|(&a, &b)| difference(a, b)).find(|&d| d != 0).unwrap_or(0)
}

/// Order of services: mark, family, protocol, address, port.
pub(crate) fn services(a: &ServiceKey, b: &ServiceKey) -> i32 {
    let mark = |key: &ServiceKey| match *key {
        ServiceKey::Mark { mark, .. } => mark,
        ServiceKey::Address { .. } => 0,
    };
    let family = |key: &ServiceKey| i32::from(key.family() == Family::V6);
    let marks = difference(mark(a), mark(b));
    if marks != 0 {
        return marks;
    }
    let families = family(a) - family(b);
    if families != 0 {
        return families;
    }
    let (
        &ServiceKey::Address { protocol, address, port },
        &ServiceKey::Address { protocol: protocol_b, address: address_b, port: port_b },
    ) = (a, b)
    else {
        return 0;
    };
    let protocols = protocol as i32 - protocol_b as i32;
    if protocols != 0 {
        return protocols;
    }
    match addresses(address, address_b) {
        0 => i32::from(port) - i32::from(port_b),
        unequal => unequal,
    }
}

/// Order of the servers of a service: address, port.
pub(crate) fn servers(a: &ServerRow, b: &ServerRow) -> i32 {
    match addresses(a.spec.address, b.spec.address) {
        0 => i32::from(a.spec.port) - i32::from(b.spec.port),
        unequal => unequal,
    }
}
