//! The connection table of one shard: buckets of tags in front of an array of records.
//!
//! A lookup reads one 64-byte bucket, compares its eight 16-bit tags at once, and reads the record
//! of the slot that matches. Both can be prefetched, so a burst pays for its misses side by side.
//! Full buckets are chained to spare ones; a chain is bounded, because all connections of one
//! client tuple share a bucket and must not slow down the others.

use alloc::boxed::Box;
use alloc::vec;

use super::record::Connection;
use super::tags::{SLOTS, Tags};
use crate::hash::{ClientHash, HashKey};
use crate::packet::Network;
use crate::roster::ServerId;
use crate::verdict::DropReason;

/// Spare buckets that one bucket may have: with eight slots each, 136 connections to a client
/// tuple.
const MAX_CHAIN: usize = 16;
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
    /// Buckets for a load of about four connections each, when the table is full.
    #[must_use]
    pub fn buckets(self) -> u32 {
        self.connections.div_ceil(4).max(1)
    }

    /// Spare buckets: at that load one bucket in fifty needs one; twice that, and a few.
    fn spares(self) -> u32 {
        self.buckets() / 24 + MAX_CHAIN as u32
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
    free_bucket: u32,
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
            records: vec![Connection::FREE; size.connections as usize].into_boxed_slice(),
            free_record: NONE,
            used: 0,
            untouched: 0,
            key,
        }
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

    /// Finds the connection of this hash that `is_it` accepts.
    #[inline]
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
    pub fn insert(
        &mut self,
        hash: ClientHash,
        connection: Connection<A>,
    ) -> Result<RecordId, DropReason> {
        if self.used == self.capacity() {
            return Err(DropReason::TableFull);
        }
        let (bucket, slot) = self.free_slot(hash)?;
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
    fn free_slot(&mut self, hash: ClientHash) -> Result<(u32, usize), DropReason> {
        let mut at = hash.bucket(self.hashed);
        for _ in 0..=MAX_CHAIN {
            if let Some(free) = self.buckets[at as usize].tags.matching(0).next() {
                return Ok((at, free));
            }
            let next = self.buckets[at as usize].next;
            if next != NONE {
                at = next;
                continue;
            }
            let spare = self.free_bucket;
            if spare == NONE {
                return Err(DropReason::ChainFull);
            }
            self.free_bucket = self.buckets[spare as usize].next;
            self.buckets[spare as usize] = Bucket::EMPTY;
            self.buckets[at as usize].next = spare;
            at = spare;
        }
        Err(DropReason::ChainFull)
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
