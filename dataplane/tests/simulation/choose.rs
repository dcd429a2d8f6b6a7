//! The schedulers of the model, from their descriptions.

use crate::model::{Flow, Server};

pub(crate) const NAMES: [&str; 10] =
    ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "sh", "dh"];

#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    name: &'static str,
    /// Server chosen last by `rr` and `wrr`; none before the first.
    cursor: Option<usize>,
    /// Of `wrr`: level, highest level, step.
    level: i64,
    top: i64,
    step: i64,
    /// Of `sh` and `dh`.
    table: Vec<usize>,
}

impl Chooser {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, cursor: None, level: 0, top: 0, step: 1, table: Vec::new() }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Before a server is taken out: `rr` steps back from it.
    pub(crate) fn deleting(&mut self, list: &[usize], index: usize) {
        if self.cursor == Some(index) {
            let place = list.iter().position(|&other| other == index).unwrap();
            self.cursor = place.checked_sub(1).map(|before| list[before]);
        }
    }

    pub(crate) fn changed(&mut self, list: &[usize], servers: &[Server]) {
        let weights = || list.iter().map(|&index| i64::from(servers[index].weight));
        match self.name {
            "wrr" => {
                self.cursor = None;
                let divides = |step: i64| weights().all(|weight| weight % step == 0);
                let most = weights().max().unwrap_or(0);
                self.step = (1..=most).rev().find(|&step| divides(step)).unwrap_or(1);
                self.top = (most - (self.step - 1)).max(0);
                if self.level > self.top || self.level == 0 {
                    self.level = self.top;
                } else if self.step > 1 {
                    self.level = self.level / self.step * self.step + 1;
                }
            }
            "sh" | "dh" => {
                self.table.clear();
                while self.table.len() < 256 && !list.is_empty() {
                    for &index in list {
                        let share =
                            if self.name == "dh" { 1 } else { servers[index].weight.max(1) };
                        self.table.extend((0..share).map(|_| index));
                    }
                }
                self.table.truncate(256);
            }
            _ => {}
        }
    }

    pub(crate) fn choose(
        &mut self,
        list: &[usize],
        servers: &[Server],
        flow: &Flow,
    ) -> Option<usize> {
        let is_able = |index: &usize| servers[*index].weight > 0 && !servers[*index].is_overloaded;
        let able: Vec<usize> = list.iter().copied().filter(is_able).collect();
        let at = |cursor: Option<usize>| {
            cursor.map_or(0, |index| list.iter().position(|&other| other == index).unwrap() + 1)
        };
        match self.name {
            "rr" => {
                let start = at(self.cursor);
                let next = list[start..].iter().chain(&list[..start]).copied().find(is_able)?;
                self.cursor = Some(next);
                Some(next)
            }
            "wrr" => {
                if self.top == 0 {
                    return None;
                }
                let mut start = at(self.cursor);
                for _ in 0..2 * self.top + 4 {
                    let reaches = |index: &usize| {
                        i64::from(servers[*index].weight) >= self.level
                            && !servers[*index].is_overloaded
                    };
                    if let Some(next) = list[start..].iter().copied().find(|index| reaches(index)) {
                        self.cursor = Some(next);
                        return Some(next);
                    }
                    start = 0;
                    self.level -= self.step;
                    if self.level <= 0 {
                        self.level = self.top;
                    }
                }
                None
            }
            "lc" => least(&able, |index| (overhead(&servers[index]), 1)),
            "wlc" => least(&able, |index| (overhead(&servers[index]), servers[index].weight)),
            "sed" => least(&able, |index| delay(&servers[index])),
            "nq" => able
                .iter()
                .copied()
                .find(|&index| servers[index].active == 0)
                .or_else(|| least(&able, |index| delay(&servers[index]))),
            "fo" => heaviest(&able, servers),
            "ovf" => {
                let fits = |&index: &usize| servers[index].active <= servers[index].weight;
                let able: Vec<_> = able.into_iter().filter(fits).collect();
                heaviest(&able, servers)
            }
            "sh" | "dh" => {
                let address = if self.name == "sh" { flow.from.0 } else { flow.to.0 };
                let bucket = u32::from(address).wrapping_mul(0x61c8_8647) >> 24;
                self.table.get(bucket as usize).copied().filter(is_able)
            }
            other => unreachable!("{other}"),
        }
    }
}

fn overhead(server: &Server) -> u64 {
    u64::from(server.active) * 256 + u64::from(server.inactive)
}

fn delay(server: &Server) -> (u64, u32) {
    (u64::from(server.active) + 1, server.weight)
}

/// The first with the least load for its weight.
fn least(able: &[usize], load: impl Fn(usize) -> (u64, u32)) -> Option<usize> {
    let mut best = *able.first()?;
    for &index in able {
        let ((least, weight), (other, other_weight)) = (load(best), load(index));
        if least * u64::from(other_weight) > other * u64::from(weight) {
            best = index;
        }
    }
    Some(best)
}

fn heaviest(able: &[usize], servers: &[Server]) -> Option<usize> {
    let most = able.iter().map(|&index| servers[index].weight).max()?;
    able.iter().copied().find(|&index| servers[index].weight == most)
}
