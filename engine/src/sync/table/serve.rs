//! The master's side: answers backups that ask for the whole table.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{mem, thread};

use crossbeam_channel::{Sender, bounded};
use ctl::backend::DaemonRow;
use ctl::sync::Follower;
use dataplane::command::{Command, Reply};
use dataplane::sync::wire::{Version, Writer};
use dataplane::sync::{Record, RecordPage};
use dataplane::template::Templates;

use super::super::counts::MasterCounts;
use super::super::seal::{Key, Sealer};
use super::super::{socket, spawn};
use super::channel::{Channel, Kind, Standing};
use super::{ALIVE, SILENCE};
use crate::clock::Clock;
use crate::say::complain;
use crate::worker::Envelope;

/// Backups that may be in touch at once.
const FOLLOWERS: usize = 16;
/// Conversations that may be at their greeting at once. They are no followers yet: whoever cannot
/// greet is not waited for, and keeps nobody out.
const GREETINGS: usize = 64;
/// Between two looks at whether somebody has come.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two tries to open the port.
const RETRY: Duration = Duration::from_secs(1);
/// Records in a page.
const PAGE: usize = 1024;
/// Bytes of frames that are sent together.
const TOGETHER: usize = 64 << 10;
/// Between two looks at what a follower is to be asked.
const LOOK: Duration = Duration::from_millis(20);

/// What answering takes.
pub(in crate::sync) struct Tables {
    pub(in crate::sync) workers: Vec<Sender<Envelope>>,
    pub(in crate::sync) templates: Arc<Templates>,
    pub(in crate::sync) clock: Clock,
    pub(in crate::sync) sync_id: u8,
    pub(in crate::sync) key: Option<Key>,
    pub(in crate::sync) sealer: Option<Arc<Sealer>>,
    pub(in crate::sync) epoch: u64,
    pub(in crate::sync) counts: Arc<MasterCounts>,
    pub(in crate::sync) stop: Arc<AtomicBool>,
    pub(in crate::sync) followers: Mutex<Vec<Arc<Peer>>>,
    pub(in crate::sync) greetings: AtomicUsize,
}

/// A backup that is in touch.
pub(in crate::sync) struct Peer {
    address: IpAddr,
    records: AtomicU64,
    /// The latest wish to know whether it is in step, and the latest one it has said yes to.
    asked: AtomicU64,
    in_step: AtomicU64,
}

