//! States of connections, how packets move them on, and how long each lasts.
//!
//! The TCP table is the kernel's: it sees only one side of a connection, or both, and never checks
//! sequence numbers.

use crate::packet::protocol;
use crate::refusal::Refusal;
use crate::time::TICKS_PER_SECOND;

/// State of a connection. TCP states have the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nothing seen yet.
    None = 0,
    /// Open.
    Established = 1,
    /// The server opens.
    SynSent = 2,
    /// The client opens.
    SynRecv = 3,
    /// The server, or the client of a server whose replies pass elsewhere, has closed.
    FinWait = 4,
    /// Both have closed.
    TimeWait = 5,
    /// Reset, or closed in an unusual way.
    Close = 6,
    /// The client has closed.
    CloseWait = 7,
    /// Waiting for the last acknowledgement.
    LastAck = 8,
    /// Foreseen, such as an FTP data connection.
    Listen = 9,
    /// The client's opening has been answered.
    SynAck = 10,
    /// UDP has a single state.
    Udp = 11,
    /// A persistence template's, once a connection under it has proved to be real.
    Assured = 12,
    /// SCTP: nothing seen yet. The kernel's numbers for SCTP follow from here on; such connections
    /// only come from other directors.
    SctpNone = 16,
    /// SCTP: the client has begun.
    SctpInit1 = 17,
    /// SCTP: the client has begun again.
    SctpInit = 18,
    /// SCTP: the server has sent its cookie.
    SctpCookieSent = 19,
    /// SCTP: the client has returned it.
    SctpCookieReplied = 20,
    /// SCTP: the client waits for a cookie.
    SctpCookieWait = 21,
    /// SCTP: the client has one.
    SctpCookie = 22,
    /// SCTP: the server has returned one.
    SctpCookieEchoed = 23,
    /// SCTP: open.
    SctpEstablished = 24,
    /// SCTP: the server closes.
    SctpShutdownSent = 25,
    /// SCTP: the client closes.
    SctpShutdownReceived = 26,
    /// SCTP: closing has been acknowledged.
    SctpShutdownAckSent = 27,
    /// SCTP: refused.
    SctpRejected = 28,
    /// SCTP: closed.
    SctpClosed = 29,
}

/// Where SCTP's states begin among all.
const SCTP: u16 = State::SctpNone as u16;

/// Who sent a packet, and whether the other side is seen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client; replies pass here too.
    Input,
    /// From the server.
    Output,
    /// From the client; replies take another way.
    InputOnly,
}

/// Which TCP table is in force (`secure_tcp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// The usual one.
    Normal = 0,
    /// A connection counts as open only once the server has acknowledged.
    Strict = 4,
}

/// TCP flag bits (RFC 9293 section 3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets the connection.
    pub const RST: u8 = 0x04;
    /// Acknowledges.
    pub const ACK: u8 = 0x10;
}

impl State {
    /// The name that listings print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
            Self::Udp => "UDP",
            Self::Assured => "ASSURED",
            Self::SctpNone => "NONE",
            Self::SctpInit1 => "INIT1",
            Self::SctpInit => "INIT",
            Self::SctpCookieSent => "C-SENT",
            Self::SctpCookieReplied => "C-REPLIED",
            Self::SctpCookieWait => "C-WAIT",
            Self::SctpCookie => "COOKIE",
            Self::SctpCookieEchoed => "C-ECHOED",
            Self::SctpEstablished => "ESTABLISHED",
            Self::SctpShutdownSent => "S-SENT",
            Self::SctpShutdownReceived => "S-RECEIVED",
            Self::SctpShutdownAckSent => "S-ACK-SENT",
            Self::SctpRejected => "REJECTED",
            Self::SctpClosed => "CLOSED",
        }
    }

    /// The number that sync messages give it, which counts within its protocol.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Udp => 0,
            Self::Assured => 1,
            _ => (self as u16).checked_sub(SCTP).unwrap_or(self as u16),
        }
    }

    /// The state that a number means for a connection of a protocol; `None` when there is no such
    /// state.
    #[must_use]
    pub fn from_number(transport: u8, number: u16) -> Option<Self> {
        let all: &[Self] = match transport {
            protocol::TCP => &TCP_STATES,
            protocol::SCTP => &SCTP_STATES,
            protocol::UDP => &[Self::Udp],
            _ => &[Self::None],
        };
        all.get(usize::from(number)).copied()
    }

    /// Whether a backup is told of connections in this state (sync protocol reference §7.1).
    #[must_use]
    pub fn is_told(self) -> bool {
        matches!(
            self,
            Self::Udp
                | Self::Established
                | Self::FinWait
                | Self::Close
                | Self::CloseWait
                | Self::TimeWait
                | Self::SctpEstablished
                | Self::SctpShutdownSent
                | Self::SctpShutdownReceived
                | Self::SctpShutdownAckSent
                | Self::SctpClosed
        )
    }

    /// Whether a connection in this state counts as active at its server.
    #[inline]
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Self::Established
                | Self::SynSent
                | Self::SynRecv
                | Self::SynAck
                | Self::SctpEstablished
        )
    }

    /// The state that a connection of a protocol begins with.
    #[must_use]
    pub fn first(transport: u8) -> Self {
        if transport == protocol::UDP { Self::Udp } else { Self::None }
    }

    /// The state after a packet. UDP's is always the same.
    #[inline(always)]
    #[must_use]
    pub fn next(self, direction: Direction, tcp_flags: u8, defence: Defence) -> Self {
        let row = direction as usize | defence as usize;
        let event = EVENTS[usize::from(tcp_flags & 0x1f)];
        // The masks spare the bounds checks; every index lies within them.
        NEXT[row & 7][usize::from(event & 7)][(self as usize) & 15]
    }
}

