//! The connection table of one shard: buckets of tags in front of an array of records.
//!
//! A lookup reads one 64-byte bucket, compares its eight 16-bit tags at once, and reads the record
//! of the slot that matches. Both can be prefetched, so a burst pays for its misses side by side.
//! Full buckets are chained to spare ones; a chain is bounded, because all connections of one
//! client tuple share a bucket and must not slow down the others.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::Range;

use super::record::Connection;
use super::tags::{SLOTS, Tags};
use crate::hash::{ClientHash, HashKey};
use crate::packet::Network;
use crate::roster::ServerId;
use crate::verdict::DropReason;

/// Spare buckets that one bucket may have.
const MAX_CHAIN: u32 = 8;
/// Connections of one client tuple, which share a bucket and a tag; less than a chain holds, so
/// that other clients of the bucket find room.
const MAX_PER_TUPLE: u32 = 48;
/// No bucket, and no record.
const NONE: u32 = u32::MAX;

/// Tags and record indexes of up to eight connections.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// Tag of each slot, 0 when it is free.
    tags: Tags,
    /// Record of each slot.
    records: [u32; SLOTS],
    /// The next bucket of the chain, or of the list of free spares.
    next: u32,
}

impl Bucket {
    const EMPTY: Self = Self { tags: Tags::NONE, records: [NONE; SLOTS], next: NONE };
}

/// How large to make a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Connections it holds at most.
    pub connections: u32,
}

impl TableSize {
    /// Buckets, for a load of 4.75 connections each when the table is full.
    #[must_use]
    pub fn buckets(self) -> u32 {
        (u64::from(self.connections) * 4).div_ceil(19).max(1) as u32
    }

    /// Spare buckets: at that load one bucket in twenty needs one; three times that, and a few.
    /// With buckets and records that makes 80 bytes for an IPv4 connection.
    fn spares(self) -> u32 {
        self.buckets() / 6 + 2 * MAX_CHAIN
    }
}

/// A record's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId(u32);

impl RecordId {
    pub(crate) const NONE: Self = Self(NONE);
}

/// The connections of one shard and family. All memory is taken when it is made.
pub struct Table<A> {
    /// First the buckets that hashes choose, then the spare ones.
    buckets: Box<[Bucket]>,
    hashed: u32,
    /// The first free spare bucket, and how many are free.
    free_bucket: u32,
    free_buckets: u32,
    records: Box<[Connection<A>]>,
    free_record: u32,
    used: u32,
    /// Records from here on have never been used: a sweep need not look at them.
    untouched: u32,
    key: HashKey,
}

impl<A: Network> Table<A> {
    /// An empty table.
    ///
    /// # Panics
    /// When asked for 2^31 connections or more, which indexes do not span.
    #[must_use]
    pub fn new(size: TableSize, key: HashKey) -> Self {
        assert!(size.connections < 1 << 31, "record indexes have 31 bits");
        let hashed = size.buckets();
        let all = hashed + size.spares();
        let mut buckets = vec![Bucket::EMPTY; all as usize].into_boxed_slice();
        for (bucket, next) in buckets[hashed as usize..].iter_mut().zip(hashed + 1..) {
            bucket.next = if next < all { next } else { NONE };
        }
        Self {
            buckets,
            hashed,
            free_bucket: hashed,
            free_buckets: size.spares(),
            records: vec![Connection::FREE; size.connections as usize].into_boxed_slice(),
            free_record: NONE,
            used: 0,
            untouched: 0,
            key,
        }
    }

    /// Where the table's memory is, as addresses.
    #[must_use]
    pub fn memory(&self) -> [Range<usize>; 2] {
        fn addresses<T>(slice: &[T]) -> Range<usize> {
            let start = slice.as_ptr().addr();
            start..start + size_of_val(slice)
        }
        [addresses(&self.buckets), addresses(&self.records)]
    }

