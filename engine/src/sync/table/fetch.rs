//! The backup's side: stays in touch with a master, and fetches its whole table when that is wanted.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::sync::Told;

use super::super::backup::Backup;
use super::channel::{Channel, Kind};
use super::{ALIVE, GREETING, SILENCE};
use crate::say::say;

pub(in crate::sync) use super::channel::Standing;

/// Between two tries to get in touch.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at whether something is wanted.
const LOOK: Duration = Duration::from_millis(10);

/// Stays in touch with a master for as long as it is heard.
pub(in crate::sync) fn follow(backup: &Arc<Backup>, to: SocketAddr) {
    while !backup.stop.load(Ordering::Relaxed) && backup.peers.is_present(to.ip(), Instant::now()) {
        if talk(backup, to).is_err() {
            backup.peers.fetched(to.ip(), None, Instant::now());
        }
        thread::sleep(RETRY);
    }
}

fn talk(backup: &Backup, to: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect_timeout(&to, GREETING)?;
    let (mut channel, standing) = Channel::ask(stream, backup.row.sync_id, backup.key.as_ref())?;
    channel.be_patient(LOOK)?;
    backup.peers.prove(to.ip(), standing);
    // The master's wish to know whether we are in step.
    let mut question: Option<(u64, u64)> = None;
    // Records of the table that is coming.
    let mut fetched: Option<u64> = None;
    let mut spoke = Instant::now();
    while !backup.stop.load(Ordering::Relaxed) {
        if fetched.is_none() && backup.peers.take_wish(to.ip(), Instant::now()) {
            channel.send(Kind::Want, &[])?;
            fetched = Some(0);
        }
        let mut is_idle = false;
        match channel.receive()? {
            Some((Kind::Message, message)) => {
                let records = backup.read(message, Told::Whole).records;
                fetched = fetched.map(|before| before + records);
            }
            Some((Kind::End, _)) => {
                let now = Instant::now();
                if let Some(records) = fetched.take()
                    && let Some(began) = backup.peers.fetched(to.ip(), Some(records), now)
                {
                    say(format_args!(
                        "pollvsd: sync backup: {records} record(s) fetched from {} in {} ms",
                        to.ip(),
                        (now - began).as_millis()
                    ));
                }
            }
            Some((Kind::Probe, says)) => {
                let mut words =
                    says.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
                question = words.next().zip(words.next());
            }
            Some(_) => {}
            None => is_idle = true,
        }
        // Not before everything is read that came while the workers kept us waiting.
        if is_idle && channel.silence() > SILENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some((id, sent)) = question
            && fetched.is_none()
            && backup.peers.has_all(to.ip(), sent)
            && backup.intake.is_empty()
        {
            let mut says = id.to_be_bytes().to_vec();
            says.push(1);
            channel.send(Kind::Step, &says)?;
            (question, spoke) = (None, Instant::now());
        }
        if spoke.elapsed() >= ALIVE {
            channel.send(Kind::Alive, &[])?;
            spoke = Instant::now();
        }
    }
    Ok(())
}
