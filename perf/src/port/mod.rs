//! The engine against testpmd, which does nothing but swap addresses: what a director costs on top
//! of the port itself. Both forward the same frames on the same core, in turn.

mod dut;
mod generate;
mod link;
mod options;
mod process;
pub(crate) mod testpmd;

use std::path::Path;

use anyhow::Result;
use dataplane::service::Method;

use crate::output::{Output, Row};
use crate::sample::Samples;
use crate::setup;
use link::{Lab, Link, Veth};

pub(crate) use dut::{Dut, Setup, rules, run_daemon as daemon};
pub(crate) use generate::{Generator, run as generate, with_port};
pub(crate) use link::{ADDRESS, MEMIF_SOCKET, memif_ends};
pub(crate) use options::{Options, method};
pub(crate) use process::{LIMIT, folder, said};

/// Flows in the traffic; few enough that the connection table stays in the cache.
pub(crate) const FLOWS: u32 = 1024;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let mut links = Link::ALL.to_vec();
    let mut method = Method::Direct;
    let options = Options { seconds: 3, repeats: 3, is_json: false };
    let options = options.parse(words, |name, value| {
        match name {
            "ports" => links = value.split(',').map(Link::parse).collect::<Result<_>>()?,
            "method" => method = options::method(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let mut output =
        Output::start(options.is_json, "port: UDP, 64-byte frames, one worker on core 1, in Mpps");
    let folder = folder()?;
    let rules = rules(method);
    for link in links {
        let row = measure(link, &options, folder.path(), &rules, &output);
        match row {
            Ok(row) => output.row(&Row { method: Some(setup::method_name(method)), ..row }),
            // Not every machine lets a program do this; nobody is to do without the rest.
            Err(error) if link == Link::Xdp => {
                ::tests::interrupt::check()?;
                output.progress(&format!("{} is left out: {error:#}", link.name()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn measure(
    link: Link,
    options: &Options,
    folder: &Path,
    rules: &str,
    output: &Output,
) -> Result<Row> {
    let veth = (link == Link::Xdp).then(Veth::new).transpose()?;
    let lab = Lab { folder, rules, seconds: options.seconds, veth: veth.as_ref() };
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for repeat in 1..=options.repeats {
        output.progress(&format!("{}, {repeat} of {}", link.name(), options.repeats));
        ours.push(lab.sample(link, Dut::Pollvsd)? / 1e6);
        theirs.push(lab.sample(link, Dut::Testpmd)? / 1e6);
    }
    let row = Row {
        bench: "port",
        case: Some(link.name().to_owned()),
        family: Some(4),
        protocol: Some("udp"),
        connections: Some(FLOWS),
        workers: Some(1),
        mpps: Some(ours.median()),
        ..Row::default()
    };
    Ok(row.spread(&ours).against(Dut::Testpmd.name(), &ours, &theirs))
}
