//! What overload costs: ns per packet where packets are dropped for want of room, or are no use,
//! beside the same load when all is well. Drops are named in the row.

mod alone;
mod crew;

use alone::Alone;
use anyhow::Result;
use crew::Crew;
use dataplane::service::{Family, Method, Protocol};

use crate::drops::Drops;
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::sample::Samples;
use crate::setup::Setup;

/// Connections when all is well, and room for them.
const CONNECTIONS: u32 = 1024;

const SETUP: Setup = Setup::one(Family::V4, Method::Direct, Protocol::Udp, CONNECTIONS);

/// Something that packets are given to.
trait Load {
    /// Nanoseconds per packet, over so many.
    fn sample(&mut self, packets: u32) -> f64;
    /// All so far.
    fn drops(&self) -> Drops;
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options::default().parse(&["packets", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "overload: ns per packet of direct routing (dataplane alone, writing the frames taken off; \
         workers, ports in memory included), against the same when all is well",
    )?;
    let mut case = |name: &str, load: &mut dyn Load, well: &mut dyn Load| {
        progress(&format!("overload: {name}"));
        output.row(&compare(&options, name, load, well))
    };
    let mut well = Alone::well();
    case("dataplane: elephant", &mut Alone::elephant(), &mut well)?;
    case("dataplane: table full", &mut Alone::table_full(), &mut well)?;
    case("dataplane: garbage", &mut Alone::garbage(), &mut well)?;
    case("dataplane: no buffers", &mut Alone::no_buffers(), &mut well)?;
    let mut well = Crew::well();
    case("worker: transmit queue full", &mut Crew::transmit_full(), &mut well)?;
    case("workers: ring full", &mut Crew::ring_full(), &mut well)?;
    case("workers: one slow owner", &mut Crew::one_owner(), &mut well)
}

fn compare(options: &Options, name: &str, load: &mut dyn Load, well: &mut dyn Load) -> Row {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    load.sample(options.packets / 4);
    for _ in 0..options.repeats {
        theirs.push(well.sample(options.packets));
        ours.push(load.sample(options.packets));
    }
    assert!(well.drops().is_empty(), "nothing is lost when all is well");
    Row {
        bench: "overload",
        case: Some(name.to_owned()),
        ns_per_packet: Some(ours.median()),
        drops: Some(load.drops().to_string()),
        ..Row::default()
    }
    .spread(&ours)
    .against("all well", &ours, &theirs)
}
