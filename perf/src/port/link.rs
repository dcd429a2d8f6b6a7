//! The ways frames come to a device under test, and one sample over each.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ::tests::namespace::{Namespace, remove_abandoned};
use ::tests::requirements;
use anyhow::{Context, Result, bail};
use dataplane::packet::ethernet::Mac;

use super::FLOWS;
use super::dut::{Dut, Setup};
use super::generate::Generator;
use super::testpmd;
use crate::frames::{self, DUT_MAC, GENERATOR_MAC, PCAP_MAC};
use crate::process::pause;

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
    pub(super) window: Duration,
    /// There for [`Link::Xdp`].
    pub(super) veth: Option<&'a Veth>,
}

impl Lab<'_> {
    /// Frames forwarded a second.
    pub(super) fn sample(&self, link: Link, dut: Dut) -> Result<f64> {
        let ends = match (link, self.veth) {
            (Link::Pcap, _) => return self.over_pcap(dut),
            (Link::Memif, _) => Ends::memif(self.folder),
            (Link::Xdp, Some(veth)) => veth.ends(),
            (Link::Xdp, None) => bail!("AF_XDP has no veth"),
        };
        let task = ["generate", &ends.generator, &self.window.as_secs_f64().to_string()];
        let text = ends.send(&task, self.window, dut, self.rules, self.folder)?;
        text.trim().parse().with_context(|| format!("the generator says {text:?}"))
    }

    fn over_pcap(&self, dut: Dut) -> Result<f64> {
        let device = pcap_device(self.folder, PCAP_MAC)?;
        let (ports, namespace) = (&[(device.as_str(), ADDRESS)], None);
        let (rules, folder) = (self.rules, self.folder);
        let running = dut.start(&Setup { ports, rules, namespace, folder })?;
        pause(SETTLE)?;
        running.sends(self.window + testpmd::LOOK)
    }
}

/// A device that gives frames to a link-layer address over and over.
pub(crate) fn pcap_device(folder: &Path, mac: Mac) -> Result<String> {
    let file = folder.join(format!("to-{mac}.pcap").replace(':', ""));
    fs::write(&file, frames::pcap(&frames::udp(mac, FLOWS)))?;
    Ok(format!("net_pcap0,rx_pcap={},infinite_rx=1", file.display()))
}

/// The two ends of a link as EAL devices, and the namespaces that they are in.
pub(crate) struct Ends<'a> {
    pub(crate) generator: String,
    pub(crate) device: String,
    namespaces: Option<[&'a Namespace; 2]>,
}

impl Ends<'_> {
    /// Of a memif.
    pub(crate) fn memif(folder: &Path) -> Self {
        let (generator, device) = memif_ends(folder, DUT_MAC);
        Self { generator, device, namespaces: None }
    }

    /// Has a generator, `perf` with the words of `task`, send to a device under test, and returns
    /// what it prints, which is to be in about `time`.
    pub(crate) fn send(
        &self,
        task: &[&str],
        time: Duration,
        dut: Dut,
        rules: &str,
        folder: &Path,
    ) -> Result<String> {
        let [far, near] = self.namespaces.map_or([None; 2], |both| both.map(Some));
        let generator = Generator::start(task, far, folder)?;
        let ports = &[(self.device.as_str(), ADDRESS)];
        let mut running = dut.start(&Setup { ports, rules, namespace: near, folder })?;
        let text = generator.result(time);
        // Only then: net_memif's driver may crash a process whose peer goes away, as ours has now.
        if text.is_err() {
            running.check()?;
        }
        // Only a memif has one.
        let _ = fs::remove_file(folder.join(MEMIF_SOCKET));
        text
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

    fn ends(&self) -> Ends<'_> {
        Ends {
            generator: "net_af_xdp0,iface=gen0".into(),
            device: "net_af_xdp0,iface=dut0".into(),
            namespaces: Some([&self.generator, &self.dut]),
        }
    }
}
