//! The engine against testpmd, which does nothing but swap addresses: what a director costs on top
//! of the port itself. Both forward the same frames on the same core, in turn.

mod dut;
mod generate;
mod link;
pub(crate) mod testpmd;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use dataplane::service::Method;

use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::process::folder;
use crate::sample::Samples;
use crate::setup::method_name;
use link::{Lab, Link, Veth};

pub(crate) use dut::{Dut, Setup, rules};
pub(crate) use generate::{run as generate, with_port};
pub(crate) use link::{ADDRESS, Ends, MEMIF_SOCKET, memif_ends, pcap_device};

/// Flows in the traffic; few enough that the connection table stays in the cache.
pub(crate) const FLOWS: u32 = 1024;

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options {
        ports: Link::ALL.map(|link| link.name().to_owned()).into(),
        methods: vec![Method::Direct],
        seconds: 2.0,
        repeats: 3,
        ..Options::default()
    };
    let options = options.parse(&["ports", "method", "seconds", "repeats"], words)?;
    let links = options.ports.iter().map(|name| Link::parse(name)).collect::<Result<Vec<_>>>()?;
    let mut output =
        Output::start(options.is_json, "port: UDP, 64-byte frames, one worker on core 1, in Mpps")?;
    let folder = folder()?;
    for &method in &options.methods {
        for &link in &links {
            let base = Row {
                bench: "port",
                case: Some(link.name().to_owned()),
                method: Some(method_name(method)),
                family: Some(4),
                protocol: Some("udp"),
                connections: Some(FLOWS),
                workers: Some(1),
                ..Row::default()
            };
            let row = match measure(link, &options, folder.path(), &rules(method)) {
                Ok((ours, theirs)) => Row { mpps: Some(ours.median()), ..base }
                    .spread(&ours)
                    .against(Dut::Testpmd.name(), &ours, &theirs),
                // Not every machine lets a program do this; nobody is to do without the rest.
                Err(error) if link == Link::Xdp => {
                    ::tests::interrupt::check()?;
                    progress(&format!("{} is left out: {error:#}", link.name()));
                    Row { note: Some(format!("left out: {error:#}")), ..base }
                }
                Err(error) => return Err(error),
            };
            output.row(&row)?;
        }
    }
    Ok(())
}

/// Ours and the peer's, in Mpps.
fn measure(
    link: Link,
    options: &Options,
    folder: &Path,
    rules: &str,
) -> Result<(Samples, Samples)> {
    let veth = (link == Link::Xdp).then(Veth::new).transpose()?;
    let window = Duration::from_secs_f64(options.seconds);
    let lab = Lab { folder, rules, window, veth: veth.as_ref() };
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for repeat in 1..=options.repeats {
        progress(&format!("{}, {repeat} of {}", link.name(), options.repeats));
        ours.push(lab.sample(link, Dut::Pollvsd)? / 1e6);
        theirs.push(lab.sample(link, Dut::Testpmd)? / 1e6);
    }
    Ok((ours, theirs))
}
