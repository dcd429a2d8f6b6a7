//! Requests that go on while something else happens, and which of them may fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::client::page;
use crate::interrupt;
use crate::namespace::Namespace;

/// Clients at the same time, each with one request after another.
const CLIENTS: usize = 2;
/// Between two requests of a client: the cores are few, and others want to run on them.
const PAUSE: Duration = Duration::from_millis(10);
/// How long some requests may take to be answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its start.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
}

#[derive(Debug)]
struct Request {
    time: Span,
    /// The page, which is the server's name, or what went wrong.
    outcome: Result<String, String>,
}

/// Requests to the virtual service, made all the time.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: Mutex<Vec<Request>>,
    excused: Mutex<Vec<Span>>,
    over: AtomicBool,
}

impl Traffic {
    /// Tells `story` while requests go on. Every one has to be answered, but for those that ran in
    /// a time that the story excuses. Returns what there were, for people.
    ///
    /// # Errors
    /// The story's, or the first request that failed without excuse.
    pub fn during(client: &Namespace, story: impl FnOnce(&Self) -> Result<()>) -> Result<String> {
        let traffic = Self::default();
        thread::scope(|scope| {
            // Ends the clients after a panic too.
            let _end = End(&traffic);
            for _ in 0..CLIENTS {
                scope.spawn(|| traffic.make_requests(client));
            }
            story(&traffic)
        })?;
        traffic.check()
    }

    fn make_requests(&self, client: &Namespace) {
        while !self.over.load(Ordering::Relaxed) && !interrupt::raised() {
            let from = Instant::now();
            let outcome = match page(client) {
                Ok(finished) if finished.status.success() => Ok(finished.out().trim().to_owned()),
                Ok(finished) => Err(finished.err().trim().to_owned()),
                Err(error) => Err(format!("{error:#}")),
            };
            let time = Span { from, to: Instant::now() };
            locked(&self.requests).push(Request { time, outcome });
            thread::sleep(PAUSE);
        }
    }

    /// Requests that ran in this time, at least partly, may fail.
    pub fn excuse(&self, span: Span) {
        locked(&self.excused).push(span);
    }

    /// Waits until `number` requests that start after this call are answered, and counts their
    /// servers.
    ///
    /// # Errors
    /// When they are not answered in time.
    pub fn answers(&self, number: usize) -> Result<BTreeMap<String, usize>> {
        let started = Instant::now();
        loop {
            interrupt::check()?;
            let mut by_server = BTreeMap::new();
            for request in locked(&self.requests).iter().filter(|r| r.time.from >= started) {
                if let Ok(server) = &request.outcome {
                    *by_server.entry(server.clone()).or_default() += 1;
                }
            }
            if by_server.values().sum::<usize>() >= number {
                return Ok(by_server);
            }
            if started.elapsed() > PATIENCE {
                bail!("of {number} requests only these were answered: {by_server:?}");
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits for requests until each of `servers` has answered, and no other.
    ///
    /// # Errors
    /// When it is not so.
    pub fn answered_by(&self, servers: &[&str]) -> Result<()> {
        let answers = self.answers(8 * servers.len())?;
        let names: Vec<_> = answers.keys().map(String::as_str).collect();
        ensure!(names == servers, "answers by {answers:?}, expected {servers:?}");
        Ok(())
    }

    fn check(&self) -> Result<String> {
        let (requests, excused) = (locked(&self.requests), locked(&self.excused));
        let mut failed = 0;
        for Request { time, outcome } in &*requests {
            let Err(error) = outcome else { continue };
            failed += 1;
            let runs_in = |span: &Span| time.from <= span.to && time.to >= span.from;
            let since = |moment: Instant| (moment - requests[0].time.from).as_secs_f32();
            ensure!(
                excused.iter().any(runs_in),
                "of {} requests one failed without excuse, begun {:.2} s after the first: {error}; \
                 excused were {:.2?}",
                requests.len(),
                since(time.from),
                excused.iter().map(|span| (since(span.from), since(span.to))).collect::<Vec<_>>()
            );
        }
        let known: Duration = excused.iter().map(|span| span.to - span.from).sum();
        Ok(format!(
            "{} requests, {failed} failed, all in the {:.1} s before a change was in the table",
            requests.len(),
            known.as_secs_f32()
        ))
    }
}

struct End<'t>(&'t Traffic);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
