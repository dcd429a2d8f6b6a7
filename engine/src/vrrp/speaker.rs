//! The thread that speaks VRRP. It never waits for anything but packets, orders and the time: a
//! backup that is late listens once more before it takes over.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender, select};
use dataplane::command::Command;
use dataplane::float::{Outgoing, Punted};
use dataplane::packet::Network;
use dataplane::vrrp::{
    Action, Advertisement, GROUP_V4_MAC, GROUP_V6_MAC, Group, Reason, Rejection, State,
};

use super::crew::Crew;
use super::hooks::Hooks;
use super::plan::Plan;
use super::station::Station;
use super::{Order, Standing};
use crate::clock::Clock;
use crate::sync::Activity;
use crate::worker::AbortOnPanic;

/// How often a worker that had no room for commands is asked again.
const AGAIN: Duration = Duration::from_millis(1);
/// How long last packets may take on their way out.
const LAST: Duration = Duration::from_millis(50);
/// Between two looks whether they are out.
const PAUSE: Duration = Duration::from_micros(200);

/// What the thread has of the rest of the daemon.
pub(super) struct Ends {
    pub(super) orders: Receiver<Order>,
    pub(super) punted: Receiver<Punted>,
    pub(super) outgoing: Sender<Outgoing>,
    pub(super) crew: Crew,
    pub(super) clock: Clock,
    pub(super) activity: Arc<AtomicU8>,
    pub(super) hooks: Hooks,
}

/// Who speaks VRRP.
pub(super) struct Speaker {
    groups: Vec<Group>,
    stations: Vec<Station>,
    /// Of each group: name, its routers' places, and the state that was last told.
    members: Vec<(Option<String>, Vec<usize>, State)>,
    ends: Ends,
    actions: Vec<(usize, Action)>,
    packet: Vec<u8>,
}

impl Speaker {
    /// Routers that have not started; in words, what is wrong with them.
    pub(super) fn new(plan: &Plan, ends: Ends) -> Result<Self, String> {
        let mut stations = vec![None; plan.routers.len()];
        let (mut groups, mut members) = (Vec::new(), Vec::new());
        for (number, group) in plan.groups.iter().enumerate() {
            let configs = group.members.iter().map(|&place| plan.routers[place].config.clone());
            let made = Group::new(configs.collect()).map_err(|(member, error)| {
                let name = &plan.routers[group.members[member]].section.name;
                format!("vrrp {name}: {}", error.text())
            })?;
            for (member, &place) in group.members.iter().enumerate() {
                stations[place] = Some(Station::new(&plan.routers[place], (number, member)));
            }
            groups.push(made);
            members.push((group.name.clone(), group.members.clone(), State::Initialize));
        }
        let stations = stations.into_iter().flatten().collect();
        Ok(Self { groups, stations, members, ends, actions: Vec::new(), packet: Vec::new() })
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let _guard = AbortOnPanic;
        self.ends.activity.store(Activity::Passive as u8, Ordering::Relaxed);
        for n in 0..self.groups.len() {
            self.act(n, |group, now, sink| group.start(now, sink));
        }
        loop {
            // As many as are there now: who sends without end must not keep us from the rest.
            for _ in 0..self.ends.punted.len() {
                match self.ends.punted.try_recv() {
                    Ok(punted) => self.receive(&punted),
                    Err(_) => break,
                }
            }
            while let Ok(order) = self.ends.orders.try_recv() {
                if !self.obey(order) {
                    return self.stop();
                }
            }
            let now = self.now_us();
            for n in 0..self.groups.len() {
                if self.groups[n].next_deadline().is_some_and(|due| due <= now) {
                    self.act(n, |group, now, sink| group.poll(now, sink));
                }
            }
            self.announce();
            let waits = self.ends.crew.flush();
            let wait = self.wait(waits);
            select! {
                recv(self.ends.punted) -> punted => match punted {
                    Ok(punted) => self.receive(&punted),
                    // The workers have gone.
                    Err(_) => return,
                },
                recv(self.ends.orders) -> order => {
                    if !order.is_ok_and(|order| self.obey(order)) {
                        return self.stop();
                    }
                }
                default(wait) => {}
            }
        }
    }

