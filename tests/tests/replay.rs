//! Every command recorded of ipvsadm 1.31 on Linux 6.1, run in order against a live daemon:
//! standard output, standard error and exit status must be the same bytes.
//!
//! The recorded machine had `lo` only, a hosts file with `localhost`, and Debian 12's services
//! file: the daemon gets these in namespaces of its own. Ends with
//! `replay: N of 443 equal, K kept differences`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::interrupt;
use tests::namespace::Namespace;
use tests::process::{Finished, Service, run_with_input};
use tests::requirements::{self, Binaries};

const RECORDED: &str = include_str!("../../ctl/tests/data/cli.jsonl");

/// How many commands that is.
const COMMANDS: u64 = 443;

/// Differences that are kept: number of the command, and why.
const KEPT: &[(u64, &str)] = &[];

/// Lists in the director's own order, which in the kernel follows from a random number: the same
/// lines, in whatever order.
const IN_ANY_ORDER: [u64; 4] = [134, 145, 325, 412];

/// Names that occur in the recording.
const SERVICES: &str = "\
domain 53/tcp
domain 53/udp
http 80/tcp www
kerberos 88/tcp
iso-tsap 102/tcp
acr-nema 104/tcp
poppassd 106/tcp
https 443/tcp
sip 5060/tcp
sip 5060/udp
sip-tls 5061/udp
mdns 5353/udp
http-alt 8080/tcp
";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// Connections for which the table has 4096 buckets, as recorded.
const CONNECTIONS: &str = "19456";
const READY_LIMIT: Duration = Duration::from_secs(20);
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// Files are a second old at most; the rest is for a busy machine.
const FILE_LIMIT: Duration = Duration::from_secs(5);

/// Mounts the files of the first argument over those of `/etc`, then becomes the rest.
const ENTER: &str = r#"
for name in services hosts nsswitch.conf; do mount -n --bind "$1/$name" "/etc/$name"; done
shift
exec "$@"
"#;

