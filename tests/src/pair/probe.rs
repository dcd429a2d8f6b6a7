//! A datagram about every millisecond, which a server sends back: how long nothing came.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::namespace::Namespace;

const INTERVAL: Duration = Duration::from_millis(1);
/// Between two looks whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// A time without answers.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// From one answer to the next.
    pub length: Duration,
    /// When the next came.
    pub end: Instant,
}

/// Asks and notes when answers come, until it is dropped.
#[derive(Debug)]
pub struct Probe {
    answers: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Starts to ask.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn start(client: &Namespace, to: SocketAddrV4) -> Result<Self> {
        let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0"))??;
        socket.set_read_timeout(Some(PATIENCE))?;
        let (answers, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let asking = {
            let (socket, stop) = (socket.try_clone()?, Arc::clone(&stop));
            thread::Builder::new().name("probe".into()).spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Whatever is wrong shows in the answers.
                    let _ = socket.send_to(b"probe", to);
                    thread::sleep(INTERVAL);
                }
            })?
        };
        let listening = {
            let (answers, stop) = (Arc::clone(&answers), Arc::clone(&stop));
            thread::Builder::new().name("answers".into()).spawn(move || {
                let mut buffer = [0; 64];
                while !stop.load(Ordering::Relaxed) {
                    if socket.recv_from(&mut buffer).is_ok() {
                        locked(&answers).push(Instant::now());
                    }
                }
            })?
        };
        Ok(Self { answers, stop, threads: vec![asking, listening] })
    }

    /// The longest gap that ended after `since` and is over; none without two answers.
    #[must_use]
    pub fn longest_gap(&self, since: Instant) -> Option<Gap> {
        let answers = locked(&self.answers);
        let pairs = answers.windows(2).filter(|pair| pair[1] >= since);
        let gaps = pairs.map(|pair| Gap { length: pair[1] - pair[0], end: pair[1] });
        gaps.max_by_key(|gap| gap.length)
    }

    /// Answers since a moment.
    #[must_use]
    pub fn answers_since(&self, moment: Instant) -> usize {
        let answers = locked(&self.answers);
        answers.len() - answers.partition_point(|&at| at < moment)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