    /// Masters resign.
    fn stop(&mut self) {
        for n in 0..self.groups.len() {
            self.act(n, |group, now, sink| group.stop(now, sink));
        }
        let end = Instant::now() + LAST;
        while !self.ends.outgoing.is_empty() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }

    fn now_us(&self) -> u64 {
        self.ends.clock.now_ns() / 1000
    }

    /// How long there is nothing to do.
    fn wait(&self, again_soon: bool) -> Duration {
        let groups = self.groups.iter().filter_map(Group::next_deadline);
        let stations = self.stations.iter().filter_map(Station::announces_at);
        // A day, when nothing is due.
        let due = groups.chain(stations).min().unwrap_or(u64::MAX);
        let left = due.saturating_sub(self.now_us()).min(86_400_000_000);
        let left = Duration::from_micros(left);
        if again_soon { left.min(AGAIN) } else { left }
    }

    /// Does something to a group, and what it wants done then.
    fn act(
        &mut self,
        number: usize,
        f: impl FnOnce(&mut Group, u64, &mut dyn FnMut(usize, Action)),
    ) {
        let now = self.now_us();
        let mut actions = mem::take(&mut self.actions);
        f(&mut self.groups[number], now, &mut |member, action| actions.push((member, action)));
        for (member, action) in actions.drain(..) {
            self.perform(number, member, action);
        }
        self.actions = actions;
        self.tell_group(number);
    }

    fn perform(&mut self, group: usize, member: usize, action: Action) {
        let place = self.members[group].1[member];
        match action {
            Action::Send(advertisement) => self.send(place, &advertisement),
            // From the beginning, for the other one may have the last word as long as it has not
            // heard us: its announcements are on their way.
            Action::Announce => {
                let now = self.now_us();
                self.stations[place].begin_to_announce(now);
            }
            Action::Became(state, reason) => self.turn(place, state, reason),
        }
    }

    fn send(&mut self, place: usize, advertisement: &Advertisement) {
        let station = &self.stations[place];
        let (group, member) = station.seat;
        let config = self.groups[group].members()[member].config();
        self.packet.clear();
        advertisement.append_packet(config.source, config.pseudo_header, &mut self.packet);
        let (to, ether_type) = if config.source.is_ipv4() {
            (GROUP_V4_MAC, Ipv4Addr::ETHER_TYPE)
        } else {
            (GROUP_V6_MAC, Ipv6Addr::ETHER_TYPE)
        };
        // The number of addresses is limited so that it fits.
        let Ok(packet) = ArrayVec::try_from(&self.packet[..]) else { return };
        let outgoing = Outgoing { interface: station.interface, to, ether_type, packet };
        // When the worker stands still, others are to take over.
        let _ = self.ends.outgoing.try_send(outgoing);
    }

    fn turn(&mut self, place: usize, state: State, reason: Reason) {
        let now = self.now_us();
        let station = &mut self.stations[place];
        let (group, member) = station.seat;
        let priority = self.groups[group].members()[member].effective_priority();
        station.reason = reason;
        let hold = Command::Hold(Arc::clone(&station.addresses), state == State::Master);
        if state == State::Master {
            station.begin_to_announce(now);
            self.ends.crew.tell(&hold);
        } else if station.end_announcing() {
            // Not before they are given up are others told to take them.
            self.ends.crew.tell_and_wait(&hold);
        }
        self.announce();
        let station = &self.stations[place];
        let (section, hooks) = (&station.section, &self.ends.hooks);
        hooks.say(format!(
            "pollvsd: vrrp {}: {} (priority {priority}): {}",
            section.name,
            state.name(),
            reason.text()
        ));
        let (word, hook) = match (state, reason) {
            (State::Master, _) => ("MASTER", &section.notify_master),
            (State::Backup, _) => ("BACKUP", &section.notify_backup),
            (State::Fault, _) => ("FAULT", &section.notify_fault),
            (State::Initialize, Reason::Stopped) => ("STOP", &section.notify_stop),
            (State::Initialize, _) => return,
        };
        hooks.call(hook, &[]);
        let priority = priority.to_string();
        hooks.call(&section.notify, &["INSTANCE", &section.name, word, &priority]);
    }