impl Tables {
    /// Answers whoever asks, until told to stop; `port` is where, once that is possible.
    pub(in crate::sync) fn serve(self: &Arc<Self>, row: &DaemonRow, port: &AtomicU16) {
        let mut listener = open(row);
        if let Err(error) = &listener {
            complain(format_args!(
                "pollvsd: sync master: TCP port {} on {}: {error}; backups cannot ask for the \
                 whole table; trying on, once a second",
                row.port, row.interface
            ));
        }
        let mut tried = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(open_port) = &listener else {
                thread::sleep(PAUSE);
                if tried.elapsed() >= RETRY {
                    (listener, tried) = (open(row), Instant::now());
                }
                continue;
            };
            port.store(row.port, Ordering::Relaxed);
            match open_port.accept() {
                Ok((stream, from)) => self.welcome(stream, from.ip()),
                // A client that has gone again is no reason to end.
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    /// How backups stand.
    pub(in crate::sync) fn rows(&self) -> Vec<Follower> {
        let row = |peer: &Arc<Peer>| Follower {
            address: peer.address,
            records: peer.records.load(Ordering::Relaxed),
            is_in_step: peer.is_in_step(),
        };
        self.followers().iter().map(row).collect()
    }

    /// Asks every backup whether it has all that was sent until now; call after a flush.
    pub(in crate::sync) fn probe(&self) {
        for peer in self.followers().iter() {
            peer.asked.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How many backups are in touch, and how many of them have all that had been sent when they
    /// were last asked.
    pub(in crate::sync) fn in_step(&self) -> (usize, usize) {
        let followers = self.followers();
        (followers.len(), followers.iter().filter(|peer| peer.is_in_step()).count())
    }

    fn followers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Peer>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn welcome(self: &Arc<Self>, stream: TcpStream, address: IpAddr) {
        if self.greetings.fetch_add(1, Ordering::AcqRel) >= GREETINGS {
            self.greetings.fetch_sub(1, Ordering::AcqRel);
            return; // the stream closes
        }
        let tables = Arc::clone(self);
        let converse = move || {
            let channel = tables.greet(stream);
            tables.greetings.fetch_sub(1, Ordering::AcqRel);
            let Ok(channel) = channel else { return };
            let Some(peer) = tables.admit(address) else { return };
            // A conversation that breaks off is begun anew by the backup.
            let _ = tables.talk(channel, &peer);
            tables.followers().retain(|other| !Arc::ptr_eq(other, &peer));
        };
        if spawn("sync-table", converse).is_none() {
            self.greetings.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Has a backup among the followers, if there is room.
    fn admit(&self, address: IpAddr) -> Option<Arc<Peer>> {
        let mut followers = self.followers();
        (followers.len() < FOLLOWERS).then(|| {
            let peer = Arc::new(Peer {
                address,
                records: AtomicU64::new(0),
                asked: AtomicU64::new(1),
                in_step: AtomicU64::new(0),
            });
            followers.push(Arc::clone(&peer));
            peer
        })
    }

    fn greet(&self, stream: TcpStream) -> io::Result<Channel> {
        stream.set_nonblocking(false)?;
        Channel::answer(stream, self.sync_id, self.key.as_ref(), || self.standing())
    }

    fn standing(&self) -> Standing {
        let number = self.sealer.as_ref().map_or(0, |sealer| sealer.number());
        Standing { epoch: self.epoch, number, sent: self.counts.owed() }
    }

    fn talk(&self, mut channel: Channel, peer: &Peer) -> io::Result<()> {
        channel.be_patient(LOOK)?;
        let (mut probed, mut spoke) = (0, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            match channel.receive()?.map(|(kind, says)| (kind, says.to_vec())) {
                Some((Kind::Want, _)) => {
                    let records = self.send_all(&mut channel)?;
                    peer.records.fetch_add(records, Ordering::Relaxed);
                }
                Some((Kind::Step, says)) => {
                    if let Some((bytes, [1])) = says.split_first_chunk() {
                        peer.in_step.store(u64::from_be_bytes(*bytes), Ordering::Release);
                    }
                }
                Some(_) => {}
                // Not before everything is read that came while a table was sent.
                None if channel.silence() > SILENCE => return Err(io::ErrorKind::TimedOut.into()),
                None => {}
            }
            let asked = peer.asked.load(Ordering::Acquire);
            if asked != probed || spoke.elapsed() >= ALIVE {
                (probed, spoke) = (asked, Instant::now());
                let sent = self.counts.owed();
                channel.send(Kind::Probe, &[asked, sent].map(u64::to_be_bytes).concat())?;
            }
        }
        Ok(())
    }

    /// Sends every connection and template.
    fn send_all(&self, channel: &mut Channel) -> io::Result<u64> {
        let mut writer = Writer::new(Version::V1, self.sync_id, super::LONGEST);
        let mut records = 0;
        let mut failed = Ok(());
        let mut send = |record: &Record, channel: &mut Channel| {
            if writer.push(record, None).is_err() {
                channel.put(Kind::Message, writer.message());
                writer.clear();
                let _ = writer.push(record, None);
                if channel.unsent() >= TOGETHER {
                    return channel.flush();
                }
            }
            Ok(())
        };
        self.templates.records(self.clock.now(), |record| {
            records += 1;
            if failed.is_ok() {
                failed = send(&record, channel);
            }
        });
        failed?;
        for worker in &self.workers {
            let (reply, answer) = bounded(1);
            let ask = |from, records| {
                let command = Command::Records(RecordPage { from, records });
                let envelope = Envelope { command, reply: reply.clone() };
                worker.send(envelope).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            };
            ask(None, Vec::with_capacity(PAGE))?;
            // The worker fills one page while the other one goes out.
            let mut spare = Vec::with_capacity(PAGE);
            let mut is_more = true;
            while is_more {
                let Ok(Reply::Records(page)) = answer.recv_timeout(SILENCE) else {
                    return Err(io::ErrorKind::BrokenPipe.into());
                };
                is_more = page.from.is_some();
                if is_more {
                    ask(page.from, mem::take(&mut spare))?;
                }
                records += page.records.len() as u64;
                page.records.iter().try_for_each(|record| send(record, channel))?;
                spare = page.records;
            }
        }
        if !writer.is_empty() {
            channel.put(Kind::Message, writer.message());
        }
        channel.put(Kind::End, &records.to_be_bytes());
        channel.flush()?;
        Ok(records)
    }
}

fn open(row: &DaemonRow) -> io::Result<TcpListener> {
    let listener = socket::listener(row)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Peer {
    fn is_in_step(&self) -> bool {
        self.in_step.load(Ordering::Acquire) == self.asked.load(Ordering::Acquire)
    }
}
