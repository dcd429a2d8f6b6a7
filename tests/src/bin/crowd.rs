//! Holds many TCP connections, or serves them, for a program that may not have so many files open.
//! It is told what to do on standard input, and ends with it.
//!
//! `crowd serve` prints `ready`. `crowd hold NUMBER PACE SOURCE TARGET...` opens so many connections,
//! prints `opened NUMBER` when they are there, or when it is told to `stop`, and then does what the
//! lines say: `exchange` a byte on each connection, so many in a millisecond (`broken NUMBER`, and so
//! many lines with address, port and reason),
//! or `split MICROSECONDS`: those that were not there so long ago are only for `young`, which is
//! the same for them (`young NUMBER`).

use std::env;
use std::io::{BufRead, stdin};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tests::pair::crowd::Crowd;
use tests::pair::echo::EchoServer;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crowd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let lines = read_lines(&stop);
    match words[..] {
        ["serve"] => {
            let _server = EchoServer::here()?;
            println!("ready");
            while lines.recv().is_ok() {}
            Ok(())
        }
        ["hold", number, pace, source, ref targets @ ..] => {
            let source: Ipv4Addr = source.parse()?;
            let targets: Vec<SocketAddrV4> =
                targets.iter().map(|target| target.parse()).collect::<Result<_, _>>()?;
            let mut crowd = Crowd::open_here(&[source], &targets, number.parse()?, &stop)?;
            crowd.set_pace(pace.parse()?);
            println!("opened {}", crowd.len());
            obey(crowd, &lines)
        }
        _ => bail!("serve, or hold NUMBER PACE SOURCE TARGET..."),
    }
}

/// The lines of standard input. `stop` and its end raise the flag at once.
fn read_lines(stop: &Arc<AtomicBool>) -> Receiver<String> {
    let (lines, given) = channel();
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if line == "stop" {
                stop.store(true, Ordering::Relaxed);
            } else if lines.send(line).is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    given
}

fn obey(mut crowd: Crowd, lines: &Receiver<String>) -> Result<()> {
    let mut young = None;
    while let Ok(line) = lines.recv() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["exchange"] => exchange(&mut crowd)?,
            ["young"] => exchange(young.as_mut().context("none")?)?,
            ["split", age] => {
                let age = Duration::from_micros(age.parse()?);
                let others = crowd.split_at(Instant::now() - age)?;
                println!("young {}", others.len());
                young = Some(others);
            }
            _ => bail!("{line}?"),
        }
    }
    Ok(())
}

fn exchange(crowd: &mut Crowd) -> Result<()> {
    crowd.exchange()?;
    let broken = crowd.take_broken();
    println!("broken {}", broken.len());
    broken.iter().for_each(|why| println!("{why}"));
    Ok(())
}
