//! The states of a virtual router, why they change, and what the host is to do then.

use super::codec::Advertisement;

/// State of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or in its initial delay.
    Initialize,
    /// Another is master; or it listens whether one is.
    Backup,
    /// Holds the addresses.
    Master,
    /// May not hold them: a tracked port is down, or a health check has failed.
    Fault,
}

impl State {
    /// Its name, as keepalived writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialize => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
        }
    }
}

/// Why a state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was started.
    Started,
    /// It was stopped.
    Stopped,
    /// It owns the addresses.
    Owner,
    /// No advertisement of a master for three intervals and the skew.
    MasterSilent,
    /// The master resigned.
    MasterResigned,
    /// The master has a lower priority.
    Preempted,
    /// Another master has a higher priority.
    HigherPriority,
    /// Another master has the same priority and a higher address.
    HigherAddress,
    /// Released by the operator.
    Released,
    /// A tracked port is down, or a health check has failed.
    FaultFound,
    /// No fault any more.
    FaultGone,
    /// Its group did so.
    Group,
}

impl Reason {
    /// What it means, for the log.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Owner => "owns the addresses",
            Self::MasterSilent => "master is silent",
            Self::MasterResigned => "master has resigned",
            Self::Preempted => "master has a lower priority",
            Self::HigherPriority => "another master has a higher priority",
            Self::HigherAddress => "another master of the same priority has a higher address",
            Self::Released => "released by the operator",
            Self::FaultFound => "a tracked port or health check has failed",
            Self::FaultGone => "no fault any more",
            Self::Group => "another router of its group did so",
        }
    }
}

/// What the host is to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this from the router's own address, with
    /// [`append_packet`](Advertisement::append_packet).
    Send(Advertisement),
    /// The state is another: take the addresses and announce them (gratuitous ARP, unsolicited
    /// neighbour advertisements) when it is [`State::Master`], give them up otherwise.
    Became(State, Reason),
    /// Announce the addresses again: another router had believed itself master.
    Announce,
}

/// Takes actions.
pub type Sink<'a> = &'a mut dyn FnMut(Action);
