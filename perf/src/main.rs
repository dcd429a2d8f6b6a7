//! Benchmarks of pollvs. `perf --help` lists them.

mod capsule;
mod dataplane;
mod engine_loop;
mod frames;
mod machine;
mod output;
mod pick;
mod port;
mod sample;
mod setup;
mod veth;

use std::process::ExitCode;

const HELP: &str = "\
perf: benchmarks of pollvs

Usage: perf COMMAND [OPTIONS]

  dataplane   ns per packet of the dataplane alone, and allocations per packet
                --connections LIST  [1024,1048576]
                --packets N         packets in a sample [4000000]
                --repeats N         samples of each figure [5]
  pick        ns for a scheduler's choice of a server
  port        the engine against dpdk-testpmd (macswap) on net_pcap and net_memif
                --seconds N         length of a sample [3]
                --repeats N         samples of each figure [3]
  veth        the daemon against kernel routing, nft DNAT, HAProxy and nginx, in network namespaces
                --seconds N         length of a sample [1]
                --repeats N         samples of each figure [3]
  capsule     the engine against the capsule framework with our dataplane in its pipeline
                --seconds N         length of a sample [2]
                --repeats N         samples of each figure [3]

Figures of one row come from interleaved samples of one run: median, least and most.
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let result = match words.next().as_deref() {
        Some("dataplane") => dataplane::run(words),
        Some("pick") => {
            pick::run();
            Ok(())
        }
        Some("port") => port::run(words),
        Some("veth") => veth::run(words),
        Some("capsule") => capsule::run(words),
        // Processes that `port` starts.
        Some("generate") => port::generate(words),
        Some("pollvsd") => port::daemon(words),
        Some("--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("unknown command {other:?}; see perf --help")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}
