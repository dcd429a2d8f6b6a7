//! `pollvsd`: arguments, start, wait for a signal, stop.

use std::process::ExitCode;

#[cfg(feature = "dpdk")]
fn main() -> ExitCode {
    use engine::args::{self, Invocation};

    let config = match args::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Check(_)) => {
            println!("pollvsd: the configuration is sound");
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Help) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Version) => {
            println!("pollvsd {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pollvsd: {error}");
            return ExitCode::from(2);
        }
    };
    // Before any thread starts, so that no signal finds it unprepared.
    let mut signals = match signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
    ]) {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("pollvsd: no signal handlers: {error}");
            return ExitCode::FAILURE;
        }
    };
    let wait = || {
        signals.forever().next();
        println!("pollvsd: stopping");
    };
    match engine::daemon::run(&config, wait) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pollvsd: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "dpdk"))]
fn main() -> ExitCode {
    eprintln!("pollvsd: built without DPDK, so without ports; build with --features dpdk");
    ExitCode::FAILURE
}
