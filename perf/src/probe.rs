//! The limit probe: how fast this machine can do what no director can leave out. It tunnels with a
//! connection table and counters, but has no services, schedulers, timeouts or thresholds, takes one
//! kind of frame only, and never removes a connection.
//!
//! Figures of different machines cannot be compared, their ratios to this can.

use dataplane::BURST;
use dataplane::frame::Frame;
use dataplane::packet::checksum;
use dataplane::packet::ethernet::Mac;
use engine::port::huge_pages::hold_in_large_pages;
use engine::port::prefetch::prefetch;
use wide::{u8x16, u16x8};

use crate::frames::{DUT_MAC, GENERATOR_MAC};
use crate::pool::PoolFrame;

const SLOTS: usize = 8;
const NONE: u32 = u32::MAX;
const LINK: usize = 14;
const HEADER: usize = 20;
const SECRET: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];
/// The next state of a connection: by state, and by FIN, SYN and RST.
const NEXT: [[u8; 8]; 4] = [
    [1, 3, 1, 3, 0, 0, 0, 0],
    [2, 3, 1, 3, 0, 0, 0, 0],
    [2, 3, 2, 3, 0, 0, 0, 0],
    [3, 3, 1, 3, 0, 0, 0, 0],
];

/// Of a frame's first bytes: whom it is for, that it carries IPv4, and without options.
const MASK: [u8; 16] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0];

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 marks a free slot.
    tags: [u16; SLOTS],
    records: [u32; SLOTS],
}

