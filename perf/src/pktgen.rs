//! `dpdk-testpmd` as generator over memif: the form of the two-machine recipes in perf/pktgen/ that
//! runs on one machine.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use dataplane::packet::ethernet::Mac;

use crate::drops::Drops;
use crate::frames::{DUT_MAC, PORT, SERVER};
use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::port::{Dut, MEMIF_SOCKET, Setup, memif_ends, testpmd};
use crate::process::folder;
use crate::sample::Samples;

/// The virtual address of txonly. It makes clients by setting bits of the destination's third
/// byte, so that byte is 0.
const TXONLY_VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// What flowgen sends to; it cannot be told otherwise.
const FLOWGEN_MAC: Mac = Mac([0, 1, 2, 3, 4, 1]);
/// Flows of flowgen. They are one client's to as many addresses; a director finds connections by
/// their clients, so these all have the same place in its table, and that holds only some.
const FLOWGEN_FLOWS: u32 = 4;

/// How testpmd makes its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// 256 clients. It takes nothing back: the director sends to a port that leads nowhere.
    TxOnly,
    /// One client. It takes back and counts what the director sends, on the same memif.
    Flowgen,
}

/// Rates of one sample, in Mpps, and what the director dropped meanwhile.
struct Sample {
    sent: f64,
    forwarded: f64,
    drops: Option<Drops>,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options { seconds: 1.0, repeats: 2, ..Options::default() };
    let options = options.parse(&["seconds", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "pktgen: dpdk-testpmd as generator on core 0, net_memif, UDP, 64-byte frames, direct \
         routing, one worker on core 1, in Mpps",
    )?;
    let folder = folder()?;
    for mode in [Mode::TxOnly, Mode::Flowgen] {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        let (mut sent, mut drops) = (Samples::default(), Drops::default());
        for repeat in 1..=options.repeats {
            progress(&format!("{}, {repeat} of {}", mode.name(), options.repeats));
            let sample = mode.sample(Dut::Pollvsd, folder.path(), options.seconds)?;
            ours.push(sample.forwarded);
            sent.push(sample.sent);
            drops.add(&sample.drops.unwrap_or_default());
            theirs.push(mode.sample(Dut::Testpmd, folder.path(), options.seconds)?.forwarded);
        }
        let row = Row {
            bench: "pktgen",
            case: Some(mode.name().to_owned()),
            method: Some("dr"),
            family: Some(4),
            protocol: Some("udp"),
            connections: Some(mode.flows()),
            workers: Some(1),
            mpps_in: Some(sent.median()),
            mpps: Some(ours.median()),
            drops: Some(drops.to_string()),
            ..Row::default()
        };
        output.row(&row.spread(&ours).against(Dut::Testpmd.name(), &ours, &theirs))?;
    }
    Ok(())
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::TxOnly => "testpmd txonly",
            Self::Flowgen => "testpmd flowgen",
        }
    }

    fn flows(self) -> u32 {
        match self {
            Self::TxOnly => 256,
            Self::Flowgen => FLOWGEN_FLOWS,
        }
    }

    fn sample(self, dut: Dut, folder: &Path, seconds: f64) -> Result<Sample> {
        let (far, near) = memif_ends(folder, self.mac());
        let socket = folder.join(MEMIF_SOCKET);
        let mut command = testpmd::command("0@0,1@0", &[&far], None);
        command.args(self.arguments());
        let generator = testpmd::start("generator", &mut command, folder)?;
        let ports: &[(&str, &str)] = match self {
            Self::TxOnly => &[(&near, "10.9.255.254/16"), ("net_null1,no-rx=1", "10.1.255.254/16")],
            Self::Flowgen => &[(&near, "10.1.255.254/8")],
        };
        let setup = Setup { ports, rules: &self.rules(), namespace: None, folder };
        let mut running = dut.start(&setup)?;
        testpmd::wait_for_traffic(&generator)?;

        let window = Duration::from_secs_f64(seconds) + testpmd::LOOK;
        let before = running.drops()?;
        let rates = testpmd::Rates::since_now(&generator);
        let by_dut = running.sends(window)?;
        let ports = rates.mean(&generator)?;
        let rate = ports.first().context("testpmd shows its port")?;
        let drops = running.drops()?.zip(before).map(|(after, before)| after.since(&before));
        running.check()?;
        let _ = fs::remove_file(&socket);
        let forwarded = if self == Self::Flowgen { rate.receive } else { by_dut };
        Ok(Sample { sent: rate.transmit / 1e6, forwarded: forwarded / 1e6, drops })
    }

    fn mac(self) -> Mac {
        if self == Self::Flowgen { FLOWGEN_MAC } else { DUT_MAC }
    }

    /// testpmd's own arguments.
    fn arguments(self) -> Vec<String> {
        match self {
            Self::TxOnly => vec![
                "--forward-mode=txonly".into(),
                "--txonly-multi-flow".into(),
                format!("--tx-ip=10.9.0.2,{TXONLY_VIP}"),
                format!("--tx-udp=1024,{PORT}"),
                format!("--eth-peer=0,{DUT_MAC}"),
                "--txpkts=60".into(),
            ],
            // Four bytes less than it is told: the check sequence.
            Self::Flowgen => vec![
                "--forward-mode=flowgen".into(),
                format!("--flowgen-flows={FLOWGEN_FLOWS}"),
                "--txpkts=64".into(),
            ],
        }
    }

    /// The director's services, as TOML.
    fn rules(self) -> String {
        match self {
            Self::TxOnly => format!(
                "rules = [\"-A -u {TXONLY_VIP}:{PORT} -s rr\", \
                 \"-a -u {TXONLY_VIP}:{PORT} -r {SERVER}:{PORT} -g\"]\n"
            ),
            Self::Flowgen => format!(
                "rules = [\"-A -f 1 -s rr\", \"-a -f 1 -r {SERVER} -g\"]\n\
                 [[mark]]\nprotocol = \"udp\"\ndestination = \"10.253.0.0/16\"\nmark = 1\n"
            ),
        }
    }
}
