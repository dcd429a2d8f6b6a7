//! Names of hosts and services.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::service::Protocol;

/// Where names come from.
pub trait Names {
    /// A new command begins; time spent on names is limited per command.
    fn begin(&self) {}
    /// The first IPv4 address of a host.
    fn host_v4(&self, name: &str) -> Option<Ipv4Addr>;
    /// The name of an address.
    fn host_name(&self, address: IpAddr) -> Option<String>;
    /// The port of a service by name or alias.
    fn service_port(&self, name: &str, protocol: Protocol) -> Option<u16>;
    /// The name of a service by port.
    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// No names: everything is a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumericNames;

impl Names for NumericNames {
    fn host_v4(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn host_name(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service_port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }

    fn service_name(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// The services database, in the format of `/etc/services`.
#[derive(Clone, Debug, Default)]
pub struct Services {
    ports: HashMap<(String, Protocol), u16>,
    names: HashMap<(u16, Protocol), String>,
}

impl Services {
    /// Reads the text of a services file; of two entries that clash, the first one counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let entry = line.split('#').next().unwrap_or_default();
            let mut words = entry.split_ascii_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else { continue };
            let Some((port, protocol)) = port.split_once('/') else { continue };
            let Ok(port) = port.parse::<u16>() else { continue };
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => continue,
            };
            services.names.entry((port, protocol)).or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services.ports.entry((name.to_owned(), protocol)).or_insert(port);
            }
        }
        services
    }

    /// The port of a service by name or alias.
    #[must_use]
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.get(&(name.to_owned(), protocol)).copied()
    }

    /// The name of a service by port.
    #[must_use]
    pub fn name(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.names.get(&(port, protocol)).map(String::as_str)
    }
}

/// Time that one command may spend on host names. Clients wait 2 seconds for an answer.
const BUDGET: Duration = Duration::from_millis(1000);
/// How long addresses stay numbers after the resolver did not answer in time.
const QUIET: Duration = Duration::from_secs(5);
/// How long an answer of the resolver is kept, and the services database.
const KEEP: Duration = Duration::from_secs(30);
/// Most answers kept.
const MOST_KEPT: usize = 4096;
/// Most questions that wait for a slow resolver at once.
const MOST_WAITING: usize = 32;
/// Most of these that may be for a listing's addresses: the others are left for hosts that a command names.
const MOST_ADDRESSES: usize = 16;

/// The names of this system: its resolver and its `/etc/services`.
///
/// A resolver can hang for many seconds, and the daemon must not. Every question is therefore asked in a thread of
/// its own, and one command waits 1 second for all its questions together; after that, its addresses stay numbers and
/// its unknown hosts are unknown. Addresses then stay numbers for 5 seconds more.
///
/// A clone shares everything but the time of its command: answers, the 5 seconds, and how many questions may wait. So
/// a daemon makes one, and gives each client a clone.
#[derive(Clone, Debug)]
pub struct SystemNames {
    shared: Arc<Mutex<Shared>>,
    deadline: Cell<Instant>,
}

#[derive(Debug)]
struct Shared {
    services: Option<(Instant, Arc<Services>)>,
    quiet_until: Instant,
    waiting: usize,
    kept: HashMap<IpAddr, (Instant, Option<String>)>,
}

impl Shared {
    fn keep(&mut self, address: IpAddr, name: Option<String>) {
        if self.kept.len() >= MOST_KEPT {
            self.kept.clear();
        }
        self.kept.insert(address, (Instant::now(), name));
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of a question among those that wait, given back when dropped.
struct Place(Arc<Mutex<Shared>>);

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.0).waiting -= 1;
    }
}

impl Default for SystemNames {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemNames {
    /// Nothing is looked up yet.
    #[must_use]
    pub fn new() -> Self {
        let now = Instant::now();
        let kept = HashMap::new();
        let shared = Shared { services: None, quiet_until: now, waiting: 0, kept };
        Self { shared: Arc::new(Mutex::new(shared)), deadline: Cell::new(now + BUDGET) }
    }

    /// The services database, read when it is asked for; without the file, ports are numbers.
    fn services(&self) -> Arc<Services> {
        if let Some((since, services)) = &lock(&self.shared).services
            && since.elapsed() < KEEP
        {
            return Arc::clone(services);
        }
        // Not under the lock: a disk can hang, too.
        let text = std::fs::read("/etc/services").unwrap_or_default();
        let services = Arc::new(Services::parse(&String::from_utf8_lossy(&text)));
        lock(&self.shared).services = Some((Instant::now(), Arc::clone(&services)));
        services
    }

    /// Asks the resolver unless so many questions wait already; the outer `None` means that it did not answer in time.
    fn ask<T: Send + 'static>(
        &self,
        most_waiting: usize,
        question: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<Option<T>> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let place = self.place(most_waiting)?;
        let (answer, answers) = mpsc::sync_channel(1);
        let ask = move || {
            let given = question();
            drop(place);
            // Nobody listens any more if the answer is late: that is fine.
            let _ = answer.send(given);
        };
        thread::Builder::new().name("names".to_owned()).spawn(ask).ok()?;
        let answer = answers.recv_timeout(left).ok();
        // A question that had only the rest of a long listing's time says nothing about the resolver.
        if answer.is_none() && left >= BUDGET / 2 {
            lock(&self.shared).quiet_until = Instant::now() + QUIET;
        }
        answer
    }

    fn place(&self, most_waiting: usize) -> Option<Place> {
        let mut shared = lock(&self.shared);
        if shared.waiting >= most_waiting {
            return None;
        }
        shared.waiting += 1;
        Some(Place(Arc::clone(&self.shared)))
    }

    /// The name of an address as it was found before, or as `look_up` finds it.
    fn name_of(
        &self,
        address: IpAddr,
        look_up: impl FnOnce() -> Option<String> + Send + 'static,
    ) -> Option<String> {
        {
            let shared = lock(&self.shared);
            if let Some((since, name)) = shared.kept.get(&address)
                && since.elapsed() < KEEP
            {
                return name.clone();
            }
            if Instant::now() < shared.quiet_until {
                return None;
            }
        }
        let shared = Arc::clone(&self.shared);
        let question = move || {
            let name = look_up();
            // A name that comes late is of use to the next who asks.
            if name.is_some() {
                lock(&shared).keep(address, name.clone());
            }
            name
        };
        let name = self.ask(MOST_ADDRESSES, question)?;
        if name.is_none() {
            lock(&self.shared).keep(address, None);
        }
        name
    }
}

impl Names for SystemNames {
    fn begin(&self) {
        self.deadline.set(Instant::now() + BUDGET);
    }

    fn host_v4(&self, name: &str) -> Option<Ipv4Addr> {
        let name = name.to_owned();
        let question = move || {
            (name.as_str(), 0).to_socket_addrs().ok()?.find_map(|address| match address {
                SocketAddr::V4(address) => Some(*address.ip()),
                SocketAddr::V6(_) => None,
            })
        };
        self.ask(MOST_WAITING, question).flatten()
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        self.name_of(address, move || dns_lookup::lookup_addr(&address).ok())
    }

    fn service_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.services().port(name, protocol)
    }

    fn service_name(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services().name(port, protocol).map(str::to_owned)
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod names_tests;
