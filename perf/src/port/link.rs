//! The ways frames come to a device under test, and one sample over each.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ::tests::namespace::{Namespace, remove_abandoned};
use ::tests::requirements;
use anyhow::{Context, Result, bail};
use dataplane::packet::ethernet::Mac;

use super::FLOWS;
use super::dut::{Dut, PCAP_MAC, Setup};
use super::generate::Generator;
use super::process::pause;
use super::testpmd;
use crate::frames::{self, DUT_MAC, GENERATOR_MAC};

/// Time for links to come up and rates to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// The director's address where it has one port, with all addresses of the benchmarks on-link.
pub(crate) const ADDRESS: &str = "10.1.255.254/8";

/// A kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Frames from a file that is read over and over.
    Pcap,
    /// A generator in another process, by shared memory.
    Memif,
    /// A generator in another process, by AF_XDP on both ends of a veth.
    Xdp,
}

impl Link {
    pub(super) const ALL: [Self; 3] = [Self::Pcap, Self::Memif, Self::Xdp];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pcap => "net_pcap",
            Self::Memif => "net_memif",
            Self::Xdp => "net_af_xdp",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|link| link.name() == name) {
            Some(link) => Ok(link),
            None => bail!("{name}: ports are net_pcap, net_memif and net_af_xdp"),
        }
    }
}

/// What samples are taken with.
pub(super) struct Lab<'a> {
    pub(super) folder: &'a Path,
    pub(super) rules: &'a str,
    pub(super) seconds: u32,
    /// There for [`Link::Xdp`].
    pub(super) veth: Option<&'a Veth>,
}

impl Lab<'_> {
    /// Frames forwarded a second.
    pub(super) fn sample(&self, link: Link, dut: Dut) -> Result<f64> {
        match (link, self.veth) {
            (Link::Pcap, _) => self.over_pcap(dut),
            (Link::Memif, _) => {
                let (generator, device) = memif_ends(self.folder, DUT_MAC);
                let socket = self.folder.join(MEMIF_SOCKET);
                let rate = self.between((&generator, None), (&device, None), dut);
                let _ = fs::remove_file(&socket);
                rate
            }
            (Link::Xdp, Some(veth)) => {
                let generator = (XDP_GENERATOR, Some(&veth.generator));
                self.between(generator, (XDP_DUT, Some(&veth.dut)), dut)
            }
            (Link::Xdp, None) => bail!("AF_XDP has no veth"),
        }
    }

    fn over_pcap(&self, dut: Dut) -> Result<f64> {
        let file = self.folder.join("traffic.pcap");
        let frames: Vec<Vec<u8>> = (0..FLOWS).map(|flow| frames::udp(PCAP_MAC, flow)).collect();
        fs::write(&file, frames::pcap(&frames))?;
        let device = format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display());
        let running = dut.start(&self.setup(&[(&device, ADDRESS)], None))?;
        pause(SETTLE)?;
        running.sends(Duration::from_secs(self.seconds.into()) + testpmd::LOOK)
    }

    /// Frames a second that come back to a generator in another process. Devices and their
    /// namespaces.
    fn between(
        &self,
        generator: (&str, Option<&Namespace>),
        device: (&str, Option<&Namespace>),
        dut: Dut,
    ) -> Result<f64> {
        let words = ["generate", generator.0, &self.seconds.to_string()];
        let generator = Generator::start(&words, generator.1, self.folder)?;
        let mut running = dut.start(&self.setup(&[(device.0, ADDRESS)], device.1))?;
        let rate = generator.rate(Duration::from_secs(self.seconds.into()), self.folder);
        running.check()?;
        rate
    }

    fn setup<'s>(
        &'s self,
        ports: &'s [(&'s str, &'s str)],
        namespace: Option<&'s Namespace>,
    ) -> Setup<'s> {
        Setup { ports, rules: self.rules, namespace, folder: self.folder }
    }
}

/// The file that the server of a memif listens at.
pub(crate) const MEMIF_SOCKET: &str = "memif.sock";

/// A memif's two ends as EAL devices: the generator's, which has to be there first, and the
/// device's with its link-layer address.
pub(crate) fn memif_ends(folder: &Path, mac: Mac) -> (String, String) {
    let link = format!("id=0,socket={},socket-abstract=no", folder.join(MEMIF_SOCKET).display());
    (
        format!("net_memif0,role=server,{link},mac={GENERATOR_MAC}"),
        format!("net_memif0,role=client,{link},mac={mac}"),
    )
}

const XDP_GENERATOR: &str = "net_af_xdp0,iface=gen0";
const XDP_DUT: &str = "net_af_xdp0,iface=dut0";

/// Two namespaces with a veth of one queue between them.
pub(super) struct Veth {
    generator: Namespace,
    dut: Namespace,
}

impl Veth {
    /// Makes it, or says what the machine lacks.
    pub(super) fn new() -> Result<Self> {
        requirements::installed(&[("ip", "iproute2"), ("ethtool", "ethtool")])?;
        remove_abandoned();
        let generator = Namespace::new("generator").context("namespaces need root")?;
        let veth = Self { generator, dut: Namespace::new("dut")? };
        let far = veth.dut.name();
        let queues = "numtxqueues 1 numrxqueues 1";
        veth.generator.ip(&format!(
            "link add gen0 address {GENERATOR_MAC} {queues} type veth peer name dut0 netns {far} \
             address {DUT_MAC} {queues}"
        ))?;
        for (namespace, link) in [(&veth.generator, "gen0"), (&veth.dut, "dut0")] {
            namespace.plain_frames(link)?;
            namespace.ip(&format!("link set {link} up"))?;
        }
        Ok(veth)
    }
}
