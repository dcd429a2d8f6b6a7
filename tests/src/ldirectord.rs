//! A real ldirectord, and the kinds of calls that it makes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::drop_in::DropIn;
use crate::lab::Lab;
use crate::process::Service;

/// A running ldirectord.
#[derive(Debug)]
pub struct Ldirectord {
    service: Service,
    config: PathBuf,
}

impl Ldirectord {
    /// Starts it. The configuration has to have `supervised = yes`, which keeps it in the
    /// foreground with its log on standard output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(lab: &Lab, drop_in: &DropIn<'_>, config: &str) -> Result<Self> {
        let path = lab.directory().join("ldirectord.cf");
        fs::write(&path, config)?;
        let mut command = drop_in.command("ldirectord");
        command.arg(&path).arg("start");
        let service = Service::start("ldirectord", &mut command, &lab.logs())?;
        Ok(Self { service, config: path })
    }

    /// Changes the configuration and sends SIGHUP.
    ///
    /// # Errors
    /// When it has ended.
    pub fn reload(&mut self, config: &str) -> Result<()> {
        fs::write(&self.config, config)?;
        self.service.reload()
    }

    /// SIGKILL: the table stays.
    pub fn kill(&mut self) {
        self.service.kill();
    }

    /// SIGTERM, at which it removes its services. Returns what it said about calls that failed.
    ///
    /// # Errors
    /// When it does not stop in time or as it should.
    pub fn stop(mut self) -> Result<Vec<String>> {
        let status = self.service.stop()?;
        ensure!(status.success(), "ldirectord ended with {status}");
        let log = self.service.out();
        Ok(log.lines().filter(|line| line.contains("failed:")).map(str::to_owned).collect())
    }
}

/// A call with the kinds of its words in place of the words. The weight is left where there are no
/// thresholds: such a call takes a server out.
#[must_use]
pub fn shape(call: &str) -> String {
    let mut words = call.split_whitespace().peekable();
    let mut kinds = Vec::new();
    let mut thresholds = false;
    while let Some(word) = words.next() {
        match word {
            "-t" | "-u" | "-f" => {
                words.next();
                // Part of a mark's name, and nowhere else.
                words.next_if(|next| word == "-f" && *next == "-6");
                kinds.push("SERVICE");
            }
            "-g" | "-i" | "-m" => kinds.push("METHOD"),
            "-b" | "-M" | "-p" | "-r" | "-s" | "-w" | "-x" | "-y" => {
                let value = words.next().unwrap_or("nothing");
                thresholds |= word == "-x";
                let kind = match word {
                    "-b" => "FLAGS",
                    "-M" => "MASK",
                    "-r" => "SERVER",
                    "-s" => "SCHEDULER",
                    "-w" if !thresholds => value,
                    _ => "N",
                };
                kinds.extend([word, kind]);
            }
            other => kinds.push(other),
        }
    }
    kinds.join(" ")
}
