//! Our command in the place of the system's `/sbin/ipvsadm`, for programs that look for it there.
//!
//! Nothing on the machine changes: the mounts belong to the program that is started and go with
//! it. It also has a `/run` of its own, for pid files.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::daemon::Control;
use crate::lab::Lab;
use crate::process::{Finished, run};
use crate::requirements::Binaries;

/// A daemon that does not answer is told within 2 s; the rest is process start.
const LIMIT: Duration = Duration::from_secs(5);

/// Mounts the first argument over ipvsadm and the second over `/run`, then becomes the rest.
const ENTER: &str = r#"
for place in /sbin/ipvsadm /usr/sbin/ipvsadm; do
    # Mostly /sbin is /usr/sbin.
    [ ! -e $place ] || [ $place -ef "$1" ] || mount -n --bind "$1" $place
done
for place in /run /var/run; do
    [ $place -ef "$2" ] || mount -n --bind "$2" $place
done
shift 2
exec "$@"
"#;

/// Variables that would lead a client past the laboratory.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// Runs programs in the director's namespace to which `/sbin/ipvsadm` is our command, and notes
/// each call.
#[derive(Debug)]
pub struct DropIn<'lab> {
    lab: &'lab Lab,
    wrapper: PathBuf,
    run: PathBuf,
    log: PathBuf,
}

impl<'lab> DropIn<'lab> {
    /// Writes the wrapper that notes a call's arguments and becomes our command.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn new(lab: &'lab Lab, binaries: &Binaries, control: &Control<'_>) -> Result<Self> {
        let directory = lab.directory().join("drop-in");
        let (wrapper, log) = (directory.join("ipvsadm"), directory.join("calls"));
        let run = directory.join("run");
        fs::create_dir_all(&run)?;
        fs::write(&log, "")?;
        let script = format!(
            "#!/bin/bash
# One write for a line: calls may come at once.
printf '%s\\n' \"$*\" >>'{}'
export POLLVS_SOCKET='{}'
exec -a /sbin/ipvsadm '{}' \"$@\"
",
            log.display(),
            control.socket().display(),
            binaries.control.display()
        );
        fs::write(&wrapper, script)?;
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755))?;
        Ok(Self { lab, wrapper, run, log })
    }

    /// A command that will find ours; its process id is the program's own, and should we be killed,
    /// so is it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.lab.director().lasting_command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", ENTER, "sh"]);
        command.arg(&self.wrapper).arg(&self.run).arg(program);
        for proxy in PROXIES {
            command.env_remove(proxy);
        }
        command
    }

    /// Calls `/sbin/ipvsadm` with words separated by blanks.
    ///
    /// # Errors
    /// When it hangs; a refusal is in the result.
    pub fn ipvsadm(&self, words: &str) -> Result<Finished> {
        run(self.command("/sbin/ipvsadm").args(words.split_whitespace()), LIMIT)
    }

    /// The arguments of all calls so far, one line each.
    ///
    /// # Errors
    /// When the log is gone.
    pub fn calls(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.log).context("the log of calls")?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
