//! The clients being served, and who has to go when there are too many.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Clients served at once.
const MOST: usize = 256;
/// How long a client may have us wait when others want its place.
const GRACE: Duration = Duration::from_millis(100);
/// Between two looks for a place while nobody has to go.
const PAUSE: Duration = Duration::from_millis(1);

/// All clients being served.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<Served>>);

#[derive(Default)]
struct Served {
    /// Of the next client.
    number: u64,
    /// By number, so the one that came first is first.
    streams: BTreeMap<u64, (UnixStream, Arc<Turn>)>,
}

/// Whose turn it is: [`OURS`], [`OUT`], or the client's, since so many microseconds after `start`.
struct Turn {
    now: AtomicU64,
    start: Instant,
}

/// The client waits for us.
const OURS: u64 = 0;
/// The client had to go.
const OUT: u64 = u64::MAX;

impl Default for Turn {
    /// Ours: a client waits for us until its thread runs, however late that is.
    fn default() -> Self {
        Self { now: AtomicU64::new(OURS), start: Instant::now() }
    }
}

impl Turn {
    fn moment(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 + 1
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.now.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// How long the client has had us wait by now, if it has.
    fn waited(&self, now: Instant) -> Option<Duration> {
        match self.now.load(Ordering::Relaxed) {
            OURS | OUT => None,
            since => {
                let age = now.saturating_duration_since(self.start);
                Some(age.saturating_sub(Duration::from_micros(since)))
            }
        }
    }

    /// Ends the client's turn for good, if it has had us wait too long.
    fn ends(&self, now: Instant) -> bool {
        let since = self.now.load(Ordering::Relaxed);
        let is_late = || self.waited(now).is_some_and(|waited| waited >= GRACE);
        is_late() && self.change(since, OUT)
    }
}

/// One client being served; it has left when this is dropped.
#[derive(Default)]
pub(super) struct Client {
    clients: Clients,
    number: u64,
    turn: Arc<Turn>,
    /// When this turn of the client began; until it has had one, [`OURS`].
    since: u64,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a client in. When there are too many, one that has us wait has to go, so that those
    /// who send nothing or take nothing keep nobody out.
    pub(super) fn admit(&self, stream: &UnixStream) -> io::Result<Client> {
        let stream = stream.try_clone()?;
        let mut served = self.lock();
        while served.streams.len() >= MOST {
            // One moment for all, however long looking at them takes.
            let now = Instant::now();
            let longest = served
                .streams
                .iter()
                .filter_map(|(&number, (_, turn))| Some((turn.waited(now)?, number, turn)))
                .max_by_key(|&(waited, ..)| waited);
            let out = longest.filter(|(.., turn)| turn.ends(now)).map(|(_, number, _)| number);
            let Some(number) = out else {
                // All of them wait for us, or have not had us wait for long: soon there will be room.
                drop(served);
                thread::sleep(PAUSE);
                served = self.lock();
                continue;
            };
            if let Some((stream, _)) = served.streams.remove(&number) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        let turn = Arc::new(Turn::default());
        let number = served.number;
        served.number += 1;
        served.streams.insert(number, (stream, Arc::clone(&turn)));
        Ok(Client { clients: self.clone(), number, turn, since: OURS })
    }
}

impl Client {
    /// A request or a reply has been passed: what comes next has its own time.
    pub(super) fn next(&mut self) {
        self.since = self.turn.moment();
    }

    /// We wait for the client from now on.
    pub(super) fn wait(&self) {
        self.turn.change(OURS, self.since);
    }

    /// The client waits for us from now on.
    ///
    /// # Errors
    /// When it had to go: what was read last was not its word.
    pub(super) fn work(&self) -> io::Result<()> {
        let now = self.turn.now.load(Ordering::Relaxed);
        if now == OURS || (now != OUT && self.turn.change(now, OURS)) {
            return Ok(());
        }
        Err(io::ErrorKind::ConnectionAborted.into())
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

    /// As many clients as are served at once, whose first word we wait for, and one more.
    fn full(clients: &Clients) -> (Vec<(UnixStream, UnixStream)>, Vec<Client>) {
        let pairs: Vec<_> = (0..=MOST).map(|_| UnixStream::pair().unwrap()).collect();
        let admit = |(ours, _): &_| {
            let mut client = clients.admit(ours).unwrap();
            client.next();
            client.wait();
            client
        };
        let admitted = pairs[..MOST].iter().map(admit).collect();
        (pairs, admitted)
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let clients = Clients::default();
        let (pairs, mut admitted) = full(&clients);
        thread::sleep(GRACE);
        // The first has just had an answer, and waits for nothing.
        admitted[0].work().unwrap();
        admitted[0].next();
        admitted[0].wait();
        let _last = clients.admit(&pairs[MOST].0).unwrap();
        assert!(admitted[0].work().is_ok() && admitted[1].work().is_err());
    }

    #[test]
    fn our_lateness_is_not_the_clients() {
        let clients = Clients::default();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut late = clients.admit(&ours).unwrap();
        thread::sleep(GRACE);
        let turn = Arc::clone(&late.turn);
        assert_eq!(turn.waited(Instant::now()), None, "its thread has not run");
        late.next();
        late.wait();
        assert!(!turn.ends(Instant::now()), "it has been waited for since just now");
        thread::sleep(GRACE);
        assert!(turn.ends(Instant::now()));
    }

    #[test]
    fn one_that_has_us_wait_makes_room() {
        let clients = Clients::default();
        let (pairs, mut admitted) = full(&clients);
        admitted[0].work().unwrap();
        let started = Instant::now();
        let last = clients.admit(&pairs[MOST].0).unwrap();
        assert!(started.elapsed() >= GRACE / 2, "they had just come");
        assert!(admitted[0].work().is_ok() && admitted[2].work().is_ok());
        assert!(admitted[1].work().is_err(), "the end of its stream is no end of input");
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
