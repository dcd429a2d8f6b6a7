//! Starts that must fail, and say why in words of the one who has to mend it.

use std::fs;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use tests::daemon::{Daemon, add_ports, command, refused};
use tests::lab::Lab;
use tests::process::Finished;
use tests::requirements::Binaries;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("bad-config", bad_config),
        Case::new("bad-config-value", bad_config_value),
        Case::new("unknown-device", unknown_device),
        Case::new("too-many-workers", too_many_workers),
        Case::new("bad-arguments", bad_arguments),
    ]
}

/// The message has each of the parts, and nothing is left behind that hinders a good start.
fn check(lab: &Lab, binaries: &Binaries, finished: &Finished, parts: &[&str]) -> Result<()> {
    let message = finished.err();
    for part in parts {
        ensure!(message.contains(part), "no {part:?} in the message: {message}");
    }
    Daemon::start(lab, binaries, 1)?;
    Ok(())
}

fn bad_config(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let path = lab.directory().join("broken.toml");
    fs::write(&path, "# line 1\n# line 2\nworkers = = 2\n")?;
    let socket = lab.directory().join("control.sock");
    let mut command = command(lab, binaries, &socket, 1);
    let finished = refused(add_ports(command.arg("--config").arg(&path)))?;
    check(lab, binaries, &finished, &["broken.toml", "3"])
}

/// What no parser sees is found before anything starts, and by `--check` too.
fn bad_config_value(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let path = lab.directory().join("gateway.toml");
    fs::write(&path, "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"192.0.2.1\"\n")?;
    let socket = lab.directory().join("control.sock");
    for flags in [&["--check"][..], &[]] {
        let mut command = command(lab, binaries, &socket, 1);
        let finished = refused(add_ports(command.args(flags).arg("--config").arg(&path)))?;
        check(lab, binaries, &finished, &["gateway.toml line 3", "192.0.2.1"])?;
    }
    Ok(())
}

fn unknown_device(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let socket = lab.directory().join("control.sock");
    let mut command = command(lab, binaries, &socket, 1);
    let finished = refused(command.args(["--port", "nosuch0", "--address", "10.9.255.254/16"]))?;
    check(lab, binaries, &finished, &["nosuch0"])
}

fn too_many_workers(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let workers = available_parallelism()?.get() + 1;
    let socket = lab.directory().join("control.sock");
    let finished = refused(add_ports(&mut command(lab, binaries, &socket, workers)))?;
    check(lab, binaries, &finished, &["worker", &workers.to_string()])
}

fn bad_arguments(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let socket = lab.directory().join("control.sock");
    for arguments in [
        &["--workers", "0"][..],
        &["--workers", "many"],
        &["--connections", "-1"],
        &["--port", "d0", "--address", "10.9.255.254/33"],
        &["--port", "d0", "--address", "10.9.255/16"],
        &["--port", "d0", "--address", "224.0.0.1/16"],
        &["--port", "d0", "--mtu", "9000"],
        &["--no-such-option"],
    ] {
        let mut command = lab.director().command(&binaries.daemon);
        let finished = refused(command.arg("--socket").arg(&socket).args(arguments))?;
        ensure!(!finished.stderr.is_empty(), "silent about {arguments:?}");
        ensure!(!socket.exists(), "{arguments:?} leaves a socket behind");
    }
    Ok(())
}