    /// Connections in the table.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.used
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Connections it can hold.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.records.len() as u32
    }

    /// The hash by which a client's connections are found.
    #[inline]
    #[must_use]
    pub fn hash(&self, client: A, port: u16) -> ClientHash {
        self.key.client(client, port)
    }

    /// A reference to prefetch before [`Table::guess`].
    #[inline(always)]
    pub(crate) fn bucket_line(&self, hash: ClientHash) -> &impl Sized {
        &self.buckets[hash.bucket(self.hashed) as usize]
    }

    /// The first record whose tag fits, without looking at it: right unless tags collide or one
    /// client tuple has several connections.
    #[inline(always)]
    pub(crate) fn guess(&self, hash: ClientHash) -> RecordId {
        let bucket = &self.buckets[hash.bucket(self.hashed) as usize];
        let slot = bucket.tags.matching(hash.tag()).next();
        slot.map_or(RecordId::NONE, |slot| RecordId(bucket.records[slot]))
    }

    /// The record that a guess names, if it names one; to prefetch, or to compare.
    #[inline(always)]
    pub(crate) fn guessed(&self, id: RecordId) -> Option<&Connection<A>> {
        self.records.get(id.0 as usize)
    }

    /// The same, to change; its client must stay what it is.
    #[inline(always)]
    pub(crate) fn guessed_mut(&mut self, id: RecordId) -> Option<&mut Connection<A>> {
        self.records.get_mut(id.0 as usize)
    }

    /// Finds the connection of this hash that `is_it` accepts.
    #[inline(always)]
    pub fn find(
        &self,
        hash: ClientHash,
        is_it: impl Fn(&Connection<A>) -> bool,
    ) -> Option<RecordId> {
        let mut at = hash.bucket(self.hashed);
        loop {
            let bucket = &self.buckets[at as usize];
            for slot in bucket.tags.matching(hash.tag()) {
                let record = bucket.records[slot];
                if is_it(&self.records[record as usize]) {
                    return Some(RecordId(record));
                }
            }
            at = bucket.next;
            if at == NONE {
                return None;
            }
        }
    }

    /// A connection in the table.
    #[inline]
    #[must_use]
    pub fn get(&self, id: RecordId) -> &Connection<A> {
        &self.records[id.0 as usize]
    }

    /// A connection in the table, to change; its client must stay what it is.
    #[inline]
    pub fn get_mut(&mut self, id: RecordId) -> &mut Connection<A> {
        &mut self.records[id.0 as usize]
    }

    /// Puts a connection in, which must not be there yet.
    ///
    /// # Errors
    /// [`DropReason::TableFull`] and [`DropReason::ChainFull`]; nothing has changed then.
    #[inline(always)]
    pub fn insert(
        &mut self,
        hash: ClientHash,
        connection: Connection<A>,
    ) -> Result<RecordId, DropReason> {
        if self.used == self.capacity() {
            return Err(DropReason::TableFull);
        }
        let at = hash.bucket(self.hashed);
        let first = &self.buckets[at as usize];
        let (bucket, slot) = match first.tags.matching(0).next() {
            // A client tuple that leaves a slot here is no crowd.
            Some(slot) if first.next == NONE => (at, slot),
            _ => self.free_slot(hash)?,
        };
        let record = self.take_record();
        self.records[record as usize] = connection;
        let bucket = &mut self.buckets[bucket as usize];
        bucket.tags.set(slot, hash.tag());
        bucket.records[slot] = record;
        self.used += 1;
        Ok(RecordId(record))
    }

    /// Takes a connection out.
    ///
    /// # Panics
    /// When it is not in the table.
    pub fn remove(&mut self, id: RecordId) -> Connection<A> {
        let connection = self.records[id.0 as usize];
        assert!(!connection.is_free(), "only a connection in the table is removed");
        self.free_slot_of(self.hash(connection.client, connection.client_port), id);
        let record = &mut self.records[id.0 as usize];
        *record = Connection::FREE;
        record.server = ServerId(self.free_record);
        self.free_record = id.0;
        self.used -= 1;
        if self.used == 0 {
            // All are free: begin anew at the front, and sweeps have nothing to see.
            self.free_record = NONE;
            self.untouched = 0;
        }
        connection
    }

    /// Records that a full sweep has to look at; those behind have never held a connection.
    #[must_use]
    pub fn touched(&self) -> u32 {
        self.untouched
    }

    /// The connection in the record at `index`, which is less than [`Table::touched`].
    #[inline]
    #[must_use]
    pub fn at(&self, index: u32) -> Option<(RecordId, &Connection<A>)> {
        let record = &self.records[index as usize];
        (!record.is_free()).then_some((RecordId(index), record))
    }

    /// The same, to change; its client must stay what it is.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut Connection<A>> {
        let record = &mut self.records[index as usize];
        (!record.is_free()).then_some(record)
    }

    #[inline]
    fn take_record(&mut self) -> u32 {
        if self.free_record == NONE {
            self.untouched += 1;
            return self.untouched - 1;
        }
        let taken = self.free_record;
        self.free_record = self.records[taken as usize].server.0;
        taken
    }

    /// A free slot in the chain of `hash`, which grows by a spare bucket when it has none.
    ///
    /// A client tuple with more connections than a bucket holds leaves a few slots of its chain and
    /// half of the spare buckets to others.
    #[inline(never)]
    fn free_slot(&mut self, hash: ClientHash) -> Result<(u32, usize), DropReason> {
        let mut at = hash.bucket(self.hashed);
        let (mut found, mut free, mut alike, mut spares) = (None, 0, 0, 0);
        loop {
            let bucket = &self.buckets[at as usize];
            let mut slots = bucket.tags.matching(0);
            free += slots.count_slots();
            alike += bucket.tags.matching(hash.tag()).count_slots();
            found = found.or_else(|| slots.next().map(|slot| (at, slot)));
            if bucket.next == NONE {
                break;
            }
            at = bucket.next;
            spares += 1;
        }
        let is_crowd = alike >= SLOTS as u32;
        let (slots_for_others, spares_for_others) =
            if is_crowd { (SLOTS as u32 / 2, self.all_spares() / 2) } else { (0, 0) };
        if alike >= MAX_PER_TUPLE {
            return Err(DropReason::ChainFull);
        }
        if let Some(slot) = found.filter(|_| free > slots_for_others) {
            return Ok(slot);
        }
        if spares == MAX_CHAIN || self.free_buckets <= spares_for_others {
            return Err(DropReason::ChainFull);
        }
        let spare = self.free_bucket;
        self.free_bucket = self.buckets[spare as usize].next;
        self.free_buckets -= 1;
        self.buckets[spare as usize] = Bucket::EMPTY;
        self.buckets[at as usize].next = spare;
        Ok((spare, 0))
    }

    fn all_spares(&self) -> u32 {
        self.buckets.len() as u32 - self.hashed
    }

    /// Frees the slot of a record, and its bucket too when that is a spare one now empty.
    fn free_slot_of(&mut self, hash: ClientHash, id: RecordId) {
        let mut before = NONE;
        let mut at = hash.bucket(self.hashed);
        while at != NONE {
            let bucket = &mut self.buckets[at as usize];
            if let Some(slot) = (0..SLOTS).find(|&slot| bucket.records[slot] == id.0) {
                bucket.tags.set(slot, 0);
                bucket.records[slot] = NONE;
                if before != NONE && bucket.tags.is_empty() {
                    let next = bucket.next;
                    bucket.next = self.free_bucket;
                    self.free_bucket = at;
                    self.free_buckets += 1;
                    self.buckets[before as usize].next = next;
                }
                return;
            }
            before = at;
            at = bucket.next;
        }
        unreachable!("every record has a slot in its client's chain");
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
