//! Walks through the TCP tables, and timeouts.

use super::*;
use Direction::{Input, InputOnly, Output};
use tcp_flag::{ACK, FIN, RST, SYN};

fn walk(defence: Defence, steps: &[(Direction, u8, State)]) {
    let mut state = State::None;
    for (n, &(direction, flags, expected)) in steps.iter().enumerate() {
        state = state.next(direction, flags, defence);
        assert_eq!(state, expected, "step {n}");
    }
}

// Recorded: see semantics of the kernel's table; the listings of a real director show these.
#[test]
fn nat_sees_both_sides() {
    walk(
        Defence::Normal,
        &[
            (Input, SYN, SR),
            (Output, SYN | ACK, SR),
            (Input, ACK, ES),
            (Output, ACK, ES),
            (Output, FIN | ACK, FW),
            (Input, FIN | ACK, TW),
            (Output, ACK, TW),
            (Input, SYN, SR),
        ],
    );
}

#[test]
fn direct_routing_sees_the_client_only() {
    walk(
        Defence::Normal,
        &[
            (InputOnly, SYN, SR),
            (InputOnly, ACK, ES),
            (InputOnly, FIN | ACK, FW),
            (InputOnly, ACK, FW),
            (InputOnly, RST, CL),
            (InputOnly, 0, CL),
        ],
    );
}

// The opening is recorded under secure_tcp; the rest is by the table.
#[test]
fn under_defence_the_server_must_acknowledge() {
    walk(
        Defence::Strict,
        &[
            (Input, SYN, SR),
            (Output, SYN | ACK, SA),
            (Input, ACK, SA),
            (Output, ACK, ES),
            (Input, FIN | ACK, CW),
            (Input, 0, CL),
        ],
    );
    walk(Defence::Strict, &[(InputOnly, SYN, SA), (InputOnly, ACK, ES), (InputOnly, FIN, FW)]);
    // A client that only ever acknowledges its own SYN does not get there.
    walk(Defence::Strict, &[(Input, SYN, SR), (Input, ACK, SR), (Input, ACK, SR)]);
}

#[test]
fn the_two_tables_differ_where_the_kernel_s_do() {
    let cells = |a: &[[[State; 11]; 4]; 3], b: &[[[State; 11]; 4]; 3]| {
        let (a, b) = (a.as_flattened().as_flattened(), b.as_flattened().as_flattened());
        a.iter().zip(b).filter(|(a, b)| a != b).count()
    };
    // By row: IN syn 1, fin 1, ack 2, rst 1; OUT syn 2; INONLY syn 8.
    assert_eq!(cells(&TCP, &STRICT_TCP), 15);
    assert_eq!(cells(&TCP, &TCP), 0);
}

#[test]
fn udp_stays_udp_and_timeouts_are_ipvs_defaults() {
    for defence in [Defence::Normal, Defence::Strict] {
        assert_eq!(State::Udp.next(Input, 0, defence), State::Udp);
        assert_eq!(State::Udp.next(Output, 0x1f, defence), State::Udp);
    }
    let timeouts = Timeouts::default();
    let seconds = [ES, FW, State::Udp].map(|state| timeouts.seconds(state));
    assert_eq!(seconds, [900, 120, 300]);
}

#[test]
fn three_timeouts_can_be_set_and_nothing_else_moves() {
    let mut timeouts = Timeouts::default();
    assert_eq!(timeouts.set(0, 0, 0), Ok(()));
    assert_eq!(timeouts, Timeouts::default(), "0 keeps");
    assert_eq!(timeouts.set(100, 0, LONGEST_S), Ok(()));
    let seconds = [ES, FW, State::Udp, TW].map(|state| timeouts.seconds(state));
    assert_eq!(seconds, [100, 120, LONGEST_S, 120]);
    assert_eq!(timeouts.set(0, 50, 0), Ok(()));
    assert_eq!((timeouts.seconds(FW), timeouts.seconds(TW)), (50, 120));
    let before = timeouts;
    for (tcp_s, tcp_fin_s, udp_s) in
        [(LONGEST_S + 1, 0, 0), (1, u32::MAX, 1), (1, 1, LONGEST_S + 1)]
    {
        assert_eq!(timeouts.set(tcp_s, tcp_fin_s, udp_s), Err(Refusal::InvalidOperation));
        assert_eq!(timeouts, before, "refused wholly");
    }
}
