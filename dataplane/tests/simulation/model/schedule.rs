//! Schedulers by their published algorithms, each in the plainest form.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::End;

/// A server as its scheduler sees it; candidates are newest first.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) number: usize,
    pub(crate) weight: i64,
    pub(crate) last_weight: i64,
    pub(crate) is_overloaded: bool,
    pub(crate) active: i64,
    pub(crate) inactive: i64,
    pub(crate) end: End,
}

impl Candidate {
    fn is_eligible(&self) -> bool {
        self.weight > 0 && !self.is_overloaded
    }

    fn overhead(&self) -> i64 {
        self.active * 256 + self.inactive
    }
}

/// What hashing schedulers look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    pub(crate) client: End,
    pub(crate) destination: IpAddr,
    pub(crate) falls_back: bool,
    pub(crate) counts_port: bool,
}

/// A scheduler and what it remembers. Servers are remembered by number.
#[derive(Clone, Debug)]
pub(crate) enum Scheduler {
    Rr { last: Option<usize> },
    Wrr { last: Option<usize>, level: i64, top: i64, step: i64 },
    Lc,
    Wlc,
    Sed,
    Nq,
    Fo,
    Ovf,
    Dh { table: Vec<usize> },
    Sh { table: Vec<usize> },
    Mh { table: Vec<usize> },
    Lblc { cache: BTreeMap<IpAddr, usize> },
    Lblcr { cache: BTreeMap<IpAddr, Vec<usize>> },
}

/// Those whose choices do not hang on chance.
pub(crate) const ALL: &[&str] =
    &["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc", "lblcr"];

const BUCKETS: usize = 256;
const MAGLEV: usize = 4093;

impl Scheduler {
    pub(crate) fn attach(name: &str, servers: &[Candidate]) -> Self {
        let mut scheduler = match name {
            "rr" => Self::Rr { last: None },
            "wrr" => Self::Wrr { last: None, level: 0, top: 0, step: 1 },
            "lc" => Self::Lc,
            "wlc" => Self::Wlc,
            "sed" => Self::Sed,
            "nq" => Self::Nq,
            "fo" => Self::Fo,
            "ovf" => Self::Ovf,
            "dh" => Self::Dh { table: Vec::new() },
            "sh" => Self::Sh { table: Vec::new() },
            "mh" => Self::Mh { table: Vec::new() },
            "lblc" => Self::Lblc { cache: BTreeMap::new() },
            "lblcr" => Self::Lblcr { cache: BTreeMap::new() },
            other => panic!("no model of {other}"),
        };
        scheduler.added(servers);
        scheduler
    }

    pub(crate) fn added(&mut self, servers: &[Candidate]) {
        match self {
            Self::Dh { table } => *table = repeated(servers, |_| 1),
            _ => self.edited(servers),
        }
    }

    pub(crate) fn edited(&mut self, servers: &[Candidate]) {
        match self {
            Self::Wrr { last, level, top, step } => {
                *last = None;
                let weights = || servers.iter().map(|server| server.weight);
                *step = weights().filter(|&weight| weight > 0).fold(0, gcd).max(1);
                *top = (weights().max().unwrap_or(0) - (*step - 1)).max(0);
                if *level > *top || *level == 0 {
                    *level = *top;
                } else if *step > 1 {
                    *level = *level / *step * *step + 1;
                }
            }
            Self::Sh { table } => *table = repeated(servers, |server| server.weight.max(1)),
            Self::Mh { table } => *table = maglev(servers),
            _ => {}
        }
    }

    pub(crate) fn deleted(
        &mut self,
        servers: &[Candidate],
        gone: usize,
        predecessor: Option<usize>,
    ) {
        match self {
            Self::Rr { last } if *last == Some(gone) => *last = predecessor,
            _ => self.added(servers),
        }
    }

