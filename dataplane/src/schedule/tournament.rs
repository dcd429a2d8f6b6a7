//! The least loaded of many servers, known at any time: a tournament tree over a roster's members.
//!
//! Every inner node holds the better of its two children's winners, the first one in a tie, so the
//! root's winner is the one that a search from end to end would find. When a load changes, the
//! nodes above it play again; most often that ends after one or two.
//!
//! Workers play at the same time without a lock. A node is written by compare-and-swap, and tried
//! twice: if both fail, whoever got in between has seen this change (the f-arrays of P. Jayanti,
//! "f-arrays: implementation and applications", PODC 2002).

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::least_connection::Least;
use crate::roster::Member;

/// A node's winner in the lower half, and how often it has been written in the upper.
#[derive(Debug)]
pub struct Tournament {
    kind: Least,
    /// Inner nodes; node 1 is the root, and node n's children are 2n and 2n + 1.
    nodes: Box<[AtomicU64]>,
}

const NOBODY: u32 = u32::MAX;

impl Tournament {
    pub(super) fn new(kind: Least, members: &[Member]) -> Self {
        let size = members.len().next_power_of_two();
        let nodes = (0..size).map(|_| AtomicU64::new(NOBODY.into())).collect();
        let tournament = Self { kind, nodes };
        tournament.play_all(members);
        tournament
    }

    /// The place of the winner, if it may be chosen.
    pub(super) fn winner(&self, members: &[Member]) -> Option<usize> {
        let place = self.winner_of(1, members) as usize;
        members.get(place).filter(|member| member.is_eligible()).map(|_| place)
    }

    /// Plays all over again.
    pub(crate) fn play_all(&self, members: &[Member]) {
        for node in (1..self.nodes.len()).rev() {
            self.play(node, members);
        }
    }

    /// Plays again what the load of a member bears on.
    pub(crate) fn load_changed(&self, members: &[Member], place: u32) {
        let mut node = (self.nodes.len() + place as usize) / 2;
        while node > 0 {
            let (before, now) = self.play(node, members);
            if before == Some(now) && now != place {
                return; // nobody above looks at this member
            }
            node /= 2;
        }
    }

    /// Writes a node's winner; the one before, if nobody else has come in between, and the one now.
    fn play(&self, node: usize, members: &[Member]) -> (Option<u32>, u32) {
        let mut winner = NOBODY;
        for _ in 0..2 {
            let seen = self.nodes[node].load(SeqCst);
            let (left, right) =
                (self.winner_of(2 * node, members), self.winner_of(2 * node + 1, members));
            winner = self.better(members, left, right);
            let next = ((seen >> 32).wrapping_add(1) << 32) | u64::from(winner);
            if self.nodes[node].compare_exchange(seen, next, SeqCst, SeqCst).is_ok() {
                return (Some(seen as u32), winner);
            }
        }
        (None, winner)
    }

    fn winner_of(&self, node: usize, members: &[Member]) -> u32 {
        match self.nodes.get(node) {
            Some(inner) => inner.load(SeqCst) as u32,
            None => {
                let place = node - self.nodes.len();
                if place < members.len() { place as u32 } else { NOBODY }
            }
        }
    }

    fn better(&self, members: &[Member], left: u32, right: u32) -> u32 {
        let able = |place: u32| members.get(place as usize).filter(|member| member.is_eligible());
        match (able(left), able(right)) {
            (Some(a), Some(b)) if self.kind.is_lighter(b, a) => right,
            (None, Some(_)) => right,
            _ => left,
        }
    }
}