/// What a packet is to the table, by its lower five flags: the first of RST, SYN, FIN and ACK that
/// is set, or none.
static EVENTS: [u8; 32] = {
    let mut events = [4; 32];
    let mut flags = 0;
    while flags < 32 {
        events[flags as usize] = if flags & tcp_flag::RST != 0 {
            3
        } else if flags & tcp_flag::SYN != 0 {
            0
        } else if flags & tcp_flag::FIN != 0 {
            1
        } else if flags & tcp_flag::ACK != 0 {
            2
        } else {
            4
        };
        flags += 1;
    }
    events
};

/// Longest timeout in seconds: 31 days.
pub const LONGEST_S: u32 = 31 * 24 * 3600;

/// How long a connection in each state is kept without a packet; held in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts([u32; 16]);

impl Default for Timeouts {
    fn default() -> Self {
        let mut ticks = [2 * TICKS_PER_SECOND; 16];
        for (state, timeout) in [
            (State::Established, 900),
            (State::SynSent, 120),
            (State::SynRecv, 60),
            (State::FinWait, 120),
            (State::TimeWait, 120),
            (State::Close, 10),
            (State::CloseWait, 60),
            (State::LastAck, 30),
            (State::Listen, 120),
            (State::SynAck, 120),
            (State::Udp, 300),
        ] {
            ticks[state as usize] = timeout * TICKS_PER_SECOND;
        }
        Self(ticks)
    }
}

impl Timeouts {
    /// Ticks for `state`, which is not SCTP's.
    #[inline]
    #[must_use]
    pub fn ticks(&self, state: State) -> u32 {
        self.0[(state as usize) & 15]
    }

    /// Ticks for any state; those of SCTP are never set.
    #[must_use]
    pub fn of(&self, state: State) -> u32 {
        let seconds = match state {
            State::SctpNone => 2,
            State::SctpInit1 | State::SctpRejected => 4,
            State::SctpEstablished => 900,
            _ if state as u16 > SCTP => 61,
            _ => return self.ticks(state),
        };
        seconds * TICKS_PER_SECOND
    }

    /// Seconds for `state`.
    #[must_use]
    pub fn seconds(&self, state: State) -> u32 {
        self.ticks(state) / TICKS_PER_SECOND
    }

    /// Sets what `--set` sets, in seconds: established TCP, TCP after a FIN, UDP. 0 keeps one as
    /// it is. Connections keep their present timers until their next packet.
    ///
    /// # Errors
    /// When one is above [`LONGEST_S`]; nothing has changed then.
    pub fn set(&mut self, tcp_s: u32, tcp_fin_s: u32, udp_s: u32) -> Result<(), Refusal> {
        let all = [(State::Established, tcp_s), (State::FinWait, tcp_fin_s), (State::Udp, udp_s)];
        if all.iter().any(|&(_, seconds)| seconds > LONGEST_S) {
            return Err(Refusal::InvalidOperation);
        }
        for (state, seconds) in all.into_iter().filter(|&(_, seconds)| seconds != 0) {
            self.0[state as usize] = seconds * TICKS_PER_SECOND;
        }
        Ok(())
    }
}

/// The states of TCP, by number.
const TCP_STATES: [State; 11] = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];

/// The states of SCTP, by number.
const SCTP_STATES: [State; 14] = [
    State::SctpNone,
    State::SctpInit1,
    State::SctpInit,
    State::SctpCookieSent,
    State::SctpCookieReplied,
    State::SctpCookieWait,
    State::SctpCookie,
    State::SctpCookieEchoed,
    State::SctpEstablished,
    State::SctpShutdownSent,
    State::SctpShutdownReceived,
    State::SctpShutdownAckSent,
    State::SctpRejected,
    State::SctpClosed,
];

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// The next state by direction and defence, event and state; what no index reaches is filled up.
static NEXT: [[[State; 16]; 8]; 8] = {
    let mut next = [[[State::Close; 16]; 8]; 8];
    let mut direction = 0;
    while direction < 3 {
        let mut event = 0;
        while event < 4 {
            let mut state = 0;
            while state < 11 {
                next[direction | Defence::Normal as usize][event][state] =
                    TCP[direction][event][state];
                next[direction | Defence::Strict as usize][event][state] =
                    STRICT_TCP[direction][event][state];
                state += 1;
            }
            event += 1;
        }
        direction += 1;
    }
    let mut row = 0;
    while row < 64 {
        next[row / 8][row % 8][State::Udp as usize] = State::Udp;
        row += 1;
    }
    next
};

/// The kernel's TCP table: by direction, event (SYN, FIN, ACK, RST) and state.
#[rustfmt::skip]
const TCP: [[[State; 11]; 4]; 3] = [
    // from:  NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR], ],
    [   [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], ],
    [   [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], ],
];

/// The same while `secure_tcp` is in force.
#[rustfmt::skip]
const STRICT_TCP: [[[State; 11]; 4]; 3] = [
    // from:  NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
        [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], ],
    [   [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL], ],
    [   [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL], ],
];

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
