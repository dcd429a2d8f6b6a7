//! The least loaded of many servers, known at any time: a tournament tree over a roster's members.
//!
//! Every node holds the best of its children's winners, the first one in a tie, so the root's
//! winner is the one that a search from end to end would find. When a load changes, the nodes
//! above it play again; most often that ends after one or two.
//!
//! Workers play at the same time without a lock. A node is written by compare-and-swap, and tried
//! twice: if both fail, whoever got in between has seen this change (the f-arrays of P. Jayanti,
//! "f-arrays: implementation and applications", PODC 2002). That is also why a winner that stays
//! is written again: whoever compared before this change must not succeed after it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::least_connection::Least;
use crate::roster::Member;

/// Children of a node. Each level costs a locked write and each child a comparison.
const FAN: usize = 8;

/// A node's winner in the lower half, and how often it has been written in the upper.
type Node = AtomicU64;

/// The tree.
#[derive(Debug)]
pub struct Tournament {
    kind: Least,
    /// From the nodes above the members to the root.
    levels: Box<[Box<[Node]>]>,
}

const NOBODY: u32 = u32::MAX;

impl Tournament {
    pub(super) fn new(kind: Least, members: &[Member]) -> Self {
        let mut levels = Vec::new();
        let mut below = members.len();
        while below > 1 || levels.is_empty() {
            below = below.div_ceil(FAN).max(1);
            levels.push((0..below).map(|_| Node::new(NOBODY.into())).collect());
        }
        let tournament = Self { kind, levels: levels.into() };
        tournament.play_all(members);
        tournament
    }

    /// The place of the winner, if it may be chosen.
    pub(super) fn winner(&self, members: &[Member]) -> Option<usize> {
        let root = self.levels.last()?.first()?;
        let place = root.load(SeqCst) as u32 as usize;
        members.get(place).filter(|member| member.is_eligible()).map(|_| place)
    }

    /// Plays all over again.
    pub(crate) fn play_all(&self, members: &[Member]) {
        for (level, nodes) in self.levels.iter().enumerate() {
            for node in 0..nodes.len() {
                self.play(level, node, members);
            }
        }
    }

    /// Plays again what the load of a member bears on.
    pub(crate) fn load_changed(&self, members: &[Member], place: u32) {
        let mut node = place as usize;
        for level in 0..self.levels.len() {
            node /= FAN;
            let (before, now) = self.play(level, node, members);
            if before == Some(now) && now != place {
                return; // nobody above looks at this member
            }
        }
    }

    /// Writes a node's winner; the one before, if nobody else has come in between, and the one now.
    fn play(&self, level: usize, node: usize, members: &[Member]) -> (Option<u32>, u32) {
        let this = &self.levels[level][node];
        let mut winner = NOBODY;
        for _ in 0..2 {
            let seen = this.load(SeqCst);
            winner = self.best_below(level, node, members);
            let next = ((seen >> 32).wrapping_add(1) << 32) | u64::from(winner);
            if this.compare_exchange(seen, next, SeqCst, SeqCst).is_ok() {
                return (Some(seen as u32), winner);
            }
        }
        (None, winner)
    }

    /// The best of the winners of a node's children; of members, when it is right above them.
    #[inline(never)] // in a loop it would have too few registers
    fn best_below(&self, level: usize, node: usize, members: &[Member]) -> u32 {
        let first = node * FAN;
        let best = match level.checked_sub(1) {
            None => {
                let end = members.len().min(first + FAN);
                self.kind
                    .search(members[first..end].iter().zip(first..).map(|(m, place)| (place, m)))
            }
            Some(below) => {
                let winners = &self.levels[below];
                let winners = &winners[first..winners.len().min(first + FAN)];
                let places = winners.iter().map(|winner| winner.load(SeqCst) as u32 as usize);
                self.kind.search(places.filter_map(|place| Some((place, members.get(place)?))))
            }
        };
        best.map_or(NOBODY, |place| place as u32)
    }
}
