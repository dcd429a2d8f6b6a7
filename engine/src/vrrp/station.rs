//! What the thread keeps of one virtual router, beside the protocol.

use std::net::IpAddr;
use std::sync::Arc;

use ctl::sync::VrrpRow;
use dataplane::interface::InterfaceId;
use dataplane::vrrp::{Reason, Rejection, Rejections, Router, State, Version};

use super::plan::RouterPlan;
use super::section::VrrpSection;

/// A virtual router's part in the daemon.
#[derive(Clone, Debug)]
pub(super) struct Station {
    pub(super) section: VrrpSection,
    shown: String,
    pub(super) interface: InterfaceId,
    pub(super) vrid: u8,
    pub(super) is_v4: bool,
    pub(super) addresses: Arc<[IpAddr]>,
    /// Its group, and its place there.
    pub(super) seat: (usize, usize),
    /// Why it has its state.
    pub(super) reason: Reason,
    /// What came for it, or for nobody on its link, and could not be read.
    pub(super) strays: Rejections,
    announcing: Option<Announcing>,
    announced: u64,
}

/// How a master announces its addresses. Times in microseconds.
#[derive(Clone, Copy, Debug)]
struct Announcing {
    /// When next; never, if all is done.
    at: Option<u64>,
    /// How often, at short intervals.
    left: u32,
    /// When as often once more.
    again_at: Option<u64>,
}

impl Station {
    pub(super) fn new(plan: &RouterPlan, seat: (usize, usize)) -> Self {
        let RouterPlan { section, config, interface, shown, .. } = plan;
        Self {
            section: section.clone(),
            shown: shown.clone(),
            interface: *interface,
            vrid: config.vrid,
            is_v4: config.source.is_ipv4(),
            addresses: config.addresses.clone().into(),
            seat,
            reason: Reason::Started,
            strays: Rejections::default(),
            announcing: None,
            announced: 0,
        }
    }

    /// It is master from now on, or has to say so once more.
    pub(super) fn begin_to_announce(&mut self, now: u64) {
        let delay_us = u64::from(self.section.garp_delay_s) * 1_000_000;
        self.announcing = Some(Announcing {
            at: Some(now),
            left: self.section.garp_repeat,
            again_at: (delay_us > 0).then_some(now + delay_us),
        });
    }

    /// It is master no more; says whether it was.
    pub(super) fn end_announcing(&mut self) -> bool {
        self.announcing.take().is_some()
    }

    /// When it announces next.
    pub(super) fn announces_at(&self) -> Option<u64> {
        self.announcing.and_then(|announcing| announcing.at)
    }

    /// Announces, and sets the next time.
    pub(super) fn announce(&mut self, now: u64) -> Arc<[IpAddr]> {
        let interval_us = u64::from(self.section.garp_interval_ms) * 1000;
        let refresh_us = u64::from(self.section.garp_refresh_s) * 1_000_000;
        let repeat = self.section.garp_repeat;
        if let Some(announcing) = &mut self.announcing {
            announcing.left = announcing.left.saturating_sub(1);
            announcing.at = if announcing.left > 0 {
                Some(now + interval_us)
            } else if let Some(at) = announcing.again_at.take() {
                announcing.left = repeat;
                Some(at.max(now + interval_us))
            } else {
                (refresh_us > 0).then_some(now + refresh_us)
            };
        }
        // A request and a reply, for those who heed one of them only.
        let frames = |address: &IpAddr| if address.is_ipv4() { 2 } else { 1 };
        self.announced += self.addresses.iter().map(frames).sum::<u64>();
        Arc::clone(&self.addresses)
    }

    /// As listings show it.
    pub(super) fn row(&self, router: &Router, now: u64) -> VrrpRow {
        let (config, counters) = (router.config(), router.counters());
        let rejected = |reason: Rejection| counters.rejected.of(reason) + self.strays.of(reason);
        VrrpRow {
            name: self.section.name.clone(),
            vrid: config.vrid,
            version: match config.version {
                Version::V2 => 2,
                Version::V3 => 3,
            },
            interface: self.shown.clone(),
            state: router.state().name(),
            reason: self.reason.text(),
            since_s: now.saturating_sub(router.since()) / 1_000_000,
            priority: router.effective_priority(),
            configured_priority: config.priority,
            interval_ms: u64::from(self.section.interval_ms()),
            master: match router.state() {
                State::Master => Some(config.source),
                _ => router.master().map(|heard| heard.source),
            },
            is_released: router.is_released(),
            group: self.section.group.clone(),
            addresses: self.addresses.to_vec(),
            became_master: counters.became_master,
            sent: counters.sent,
            received: counters.received,
            announced: self.announced,
            rejects: Rejection::ALL
                .iter()
                .map(|&reason| (reason.name(), reason.text(), rejected(reason)))
                .collect(),
        }
    }
}