/// All in the order of a packet's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    /// Source and destination.
    addresses: u64,
    /// Both, and the protocol.
    ports: u64,
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Record {
    key: Key,
    state: u8,
    server: u16,
    seen: u32,
    packets: u32,
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Server {
    packets: u64,
    bytes: u64,
}

/// A packet between the passes.
#[derive(Clone, Copy, Default)]
struct Staged {
    key: Key,
    flags: u8,
    length: u16,
    bucket: u32,
    tag: u16,
    guess: u32,
}

/// A table of connections, and the counters.
pub(crate) struct Probe {
    buckets: Vec<Bucket>,
    records: Vec<Record>,
    servers: Vec<Server>,
    /// How the frames that it takes begin, as far as the mask shows.
    begin: [u8; 16],
    link: [u8; LINK],
    /// The outer header, and the sum of what is always the same in it, lowest byte first.
    outer: [u8; HEADER],
    outer_sum: u64,
    identification: u16,
}

impl Probe {
    /// A table that so many connections fill by half.
    pub(crate) fn new(connections: u32) -> Self {
        let buckets = (connections as usize * 2).div_ceil(SLOTS);
        let buckets = vec![Bucket { tags: [0; SLOTS], records: [NONE; SLOTS] }; buckets];
        let mut records = vec![Record::default(); connections as usize];
        let memory = |start: usize, length| start..start + length;
        let tables = [
            memory(buckets.as_ptr().addr(), size_of_val(&*buckets)),
            memory(records.as_ptr().addr(), size_of_val(&*records)),
        ];
        // As our own tables are.
        let _ = hold_in_large_pages(tables.into_iter());
        records.clear();
        let outer = [69, 0, 0, 0, 0, 0, 0, 0, 64, 4, 0, 0, 10, 1, 255, 254, 10, 1, 0, 1];
        Self {
            buckets,
            records,
            servers: vec![Server::default(); 1],
            outer,
            begin: begin(DUT_MAC, [0; 6]),
            link: *begin(GENERATOR_MAC, DUT_MAC.0).first_chunk().expect("16 bytes hold 14"),
            outer_sum: u64::from(checksum::fold(checksum::sum(&outer[8..])).swap_bytes()),
            identification: 0,
        }
    }

    /// Connections in the table.
    pub(crate) fn connections(&self) -> usize {
        self.records.len()
    }

    /// Makes connections of what has none yet.
    pub(crate) fn open(&mut self, burst: &[PoolFrame]) {
        for frame in burst {
            let Some(staged) = self.parse(frame.bytes()) else { continue };
            if self.find(&staged).is_some() {
                continue;
            }
            let record = self.records.len() as u32;
            self.records.push(Record { key: staged.key, ..Record::default() });
            let mut at = staged.bucket as usize;
            // The probe is for keys that find room: what overflows goes into the next bucket.
            let slot = loop {
                match self.buckets[at].tags.iter().position(|&tag| tag == 0) {
                    Some(slot) => break slot,
                    None => at = (at + 1) % self.buckets.len(),
                }
            };
            self.buckets[at].tags[slot] = staged.tag;
            self.buckets[at].records[slot] = record;
        }
    }

    /// Forwards a burst; returns how many frames went out.
    #[inline(always)]
    pub(crate) fn process(&mut self, now: u32, burst: &mut [PoolFrame]) -> usize {
        let mut staged = [Staged::default(); BURST];
        for (staged, frame) in staged.iter_mut().zip(&*burst) {
            if let Some(parsed) = self.parse(frame.bytes()) {
                prefetch(&self.buckets[parsed.bucket as usize]);
                *staged = parsed;
            }
        }
        let staged = &mut staged[..burst.len()];
        for staged in staged.iter_mut() {
            staged.guess = self.matching(staged.bucket as usize, staged.tag).next().unwrap_or(NONE);
            if let Some(record) = self.records.get(staged.guess as usize) {
                prefetch(record);
            }
        }
        let mut sent = 0;
        for (staged, frame) in staged.iter().zip(burst) {
            sent += usize::from(self.act(now, staged, frame).is_some());
        }
        sent
    }

    /// What a packet is looked up by, if it is one that the probe takes.
    #[inline(always)]
    fn parse(&self, frame: &[u8]) -> Option<Staged> {
        let headers: &[u8; LINK + HEADER + 20] = frame.first_chunk()?;
        let (start, _) = headers.split_first_chunk::<16>()?;
        let ip: &[u8; HEADER] = headers[LINK..].first_chunk()?;
        let begins = u8x16::from(*start) & u8x16::from(MASK);
        let length = u16::from_be_bytes([ip[2], ip[3]]);
        let is_whole = begins.simd_eq(u8x16::from(self.begin)).all()
            & (usize::from(length).wrapping_sub(HEADER) <= frame.len() - (LINK + HEADER))
            & (ip[8] > 1)
            & checksum::is_correct(ip);
        let flags = match ip[9] {
            6 => headers[47],
            17 => 0,
            _ => return None,
        };
        if !is_whole {
            return None;
        }
        let addresses = u64::from_ne_bytes(*headers[26..].first_chunk()?);
        let ports = u64::from(u32::from_ne_bytes(*headers[34..].first_chunk()?));
        let client = addresses << 32 | ports & 0xffff;
        let [offset, first, second] = SECRET;
        let hash = multiply_fold(multiply_fold(client ^ offset, first) ^ offset, second);
        let bucket = (((hash >> 32) * self.buckets.len() as u64) >> 32) as u32;
        let tag = ((hash >> 16) as u16).max(1);
        let key = Key { addresses, ports: ports | u64::from(ip[9]) << 32 };
        Some(Staged { key, flags, length, bucket, tag, guess: NONE })
    }

    /// Records of a bucket whose tag fits.
    #[inline(always)]
    fn matching(&self, bucket: usize, tag: u16) -> impl Iterator<Item = u32> {
        let bucket = &self.buckets[bucket];
        let mut slots = u16x8::new(bucket.tags).simd_eq(u16x8::splat(tag)).to_bitmask();
        std::iter::from_fn(move || {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots.wrapping_sub(1);
            bucket.records.get(slot).copied()
        })
    }

    #[inline(never)]
    fn find(&self, staged: &Staged) -> Option<u32> {
        let mut at = staged.bucket as usize;
        loop {
            let is_it = |&record: &u32| self.records[record as usize].key == staged.key;
            let found = self.matching(at, staged.tag).find(is_it);
            if found.is_some() || self.buckets[at].tags.contains(&0) {
                return found;
            }
            at = (at + 1) % self.buckets.len();
        }
    }

    #[inline(always)]
    fn act(&mut self, now: u32, staged: &Staged, frame: &mut PoolFrame) -> Option<()> {
        let found = match self.records.get(staged.guess as usize) {
            Some(record) if record.key == staged.key => staged.guess,
            _ => self.find(staged)?,
        };
        let record = &mut self.records[found as usize];
        record.state = NEXT[usize::from(record.state & 3)][usize::from(staged.flags & 7)];
        record.seen = now;
        record.packets = record.packets.wrapping_add(1);
        let server = &mut self.servers[usize::from(record.server)];
        server.packets += 1;
        server.bytes += u64::from(staged.length);

        let frame = frame.open(HEADER as u8);
        let headers: &mut [u8; LINK + 2 * HEADER] = frame.first_chunk_mut()?;
        let (link, rest) = headers.split_first_chunk_mut::<LINK>()?;
        let (outer, inner) = rest.split_first_chunk_mut::<HEADER>()?;
        *link = self.link;
        inner[8] -= 1;
        let (sum, carry) =
            u16::from_ne_bytes([inner[10], inner[11]]).overflowing_add(0x0100_u16.to_be());
        inner[10..12].copy_from_slice(&(sum + u16::from(carry)).to_ne_bytes());
        self.identification = self.identification.wrapping_add(1);
        let total = staged.length + HEADER as u16;
        let first = 0x45
            | u64::from(total.swap_bytes()) << 16
            | u64::from(self.identification.swap_bytes()) << 32;
        let sum = self.outer_sum + (first & 0xffff_ffff) + (first >> 32);
        *outer = self.outer;
        outer[..8].copy_from_slice(&first.to_le_bytes());
        outer[10..12].copy_from_slice(&(!checksum::fold(sum)).to_le_bytes());
        Some(())
    }
}

/// A link header of IPv4, and the first byte of what follows.
fn begin(to: Mac, from: [u8; 6]) -> [u8; 16] {
    let mut begin = [0; 16];
    begin[..6].copy_from_slice(&to.0);
    begin[6..12].copy_from_slice(&from);
    begin[12..15].copy_from_slice(&[8, 0, 0x45]);
    begin
}

#[inline(always)]
fn multiply_fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Client;
    use crate::traffic::{Kind, Traffic};
    use dataplane::service::{Family, Protocol};

    #[test]
    fn it_tunnels_what_it_knows() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let traffic = Traffic::new(Family::V4, protocol, Kind::Request);
            let frame = |client| {
                let mut frame = PoolFrame::new();
                traffic.write(&mut frame, Client::numbered(client));
                frame
            };
            let mut probe = Probe::new(1000);
            for client in 0..1000 {
                probe.open(&[frame(client)]);
                probe.open(&[frame(client)]);
            }
            assert_eq!(probe.connections(), 1000);
            for client in 0..1000 {
                let mut burst = [frame(client), frame(client + 1000)];
                let before = burst[0].bytes().to_vec();
                assert_eq!(probe.process(7, &mut burst), 1, "the other has no connection");
                let after = burst[0].bytes();
                assert_eq!(after.len(), before.len() + HEADER);
                let headers = after[LINK..].as_chunks::<HEADER>().0;
                assert!(checksum::is_correct(&headers[0]) && checksum::is_correct(&headers[1]));
                assert_eq!((headers[1][8], &after[54..]), (63, &before[34..]));
            }
            assert_eq!(probe.servers[0].packets, 1000);
        }
    }
}
