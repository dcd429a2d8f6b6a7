//! The clients being served, and who has to go when there are too many.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Clients served at once.
const MOST: usize = 256;
/// How long to wait for room when all of them are being worked for.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// All clients being served.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<Served>>);

#[derive(Default)]
struct Served {
    /// Of the next client.
    number: u64,
    /// By number, so the one that came first is first.
    streams: BTreeMap<u64, (UnixStream, Arc<AtomicBool>)>,
}

/// One client being served; it has left when this is dropped.
#[derive(Default)]
pub(super) struct Client {
    clients: Clients,
    number: u64,
    /// Whether it is the client's turn, not ours.
    waits: Arc<AtomicBool>,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a client in. When there are too many, one that has us wait has to go, so that those
    /// who send nothing or take nothing keep nobody out.
    pub(super) fn admit(&self, stream: &UnixStream) -> io::Result<Client> {
        let stream = stream.try_clone()?;
        let waits = Arc::new(AtomicBool::new(true));
        let mut served = self.lock();
        while served.streams.len() >= MOST {
            let idle = |(_, waits): &(UnixStream, Arc<AtomicBool>)| waits.load(Ordering::Relaxed);
            let out = served.streams.iter().find(|(_, client)| idle(client));
            let Some(number) = out.map(|(&number, _)| number) else {
                // All of them wait for us: soon there will be room.
                drop(served);
                thread::sleep(BUSY_PAUSE);
                served = self.lock();
                continue;
            };
            if let Some((stream, _)) = served.streams.remove(&number) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let number = served.number;
        served.number += 1;
        served.streams.insert(number, (stream, Arc::clone(&waits)));
        Ok(Client { clients: self.clone(), number, waits })
    }
}

impl Client {
    /// We wait for the client from now on.
    pub(super) fn wait(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// The client waits for us from now on.
    pub(super) fn work(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.lock().streams.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_first_that_has_us_wait_makes_room() {
        let clients = Clients::default();
        let pairs: Vec<_> = (0..=MOST).map(|_| UnixStream::pair().unwrap()).collect();
        let mut admitted: Vec<_> =
            pairs[..MOST].iter().map(|(ours, _)| clients.admit(ours).unwrap()).collect();
        admitted[0].work();
        let last = clients.admit(&pairs[MOST].0).unwrap();
        let closed = |n: usize| {
            let (_, theirs) = &pairs[n];
            theirs.set_nonblocking(true).unwrap();
            matches!((&*theirs).read(&mut [0]), Ok(0))
        };
        assert!(!closed(0) && closed(1) && !closed(2) && !closed(MOST));
        assert_eq!(clients.lock().streams.len(), MOST);
        drop(admitted.remove(1));
        assert_eq!(clients.lock().streams.len(), MOST, "it had left already");
        drop((admitted, last));
        assert!(clients.lock().streams.is_empty());
    }
}
