//! `make demo-ha`: two directors stand in for each other, and no connection breaks.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use tests::interrupt;
use tests::lab::Lab;
use tests::pair::herd::MOST;
use tests::pair::opening::kill_while_opening;
use tests::pair::scene::{Act, Scene, Size};
use tests::pair::{Pair, Setup, Who};
use tests::requirements::{self, Binaries};

const HELP: &str = "\
usage: demo-ha [--connections N] [--interval-ms N] [--act ACT]... [--repeat N]

Builds a laboratory of network namespaces with two directors, which tell each other of their
connections and share virtual addresses by VRRP. A download, a session that is mostly silent, and
many more connections go through them while the master is killed, comes back, and hands over.
Nothing of it stays. Needs root. POLLVSD=path picks the daemon. What it does is told on standard error, and what came of it on standard output, a line for each act:

  demo-ha: ACT connections=N broken=N outage_ms=N

outage_ms is the longest time without answers to a datagram sent about every millisecond. The exit
status is 1 if a connection broke.

  --connections N  besides download and session (default: 300)
  --interval-ms N  between VRRP advertisements (default: 70)
  --act ACT        kill, failback, handover, back (after a handover) or stall (the master stands
                   still, then goes on); may be given several times
                   (default: kill, failback, handover)
  --repeat N       play the acts so many times, and go back each time (default: 1)
  --opening        instead of acts: kill the master while the connections are being opened
  --nice N         niceness of the directors (default: 0)
  --spin           workers never let go of their cores
  --help           this text";

struct Options {
    connections: usize,
    interval_ms: u32,
    acts: Vec<Act>,
    repeat: u32,
    opening: bool,
    nice: i8,
    spin: bool,
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
                eprintln!("demo-ha: {error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("demo-ha: {error:#}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

/// `None` asks for the help text.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        connections: 300,
        interval_ms: 70,
        acts: Vec::new(),
        repeat: 1,
        opening: false,
        nice: 0,
        spin: false,
    };
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(None);
        }
        let switch = match argument.as_str() {
            "--spin" => Some(&mut options.spin),
            "--opening" => Some(&mut options.opening),
            _ => None,
        };
        if let Some(switch) = switch {
            *switch = true;
            continue;
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let value = arguments.next().with_context(|| format!("{argument}: no value"))?;
                (argument, value)
            }
        };
        let wrong = || format!("{name} {value}");
        match name.as_str() {
            "--connections" => options.connections = value.parse().with_context(wrong)?,
            "--interval-ms" => options.interval_ms = value.parse().with_context(wrong)?,
            "--nice" => options.nice = value.parse().with_context(wrong)?,
            "--repeat" => options.repeat = value.parse().with_context(wrong)?,
            "--act" => {
                let act = Act::ALL.into_iter().find(|act| act.to_string() == value);
                options.acts.push(act.with_context(wrong)?);
            }
            _ => bail!("unknown argument {name}"),
        }
    }
    ensure!(options.connections <= 200_000, "--connections: at most 200000");
    if options.acts.is_empty() {
        options.acts = vec![Act::Kill, Act::Failback, Act::Handover];
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<()> {
    interrupt::catch_signals()?;
    let binaries = requirements::check()?;
    eprintln!("demo-ha: daemon {}", binaries.daemon.display());
    let lab = Lab::new().context("building the laboratory")?;
    let result = play(&lab, &binaries, options);
    if result.is_err() && !interrupt::raised() {
        eprint!("{}", lab.captured());
    }
    drop(lab);
    eprintln!("demo-ha: everything is torn down");
    result
}

fn play(lab: &Lab, binaries: &Binaries, options: &Options) -> Result<()> {
    let busy = (options.connections / 3).min(100);
    let quiet = options.connections - busy;
    let setup = Setup {
        interval_ms: options.interval_ms,
        connections: (options.connections as u32 * 2).max(65_536),
        sources: 2 + (options.connections / MOST) as u8,
        echoes: options.connections / (2 * 9000),
        nice: options.nice,
        spin: options.spin,
    };
    let mut pair = Pair::new(lab, binaries, setup)?;
    eprintln!("demo-ha: the laboratory is up: client, router, two directors, rs1, rs2");
    pair.start_both()?;
    eprintln!("demo-ha: the first director is master, the second is in step");
    if options.opening {
        return opening(&mut pair, options.connections);
    }
    let size = Size { quiet, busy, mebibytes: 64, direct: options.connections <= 1000 };
    let mut scene = Scene::open(lab, &pair, size)?;
    let mut broken = 0;
    for _ in 0..options.repeat {
        for &act in &options.acts {
            broken += one_act(&mut pair, &mut scene, act)?;
        }
        if options.repeat > 1
            && let Some(act) = options.acts.last().and_then(|act| act.reverse())
        {
            broken += one_act(&mut pair, &mut scene, act)?;
        }
    }
    let bytes = scene.finish()?;
    eprintln!("demo-ha: the download is complete: {bytes} bytes, SHA-256 as sent");
    ensure!(broken == 0, "{broken} connections broke");
    Ok(())
}

fn opening(pair: &mut Pair<'_>, number: usize) -> Result<()> {
    let opened = kill_while_opening(pair, number)?;
    let (young, young_broken) = (opened.young.0, opened.young.1.len());
    let half_open = opened.half_open;
    println!(
        "{} half_open={half_open} young={young} young_broken={young_broken}",
        opened.old.line(&"opening")
    );
    eprintln!(
        "demo-ha: {} connections a second until the kill; traffic went on {} ms after it",
        opened.rate,
        opened.old.until.as_millis()
    );
    eprintln!("demo-ha: sync before the kill: {}", opened.losses);
    let (old, young) = (opened.old.broken, opened.young.1);
    for why in old.iter().chain(&young).take(5) {
        eprintln!("demo-ha: broken: {why}");
    }
    ensure!(old.is_empty(), "{} connections broke", old.len());
    Ok(())
}

fn one_act(pair: &mut Pair<'_>, scene: &mut Scene, act: Act) -> Result<usize> {
    match act {
        Act::Kill => {
            let has = scene.wait_for_sync(pair, Who::Second)?;
            let of = pair.connections(Who::First)?;
            eprintln!("demo-ha: kill -9 of the master; the backup knows {has} of {of} connections");
        }
        Act::Failback => eprintln!("demo-ha: the first director is started again"),
        Act::Handover => eprintln!("demo-ha: pollvsadm handover on the master"),
        Act::Back => eprintln!("demo-ha: pollvsadm handover --back on the first director"),
        Act::Stall => eprintln!("demo-ha: the master stands still, and goes on"),
    }
    let outcome = scene.play(pair, act)?;
    println!("{}", outcome.line(&act));
    if act == Act::Kill {
        eprintln!("demo-ha: traffic went on {} ms after the kill", outcome.until.as_millis());
    }
    for why in outcome.broken.iter().take(5) {
        eprintln!("demo-ha: broken: {why}");
    }
    Ok(outcome.broken.len())
}