    /// Tells what has become of a group as a whole, and of all together.
    fn tell_group(&mut self, number: usize) {
        let state = self.groups[number].state();
        let (name, places, told) = &mut self.members[number];
        if mem::replace(told, state) == state {
            return;
        }
        let is_active = self
            .groups
            .iter()
            .any(|group| group.members().iter().any(|router| router.state() == State::Master));
        let activity = if is_active { Activity::Active } else { Activity::Passive };
        self.ends.activity.store(activity as u8, Ordering::Relaxed);
        let Some(name) = name else { return };
        let word = if state == State::Initialize { "STOP" } else { state.name() };
        let mut called = Vec::new();
        for &place in &*places {
            let notify = &self.stations[place].section.notify;
            if !called.contains(&notify) {
                self.ends.hooks.call(notify, &["GROUP", name, word, "0"]);
                called.push(notify);
            }
        }
    }

    /// Sends announcements that are due.
    fn announce(&mut self) {
        let now = self.now_us();
        for station in &mut self.stations {
            if station.announces_at().is_some_and(|due| due <= now) {
                let addresses = station.announce(now);
                self.ends.crew.tell_first(Command::Announce(addresses));
            }
        }
    }

    fn receive(&mut self, punted: &Punted) {
        let Punted { interface, envelope, payload } = punted;
        let is_v4 = envelope.source.is_ipv4();
        let vrid = payload.get(1).copied();
        let place = self.stations.iter().position(|station| {
            station.interface == *interface && station.is_v4 == is_v4 && Some(station.vrid) == vrid
        });
        let advertisement = Advertisement::parse(envelope, payload);
        let stray = match (advertisement, place) {
            (Ok(advertisement), Some(place)) => {
                let (group, member) = self.stations[place].seat;
                let source = envelope.source;
                self.act(group, |group, now, sink| {
                    // The router has counted it.
                    let _ = group.receive(now, member, &advertisement, source, sink);
                });
                return;
            }
            (Ok(_), None) => Rejection::UnknownVrid,
            (Err(reason), _) => reason,
        };
        // What is nobody's is counted at the first router of the link.
        let on_link = || self.stations.iter().position(|station| station.interface == *interface);
        if let Some(place) = place.or_else(on_link) {
            self.stations[place].strays.count(stray);
        }
    }

    /// Carries out an order; false when it is to stop.
    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Stop => return false,
            Order::Rows(reply) => {
                let now = self.now_us();
                let row = |station: &Station| {
                    let (group, member) = station.seat;
                    let router = &self.groups[group].members()[member];
                    station.row(router, now)
                };
                // Nobody waits any more, perhaps.
                let _ = reply.try_send(self.stations.iter().map(row).collect());
            }
            Order::Look(reply) => drop(reply.try_send(self.standing())),
            Order::Release(reply) => {
                for n in 0..self.groups.len() {
                    self.act(n, |group, now, sink| group.release(now, sink));
                }
                let _ = reply.try_send(self.standing());
            }
            Order::Reclaim(reply) => {
                for n in 0..self.groups.len() {
                    self.act(n, |group, now, _| group.reclaim(now));
                }
                let _ = reply.try_send(self.standing());
            }
            Order::Health { router, has_fault, priority } => {
                let (group, member) = self.stations[router].seat;
                self.act(group, |group, now, sink| {
                    group.set_priority(now, member, priority);
                    group.set_fault(now, member, has_fault, sink);
                });
            }
        }
        true
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for router in self.groups.iter().flat_map(Group::members) {
            standing.released |= router.is_released();
            standing.masters += u32::from(router.state() == State::Master);
            // Who has a fault, or has not begun, hears nobody.
            standing.pending += u32::from(match router.state() {
                State::Master => true,
                State::Backup => router.master().is_none(),
                State::Initialize | State::Fault => false,
            });
        }
        standing
    }
}
