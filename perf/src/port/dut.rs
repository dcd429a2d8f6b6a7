//! The device under test: `pollvsd` or `dpdk-testpmd`, a process of its own on core 1.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::packet::ethernet::Mac;
use engine::args::{self, Invocation};

use crate::frames::{GENERATOR_MAC, PORT, SERVER, VIP};

/// What net_pcap calls its first port.
pub(super) const PCAP_MAC: Mac = Mac([2, 0x70, 0x63, 0x61, 0x70, 0]);
/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Who forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dut {
    Pollvsd,
    Testpmd,
}

/// A process that forwards, ended when dropped.
pub(super) struct Running {
    child: Child,
    dut: Dut,
    log: PathBuf,
    socket: PathBuf,
}

/// Runs the daemon in this process: what `perf` starts itself again for.
pub(crate) fn run_daemon(words: impl Iterator<Item = String>) -> Result<(), String> {
    match args::parse(words.map(OsString::from))? {
        Invocation::Run(config) => engine::daemon::run(&config, || {
            loop {
                thread::park();
            }
        }),
        _ => Err("only a run makes sense here".into()),
    }
}

impl Dut {
    pub(super) fn start(self, device: &str, folder: &Path) -> Result<Running, String> {
        let socket = folder.join("control.sock");
        let log = folder.join("dut.log");
        let out = File::create(&log).map_err(|error| error.to_string())?;
        let err = out.try_clone().map_err(|error| error.to_string())?;
        let mut command = match self {
            Self::Pollvsd => pollvsd(device, &socket)?,
            Self::Testpmd => testpmd(device),
        };
        let child = command
            .stdin(Stdio::piped()) // testpmd ends when its input does
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|error| {
                let program = command.get_program().to_string_lossy();
                format!("{program}: {error} (testpmd is in Debian's package dpdk-dev)")
            })?;
        let mut running = Running { child, dut: self, log, socket };
        let ready = match self {
            Self::Pollvsd => "ready",
            Self::Testpmd => "nb forwarding cores",
        };
        let deadline = Instant::now() + START_LIMIT;
        while !running.log_text().contains(ready) {
            let ended = running.child.try_wait().map_err(|error| error.to_string())?.is_some();
            if ended || Instant::now() > deadline {
                return Err(format!("{self:?} does not start:\n{}", running.log_text()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }
}

impl Running {
    /// Frames a second by the process's own count.
    pub(super) fn own_rate(&mut self, window: Duration) -> Result<f64, String> {
        match self.dut {
            Dut::Pollvsd => {
                let (before, start) = (self.in_packets()?, Instant::now());
                thread::sleep(window);
                let counted = self.in_packets()? - before;
                Ok(counted as f64 / start.elapsed().as_secs_f64())
            }
            Dut::Testpmd => {
                let known = self.testpmd_rates().len();
                thread::sleep(window + Duration::from_millis(1500));
                let rates = self.testpmd_rates().split_off(known + 1);
                if rates.is_empty() {
                    return Err(format!("testpmd shows no rates:\n{}", self.log_text()));
                }
                Ok(rates.iter().sum::<f64>() / rates.len() as f64)
            }
        }
    }

    /// Packets that the virtual service has had, from the listing a user would look at.
    fn in_packets(&self) -> Result<u64, String> {
        let words = ["pollvsadm", "-Ln", "--stats", "--exact"].map(str::to_owned);
        let reply = ctl::client::ask(&self.socket, &words, None).map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        let service = text.lines().find(|line| line.starts_with("UDP"));
        let count = service.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        count.ok_or_else(|| format!("no counters in {text:?}"))
    }

    /// The transmit rates that testpmd prints each second.
    fn testpmd_rates(&self) -> Vec<f64> {
        let text = self.log_text();
        let rate =
            |line: &str| line.split("Tx-pps:").nth(1)?.split_whitespace().next()?.parse().ok();
        text.lines().filter_map(rate).collect()
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ports of these processes are gone with them: nothing to leave in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pollvsd(device: &str, socket: &Path) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    let rules = socket.with_file_name("rules.toml");
    let text = format!(
        "rules = [\"-A -u {VIP}:{PORT} -s rr\", \"-a -u {VIP}:{PORT} -r {SERVER}:{PORT} -g\"]\n"
    );
    std::fs::write(&rules, text).map_err(|error| error.to_string())?;
    command.args(["pollvsd", "--workers", "1", "--cores", "1", "--idle", "spin"]);
    command.args(["--hugepages", "no", "--connections", "65536"]);
    command.arg("--config").arg(rules).arg("--socket").arg(socket);
    command.args(["--state", "none", "--run", "none"]);
    command.args(["--port", device, "--address", "10.1.255.254/8"]);
    command.args(["--neighbour", &format!("{SERVER}={GENERATOR_MAC}")]);
    Ok(command)
}

fn testpmd(device: &str) -> Command {
    let mut command = Command::new("dpdk-testpmd");
    command.args(["-l", "0,1", "--no-huge", "--no-shconf", "--iova-mode=va", "-m", "256"]);
    command.args(["--no-pci", "--no-telemetry", "--vdev", device, "--"]);
    command.args(["--forward-mode=macswap", "--nb-cores=1", "--stats-period=1"]);
    command.args(["--no-lsc-interrupt", "--total-num-mbufs=16384"]);
    command
}
