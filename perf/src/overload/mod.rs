//! What overload costs: ns per packet where packets are dropped for want of room, or are no use,
//! beside the same load when all is well. Drops are named in the row.

mod alone;
mod crew;

use crate::output::{Output, Row};
use crate::sample::Samples;
use crate::workload::Service;
use alone::Alone;
use crew::Crew;
use dataplane::service::{Family, Method, Protocol};

/// Connections when all is well, and room for them.
const CONNECTIONS: u32 = 1024;

const SERVICE: Service = Service {
    method: Method::Direct,
    protocol: Protocol::Udp,
    family: Family::V4,
    scheduler: "rr",
    servers: 1,
    connections: CONNECTIONS,
};

/// Something that packets are given to.
trait Load {
    /// Nanoseconds per packet, over so many.
    fn sample(&mut self, packets: u32) -> f64;
    /// All drops so far, by reason, for people.
    fn drops(&self) -> String;
}

struct Options {
    packets: u32,
    repeats: u32,
    is_json: bool,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<(), String> {
    let options = parse(words)?;
    let mut output = Output::start(
        options.is_json,
        "overload: ns per packet of direct routing (dataplane alone, writing the frames taken off; \
         workers, ports in memory included), against the same when all is well",
    );
    let mut case = |name: &str, load: &mut dyn Load, well: &mut dyn Load| {
        output.progress(&format!("overload: {name}"));
        output.row(&compare(&options, name, load, well));
    };
    let mut well = Alone::well();
    case("dataplane: elephant", &mut Alone::elephant(), &mut well);
    case("dataplane: table full", &mut Alone::table_full(), &mut well);
    case("dataplane: garbage", &mut Alone::garbage(), &mut well);
    case("dataplane: no buffers", &mut Alone::no_buffers(), &mut well);
    let mut well = Crew::well();
    case("worker: transmit queue full", &mut Crew::transmit_full(), &mut well);
    case("workers: ring full", &mut Crew::ring_full(), &mut well);
    case("workers: one slow owner", &mut Crew::one_owner(), &mut well);
    Ok(())
}

fn compare(options: &Options, name: &str, load: &mut dyn Load, well: &mut dyn Load) -> Row {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    load.sample(options.packets / 4);
    for _ in 0..options.repeats {
        theirs.push(well.sample(options.packets));
        ours.push(load.sample(options.packets));
    }
    assert_eq!(well.drops(), "", "nothing is lost when all is well");
    let drops = load.drops();
    Row {
        bench: "overload",
        case: Some(name.to_owned()),
        ns_per_packet: Some(ours.median()),
        drops: Some(if drops.is_empty() { "none".to_owned() } else { drops }),
        ..Row::default()
    }
    .spread(&ours)
    .against("all well", &ours, &theirs)
}

fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
    use lexopt::prelude::*;
    let mut options = Options { packets: 1_000_000, repeats: 5, is_json: false };
    let mut parser = lexopt::Parser::from_args(words);
    let text = |error: lexopt::Error| error.to_string();
    while let Some(argument) = parser.next().map_err(text)? {
        let number = match &argument {
            Long("json") => {
                options.is_json = true;
                continue;
            }
            Long("packets") => &mut options.packets,
            Long("repeats") => &mut options.repeats,
            _ => return Err(argument.unexpected().to_string()),
        };
        *number = parser.value().and_then(|value| value.parse()).map_err(text)?;
    }
    if options.packets < 4 * CONNECTIONS || options.repeats == 0 {
        return Err(format!("packets are at least {}, repeats 1", 4 * CONNECTIONS));
    }
    Ok(options)
}
