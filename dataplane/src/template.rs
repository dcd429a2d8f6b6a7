//! Persistence templates: which server a client, or a network of clients, stays with.
//!
//! A template belongs to a client's address without port, so it cannot live with the shard that
//! owns a connection: the table is shared by all shards, in stripes each under a lock of its own,
//! and touched only when a connection under persistence is made, confirmed or ended.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use hashbrown::HashTable;
use spin::{Mutex, MutexGuard};

use crate::command::ConnectionInfo;
use crate::connection::state::State;
use crate::hash::HashKey;
use crate::roster::ServerId;
use crate::service::Method;
use crate::sync::{Record, RecordFlags};
use crate::time::{TICKS_PER_SECOND, Tick};
use crate::verdict::DropReason;

/// Stripes of the table, a power of two.
const STRIPES: usize = 64;
const STRIPE_BITS: u32 = STRIPES.trailing_zeros();
/// How long a template that has run out is kept on while it has connections.
const REARM: u32 = 60 * TICKS_PER_SECOND;
/// The virtual and the real port of a template that is not found any more.
const RETIRED_PORT: u16 = 0xffff;

/// What a template is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateKey {
    /// Transport protocol, or 0 for a firewall mark.
    pub protocol: u8,
    /// The client's address under the service's mask.
    pub client: IpAddr,
    /// Virtual address, or the mark as an address; and virtual port, or 0.
    pub virtual_end: (IpAddr, u16),
}

/// A template's place; valid as long as one of its connections exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateId(u32);

impl TemplateId {
    /// No template.
    pub const NONE: Self = Self(u32::MAX);
}

/// A client's bond with a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    key: TemplateKey,
    real: (IpAddr, u16),
    pub(crate) server: ServerId,
    method: Method,
    expires: Tick,
    /// Ticks by which a new connection renews it.
    timeout: u32,
    /// Connections under it.
    controlled: u32,
    /// Whether one of them was answered, or established.
    is_assured: bool,
    /// Whether it was made on another director's word.
    is_synced: bool,
    /// Whether connections were put under it since another director last told of it.
    is_used: bool,
    /// Whether its server counts it: the slot of templates without a server does not, for each
    /// shard has its own.
    is_counted: bool,
    state: Slot,
}

/// What a place in a stripe holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// A template that clients find.
    Live,
    /// A template that only waits for its end.
    Retired,
    /// Nothing; the next free place, if there is one.
    Free(Option<u32>),
}

/// All templates.
pub struct Templates {
    stripes: Box<[Mutex<Stripe>]>,
    key: HashKey,
}

/// Part of the templates.
pub(crate) struct Stripe {
    number: u32,
    slots: Vec<Template>,
    limit: usize,
    free: Option<u32>,
    index: HashTable<u32>,
    sweep_next: usize,
    key: HashKey,
}

impl Templates {
    /// A table for about `limit` templates. Memory for them is reserved, and used as they come.
    #[must_use]
    pub fn new(limit: usize, key: HashKey) -> Self {
        // Clients spread over stripes by hash: an eighth of room to spare, and a few.
        let share = limit.div_ceil(STRIPES);
        let limit = share + share / 8 + 8;
        let stripe = |number| {
            Mutex::new(Stripe {
                number,
                slots: Vec::with_capacity(limit),
                limit,
                free: None,
                index: HashTable::with_capacity(limit),
                sweep_next: 0,
                key,
            })
        };
        Self { stripes: (0..STRIPES as u32).map(stripe).collect(), key }
    }

