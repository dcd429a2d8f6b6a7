//! Names of hosts and services.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
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
/// How long an answer of the resolver is kept.
const KEEP: Duration = Duration::from_secs(30);
/// Most answers kept.
const MOST_KEPT: usize = 4096;
/// Most questions that wait for a slow resolver at once.
const MOST_WAITING: usize = 32;

/// The names of this system: its resolver and its `/etc/services`.
///
/// A resolver can hang for many seconds, and the daemon must not. Every question is therefore asked in a thread of
/// its own, and one command waits 1 second for all its questions together; after that, its addresses stay numbers and
/// its unknown hosts are unknown. Addresses then stay numbers for 5 seconds more.
#[derive(Debug)]
pub struct SystemNames {
    services: OnceCell<Services>,
    deadline: Cell<Instant>,
    quiet_until: Cell<Instant>,
    waiting: Arc<AtomicUsize>,
    kept: RefCell<HashMap<IpAddr, (Instant, Option<String>)>>,
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
        Self {
            services: OnceCell::new(),
            deadline: Cell::new(now + BUDGET),
            quiet_until: Cell::new(now),
            waiting: Arc::default(),
            kept: RefCell::default(),
        }
    }

    /// The services database, read when it is first asked for; without the file, ports are numbers.
    fn services(&self) -> &Services {
        self.services.get_or_init(|| {
            let text = std::fs::read("/etc/services").unwrap_or_default();
            Services::parse(&String::from_utf8_lossy(&text))
        })
    }

    /// Asks the resolver; the outer `None` means that it did not answer in time.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<Option<T>> {
        let left = self.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() || self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return None;
        }
        let (answer, answers) = mpsc::sync_channel(1);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::clone(&self.waiting);
        let asked = thread::Builder::new().name("names".to_owned()).spawn(move || {
            // Nobody listens any more if the answer is late: that is fine.
            let _ = answer.send(question());
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
        if asked.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let answer = answers.recv_timeout(left).ok();
        if answer.is_none() {
            self.quiet_until.set(Instant::now() + QUIET);
        }
        answer
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
        self.ask(question).flatten()
    }

    fn host_name(&self, address: IpAddr) -> Option<String> {
        let now = Instant::now();
        if let Some((since, name)) = self.kept.borrow().get(&address)
            && now.duration_since(*since) < KEEP
        {
            return name.clone();
        }
        if now < self.quiet_until.get() {
            return None;
        }
        let name = self.ask(move || dns_lookup::lookup_addr(&address).ok())?;
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(address, (now, name.clone()));
        name
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