    pub(crate) fn pick(&mut self, servers: &[Candidate], query: &Query) -> Option<usize> {
        let eligible = || servers.iter().filter(|server| server.is_eligible());
        match self {
            Self::Rr { last } => {
                let next = behind(servers, *last).find(|server| server.is_eligible())?.number;
                *last = Some(next);
                Some(next)
            }
            Self::Wrr { last, level, top, step } => {
                if *top == 0 {
                    return None;
                }
                let (mut at, mut cw) = (*last, *level);
                // Every level once, and the rest of the one it stands at.
                for _ in 0..=*top / *step + 1 {
                    let start = place_behind(servers, at);
                    let reaches =
                        |server: &&Candidate| !server.is_overloaded && server.weight >= cw;
                    if let Some(found) = servers[start..].iter().find(reaches) {
                        (*last, *level) = (Some(found.number), cw);
                        return *last;
                    }
                    at = None;
                    cw -= *step;
                    if cw <= 0 {
                        cw = *top;
                    }
                }
                None
            }
            Self::Lc => least(eligible(), |server| (server.overhead(), 1)),
            Self::Wlc => wlc(servers),
            Self::Sed => least(eligible(), |server| (server.active + 1, server.weight)),
            Self::Nq => {
                let idle = eligible().find(|server| server.active == 0);
                let idle = idle.map(|server| server.number);
                idle.or_else(|| least(eligible(), |server| (server.active + 1, server.weight)))
            }
            Self::Fo => heaviest(eligible()),
            Self::Ovf => heaviest(eligible().filter(|server| server.active <= server.weight)),
            Self::Dh { table } => {
                let bucket = hash_32(fold(query.destination)) as usize;
                table.get(bucket).copied().filter(|&number| is_eligible(servers, number))
            }
            Self::Sh { table } => {
                let port = if query.counts_port { u32::from(query.client.1) } else { 0 };
                let hash = hash_32(fold(query.client.0).wrapping_add(port)) as usize;
                let bucket = |offset: usize| (offset + hash) & 0xff;
                let able = |bucket: usize| {
                    table.get(bucket).copied().filter(|&number| is_eligible(servers, number))
                };
                let probes = || (0..BUCKETS).map(|offset| (offset + bucket(0)) % BUCKETS);
                let found = able(bucket(0));
                if !query.falls_back {
                    return found;
                }
                found.or_else(|| probes().find_map(|offset| able(bucket(offset))))
            }
            Self::Mh { table } => {
                let port = if query.counts_port { u32::from(query.client.1) } else { 0 };
                let slot = |offset: u32| {
                    let value = offset.wrapping_add(port).wrapping_add(fold(query.client.0));
                    sip(value, KEY_1) as usize % MAGLEV
                };
                let able = |slot: usize| {
                    table.get(slot).copied().filter(|&number| is_eligible(servers, number))
                };
                let first = slot(0);
                let probes = || (0..MAGLEV).map(|offset| (offset + first) % MAGLEV);
                let found = able(first);
                if !query.falls_back {
                    return found;
                }
                found.or_else(|| probes().find_map(|offset| able(slot(offset as u32))))
            }
            Self::Lblc { cache } => {
                let cached = cache.get(&query.destination).and_then(|&number| {
                    servers.iter().find(|server| server.number == number && server.weight > 0)
                });
                if let Some(server) = cached
                    && !is_crowded(server, servers)
                {
                    return Some(server.number);
                }
                let chosen = wlc(servers)?;
                cache.insert(query.destination, chosen);
                Some(chosen)
            }
            Self::Lblcr { cache } => {
                let set = cache.get(&query.destination).map_or(&[][..], |set| &set[..]);
                let members = set.iter().filter_map(|&number| {
                    servers.iter().find(|server| server.number == number && server.is_eligible())
                });
                let found = least(members, |server| (server.overhead(), server.weight));
                let found = servers.iter().find(|server| Some(server.number) == found);
                if let Some(server) = found
                    && !is_crowded(server, servers)
                {
                    return Some(server.number);
                }
                let chosen = wlc(servers)?;
                let set = cache.entry(query.destination).or_default();
                if !set.contains(&chosen) {
                    set.insert(0, chosen);
                }
                Some(chosen)
            }
        }
    }
}

fn is_eligible(servers: &[Candidate], number: usize) -> bool {
    servers.iter().any(|server| server.number == number && server.is_eligible())
}

fn place_behind(servers: &[Candidate], last: Option<usize>) -> usize {
    let place = servers.iter().position(|server| Some(server.number) == last);
    place.map_or(0, |place| place + 1)
}

/// All servers, from the one behind `last` round to `last` itself.
fn behind(servers: &[Candidate], last: Option<usize>) -> impl Iterator<Item = &Candidate> {
    let start = place_behind(servers, last);
    servers[start..].iter().chain(&servers[..start])
}

/// The first with the least load for its weight.
fn least<'a>(
    servers: impl Iterator<Item = &'a Candidate>,
    load: impl Fn(&Candidate) -> (i64, i64),
) -> Option<usize> {
    let better = |least: &'a Candidate, other: &'a Candidate| {
        let ((load_least, weight_least), (load_other, weight_other)) = (load(least), load(other));
        if load_least * weight_other > load_other * weight_least { other } else { least }
    };
    servers.reduce(better).map(|server| server.number)
}

fn wlc(servers: &[Candidate]) -> Option<usize> {
    let eligible = servers.iter().filter(|server| server.is_eligible());
    least(eligible, |server| (server.overhead(), server.weight))
}

/// The first with the highest weight.
fn heaviest<'a>(servers: impl Iterator<Item = &'a Candidate>) -> Option<usize> {
    let heavier = |a: &'a Candidate, b: &'a Candidate| if b.weight > a.weight { b } else { a };
    servers.reduce(heavier).map(|server| server.number)
}

