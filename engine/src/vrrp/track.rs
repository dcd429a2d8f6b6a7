//! What virtual routers watch: links of ports, and programs that must succeed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use crossbeam_channel::Sender;

use super::Order;
use super::plan::{Plan, RouterPlan};
use super::program::{Output, Program};
use super::section::{Track, TrackScript};
use crate::port::ReadPorts;
use crate::say::complain;

/// Between two looks at the links.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at a program that runs, or at the wish to stop.
const PAUSE: Duration = Duration::from_millis(10);

/// Threads that watch. They end soon after they are told to.
pub(super) struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Starts a thread for all links and one for each program.
    pub(super) fn start(
        plan: &Plan,
        ports: Box<dyn ReadPorts>,
        orders: &Sender<Order>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let healths: Vec<_> = plan
            .routers
            .iter()
            .enumerate()
            .map(|(n, router)| Arc::new(Health::new(n, router, orders.clone())))
            .collect();
        let watch = Self(Arc::clone(&stop));
        for health in &healths {
            for (item, script) in health.scripts.clone() {
                let (health, stop) = (Arc::clone(health), Arc::clone(&stop));
                let run = move || run_script(&health, item, &script, &stop);
                thread::Builder::new().name("vrrp-script".into()).spawn(run)?;
            }
        }
        let run = move || watch_links(&healths, ports.as_ref(), &stop);
        thread::Builder::new().name("vrrp-links".into()).spawn(run)?;
        Ok(watch)
    }

    /// Ends all of them.
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What one router watches, and how that is.
struct Health {
    router: usize,
    name: String,
    priority: u8,
    /// Ports: place, name, and the item of each.
    ports: Vec<(usize, String, usize)>,
    scripts: Vec<(usize, TrackScript)>,
    items: Mutex<Vec<Item>>,
    orders: Sender<Order>,
}

/// Something watched.
struct Item {
    shown: String,
    weight: i16,
    is_up: bool,
}

impl Health {
    fn new(router: usize, plan: &RouterPlan, orders: Sender<Order>) -> Self {
        let (mut ports, mut scripts, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |shown, weight| {
            items.push(Item { shown, weight, is_up: true });
            items.len() - 1
        };
        for &(port, ref name, weight) in &plan.ports {
            ports.push((port, name.clone(), add(format!("port {name}"), weight)));
        }
        for track in &plan.section.track {
            if let Track::Script(script) = track {
                let shown = format!("script {}", script.script.0.join(" "));
                scripts.push((add(shown, script.weight), script.clone()));
            }
        }
        Self {
            router,
            name: plan.section.name.clone(),
            priority: plan.section.priority,
            ports,
            scripts,
            items: Mutex::new(items),
            orders,
        }
    }

    /// Notes how an item is.
    fn set(&self, item: usize, is_up: bool, why: &str) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items[item].is_up == is_up {
            return;
        }
        items[item].is_up = is_up;
        let has_fault = items.iter().any(|item| item.weight == 0 && !item.is_up);
        let priority = priority(self.priority, &items);
        let _ = self.orders.send(Order::Health { router: self.router, has_fault, priority });
        let state = if is_up { "up" } else { "down" };
        complain(format_args!(
            "pollvsd: vrrp {}: {} is {state}{why}",
            self.name, items[item].shown
        ));
    }

    /// Tells the priority to begin with, when what is up adds to it.
    fn begin(&self) {
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let priority = priority(self.priority, &items);
        if priority != self.priority {
            let order = Order::Health { router: self.router, has_fault: false, priority };
            let _ = self.orders.send(order);
        }
    }
}

/// A priority with what is watched.
fn priority(configured: u8, items: &[Item]) -> u8 {
    let weight = |item: &Item| {
        let counts = if item.is_up { item.weight > 0 } else { item.weight < 0 };
        if counts { i64::from(item.weight) } else { 0 }
    };
    let sum = i64::from(configured) + items.iter().map(weight).sum::<i64>();
    sum.clamp(1, 254) as u8
}

/// Where Linux tells the state of an interface, unlike others without taking a lock that may be
/// held for long.
fn operstate(device: &str) -> PathBuf {
    Path::new("/sys/class/net").join(device).join("operstate")
}

/// Whether an interface can be used, as far as Linux knows.
fn is_up(operstate: &str) -> bool {
    ["up", "unknown"].contains(&operstate.trim())
}

fn watch_links(healths: &[Arc<Health>], ports: &dyn ReadPorts, stop: &AtomicBool) {
    healths.iter().for_each(|health| health.begin());
    let devices: BTreeMap<usize, &str> = healths
        .iter()
        .flat_map(|health| &health.ports)
        .map(|(place, device, _)| (*place, device.as_str()))
        .collect();
    let (linux, others): (BTreeMap<_, _>, BTreeMap<_, _>) = devices
        .into_iter()
        .map(|(place, device)| (place, operstate(device)))
        .partition(|(_, file)| file.exists());
    while !stop.load(Ordering::Relaxed) {
        let links = if others.is_empty() { Vec::new() } else { ports.links() };
        for health in healths {
            for &(place, _, item) in &health.ports {
                // Whose file has gone is gone.
                let state = |file| is_up(&fs::read_to_string(file).unwrap_or_default());
                let link = links.get(place).map(|link| link.is_up);
                if let Some(is_up) = linux.get(&place).map(state).or(link) {
                    health.set(item, is_up, "");
                }
            }
        }
        thread::sleep(LOOK);
    }
}

fn run_script(health: &Health, item: usize, script: &TrackScript, stop: &AtomicBool) {
    let (mut row, mut last, mut is_up) = (0, None, None);
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if Instant::now() < due {
            thread::sleep(PAUSE);
            continue;
        }
        due = Instant::now() + Duration::from_secs(script.interval_s.into());
        let Some(result) = run_once(script, stop) else { return };
        let succeeds = result.is_ok();
        row = if last.replace(succeeds) == Some(succeeds) { row + 1 } else { 1 };
        let needed = if succeeds { script.rise } else { script.fall };
        // The first result decides.
        if is_up.is_none() || row >= needed {
            is_up = Some(succeeds);
            let why = result.err().map(|why| format!(": {why}")).unwrap_or_default();
            health.set(item, succeeds, &why);
        }
    }
}

/// Runs a program to its end, or to its limit; `None` when the daemon stops before.
fn run_once(script: &TrackScript, stop: &AtomicBool) -> Option<Result<(), String>> {
    let limit = Duration::from_secs(script.timeout_s.into());
    let mut program = match Program::start(&script.script.0, limit, Output::Nowhere) {
        Ok(program) => program,
        Err(error) => return Some(Err(error.to_string())),
    };
    loop {
        if stop.load(Ordering::Relaxed) {
            return None; // dropped, it ends
        }
        if let Some(result) = program.look(None) {
            return Some(result);
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_a_carrier_is_down() {
        for (state, expected) in
            [("up\n", true), ("unknown\n", true), ("lowerlayerdown\n", false), ("", false)]
        {
            assert_eq!(is_up(state), expected, "{state:?}");
        }
    }

    #[test]
    fn weights_count_as_keepalived_has_them() {
        let item = |weight, is_up| Item { shown: String::new(), weight, is_up };
        for (items, expected) in [
            (vec![], 100),
            (vec![item(20, true)], 120),
            (vec![item(20, false)], 100),
            (vec![item(-30, true)], 100),
            (vec![item(-30, false), item(5, true)], 75),
            (vec![item(-253, false)], 1),
            (vec![item(253, true)], 254),
            (vec![item(0, false)], 100),
        ] {
            assert_eq!(priority(100, &items), expected);
        }
    }
}
