//! What a trace tells of packets, held against what became of them.

use std::sync::Arc;

use dataplane::explain::Step;
use dataplane::service::Method;
use dataplane::trace::{End, Filter, Record, Trace};
use dataplane::verdict::DropReason;

/// More than a burst has frames.
const ROOM: usize = 64;

/// A watch over every packet.
pub(crate) fn all() -> Box<Trace> {
    let filter = Filter { client: None, client_port: None, service: None };
    Box::new(Trace::new(filter, ROOM, Arc::default()))
}

/// Whether a packet may be dropped for this after its server has been chosen.
fn is_later(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::TtlExpired
            | DropReason::TooBig
            | DropReason::NoRoute
            | DropReason::TableFull
            | DropReason::ChainFull
            | DropReason::TemplateTableFull
            | DropReason::NeighbourTableFull
            | DropReason::NeighbourUnreachable
    )
}

/// What a trace said would become of a packet must be what became of it.
pub(crate) fn check(record: &Record) {
    let Record { came, steps, end, .. } = record;
    let is = |fits: bool| assert!(fits, "{record:#?}");
    let (mut server, mut reply, mut owner, mut dropped) = (None, None, None, None);
    for step in steps {
        match *step {
            Step::Server { real, method, .. } => server = Some((real, method)),
            Step::Connection { is_reply: true, virtual_end, .. } => reply = Some(virtual_end),
            Step::Owner { owner: of, .. } => owner = Some(of),
            Step::Dropped(reason) => dropped = Some(reason),
            _ => {}
        }
    }
    if owner.is_some_and(|owner| owner != record.worker) {
        is(Some(*end) == owner.map(End::HandedTo));
        return;
    }
    if owner.is_some() {
        is(!matches!(end, End::HandedTo(_)));
    }
    match (server, reply, dropped, *end) {
        // A stray packet of a server is routed, or answered as the client's host would.
        (None, None, Some(DropReason::NoConnection), _) => {}
        (None, None, Some(said), End::Dropped(reason) | End::Answered(reason, _)) => {
            is(said == reason || reason == DropReason::TtlExpired);
        }
        (None, None, Some(_), _) => is(false),
        (Some((real, Method::Nat)), _, _, End::Sent(sight) | End::Held(sight)) => {
            is((sight.destination, sight.source) == (real, came.source) && sight.outer.is_none());
        }
        (Some((real, Method::Tunnel)), _, _, End::Sent(sight) | End::Held(sight)) => {
            is(sight.outer.is_some_and(|outer| outer.1 == real.0));
            is((sight.source, sight.destination) == (came.source, came.destination));
        }
        (Some((_, Method::Direct)), _, _, End::Sent(sight) | End::Held(sight)) => {
            is((sight.source, sight.destination) == (came.source, came.destination));
        }
        (None, Some(virtual_end), _, End::Sent(sight) | End::Held(sight)) => {
            is((sight.source, sight.destination) == (virtual_end, came.destination));
        }
        (Some(_), _, _, End::Dropped(reason) | End::Answered(reason, _))
        | (None, Some(_), _, End::Dropped(reason) | End::Answered(reason, _)) => {
            is(dropped == Some(reason) || is_later(reason));
        }
        (Some(_), ..) | (_, Some(_), ..) => is(false),
        (None, None, None, _) => is(steps.contains(&Step::Ordinary)),
    }
}
