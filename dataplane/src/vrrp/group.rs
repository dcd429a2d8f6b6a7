//! Virtual routers that change together, as an outside and an inside address must, or the IPv4 and
//! the IPv6 ones (keepalived: `vrrp_sync_group`). A router alone is a group of one.
//!
//! - When one falls back to backup, all do; those that were master resign.
//! - When one has a fault, all have.
//! - All become master at once, when each of them would: when its master is silent, has resigned,
//!   or may be preempted. If the first of them took the others along, a group that is cut off from
//!   the master on one side only would take over and fall back again without end.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Rejection;
use super::codec::Advertisement;
use super::config::{Config, ConfigError};
use super::machine::Router;
use super::state::{Action, Reason, State};

/// Takes actions, each with the number of the member that it is for.
pub type GroupSink<'a> = &'a mut dyn FnMut(usize, Action);

/// Virtual routers that change together.
#[derive(Debug)]
pub struct Group {
    members: Vec<Router>,
    /// Which of them have a fault of their own.
    faults: Vec<bool>,
}

impl Group {
    /// A group of routers that have not started, numbered as given.
    ///
    /// # Errors
    /// Which router's configuration is wrong, and how.
    pub fn new(configs: Vec<Config>) -> Result<Self, (usize, ConfigError)> {
        let mut members = Vec::with_capacity(configs.len());
        for (n, config) in configs.into_iter().enumerate() {
            let mut router = Router::new(config).map_err(|error| (n, error))?;
            router.join();
            members.push(router);
        }
        Ok(Self { faults: members.iter().map(|_| false).collect(), members })
    }

    /// Starts all.
    pub fn start(&mut self, now: u64, sink: GroupSink<'_>) {
        self.each(sink, |router, sink| router.start(now, sink));
        self.settle(now, sink);
    }

    /// Stops all; masters resign.
    pub fn stop(&mut self, now: u64, sink: GroupSink<'_>) {
        self.each(sink, |router, sink| router.stop(now, sink));
    }

    /// Takes an advertisement that came from `source`, for the member on whose interface it came.
    ///
    /// # Errors
    /// Why it was rejected, which has been counted at the member.
    pub fn receive(
        &mut self,
        now: u64,
        member: usize,
        advertisement: &Advertisement,
        source: IpAddr,
        sink: GroupSink<'_>,
    ) -> Result<(), Rejection> {
        let router = self.members.get_mut(member).ok_or(Rejection::UnknownVrid)?;
        router.receive(now, advertisement, source, &mut |action| sink(member, action))?;
        self.settle(now, sink);
        Ok(())
    }

    /// Does what is due. What had been received until then has to be handed in before.
    pub fn poll(&mut self, now: u64, sink: GroupSink<'_>) {
        self.each(sink, |router, sink| router.poll(now, sink));
        self.settle(now, sink);
    }

    /// When [`Group::poll`] is to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.members.iter().filter_map(Router::next_deadline).min()
    }

    /// Sets a member's priority, see [`Router::set_priority`].
    pub fn set_priority(&mut self, now: u64, member: usize, priority: u8) {
        if let Some(router) = self.members.get_mut(member) {
            router.set_priority(now, priority);
        }
    }

    /// Says whether a member has a fault of its own.
    pub fn set_fault(&mut self, now: u64, member: usize, fault: bool, sink: GroupSink<'_>) {
        let Some(own) = self.faults.get_mut(member) else { return };
        *own = fault;
        let any = self.faults.contains(&true);
        for (n, router) in self.members.iter_mut().enumerate() {
            let reason = match any {
                _ if n != member => Reason::Group,
                true => Reason::FaultFound,
                false => Reason::FaultGone,
            };
            router.change_fault(now, any, reason, &mut |action| sink(n, action));
        }
        self.settle(now, sink);
    }

    /// Hands the addresses over, see [`Router::release`].
    pub fn release(&mut self, now: u64, sink: GroupSink<'_>) {
        self.each(sink, |router, sink| router.release(now, sink));
    }

    /// Ranks as configured again.
    pub fn reclaim(&mut self, now: u64) {
        for router in &mut self.members {
            router.reclaim(now);
        }
    }

    /// The routers, in the order of their numbers.
    #[must_use]
    pub fn members(&self) -> &[Router] {
        &self.members
    }

    /// The state of all: master only if all are.
    #[must_use]
    pub fn state(&self) -> State {
        let has = |state| self.members.iter().any(|router| router.state() == state);
        [State::Fault, State::Initialize, State::Backup]
            .into_iter()
            .find(|&state| has(state))
            .unwrap_or(if self.members.is_empty() { State::Initialize } else { State::Master })
    }

    fn each(
        &mut self,
        sink: GroupSink<'_>,
        mut f: impl FnMut(&mut Router, &mut dyn FnMut(Action)),
    ) {
        for (n, router) in self.members.iter_mut().enumerate() {
            f(router, &mut |action| sink(n, action));
        }
    }

    /// Brings all to one state after one has changed.
    fn settle(&mut self, now: u64, sink: GroupSink<'_>) {
        let masters = self.members.iter().filter(|router| router.state() == State::Master).count();
        if masters == 0 {
            if self.members.iter().all(|router| router.claim().is_some()) {
                self.each(sink, |router, sink| {
                    let reason = router.claim().unwrap_or(Reason::Group);
                    router.promote(now, reason, sink);
                });
            }
        } else if masters < self.members.len() {
            self.each(sink, |router, sink| router.demote(now, sink));
        }
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
