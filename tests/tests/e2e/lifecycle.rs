//! Start, stop, crash, and two daemons where one belongs.

use anyhow::{Result, ensure};
use tests::client;
use tests::daemon::{Daemon, add_ports, command, refused};
use tests::lab::{Lab, Method};
use tests::requirements::Binaries;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("second-daemon", second_daemon),
        Case::new("stop", stop),
        Case::new("crash", crash),
    ]
}

fn second_daemon(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut first = Daemon::start(lab, binaries, 1)?;
    first.control().balance(Method::Nat)?;
    let socket = first.control().socket();
    let second = refused(add_ports(&mut command(lab, binaries, socket, 1)))?;
    let message = second.err();
    ensure!(
        message.contains(&*socket.to_string_lossy()),
        "the message does not name the socket: {message}"
    );
    ensure!(first.is_running(), "the first daemon is gone");
    first.control().must("-Ln")?;
    client::fetch(lab, 10)?.check(lab)
}

fn stop(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start(lab, binaries, 2)?;
    daemon.control().balance(Method::Nat)?;
    client::fetch(lab, 4)?.check(lab)?;
    let socket = daemon.control().socket().to_owned();
    ensure!(socket.exists(), "no socket while it runs");
    let status = daemon.stop()?;
    ensure!(status.code() == Some(0), "SIGTERM ends it with {status}");
    ensure!(!socket.exists(), "{} is left behind", socket.display());
    // Without a daemon the control command says so and does not hang.
    let answer = daemon.control().run("-Ln")?;
    ensure!(answer.code() == Some(2), "pollvsadm ends with {}", answer.status);
    ensure!(!answer.stderr.is_empty(), "pollvsadm is silent about the missing daemon");
    Ok(())
}

fn crash(lab: &Lab, binaries: &Binaries) -> Result<()> {
    let mut daemon = Daemon::start(lab, binaries, 1)?;
    let socket = daemon.control().socket().to_owned();
    daemon.kill();
    ensure!(socket.exists(), "a killed daemon cannot remove its socket; who did?");
    let answer = daemon.control().run("-Ln")?;
    ensure!(answer.code() == Some(2), "with a dead socket pollvsadm ends with {}", answer.status);
    let next = Daemon::start(lab, binaries, 1)?;
    next.control().balance(Method::Nat)?;
    client::fetch(lab, 10)?.check(lab)
}
