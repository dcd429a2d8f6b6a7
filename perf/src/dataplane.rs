//! The dataplane alone: nanoseconds per packet, with the cost of writing the frames taken off.
//!
//! Frames lie in a pool of 16 MiB, as a NIC's would, and are written anew for every burst, each
//! for a connection drawn at random. The same loop runs with and without the dataplane; the
//! figure is the difference, and the gross time is given too.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use dataplane::BURST;
use dataplane::counters::Counters;
use dataplane::frame::{Frame, Host};
use dataplane::packet::checksum;
use dataplane::service::{Method, Protocol};
use dataplane::shard::Shard;
use dataplane::time::Tick;
use dataplane::verdict::{PortId, Verdict};
use engine::port::prefetch::prefetch;
use etherparse::PacketBuilder;

use crate::engine_loop;
use crate::frames::{GENERATOR_MAC, PORT, VIP};
use crate::output::{Output, Row};
use crate::sample::Samples;
use crate::setup::{self, OUR_MAC};

const SLOT: usize = 256;
const HEADROOM: usize = 64;
const POOL: usize = (16 << 20) / SLOT;
const SOURCE: usize = 26;
const SOURCE_PORT: usize = 34;

/// A frame in a slot of the pool: where it is in the slot lies apart, as in an mbuf.
#[repr(C, align(64))]
struct PoolFrame {
    start: u8,
    end: u8,
    slot: [u8; SLOT],
}

impl Frame for PoolFrame {
    #[inline]
    fn port(&self) -> PortId {
        PortId(0)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn reframe(&mut self, distance: isize, length: usize) -> Option<&mut [u8]> {
        let start = usize::from(self.start).wrapping_add_signed(distance);
        let end = start.wrapping_add(length);
        if start > end || end > usize::from(self.end) {
            return None;
        }
        (self.start, self.end) = (start as u8, end as u8);
        self.slot.get_mut(start..end)
    }
}

/// A host that sends nowhere: verdicts are all that is measured.
struct Nowhere;

impl Host for Nowhere {
    type Frame = PoolFrame;

    fn allocate(&mut self, _: usize) -> Option<PoolFrame> {
        None
    }

    fn send(&mut self, _: PortId, _: PoolFrame) {}

    fn release(&mut self, _: PoolFrame) {}

    #[inline]
    fn prefetch<T>(&self, at: &T) {
        prefetch(at);
    }
}

/// Frames of one protocol, rewritten for a client by number.
struct Template {
    bytes: Vec<u8>,
    /// Of the IP header, without its checksum and source.
    sum: u64,
}

impl Template {
    fn new(protocol: Protocol, syn: bool) -> Self {
        let builder =
            PacketBuilder::ethernet2(GENERATOR_MAC.0, OUR_MAC.0).ipv4([0; 4], VIP.octets(), 64);
        let mut bytes = Vec::new();
        let written = match protocol {
            Protocol::Tcp if syn => builder.tcp(0, PORT, 1, 1024).syn().write(&mut bytes, &[]),
            Protocol::Tcp => builder.tcp(0, PORT, 1, 1024).ack(1).write(&mut bytes, &[0; 6]),
            _ => builder.udp(0, PORT).write(&mut bytes, &[0; 18]),
        };
        written.expect("a small packet can be written");
        bytes[24..26].fill(0);
        Self { sum: checksum::sum(&bytes[14..34]), bytes }
    }

