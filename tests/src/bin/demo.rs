//! `make demo`: a client fetches pages through pollvs from two web servers, by every forwarding
//! method, with one worker and with two.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use tests::daemon::Daemon;
use tests::lab::{Lab, Method};
use tests::requirements::{self, Binaries};
use tests::{client, interrupt};

const REQUESTS: usize = 100;

const HELP: &str = "\
usage: demo [--workers LIST] [--keep-going]

Builds a laboratory of network namespaces, starts pollvsd in it, and fetches 100 pages by each of
nat, tunnel and direct. Nothing of it stays. Needs root. POLLVSD=path picks the daemon.

  --workers LIST   numbers of workers to run with, one after another (default: 1,2)
  --keep-going     go on after a failure; the exit status still tells
  --help           this text";

struct Options {
    workers: Vec<usize>,
    keep_going: bool,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("demo: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("demo: {error:#}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// `None` asks for the help text.
fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options { workers: vec![1, 2], keep_going: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let list = match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--keep-going" => {
                options.keep_going = true;
                continue;
            }
            "--workers" => arguments.next().context("--workers needs a list")?,
            other => match other.strip_prefix("--workers=") {
                Some(list) => list.to_owned(),
                None => bail!("unknown argument {other}"),
            },
        };
        options.workers = list
            .split(',')
            .map(|number| number.parse().with_context(|| format!("--workers {list}")))
            .collect::<Result<_>>()?;
        ensure!(!options.workers.contains(&0), "--workers {list}: at least 1");
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<()> {
    interrupt::catch_signals()?;
    let binaries = requirements::check()?;
    println!("demo: daemon {}", binaries.daemon.display());
    let lab = Lab::new().context("building the laboratory")?;
    println!("demo: the laboratory is up: client, director, switch, rs1, rs2");
    let result = all_methods(&lab, &binaries, options);
    if result.is_err() && !interrupt::raised() {
        eprint!("{}", lab.captured());
    }
    drop(lab);
    println!("demo: everything is torn down");
    result
}

fn all_methods(lab: &Lab, binaries: &Binaries, options: &Options) -> Result<()> {
    let mut failures = 0;
    for &workers in &options.workers {
        // One daemon for all methods, and a new one only after a failure.
        let mut running = None;
        for method in Method::ALL {
            let Err(error) = one_method(lab, binaries, workers, method, &mut running) else {
                continue;
            };
            let error = error.context(format!("{method} with workers={workers}"));
            if !options.keep_going || interrupt::raised() {
                return Err(error);
            }
            eprintln!("demo: {error:#}");
            failures += 1;
            running = None;
        }
        if let Some(mut daemon) = running {
            let status = daemon.stop()?;
            ensure!(status.success(), "pollvsd ended with {status}");
        }
    }
    ensure!(failures == 0, "{failures} failed");
    Ok(())
}

fn one_method<'lab>(
    lab: &'lab Lab,
    binaries: &Binaries,
    workers: usize,
    method: Method,
    running: &mut Option<Daemon<'lab>>,
) -> Result<()> {
    lab.set_method(method)?;
    let daemon = match running {
        Some(daemon) => daemon,
        None => running.insert(Daemon::start(lab, binaries, workers)?),
    };
    let control = daemon.control();
    control.balance(method)?;
    let tally = client::fetch(lab, REQUESTS)?;
    let (ok, rs1, rs2) = (tally.ok(), tally.of("rs1"), tally.of("rs2"));
    println!("demo: {method} workers={workers} requests={REQUESTS} ok={ok} rs1={rs1} rs2={rs2}");
    for listing in ["-Ln", "-Lnc"] {
        println!("$ pollvsadm {listing}\n{}", control.must(listing)?.trim_end());
    }
    control.must("-C")?;
    tally.check(lab)
}
