//! The end-to-end suite: the real daemon between a real client and real servers.
//!
//! `e2e [--list] [--exact] [--skip TEXT] [NAME...]` runs the cases whose name contains one of the
//! given texts, one after another. Other options of cargo's own test runner are accepted and have
//! no effect. Where the machine cannot run them, every case is skipped and says why;
//! `POLLVS_E2E_REQUIRED=1` turns that into a failure.

mod control;
mod crowd;
mod disk;
mod drain;
mod files;
mod ha;
mod hostile;
mod ipv6;
mod key;
mod killed;
mod laboratory;
mod ldirectord;
mod lifecycle;
mod mon;
mod packets;
mod ports;
mod refusal;
mod saved;
mod settings;
mod sockets;
mod sync;
mod sync_kernel;
mod table;
mod traffic;
mod vrrp;
mod vrrp_hostile;
mod vrrp_keepalived;
mod vrrp_lan;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use tests::interrupt;
use tests::lab::Lab;
use tests::requirements::{self, Binaries, Tool};

type Run = Box<dyn Fn(&Lab, &Binaries) -> Result<()>>;

/// One case. Each gets a new lab, so none can disturb the next.
pub(crate) struct Case {
    name: String,
    needs: &'static [Tool],
    check: fn() -> Result<()>,
    run: Run,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl Fn(&Lab, &Binaries) -> Result<()> + 'static,
    ) -> Self {
        Self { name: name.into(), needs: &[], check: || Ok(()), run: Box::new(run) }
    }

    /// The case is skipped where one of these programs is not installed.
    pub(crate) fn needing(mut self, tools: &'static [Tool]) -> Self {
        self.needs = tools;
        self
    }

    /// The case is skipped where this fails.
    pub(crate) fn when(mut self, check: fn() -> Result<()>) -> Self {
        self.check = check;
        self
    }

    fn requirements(&self) -> Result<()> {
        requirements::installed(self.needs)?;
        (self.check)()
    }
}

/// A number from the environment, for sizes that a short run wants smaller than a long one.
pub(crate) fn from_environment(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

#[derive(Default)]
struct Arguments {
    list: bool,
    exact: bool,
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut parsed = Self::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => parsed.list = true,
                "--exact" => parsed.exact = true,
                "--skip" => parsed.unwanted.extend(arguments.next()),
                // Options of the standard runner that take a word, which is no name of a case.
                "--test-threads" | "--format" | "--color" => drop(arguments.next()),
                other if other.starts_with('-') => {}
                name => parsed.wanted.push(name.to_owned()),
            }
        }
        parsed
    }

    fn pick(&self, name: &str) -> bool {
        let fits = |text: &String| if self.exact { name == text } else { name.contains(text) };
        (self.wanted.is_empty() || self.wanted.iter().any(fits)) && !self.unwanted.iter().any(fits)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let mut cases = laboratory::cases();
    cases.extend(traffic::cases());
    cases.extend(control::cases());
    cases.extend(drain::cases());
    cases.extend(settings::cases());
    cases.extend(ipv6::cases());
    cases.extend(lifecycle::cases());
    cases.extend(refusal::cases());
    cases.extend(saved::cases());
    cases.extend(disk::cases());
    cases.extend(killed::cases());
    cases.extend(key::cases());
    cases.extend(sockets::cases());
    cases.extend(crowd::cases());
    cases.extend(files::cases());
    cases.extend(ha::cases());
    cases.extend(hostile::cases());
    cases.extend(ldirectord::cases());
    cases.extend(mon::cases());
    cases.extend(packets::cases());
    cases.extend(ports::cases());
    cases.extend(sync::cases());
    cases.extend(sync_kernel::cases());
    cases.extend(vrrp::cases());
    cases.extend(vrrp_keepalived::cases());
    cases.extend(vrrp_hostile::cases());
    cases.retain(|case| arguments.pick(&case.name));
    if arguments.list {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    match interrupt::catch_signals().map_err(Into::into).and_then(|()| requirements::check()) {
        Ok(binaries) => {
            println!("e2e: daemon {}", binaries.daemon.display());
            for case in &cases {
                if interrupt::raised() {
                    break;
                }
                if let Err(reason) = case.requirements() {
                    println!("test {} ... skipped: {reason:#}", case.name);
                    skipped += 1;
                } else if run(case, &binaries) {
                    passed += 1;
                } else {
                    failed += 1;
                }
            }
        }
        Err(reason) => {
            for case in &cases {
                println!("test {} ... skipped: {reason:#}", case.name);
            }
            skipped = cases.len();
        }
    }
    println!("e2e: {passed} passed, {failed} failed, {skipped} skipped");
    let required = std::env::var_os("POLLVS_E2E_REQUIRED").is_some_and(|value| value != "0");
    if failed > 0 || interrupt::raised() || (required && skipped > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs one case and tells how it went; true when it passed.
fn run(case: &Case, binaries: &Binaries) -> bool {
    let started = Instant::now();
    let mut captured = String::new();
    let result = Lab::new().context("building the laboratory").and_then(|lab| {
        let result = catch_unwind(AssertUnwindSafe(|| (case.run)(&lab, binaries)))
            .unwrap_or_else(|panic| Err(anyhow!("panic: {}", panic_text(panic.as_ref()))));
        captured = lab.captured();
        // A worker may panic behind a daemon that still answers.
        let panicked = captured.contains("panicked at");
        result.and_then(|()| if panicked { Err(anyhow!("a program panicked")) } else { Ok(()) })
    });
    let seconds = started.elapsed().as_secs_f32();
    match &result {
        Ok(()) => println!("test {} ... ok ({seconds:.1} s)", case.name),
        Err(error) => {
            println!("test {} ... FAILED ({seconds:.1} s): {error:#}\n{captured}", case.name);
        }
    }
    result.is_ok()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}
