//! Which entries are connections that may exist (sync protocol reference §6, check 6).

use crate::sync::{RecordFlags, Reject};

/// Number of states of a template: not yet, or already, confirmed by a connection.
const TEMPLATE_STATES: u16 = 2;

/// Number of states of each protocol that connections are kept for.
fn states(protocol: u8) -> Option<u16> {
    match protocol {
        6 => Some(11),
        132 => Some(14),
        // UDP, ESP and AH.
        17 | 50 | 51 => Some(1),
        _ => None,
    }
}

/// Judges flags as they came, not yet masked, with the protocol and its state.
pub(in crate::sync) fn check(flags: u16, protocol: u8, state: u16) -> Result<(), Reject> {
    let flags = RecordFlags(flags);
    if flags.has(RecordFlags::ONE_PACKET) {
        return Err(Reject::OnePacket);
    }
    let states = if flags.has(RecordFlags::TEMPLATE) {
        if flags.has(RecordFlags::NO_CLIENT_PORT) {
            return Err(Reject::TemplatePort);
        }
        TEMPLATE_STATES
    } else {
        states(protocol).ok_or(Reject::Protocol)?
    };
    if state < states { Ok(()) } else { Err(Reject::State) }
}
