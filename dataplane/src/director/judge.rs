//! The kernel's tests of services and servers.

use core::net::{IpAddr, Ipv4Addr};

use crate::refusal::Refusal;
use crate::schedule::{self, Scheduler};
use crate::service::{Family, Method, ServerSpec, ServiceSpec};

/// Broadcast address of the network that every Linux has on `lo`.
const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// The scheduler of a service, if it and the persistence engine exist.
pub(super) fn judge_service(spec: &ServiceSpec) -> Result<Scheduler, Refusal> {
    let has_engine = spec.persistence_engine.as_deref().is_none_or(|name| name == "sip");
    let scheduler = schedule::by_name(&spec.scheduler).filter(|_| has_engine);
    scheduler.ok_or(Refusal::SchedulerOrEngineNotFound)
}

/// The kernel's tests of a server, up to whether it exists.
pub(super) fn judge_server(spec: &ServerSpec, family: Family) -> Result<(), Refusal> {
    if Family::of(spec.address) != family && spec.method != Method::Tunnel {
        return Err(Refusal::InvalidOperation);
    }
    let weight_fits = (0..=i64::from(i32::MAX)).contains(&spec.weight);
    if !weight_fits || spec.lower_threshold > spec.upper_threshold {
        return Err(Refusal::OutOfRange);
    }
    Ok(())
}

/// A server's address must be a host's.
pub(super) fn judge_address(address: IpAddr, broadcasts: &[Ipv4Addr]) -> Result<(), Refusal> {
    let is_a_host = match address {
        IpAddr::V4(v4) => {
            let is_group = v4.is_unspecified() || v4.is_broadcast() || v4.is_multicast();
            !is_group && v4 != LOOPBACK_BROADCAST && !broadcasts.contains(&v4)
        }
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    if is_a_host { Ok(()) } else { Err(Refusal::InvalidOperation) }
}
