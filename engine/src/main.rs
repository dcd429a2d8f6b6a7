//! `pollvsd`: arguments, start, wait for a signal, stop.

use std::process::ExitCode;

#[cfg(feature = "dpdk")]
fn main() -> ExitCode {
    use engine::args::{self, Invocation};
    use engine::machine::Machine;
    use engine::say::{complain, say};

    let config = match args::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run(config)) => config,
        Ok(Invocation::Check(config)) => {
            if let Err(error) = Machine::check(&config) {
                complain(format_args!("pollvsd: {error}"));
                return ExitCode::from(2);
            }
            say("pollvsd: the configuration is sound");
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Help) => {
            say(args::HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Ok(Invocation::Version) => {
            say(concat!("pollvsd ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(format_args!("pollvsd: {error}"));
            return ExitCode::from(2);
        }
    };
    // Before any thread starts, so that no signal finds it unprepared.
    let mut signals = match signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        // The terminal is gone, or somebody expects a reload: there is none, so it is no less final.
        signal_hook::consts::SIGHUP,
    ]) {
        Ok(signals) => signals,
        Err(error) => {
            complain(format_args!("pollvsd: no signal handlers: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let wait = || {
        signals.forever().next();
        say("pollvsd: stopping");
    };
    match engine::daemon::run(&config, wait) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("pollvsd: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "dpdk"))]
fn main() -> ExitCode {
    engine::say::complain(
        "pollvsd: built without DPDK, so without ports; build with --features dpdk",
    );
    ExitCode::FAILURE
}