    /// The stripe that a key belongs to.
    pub(crate) fn lock(&self, key: &TemplateKey) -> MutexGuard<'_, Stripe> {
        self.stripes[hash(&self.key, key) as usize % STRIPES].lock()
    }

    /// Counts out a connection that has ended.
    pub(crate) fn release(&self, id: TemplateId) {
        let (mut stripe, slot) = self.slot(id);
        let template = &mut stripe.slots[slot];
        assert!(template.controlled > 0, "a template's connections are counted in before out");
        template.controlled -= 1;
    }

    /// Notes that a connection under the template has proved to be real.
    pub(crate) fn assure(&self, id: TemplateId) {
        let (mut stripe, slot) = self.slot(id);
        stripe.slots[slot].is_assured = true;
    }

    fn slot(&self, id: TemplateId) -> (MutexGuard<'_, Stripe>, usize) {
        let stripe = self.stripes[id.0 as usize % STRIPES].lock();
        (stripe, (id.0 >> STRIPE_BITS) as usize)
    }

    /// How many stripes there are, to be swept in turn.
    pub(crate) fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Looks at up to `slots` places of a stripe; calls `end` for the server of each template
    /// that is removed, because it has run out or nothing holds it and `is_over` says so of its
    /// server.
    pub(crate) fn sweep(
        &self,
        stripe: usize,
        slots: usize,
        now: Tick,
        is_over: impl Fn(ServerId) -> bool,
        mut end: impl FnMut(ServerId),
        mut keep: impl FnMut(Record),
    ) {
        let mut stripe = self.stripes[stripe].lock();
        for _ in 0..slots.min(stripe.slots.len()) {
            let slot = stripe.sweep_next % stripe.slots.len();
            stripe.sweep_next = slot + 1;
            let template = &mut stripe.slots[slot];
            if !template.is_free() && template.controlled == 0 && is_over(template.server) {
                template.expires = now;
            }
            if stripe.settle(slot as u32, now, &mut end) {
                keep(stripe.slots[slot].record());
            }
        }
    }

    /// Every template, for listings; `visit` gets them stripe by stripe.
    pub fn list(&self, now: Tick, visit: impl FnMut(ConnectionInfo)) {
        self.each(|template| template.info(now), visit);
    }

    /// Every template that clients find, as backups are told of it, with the seconds it has left.
    pub fn records(&self, now: Tick, visit: impl FnMut(Record)) {
        let left = |template: &Template| {
            let is_found = template.state == Slot::Live && !now.reached(template.expires);
            is_found.then(|| Record {
                timeout_s: now.seconds_until(template.expires) + 1,
                ..template.record()
            })
        };
        self.each(left, visit);
    }

    /// What `read` makes of every template; `visit` gets it while no stripe is locked.
    fn each<T>(&self, read: impl Fn(&Template) -> Option<T>, mut visit: impl FnMut(T)) {
        let mut found = Vec::new();
        for stripe in &self.stripes {
            found.reserve(stripe.lock().slots.len());
            found.extend(stripe.lock().slots.iter().filter_map(&read));
            found.drain(..).for_each(&mut visit);
        }
    }

    /// A template as backups are told of it, unless clients do not find it any more.
    pub(crate) fn record(&self, id: TemplateId) -> Option<Record> {
        let (stripe, slot) = self.slot(id);
        let template = &stripe.slots[slot];
        (template.state == Slot::Live).then(|| template.record())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let live = |stripe: &Mutex<Stripe>| {
            let stripe = stripe.lock();
            stripe.slots.iter().filter(|template| !template.is_free()).count()
        };
        self.stripes.iter().map(live).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Template {
    fn is_free(&self) -> bool {
        matches!(self.state, Slot::Free(_))
    }

    fn record(&self) -> Record {
        Record {
            protocol: self.key.protocol,
            flags: RecordFlags::of_method(self.method)
                .with(RecordFlags::TEMPLATE | RecordFlags::INACTIVE, true)
                .with(RecordFlags::NO_OUTPUT, self.method != Method::Nat),
            state: if self.is_assured { State::Assured } else { State::None }.number(),
            timeout_s: self.timeout / TICKS_PER_SECOND,
            mark: if self.key.protocol == 0 { mark_in(self.key.virtual_end.0) } else { 0 },
            client: (self.key.client, 0),
            virtual_end: self.key.virtual_end,
            real: self.real,
            sequence: None,
        }
    }

    fn info(&self, now: Tick) -> Option<ConnectionInfo> {
        let port = |port| if self.state == Slot::Retired { RETIRED_PORT } else { port };
        (!self.is_free() && !now.reached(self.expires)).then(|| ConnectionInfo {
            protocol: self.key.protocol,
            is_synced: self.is_synced,
            state: if self.is_assured { State::Assured } else { State::None },
            expires_s: now.seconds_until(self.expires),
            client: (self.key.client, 0),
            virtual_end: (self.key.virtual_end.0, port(self.key.virtual_end.1)),
            real: (self.real.0, port(self.real.1)),
        })
    }
}

impl Stripe {
    /// The live template of a key; one that has run out is settled first.
    pub(crate) fn find(
        &mut self,
        key: &TemplateKey,
        now: Tick,
        end: &mut impl FnMut(ServerId),
    ) -> Option<u32> {
        let slots = &self.slots;
        let is_it = |&slot: &u32| slots[slot as usize].key == *key;
        let slot = *self.index.find(hash(&self.key, key), is_it)?;
        self.settle(slot, now, end);
        (self.slots[slot as usize].state == Slot::Live).then_some(slot)
    }

    /// The live template of a key: its server, and seconds until it ends. Nothing changes.
    pub(crate) fn peek(&self, key: &TemplateKey, now: Tick) -> Option<(ServerId, u32)> {
        let slots = &self.slots;
        let is_it = |&slot: &u32| slots[slot as usize].key == *key;
        let template = &slots[*self.index.find(hash(&self.key, key), is_it)? as usize];
        let has_ended = now.reached(template.expires) && template.controlled == 0;
        let is_found = template.state == Slot::Live && !has_ended;
        is_found.then(|| (template.server, now.seconds_until(template.expires)))
    }

    /// The server of a template.
    pub(crate) fn server(&self, slot: u32) -> ServerId {
        self.slots[slot as usize].server
    }

    /// Makes a template.
    ///
    /// # Errors
    /// [`DropReason::TemplateTableFull`].
    pub(crate) fn insert(
        &mut self,
        key: TemplateKey,
        server: ServerId,
        method: Method,
        real: (IpAddr, u16),
        now: Tick,
        timeout_s: u32,
    ) -> Result<u32, DropReason> {
        let timeout = timeout_s.saturating_mul(TICKS_PER_SECOND).min(i32::MAX as u32);
        let template = Template {
            key,
            real,
            server,
            method,
            expires: now.after(timeout),
            timeout,
            controlled: 0,
            is_assured: false,
            is_synced: false,
            is_used: false,
            is_counted: true,
            state: Slot::Live,
        };
        let slot = match self.free {
            Some(slot) => {
                let Slot::Free(next) = self.slots[slot as usize].state else {
                    unreachable!("the list of free places holds free places")
                };
                self.free = next;
                self.slots[slot as usize] = template;
                slot
            }
            None if self.slots.len() < self.limit => {
                self.slots.push(template);
                self.slots.len() as u32 - 1
            }
            None => return Err(DropReason::TemplateTableFull),
        };
        let (slots, secret) = (&self.slots, self.key);
        let rehash = |&slot: &u32| hash(&secret, &slots[slot as usize].key);
        self.index.insert_unique(hash(&secret, &key), slot, rehash);
        Ok(slot)
    }

    /// Takes another director's word on a live template: its server, and whether that counts it;
    /// its timer and state.
    pub(crate) fn update(
        &mut self,
        slot: u32,
        (server, method): (ServerId, Method),
        is_counted: bool,
        now: Tick,
        timeout: u32,
        is_assured: bool,
    ) {
        let template = &mut self.slots[slot as usize];
        (template.server, template.method) = (server, method);
        template.is_counted = is_counted;
        template.is_used = false;
        template.timeout = timeout;
        template.expires = now.after(timeout);
        template.is_assured = is_assured;
    }

    /// Notes that a new template was made on another director's word.
    pub(crate) fn mark_synced(&mut self, slot: u32) {
        self.slots[slot as usize].is_synced = true;
    }

    /// The real end that a template leads to, and whether connections have been put under it since
    /// another director last told of it, or still are.
    pub(crate) fn leads_to(&self, slot: u32) -> ((IpAddr, u16), bool) {
        let template = &self.slots[slot as usize];
        (template.real, template.is_used || template.controlled > 0)
    }

    /// Puts a new connection under a template, which lasts its full time from now.
    pub(crate) fn hold(&mut self, slot: u32, now: Tick) -> TemplateId {
        let template = &mut self.slots[slot as usize];
        template.controlled += 1;
        template.is_used = true;
        template.expires = now.after(template.timeout);
        TemplateId(slot << STRIPE_BITS | self.number)
    }

    /// Makes a template one that nobody finds; it ends by its own timer.
    pub(crate) fn retire(&mut self, slot: u32) {
        self.unlink(slot);
        self.slots[slot as usize].state = Slot::Retired;
    }

    /// Ends a template that has run out, or lets it wait on for its connections; says whether it
    /// does so, and clients find it.
    fn settle(&mut self, slot: u32, now: Tick, end: &mut impl FnMut(ServerId)) -> bool {
        let template = &mut self.slots[slot as usize];
        if template.is_free() {
            return false;
        }
        let mut is_renewed = false;
        while now.reached(template.expires) && template.controlled > 0 {
            // What remains of the timeout from now on, as in the kernel.
            template.timeout = REARM;
            template.expires = template.expires.after(REARM);
            is_renewed = true;
        }
        if !now.reached(template.expires) {
            return is_renewed && template.state == Slot::Live;
        }
        if template.is_counted {
            end(template.server);
        }
        if template.state == Slot::Live {
            self.unlink(slot);
        }
        self.slots[slot as usize].state = Slot::Free(self.free);
        self.free = Some(slot);
        false
    }

    fn unlink(&mut self, slot: u32) {
        let hash = hash(&self.key, &self.slots[slot as usize].key);
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }
}

/// Clients choose their addresses, so the hash is keyed.
fn hash(secret: &HashKey, key: &TemplateKey) -> u64 {
    let (address, port) = key.virtual_end;
    let virtual_end = secret.client(mapped(address), port).word();
    let salt = (virtual_end ^ u64::from(key.protocol)) as u16;
    secret.client(mapped(key.client), salt).word() ^ virtual_end
}

/// The firewall mark that an address stands for.
fn mark_in(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => (address.to_bits() >> 96) as u32,
    }
}

fn mapped(address: IpAddr) -> core::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
