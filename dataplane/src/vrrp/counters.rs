//! What is counted of a virtual router.

use super::Rejection;

/// Advertisements rejected, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections([u64; Rejection::COUNT]);

impl Rejections {
    /// Counts one.
    pub fn count(&mut self, reason: Rejection) {
        self.0[reason as usize] += 1;
    }

    /// How many were rejected for one reason.
    #[must_use]
    pub fn of(&self, reason: Rejection) -> u64 {
        self.0[reason as usize]
    }

    /// How many were rejected in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What one virtual router has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements sent, those of priority 0 included.
    pub sent: u64,
    /// Advertisements received and not rejected, those of priority 0 included.
    pub received: u64,
    /// Advertisements of priority 0 sent: resignations.
    pub zero_sent: u64,
    /// Advertisements of priority 0 received.
    pub zero_received: u64,
    /// Times it has become master.
    pub became_master: u64,
    /// Times that another master of lower rank was heard while being master.
    pub contested: u64,
    /// Times that the host was so late that the router listened again before it became master.
    pub late: u64,
    /// Advertisements rejected.
    pub rejected: Rejections,
}
