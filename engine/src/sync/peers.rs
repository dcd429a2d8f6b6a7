//! The directors that a backup hears: what has come from each, what was lost, and whether its whole
//! table is wanted.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ctl::sync::SenderRow;

use super::beacon::{Activity, Beacon};
use super::seal::{SealReject, Sealed, Window};
use super::table::fetch::Standing;

/// Directors noted at most.
const MOST: usize = 16;
/// A director that is silent for this long makes room for another.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// All of them.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<IpAddr, Peer>>);

/// A director that is heard.
pub(super) struct Peer {
    heard: Instant,
    messages: u64,
    lost: u64,
    beacon: Option<Beacon>,
    /// Messages that it had sent, and that had arrived, when counting began.
    base: (u64, u64),
    /// Missing at the last beacon; lost if they still are at the next.
    missing: u64,
    /// Numbers seen of its present epoch, which it has proved.
    window: Option<Window>,
    /// Whether its table is to be fetched.
    is_wanted: bool,
    /// Whether a thread is in touch with it.
    is_followed: bool,
    fetched: u64,
    fetched_records: u64,
    failed: u64,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            heard: now,
            messages: 0,
            lost: 0,
            beacon: None,
            base: (0, 0),
            missing: 0,
            window: None,
            is_wanted: false,
            is_followed: false,
            fetched: 0,
            fetched_records: 0,
            failed: 0,
        }
    }

    /// Messages that are missing when it has sent `sent`.
    fn missing(&mut self, sent: u64) -> u64 {
        let expected = sent.saturating_sub(self.base.0);
        let arrived = self.messages - self.base.1;
        if arrived > expected {
            // More than it had counted were under way when counting began.
            self.base.1 = self.messages - expected;
        }
        expected.saturating_sub(arrived)
    }

    fn call(&mut self, mut from: SocketAddr, beacon: Beacon) -> Option<SocketAddr> {
        from.set_port(beacon.port);
        let was_followed = std::mem::replace(&mut self.is_followed, true);
        (!was_followed).then_some(from)
    }

    fn count_anew(&mut self, sent: u64) {
        self.base = (sent, self.messages);
        self.missing = 0;
    }
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a director is there; false when there are too many to note another.
    pub(super) fn hear(&self, from: IpAddr, now: Instant) -> bool {
        let mut peers = self.lock();
        if !peers.contains_key(&from) && peers.len() >= MOST {
            let gone = |peer: &Peer| !peer.is_followed && now - peer.heard >= FORGOTTEN;
            peers.retain(|_, peer| !gone(peer));
            if peers.len() >= MOST {
                return false;
            }
        }
        let peer = peers.entry(from).or_insert_with(|| Peer::new(now));
        peer.heard = now;
        true
    }

    /// Counts a message that is no beacon.
    pub(super) fn count(&self, from: IpAddr) {
        if let Some(peer) = self.lock().get_mut(&from) {
            peer.messages += 1;
        }
    }

    /// Takes the number of a sealed message. A director that is not known to have its epoch has to
    /// prove it first.
    pub(super) fn take(&self, from: IpAddr, sealed: Sealed) -> Result<(), SealReject> {
        let mut peers = self.lock();
        let window = peers.get_mut(&from).and_then(|peer| peer.window.as_mut());
        window.ok_or(SealReject::Epoch)?.take(sealed)
    }

    /// Notes what a director says of itself; somebody has to get in touch when this returns where.
    /// `from` is its address, with the scope that the datagram came by.
    pub(super) fn note(&self, from: SocketAddr, beacon: Beacon) -> Option<SocketAddr> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&from.ip())?;
        let is_new = peer.beacon.is_none_or(|before| before.epoch != beacon.epoch);
        let was_passive = peer.beacon.is_some_and(|before| before.activity == Activity::Passive);
        peer.beacon = Some(beacon);
        if is_new {
            peer.count_anew(beacon.sent);
            peer.is_wanted = true;
        } else {
            let missing = peer.missing(beacon.sent);
            let lost = missing.min(peer.missing);
            if lost > 0 {
                peer.lost += lost;
                peer.count_anew(beacon.sent);
                peer.is_wanted = true;
            } else {
                peer.missing = missing;
            }
        }
        let is_passive = beacon.activity == Activity::Passive;
        // What a passive director has, it has from others; once it is active it has more.
        peer.is_wanted |= was_passive && !is_passive;
        peer.call(from, beacon)
    }

    /// Where to get in touch with a director that has still to prove itself, if nobody does.
    pub(super) fn call(&self, from: SocketAddr, beacon: Beacon) -> Option<SocketAddr> {
        self.lock().get_mut(&from.ip())?.call(from, beacon)
    }

    /// Notes a proof of how far a director has come.
    pub(super) fn prove(&self, from: IpAddr, standing: Standing) {
        if let Some(peer) = self.lock().get_mut(&from) {
            if peer.window.as_ref().is_none_or(|window| window.epoch != standing.epoch) {
                peer.window = Some(Window::new(standing.epoch, standing.number));
            }
            peer.count_anew(standing.sent);
            peer.is_wanted = true;
        }
    }

    /// Whether a director's table is wanted now; the wish is forgotten by asking.
    pub(super) fn take_wish(&self, from: IpAddr) -> bool {
        let mut peers = self.lock();
        peers.get_mut(&from).is_some_and(|peer| {
            let is_passive = peer.beacon.is_some_and(|beacon| beacon.activity == Activity::Passive);
            !is_passive && std::mem::take(&mut peer.is_wanted)
        })
    }

    /// Notes a table that has been fetched, or a conversation that has ended badly.
    pub(super) fn fetched(&self, from: IpAddr, records: Option<u64>) {
        if let Some(peer) = self.lock().get_mut(&from) {
            match records {
                Some(records) => {
                    peer.fetched += 1;
                    peer.fetched_records += records;
                }
                None => {
                    peer.failed += 1;
                    peer.is_wanted = true;
                }
            }
        }
    }

    /// Whether all has arrived that a director has sent, when it has sent `sent` messages.
    pub(super) fn has_all(&self, from: IpAddr, sent: u64) -> bool {
        let mut peers = self.lock();
        peers.get_mut(&from).is_some_and(|peer| !peer.is_wanted && peer.missing(sent) == 0)
    }

    /// Whether a director has been heard lately; if not, whoever is in touch with it lets go.
    pub(super) fn is_present(&self, from: IpAddr, now: Instant) -> bool {
        let mut peers = self.lock();
        peers.get_mut(&from).is_some_and(|peer| {
            peer.is_followed = now - peer.heard < FORGOTTEN;
            peer.is_followed
        })
    }

    /// How they stand.
    pub(super) fn rows(&self, now: Instant) -> Vec<SenderRow> {
        let row = |(&address, peer): (&IpAddr, &mut Peer)| {
            let has_all = peer.beacon.is_some_and(|beacon| peer.missing(beacon.sent) == 0);
            SenderRow {
                address,
                is_pollvs: peer.beacon.is_some(),
                messages: peer.messages,
                lost: peer.lost,
                heard_ms: (now - peer.heard).as_millis() as u64,
                fetched: peer.fetched,
                fetched_records: peer.fetched_records,
                failed: peer.failed,
                is_in_step: has_all && !peer.is_wanted,
            }
        };
        let mut rows: Vec<_> = self.lock().iter_mut().map(row).collect();
        rows.sort_by_key(|row| row.address);
        rows
    }
}
