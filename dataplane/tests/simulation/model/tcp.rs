//! The documented tables of TCP states, read as they are printed.

use super::{Knobs, SECOND};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// A state, by its place in the table's columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State(usize);

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    In,
    Out,
    /// From a client whose server answers by another way.
    InOnly,
}

const COLUMNS: [&str; 11] = ["NO", "ES", "SS", "SR", "FW", "TW", "CL", "CW", "LA", "LI", "SA"];
const NAMES: [&str; 11] = [
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
];
const SECONDS: [u64; 11] = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];

/// Rows: SYN, FIN, ACK, RST of packets in, out, and in only.
const NORMAL: [&str; 12] = [
    "SR ES ES SR SR SR SR SR SR SR SR",
    "CL CW SS TW TW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI SR",
    "SS ES SS SR SS SS SS SS SS LI SR",
    "TW FW SS TW FW TW CL TW LA LI TW",
    "ES ES SS ES FW TW CL CW LA ES ES",
    "CL CL SS CL CL TW CL CL CL CL CL",
    "SR ES ES SR SR SR SR SR SR SR SR",
    "CL FW SS TW FW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI CL",
];

const SECURE: [&str; 12] = [
    "SR ES ES SR SR SR SR SR SR SR SA",
    "CL CW SS TW TW TW CL CW LA LI SA",
    "ES ES SS SR FW TW CL CW CL LI SA",
    "CL CL CL SR CL CL CL CL LA LI CL",
    "SS ES SS SA SS SS SS SS SS LI SA",
    "TW FW SS TW FW TW CL TW LA LI TW",
    "ES ES SS ES FW TW CL CW LA ES ES",
    "CL CL SS CL CL TW CL CL CL CL CL",
    "SA ES ES SR SA SA SA SA SA SA SA",
    "CL FW SS TW FW TW CL CW LA LI TW",
    "ES ES SS ES FW TW CL CW CL LI ES",
    "CL CL CL SR CL CL CL CL LA LI CL",
];

fn column(name: &str) -> usize {
    COLUMNS.iter().position(|&column| column == name).unwrap()
}

impl State {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn named(name: &str) -> Self {
        Self(NAMES.iter().position(|&other| other == name).unwrap())
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[self.0]
    }

    pub(crate) fn is(self, name: &str) -> bool {
        self.name() == name
    }

    pub(crate) fn is_active(self) -> bool {
        ["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"].contains(&self.name())
    }

    pub(crate) fn next(self, knobs: &Knobs, direction: Direction, flags: u8) -> Self {
        let event = if flags & RST != 0 {
            3
        } else if flags & SYN != 0 {
            0
        } else if flags & FIN != 0 {
            1
        } else if flags & ACK != 0 {
            2
        } else {
            return Self::named("CLOSE");
        };
        let block = match direction {
            Direction::In => 0,
            Direction::Out => 4,
            Direction::InOnly => 8,
        };
        let table = if knobs.secure_tcp == 3 { SECURE } else { NORMAL };
        Self(column(table[block + event].split(' ').nth(self.0).unwrap()))
    }

    /// How long a connection lasts in this state, in ticks.
    pub(crate) fn timeout(self, knobs: &Knobs) -> u64 {
        SECOND
            * match self.name() {
                "ESTABLISHED" => knobs.timeouts[0],
                "FIN_WAIT" => knobs.timeouts[1],
                _ => SECONDS[self.0],
            }
    }
}