/// The test of the locality-based schedulers: the server is full and another half empty.
fn is_crowded(server: &Candidate, servers: &[Candidate]) -> bool {
    server.active > server.weight && servers.iter().any(|other| 2 * other.active < other.weight)
}

/// A table filled with servers in their order, each as many times in a row as `turns` says.
fn repeated(servers: &[Candidate], turns: impl Fn(&Candidate) -> i64) -> Vec<usize> {
    let round: Vec<_> =
        servers.iter().flat_map(|server| (0..turns(server)).map(|_| server.number)).collect();
    round.into_iter().cycle().take(if servers.is_empty() { 0 } else { BUCKETS }).collect()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// An address as a number of 32 bits.
fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => {
            let words = address.octets();
            let words = words.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
            words.fold(0, |sum, word| sum ^ word)
        }
    }
}

/// The upper eight bits of a multiplication by the golden ratio.
fn hash_32(value: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> 24
}

const KEY_1: u64 = 2_654_435_761;
const KEY_2: u64 = 2_654_446_892;

/// `SipHash-1-3` of four bytes, under a key of two like halves; its lower 32 bits.
fn sip(value: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    let last = 4 << 56 | u64::from(value);
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

fn round(v: &mut [u64; 4]) {
    for (a, b, turn) in [(0, 1, 13), (2, 3, 16)] {
        v[a] = v[a].wrapping_add(v[b]);
        v[b] = v[b].rotate_left(turn) ^ v[a];
    }
    v[0] = v[0].rotate_left(32);
    for (a, b, turn) in [(2, 1, 17), (0, 3, 21)] {
        v[a] = v[a].wrapping_add(v[b]);
        v[b] = v[b].rotate_left(turn) ^ v[a];
    }
    v[2] = v[2].rotate_left(32);
}

/// The lookup table of `mh`; empty when no server has ever had a weight.
fn maglev(servers: &[Candidate]) -> Vec<usize> {
    let weights = || servers.iter().map(|server| server.last_weight).filter(|&weight| weight > 0);
    let divisor = weights().fold(0, gcd);
    if divisor < 1 {
        return Vec::new();
    }
    let bits = |value: i64| 64 - i64::from(value.leading_zeros());
    let shift = (bits(weights().max().unwrap() / divisor) - 6).max(0);
    let mut places: Vec<usize> = Vec::new();
    let mut skips: Vec<usize> = Vec::new();
    let mut turns: Vec<i64> = Vec::new();
    for server in servers {
        let value = fold(server.end.0).wrapping_add(u32::from(server.end.1));
        places.push(sip(value, KEY_1) as usize % MAGLEV);
        skips.push(sip(value, KEY_2) as usize % (MAGLEV - 1) + 1);
        let share = (server.last_weight / divisor) >> shift;
        turns.push(if server.last_weight == 0 { 0 } else { share.max(1) });
    }
    let mut table = vec![None; MAGLEV];
    let mut filled = 0;
    loop {
        for (place, server) in servers.iter().enumerate() {
            for _ in 0..turns[place] {
                while table[places[place]].is_some() {
                    places[place] = (places[place] + skips[place]) % MAGLEV;
                }
                table[places[place]] = Some(server.number);
                filled += 1;
                if filled == MAGLEV {
                    return table.into_iter().flatten().collect();
                }
            }
        }
    }
}

#[test]
fn hashes_are_the_published_ones() {
    let fold = |text: &str| fold(text.parse().unwrap());
    assert_eq!((fold("2001:db8::1"), fold("fe80::1")), (0x2001_0db9, 0xfe80_0001));
    for (address, hash, hash_with_port, first, second) in [
        ("10.0.0.1", 39, 203, 0x0308_0ce4, 0x48f9_d0c1),
        ("10.0.0.2", 137, 45, 0x41cf_de13, 0xc537_a6e5),
        ("172.16.5.9", 115, 23, 0x4bc1_96de, 0x3f86_f92b),
    ] {
        let key = fold(address);
        assert_eq!((hash_32(key), hash_32(key + 40_000)), (hash, hash_with_port), "{address}");
        assert_eq!((sip(key, KEY_1), sip(key, KEY_2)), (first, second), "{address}");
    }
}

#[test]
fn the_maglev_table_is_the_recorded_one() {
    let server = |n: u8| Candidate {
        number: n.into(),
        weight: 1,
        last_weight: 1,
        is_overloaded: false,
        active: 0,
        inactive: 0,
        end: (IpAddr::from([192, 168, 0, n]), 80),
    };
    let table = maglev(&[server(3), server(2), server(1)]);
    assert_eq!(table[..20], [1, 3, 2, 1, 3, 3, 2, 3, 3, 1, 3, 2, 2, 3, 1, 3, 2, 1, 2, 1]);
}
