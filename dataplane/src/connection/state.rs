//! States of connections, how packets move them on, and how long each lasts.
//!
//! The TCP table is the kernel's: it sees only one side of a connection, or both, and never checks
//! sequence numbers.

use crate::packet::protocol;

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
}

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
        }
    }

    /// Whether a connection in this state counts as active at its server.
    #[inline]
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Established | Self::SynSent | Self::SynRecv | Self::SynAck)
    }

    /// The state after a packet.
    #[inline]
    #[must_use]
    pub fn next(self, transport: u8, direction: Direction, tcp_flags: u8) -> Self {
        if transport != protocol::TCP {
            return Self::Udp;
        }
        let event = if tcp_flags & tcp_flag::RST != 0 {
            3
        } else if tcp_flags & tcp_flag::SYN != 0 {
            0
        } else if tcp_flags & tcp_flag::FIN != 0 {
            1
        } else if tcp_flags & tcp_flag::ACK != 0 {
            2
        } else {
            return Self::Close;
        };
        // A record in state UDP cannot be TCP; the mask spares the bounds check.
        TCP[direction as usize][event][(self as usize) & 0xf]
    }
}

/// How long a connection in each state is kept without a packet, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts([u32; 16]);

impl Default for Timeouts {
    fn default() -> Self {
        let mut seconds = [2; 16];
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
            seconds[state as usize] = timeout;
        }
        Self(seconds)
    }
}

impl Timeouts {
    /// Seconds for `state`.
    #[inline]
    #[must_use]
    pub fn of(&self, state: State) -> u32 {
        self.0[(state as usize) & 0xf]
    }
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    None as NO, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// The next TCP state by direction, event (SYN, FIN, ACK, RST) and state. Columns past `SynAck`
/// are never reached; they keep the index within bounds.
#[rustfmt::skip]
static TCP: [[[State; 16]; 4]; 3] = [
    // from:  NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
    [   [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR, NO, NO, NO, NO, NO], ],
    [   [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR, NO, NO, NO, NO, NO],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW, NO, NO, NO, NO, NO],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES, NO, NO, NO, NO, NO],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL, NO, NO, NO, NO, NO], ],
    [   [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR, NO, NO, NO, NO, NO],
        [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW, NO, NO, NO, NO, NO],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES, NO, NO, NO, NO, NO],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL, NO, NO, NO, NO, NO], ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use tcp_flag::{ACK, FIN, RST, SYN};

    fn walk(steps: &[(Direction, u8, State)]) {
        let mut state = State::None;
        for (n, &(direction, flags, expected)) in steps.iter().enumerate() {
            state = state.next(protocol::TCP, direction, flags);
            assert_eq!(state, expected, "step {n}");
        }
    }

    // Recorded: see semantics of the kernel's table; the listings of a real director show these.
    #[test]
    fn nat_sees_both_sides() {
        use Direction::{Input, Output};
        walk(&[
            (Input, SYN, SR),
            (Output, SYN | ACK, SR),
            (Input, ACK, ES),
            (Output, ACK, ES),
            (Output, FIN | ACK, FW),
            (Input, FIN | ACK, TW),
            (Output, ACK, TW),
            (Input, SYN, SR),
        ]);
    }

    #[test]
    fn direct_routing_sees_the_client_only() {
        use Direction::InputOnly;
        walk(&[
            (InputOnly, SYN, SR),
            (InputOnly, ACK, ES),
            (InputOnly, FIN | ACK, FW),
            (InputOnly, ACK, FW),
            (InputOnly, RST, CL),
            (InputOnly, 0, CL),
        ]);
    }

    #[test]
    fn udp_stays_udp_and_timeouts_are_ipvs_defaults() {
        assert_eq!(State::None.next(protocol::UDP, Direction::Input, 0), State::Udp);
        let timeouts = Timeouts::default();
        assert_eq!((timeouts.of(ES), timeouts.of(FW), timeouts.of(State::Udp)), (900, 120, 300));
    }
}