fn main() -> ExitCode {
    // As cargo's own runner would list it.
    if std::env::args().any(|argument| argument == "--list") {
        println!("replay: test");
        return ExitCode::SUCCESS;
    }
    let binaries =
        match interrupt::catch_signals().map_err(Into::into).and_then(|()| requirements::check()) {
            Ok(binaries) => binaries,
            Err(error) => {
                println!("replay: skipped: {error:#}");
                let is_required = std::env::var_os("POLLVS_E2E_REQUIRED").is_some();
                return if is_required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            }
        };
    match replay(&binaries) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Replays all commands; whether all were as they should be.
fn replay(binaries: &Binaries) -> Result<bool> {
    let machine = Machine::start(binaries)?;
    let (mut equal, mut kept, mut all, mut is_good) = (0, 0, 0, true);
    for line in RECORDED.lines() {
        let row: Value = serde_json::from_str(line)?;
        let number = row["n"].as_u64().context("a number")?;
        let difference = machine.play(&row).with_context(|| format!("command {number}"))?;
        let excuse = KEPT.iter().find(|(kept, _)| *kept == number);
        all += 1;
        match (difference, excuse) {
            (None, None) => equal += 1,
            (Some(_), Some((_, why))) => {
                kept += 1;
                println!("{number} differs, and is meant to: {why}");
            }
            (Some(difference), None) => {
                is_good = false;
                println!("{number} {}\n{difference}", row["cmd"]);
            }
            (None, Some(_)) => {
                is_good = false;
                println!("{number} is equal, but was meant to differ");
            }
        }
    }
    println!("replay: {equal} of {all} equal, {kept} kept differences");
    ensure!(all == COMMANDS, "{all} commands were played, of {COMMANDS}");
    Ok(is_good)
}

/// A daemon on a machine like the recorded one. Fields are dropped in order.
struct Machine {
    _daemon: Service,
    namespace: Namespace,
    directory: TempDir,
}

impl Machine {
    fn start(binaries: &Binaries) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pollvs-replay-").tempdir()?;
        let path = directory.path();
        // Some commands run as somebody else.
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        let etc = path.join("etc");
        fs::create_dir(&etc)?;
        fs::write(etc.join("services"), SERVICES)?;
        fs::write(etc.join("hosts"), HOSTS)?;
        fs::write(etc.join("nsswitch.conf"), "hosts: files\nservices: files\n")?;
        install(binaries, &path.join("bin"))?;

        let namespace = Namespace::new("replay")?;
        let mut command = namespace.lasting_command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", ENTER, "sh"]).arg(&etc);
        command.arg(&binaries.daemon);
        command.args(["--port", "net_null0,no-rx=1", "--address", "192.0.2.1/24"]);
        command.args(["--connections", CONNECTIONS, "--idle", "yield", "--state", "none"]);
        command.arg("--socket").arg(path.join("socket")).arg("--run").arg(path.join("run"));
        let mut daemon = Service::start("pollvsd", &mut command, path)?;
        daemon.wait_until(READY_LIMIT, |daemon| daemon.out().contains("ready, "))?;
        Ok(Self { _daemon: daemon, namespace, directory })
    }

    /// Runs a recorded command, and says what is different.
    fn play(&self, row: &Value) -> Result<Option<String>> {
        let command = row["cmd"].as_str().context("a command")?;
        let started = Instant::now();
        loop {
            let difference = self.compare(row, command)?;
            // A file may still tell of the moment before.
            if difference.is_none()
                || !command.starts_with("cat ")
                || started.elapsed() > FILE_LIMIT
            {
                return Ok(difference);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn compare(&self, row: &Value, command: &str) -> Result<Option<String>> {
        let finished = self.run(command, row["stdin"].as_str().unwrap_or_default())?;
        let (ours, errors) = (finished.out(), finished.err());
        let same_output = match row["stdout"].as_str() {
            Some(recorded) if IN_ANY_ORDER.contains(&row["n"].as_u64().unwrap_or(0)) => {
                sorted(recorded) == sorted(&ours)
            }
            Some(recorded) => recorded == ours,
            // The help is worded by ourselves.
            None => !ours.is_empty(),
        };
        let same_errors = row["stderr"].as_str() == Some(&errors);
        let same_status = row["exit"].as_i64() == finished.code().map(i64::from);
        let difference = || {
            let (stdout, stderr) = (&row["stdout"], &row["stderr"]);
            let code = finished.code();
            format!(
                "  recorded {} {stdout} {stderr}\n  ours     {code:?} {ours:?} {errors:?}",
                row["exit"]
            )
        };
        Ok((!(same_output && same_errors && same_status)).then(difference))
    }

    fn run(&self, command: &str, input: &str) -> Result<Finished> {
        let path = self.directory.path();
        // No recorded command has quotes or other signs that a shell would take for its own.
        let files = format!("{}/", path.join("run/proc/net").display());
        let mut words = command.split(' ').map(|word| word.replace("/proc/net/", &files));
        let program = words.next().context("a word")?;
        let mut child = self.namespace.command("env");
        let search = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", path.join("bin").display());
        child.arg(format!("PATH={search}")).arg(program).args(words);
        child.env("POLLVS_SOCKET", path.join("socket"));
        run_with_input(&mut child, input.as_bytes(), COMMAND_LIMIT)
    }
}

/// The programs as they are installed.
fn install(binaries: &Binaries, bin: &Path) -> Result<()> {
    fs::create_dir(bin)?;
    fs::copy(&binaries.control, bin.join("pollvsadm"))?;
    symlink("pollvsadm", bin.join("ipvsadm"))?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ctl/scripts");
    for name in ["ipvsadm-save", "ipvsadm-restore"] {
        let copied = Command::new("install")
            .args(["-m", "755"])
            .args([scripts.join(name), bin.join(name)])
            .status()?;
        ensure!(copied.success(), "install {name}: {copied}");
    }
    Ok(())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}