    /// Writes the frame of a client. Its transport checksum is left wrong: nobody checks it.
    #[inline]
    fn write(&self, frame: &mut PoolFrame, client: u32) {
        let (address, port) = (0x0a0a_0000 + (client >> 4), 1024 + (client & 15) as u16);
        frame.start = HEADROOM as u8;
        frame.end = (HEADROOM + self.bytes.len()) as u8;
        let bytes = frame.bytes_mut();
        bytes.copy_from_slice(&self.bytes);
        bytes[SOURCE..SOURCE + 4].copy_from_slice(&address.to_be_bytes());
        bytes[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port.to_be_bytes());
        let sum = !checksum::fold(self.sum + u64::from(address));
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

struct Options {
    connections: Vec<u32>,
    packets: u32,
    repeats: u32,
    is_json: bool,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let options = parse(words)?;
    let mut output = Output::start(
        options.is_json,
        "dataplane: one core, no I/O, random connections; writing the frames is taken off",
    );
    let mut pool: Vec<PoolFrame> =
        (0..POOL).map(|_| PoolFrame { slot: [0; SLOT], start: 0, end: 0 }).collect();
    for &connections in &options.connections {
        output.progress(&format!("dataplane with {connections} connections"));
        for method in [Method::Direct, Method::Tunnel, Method::Nat] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                output.row(&measure(&mut pool, method, protocol, connections, &options));
            }
        }
    }
    let engine_loop::Allocations { packets, under_load, idle_turns, at_idle } =
        engine_loop::measure();
    for (case, allocations) in [
        (format!("engine loop, {packets} packets"), under_load),
        (format!("engine loop, {idle_turns} idle turns"), at_idle),
    ] {
        output.row(&Row {
            bench: "dataplane",
            case: Some(case),
            allocations: Some(allocations),
            ..Row::default()
        });
    }
    Ok(())
}

fn measure(
    pool: &mut [PoolFrame],
    method: Method,
    protocol: Protocol,
    connections: u32,
    options: &Options,
) -> Row {
    let counters = Arc::new(Counters::new(setup::SERVERS));
    let mut shard = setup::shard(method, protocol, connections, counters);
    let syn = Template::new(protocol, true);
    for first in (0..connections).step_by(BURST) {
        let burst = &mut pool[..BURST.min((connections - first) as usize)];
        for (frame, client) in burst.iter_mut().zip(first..) {
            syn.write(frame, client);
        }
        let mut verdicts = [Verdict::Consumed; BURST];
        shard.process(Tick(1), &Nowhere, burst, &mut verdicts);
        let sent = |verdict: &Verdict| matches!(verdict, Verdict::Transmit(_));
        assert!(verdicts[..burst.len()].iter().all(sent), "{verdicts:?}");
    }
    assert_eq!(shard.connections(), connections);

    let frames = Template::new(protocol, false);
    let (mut net, mut gross, mut allocations) = (Samples::default(), Samples::default(), 0);
    let mut seed = 1;
    turn(pool, &frames, connections, options.packets / 4, &mut seed, Some(&mut shard));
    for _ in 0..options.repeats {
        let without = turn(pool, &frames, connections, options.packets, &mut seed, None);
        let mut with = 0.0;
        let allocated = allocation_counter::measure(|| {
            with = turn(pool, &frames, connections, options.packets, &mut seed, Some(&mut shard));
        });
        net.push(with - without);
        gross.push(with);
        allocations += allocated.count_total;
    }
    Row {
        bench: "dataplane",
        method: Some(setup::method_name(method)),
        family: Some(4),
        protocol: Some(setup::protocol_name(protocol)),
        connections: Some(connections),
        workers: Some(1),
        ns_per_packet: Some(net.median()),
        ns_gross: Some(gross.median()),
        allocations: Some(allocations),
        ..Row::default()
    }
    .spread(&net)
}

/// Writes frames burst by burst and judges them if there is a shard; nanoseconds per packet.
fn turn(
    pool: &mut [PoolFrame],
    frames: &Template,
    connections: u32,
    packets: u32,
    seed: &mut u64,
    mut shard: Option<&mut Shard<PoolFrame>>,
) -> f64 {
    let mut verdicts = [Verdict::Consumed; BURST];
    let mut at = 0;
    let bursts = packets as usize / BURST;
    let start = Instant::now();
    for _ in 0..bursts {
        let burst = &mut pool[at..at + BURST];
        at = (at + BURST) % POOL;
        for frame in burst.iter_mut() {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let client = (((*seed >> 32) * u64::from(connections)) >> 32) as u32;
            frames.write(frame, client);
        }
        if let Some(shard) = &mut shard {
            shard.process(Tick(2), &Nowhere, burst, &mut verdicts);
        }
        black_box((&mut *burst, &mut verdicts));
    }
    let elapsed = start.elapsed().as_nanos() as f64;
    if shard.is_some() {
        let sent = |verdict: &Verdict| matches!(verdict, Verdict::Transmit(_));
        assert!(verdicts.iter().all(sent), "{verdicts:?}");
    }
    elapsed / (bursts * BURST) as f64
}

fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
    use lexopt::prelude::*;
    let mut options = Options {
        connections: vec![1 << 10, 1 << 20],
        packets: 4_000_000,
        repeats: 5,
        is_json: false,
    };
    let mut parser = lexopt::Parser::from_args(words);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        match argument {
            Long("json") => options.is_json = true,
            Long("connections") => {
                let list = parser.value().and_then(ValueExt::string).map_err(text)?;
                let numbers: Result<_, _> = list.split(',').map(str::parse).collect();
                options.connections = numbers.map_err(|_| format!("not numbers: {list}"))?;
            }
            Long("packets") => {
                options.packets = parser.value().and_then(|value| value.parse()).map_err(text)?;
            }
            Long("repeats") => {
                options.repeats = parser.value().and_then(|value| value.parse()).map_err(text)?;
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let fits = |&n: &u32| (BURST as u32..=1 << 24).contains(&n);
    if !options.connections.iter().all(fits) || options.packets < 1024 {
        return Err("connections are 32 to 16777216, packets at least 1024".into());
    }
    Ok(options)
}
