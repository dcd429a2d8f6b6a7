//! A director dies in the middle of downloads, and the other goes on with them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::guest::{Crossing, Role, connections};
use tests::interrupt;
use tests::lab::Lab;
use tests::process::Service;
use tests::server::{sha256, write_big_file};

use super::Pair;
use super::clients::{say, tcp};

const MEBIBYTES: u64 = 10;
/// With sync messages 3 s late, more than a third is still to come.
const RATE: &str = "2M";
const LIMIT: Duration = Duration::from_secs(20);
const SYNC_LIMIT: Duration = Duration::from_secs(4);

const SERVICES: [&str; 6] = [
    "-A -t 10.9.255.1:80 -s rr",
    "-a -t 10.9.255.1:80 -r 10.1.0.1:80 -m",
    "-A -t 10.9.255.2:80 -s rr",
    "-a -t 10.9.255.2:80 -r 10.1.0.2:80 -g",
    "-A -t 10.9.255.3:7 -s rr",
    "-a -t 10.9.255.3:7 -r 10.1.0.3:7 -i",
];

/// By address translation and by direct routing; beside them an idle connection by tunnel.
pub(crate) fn takeover(crossing: &Crossing<'_>, pair: &mut Pair<'_>) -> Result<()> {
    let lab = crossing.lab();
    let expected = write_big_file(lab.directory(), MEBIBYTES)?;
    // What is on its way must be little: else the first director would have forwarded all.
    for namespace in [lab.client(), crossing.nat().namespace(), crossing.direct().namespace()] {
        namespace.set("ipv4/tcp_rmem", "4096 65536 131072")?;
        namespace.set("ipv4/tcp_wmem", "4096 65536 131072")?;
    }
    let [first, second] = pair;
    for director in [&*first, &*second] {
        director.restore(&SERVICES.join("\n"))?;
    }
    first.start_sync(Role::Master, 7, "")?;
    second.start_sync(Role::Backup, 7, "")?;
    crossing.take_over(first.as_ref())?;
    let mut idle = tcp(lab.client(), "10.9.255.3:7")?;
    let mut downloads =
        [Download::start(lab, "nat", "10.9.255.1")?, Download::start(lab, "direct", "10.9.255.2")?];
    let deadline = Instant::now() + SYNC_LIMIT;
    while connections(&second.admin("-Lnc")?)?.len() < 3 {
        interrupt::check()?;
        ensure!(Instant::now() < deadline, "{}: {}", second.name(), second.admin("-Lnc")?);
        thread::sleep(Duration::from_millis(50));
    }
    let so_far = downloads.each_ref().map(Download::length);
    first.crash()?;
    crossing.take_over(second.as_ref())?;
    for (download, before) in downloads.iter_mut().zip(so_far) {
        ensure!(
            (1..(MEBIBYTES - 1) << 20).contains(&before),
            "{}: {before} bytes when the first director went",
            download.name
        );
        let sum = download.sum().with_context(|| format!("after byte {before}"))?;
        ensure!(sum == expected, "{}: SHA-256 {sum}, sent was {expected}", download.name);
    }
    say(&mut idle).context("the idle connection")
}

struct Download {
    name: &'static str,
    copy: std::path::PathBuf,
    curl: Service,
}

impl Download {
    fn start(lab: &Lab, name: &'static str, vip: &str) -> Result<Self> {
        let copy = lab.directory().join(format!("download-{name}"));
        let mut curl = lab.client().lasting_command("curl");
        curl.args(["-q", "-sS", "--fail", "--noproxy", "*", "--limit-rate", RATE, "--no-buffer"]);
        curl.args(["--max-time", &LIMIT.as_secs().to_string(), "--output"]).arg(&copy);
        curl.arg(format!("http://{vip}/big"));
        let curl = Service::start(&format!("download-{name}"), &mut curl, &lab.logs())?;
        Ok(Self { name, copy, curl })
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.copy).map_or(0, |file| file.len())
    }

    /// The sum of the whole, once it is there.
    fn sum(&mut self) -> Result<String> {
        let status = self.curl.ended(LIMIT)?;
        ensure!(status.success(), "{}: {status}: {}", self.name, self.curl.err().trim());
        sha256(&self.copy, LIMIT)
    }
}
