//! The directors that a backup hears: what has come from each, what was lost, and whether its whole
//! table is wanted.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ctl::sync::SenderRow;

use super::beacon::{Activity, Beacon};
use super::seal::{SealReject, Sealed, Window};
use super::table::fetch::Standing;

/// Between a table and the next of the same director at least, and so many times as long as it took:
/// where losses go on, tables are not the cure, and must not add to the load.
const REST: Duration = Duration::from_secs(1);
const REST_SHARE: u32 = 4;
/// Directors noted at most.
const MOST: usize = 16;
/// A director that has been heard within this time is there.
const PRESENT: Duration = Duration::from_secs(3);
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
    /// The epoch that counting began in.
    epoch: Option<u64>,
    /// Messages that it had sent, and that had arrived, when counting began.
    base: (u64, u64),
    /// Whether messages may have been under way then, and no beacon has told how many.
    is_fresh: bool,
    /// Missing at the last beacon; lost if they still are at the next.
    missing: u64,
    /// Numbers seen of its present epoch, which it has proved. Shared with all who prove the same
    /// epoch: whoever passes a master's messages on from elsewhere can have none taken twice.
    window: Option<Arc<Mutex<Window>>>,
    /// Whether its table is to be fetched.
    is_wanted: bool,
    /// Since when its table is on its way, if it is.
    fetching: Option<Instant>,
    /// When it may be fetched next.
    rests_until: Instant,
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
            epoch: None,
            base: (0, 0),
            is_fresh: false,
            missing: 0,
            window: None,
            is_wanted: false,
            fetching: None,
            rests_until: now,
            is_followed: false,
            fetched: 0,
            fetched_records: 0,
            failed: 0,
        }
    }

    /// Whether its table is neither wanted nor on its way.
    fn has_table(&self) -> bool {
        !self.is_wanted && self.fetching.is_none()
    }

    /// Messages that are missing when it has sent `sent`. More may have arrived: ones sent since.
    fn missing(&self, sent: u64) -> u64 {
        let expected = sent.saturating_sub(self.base.0);
        let arrived = self.messages - self.base.1;
        expected.saturating_sub(arrived)
    }

    /// At the first beacon since counting began: what has arrived beyond what was sent since then
    /// was under way.
    fn settle(&mut self, sent: u64) {
        if std::mem::take(&mut self.is_fresh) {
            let expected = sent.saturating_sub(self.base.0);
            self.base.1 = self.base.1.max(self.messages.saturating_sub(expected));
        }
    }

    fn call(&mut self, mut from: SocketAddr, beacon: Beacon) -> Option<SocketAddr> {
        from.set_port(beacon.port);
        let was_followed = std::mem::replace(&mut self.is_followed, true);
        (!was_followed).then_some(from)
    }

    fn count_anew(&mut self, sent: u64) {
        self.base = (sent, self.messages);
        self.is_fresh = false;
        self.missing = 0;
    }
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a director; false when there are too many to note another.
    pub(super) fn hear(&self, from: IpAddr, now: Instant) -> bool {
        let mut peers = self.lock();
        if !peers.contains_key(&from) && peers.len() >= MOST {
            let gone = |peer: &Peer| !peer.is_followed && now - peer.heard >= FORGOTTEN;
            peers.retain(|_, peer| !gone(peer));
            if peers.len() >= MOST {
                return false;
            }
        }
        peers.entry(from).or_insert_with(|| Peer::new(now));
        true
    }

    /// Counts a message that is no beacon.
    pub(super) fn count(&self, from: IpAddr) {
        if let Some(peer) = self.lock().get_mut(&from) {
            peer.messages += 1;
        }
    }

    /// Notes that a director is heard. Takes the number of a sealed message: a director that is not
    /// known to have its epoch has to prove it first, and an old message is no sign of life.
    pub(super) fn take(
        &self,
        from: IpAddr,
        sealed: Option<Sealed>,
        now: Instant,
    ) -> Result<(), SealReject> {
        let mut peers = self.lock();
        let mut peer = peers.get_mut(&from);
        if let Some(sealed) = sealed {
            let window = peer.as_mut().and_then(|peer| peer.window.as_ref());
            let mut window =
                window.ok_or(SealReject::Epoch)?.lock().unwrap_or_else(PoisonError::into_inner);
            window.take(sealed)?;
        }
        if let Some(peer) = peer {
            peer.heard = now;
        }
        Ok(())
    }

    /// Notes what a director says of itself; somebody has to get in touch when this returns where.
    /// `from` is its address, with the scope that the datagram came by.
    pub(super) fn note(&self, from: SocketAddr, beacon: Beacon) -> Option<SocketAddr> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&from.ip())?;
        let is_new = peer.epoch != Some(beacon.epoch);
        let was_passive = peer.beacon.is_some_and(|before| before.activity == Activity::Passive);
        peer.beacon = Some(beacon);
        if is_new {
            peer.epoch = Some(beacon.epoch);
            peer.count_anew(beacon.sent);
            peer.is_wanted = true;
        } else {
            peer.settle(beacon.sent);
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
        let mut peers = self.lock();
        let known = peers.values().filter_map(|peer| peer.window.clone()).find(|window| {
            window.lock().unwrap_or_else(PoisonError::into_inner).epoch == standing.epoch
        });
        if let Some(peer) = peers.get_mut(&from) {
            let window = || Arc::new(Mutex::new(Window::new(standing.epoch, standing.number)));
            peer.window = Some(known.unwrap_or_else(window));
            peer.epoch = Some(standing.epoch);
            peer.count_anew(standing.sent);
            peer.is_fresh = true;
            peer.is_wanted = true;
        }
    }

    /// Notes that nobody is in touch with a director after all.
    pub(super) fn let_go(&self, from: IpAddr) {
        if let Some(peer) = self.lock().get_mut(&from) {
            peer.is_followed = false;
        }
    }

    /// Whether a director's table is wanted now; the wish is forgotten by asking.
    pub(super) fn take_wish(&self, from: IpAddr, now: Instant) -> bool {
        let mut peers = self.lock();
        peers.get_mut(&from).is_some_and(|peer| {
            let is_passive = peer.beacon.is_some_and(|beacon| beacon.activity == Activity::Passive);
            let may_be = !is_passive && now >= peer.rests_until;
            let is_taken = may_be && std::mem::take(&mut peer.is_wanted);
            if is_taken {
                peer.fetching = Some(now);
            }
            is_taken
        })
    }

    /// Notes a table that has been fetched, or a conversation that has ended badly; says since when
    /// a table had been on its way.
    pub(super) fn fetched(
        &self,
        from: IpAddr,
        records: Option<u64>,
        now: Instant,
    ) -> Option<Instant> {
        let mut peers = self.lock();
        let peer = peers.get_mut(&from)?;
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
        let began = peer.fetching.take()?;
        peer.rests_until = now + REST.max(REST_SHARE * (now - began));
        Some(began)
    }

    /// Whether all has arrived that a director has sent, when it has sent `sent` messages.
    pub(super) fn has_all(&self, from: IpAddr, sent: u64) -> bool {
        let peers = self.lock();
        peers.get(&from).is_some_and(|peer| peer.has_table() && peer.missing(sent) == 0)
    }

    /// Whether nothing is to be awaited of any director before this one may forward in its place:
    /// `None` when none of ours is heard.
    pub(super) fn is_settled(&self, now: Instant) -> Option<bool> {
        let peers = self.lock();
        let mut heard = peers
            .values()
            .filter(|peer| now - peer.heard < PRESENT)
            .filter_map(|peer| peer.beacon.map(|beacon| (peer, beacon)))
            .peekable();
        heard.peek()?;
        Some(heard.all(|(peer, beacon)| {
            beacon.activity == Activity::Passive || peer.fetched > 0 && peer.has_table()
        }))
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
        let row = |(&address, peer): (&IpAddr, &Peer)| {
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
                is_in_step: has_all && peer.has_table(),
            }
        };
        let mut rows: Vec<_> = self.lock().iter().map(row).collect();
        rows.sort_by_key(|row| row.address);
        rows
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
