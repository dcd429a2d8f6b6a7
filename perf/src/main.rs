//! Benchmarks of pollvs. `perf --help` lists them.

mod capsule;
mod cps;
mod daemon;
mod dataplane;
mod drops;
mod engine_loop;
mod frames;
mod latency;
mod machine;
mod memory;
mod options;
mod output;
mod overload;
mod pick;
mod pktgen;
mod pool;
mod port;
mod probe;
mod process;
mod report;
mod sample;
mod scale;
mod setup;
mod sync;
mod traffic;
mod veth;

use std::process::ExitCode;

use anyhow::anyhow;

const HELP: &str = "\
perf: benchmarks of pollvs

Usage: perf COMMAND [OPTIONS]

  dataplane   ns per packet of the dataplane alone, and allocations per packet
                --family 4|6        [both]
                --method LIST     dr, ipip and nat [all]
                --connections LIST  [1024,65536,1048576,4194304; IPv6 1024,1048576]
                --packets N         packets in a sample [1048576]
                --repeats N         samples of each figure [5]
  cps         new connections per second, by scheduler
                --family 4|6, --connections LIST [1048576], --repeats N [3]
  memory      bytes per connection
                --family 4|6, --connections LIST [1048576,4194304], --repeats N [1]
  scale       Mpps of 1 to N workers on cores of their own
                --family 4|6 [4], --method LIST [ipip]
                --connections LIST  of each worker [65536,1048576]
                --seconds N [0.5], --repeats N [5]
  pick        ns for a scheduler's choice of a server
                --repeats N         samples of each figure [5]
  port        the engine against dpdk-testpmd (macswap) on net_pcap, net_memif and,
              as root, net_af_xdp over a veth in namespaces of its own
                --ports LIST        [net_pcap,net_memif,net_af_xdp]
                --method LIST       dr, ipip and nat [dr]
                --seconds N         length of a sample [2]
                --repeats N         samples of each figure [3]
  latency     microseconds from the moment a frame is due at the generator until it
              is back, over net_memif, at parts of the highest rate without losses
                --method LIST       [dr,nat]
                --loads LIST        percent [10,50,80,95]
                --seconds N         length of a sample [2]
                --repeats N         samples of each figure [2]
  pktgen      dpdk-testpmd as generator over net_memif (see perf/pktgen/ for real
              ports and for Pktgen-DPDK)
                --seconds N         length of a sample [1]
                --repeats N         samples of each figure [2]
  overload    ns per packet with a full table, ring or queue, no buffers, garbage, one flow
                --packets N         packets in a sample [1048576]
                --repeats N         samples of each figure [5]
  sync        connection sync: ns per packet with and without, records a second sent
              and taken, whole tables over TCP (as root)
                --packets N         packets in a sample [1048576]
                --repeats N         samples of each figure [7]
                --connections N     connections of whole tables [1048576]
  veth        the daemon against kernel routing, nft DNAT, HAProxy and nginx, in network namespaces
                --seconds N         length of a sample [1]
                --repeats N         samples of each figure [3]
  capsule     the engine against the capsule framework with our dataplane in its pipeline
                --seconds N         length of a sample [2]
                --repeats N         samples of each figure [3]

  report FOLDER  report.md and plots from what the others have written to FOLDER/*.jsonl

--json has every benchmark print an object a line, for programs. Figures of one row come from
interleaved samples of one run: median, least and most.
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let result = match words.next().as_deref() {
        Some("dataplane") => dataplane::run(words),
        Some("cps") => cps::run(words),
        Some("memory") => memory::run(words),
        Some("scale") => scale::run(words),
        Some("pick") => pick::run(words),
        Some("overload") => overload::run(words),
        Some("port") => port::run(words),
        Some("latency") => latency::run(words),
        Some("pktgen") => pktgen::run(words),
        Some("sync") => sync::run(words),
        Some("veth") => veth::run(words),
        Some("capsule") => capsule::run(words),
        Some("report") => report::run(words),
        // Processes that these start.
        Some("fill") => memory::fill_one(words),
        Some("generate") => port::generate(words),
        Some("generate-paced") => latency::generate(words),
        Some("pollvsd") => daemon::run(words),
        Some("--help" | "-h") | None => output::print(HELP.trim_end()),
        Some(other) => Err(anyhow!("unknown command {other:?}; see perf --help")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            output::progress(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
