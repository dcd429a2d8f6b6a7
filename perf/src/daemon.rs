//! Our daemon, as users run it: a process of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ::tests::namespace::Namespace;
use ::tests::process::Service;
use anyhow::{Context, Result, anyhow, bail};
use engine::args::{self, Invocation};
use serde_json::Value;

use crate::drops::Drops;
use crate::process::{LIMIT, guarded, said};

/// A running daemon with one worker, ended when dropped.
pub(crate) struct Daemon {
    service: Service,
    socket: PathBuf,
}

impl Daemon {
    /// Starts the daemon, in a namespace if there is one, and waits until it forwards. `rules` are
    /// its configuration file, for what flags cannot say; sockets and logs go to `folder`.
    pub(crate) fn start(
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        rules: &str,
        namespace: Option<&Namespace>,
        folder: &Path,
    ) -> Result<Self> {
        let (socket, file) = (folder.join("control.sock"), folder.join("rules.toml"));
        fs::write(&file, rules)?;
        let mut command = guarded(std::env::current_exe()?, namespace);
        command.args(["pollvsd", "--workers", "1", "--state", "none", "--run", "none"]);
        command.arg("--config").arg(file).arg("--socket").arg(&socket).args(arguments);
        let mut service = Service::start("pollvsd", &mut command, folder)?;
        let waited = service.wait_until(LIMIT, |service| service.out().contains("ready"));
        waited.with_context(|| said(&service))?;
        Ok(Self { service, socket })
    }

    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    pub(crate) fn service_mut(&mut self) -> &mut Service {
        &mut self.service
    }

    /// Frames that it has sent.
    pub(crate) fn transmitted(&self) -> Result<u64> {
        self.ask("drops")?["transmitted"].as_u64().context("drops have what was sent")
    }

    /// Frames that it has dropped.
    pub(crate) fn drops(&self) -> Result<Drops> {
        let document = self.ask("drops")?;
        let reasons = document["reasons"].as_array().context("drops have reasons")?;
        let count =
            |reason: &Value| Some((reason["name"].as_str()?.to_owned(), reason["count"].as_u64()?));
        Ok(reasons.iter().filter_map(count).collect())
    }

    /// A listing for programs.
    pub(crate) fn ask(&self, what: &str) -> Result<Value> {
        let words = ["pollvsadm", "--json", what].map(str::to_owned);
        let reply =
            ctl::client::ask(&self.socket, &words, None).map_err(|error| anyhow!("{error}"))?;
        serde_json::from_slice(&reply.stdout)
            .with_context(|| format!("{}", String::from_utf8_lossy(&reply.stderr)))
    }
}

/// Runs the daemon in this process: what `perf` starts itself again for.
pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    match args::parse(words.map(OsString::from)).map_err(|error| anyhow!("{error}"))? {
        Invocation::Run(config) => engine::daemon::run(&config, || {
            loop {
                thread::park();
            }
        })
        .map_err(|error| anyhow!("{error}")),
        _ => bail!("only a run makes sense here"),
    }
}
