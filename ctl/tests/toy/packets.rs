//! Packets that have met every kind of step and end.

use ctl::explain::Explanation;
use ctl::trace::{Packet, Taken};
use dataplane::connection::state::State;
use dataplane::explain::{Outcome, Step, Steps, Why};
use dataplane::packet::ethernet::Mac;
use dataplane::roster::ServerId;
use dataplane::service::{Family, Method, Protocol, ServiceKey};
use dataplane::time::Tick;
use dataplane::trace::{End, Record, Sight};
use dataplane::verdict::{DropReason, PortId, ShardId};

const CLIENT: (std::net::IpAddr, u16) = (ip([10, 9, 0, 1]), 40000);
const VIRTUAL: (std::net::IpAddr, u16) = (ip([10, 0, 0, 1]), 80);
const REAL: (std::net::IpAddr, u16) = (ip([192, 168, 10, 2]), 8080);

const fn ip([a, b, c, d]: [u8; 4]) -> std::net::IpAddr {
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

const SERVICE: ServiceKey =
    ServiceKey::Address { protocol: Protocol::Tcp, address: VIRTUAL.0, port: VIRTUAL.1 };
const SERVER: Step =
    Step::Server { real: REAL, method: Method::Nat, weight: 2, active: 3, inactive: 4 };

/// Steps to a server, and to nowhere.
pub fn steps() -> Vec<Vec<Step>> {
    let owner = Step::Owner { owner: ShardId(1), workers: 2 };
    let connection = Step::Connection {
        is_reply: false,
        state: State::TimeWait,
        expires_s: 17,
        virtual_end: VIRTUAL,
        real: REAL,
    };
    let hop = |mac| Step::NextHop { address: REAL.0, port: PortId(1), mac };
    let mac = Mac([2, 0, 0, 0, 0, 9]);
    let scheduled = Step::Scheduled { servers: 9, quiet: 1, overloaded: 2 };
    vec![
        vec![
            owner,
            connection,
            Step::Replaced(Why::PortReused),
            Step::Mark(7),
            Step::Service(ServiceKey::Mark { family: Family::V4, mark: 7 }),
            Step::NotKept(Why::ServerQuiet),
            Step::WillKeep { client: CLIENT.0, timeout_s: 360 },
            scheduled,
            SERVER,
            hop(None),
        ],
        vec![
            owner,
            Step::Service(SERVICE),
            Step::Kept { client: CLIENT.0, expires_s: 99 },
            SERVER,
            hop(Some(mac)),
        ],
        vec![owner, Step::Service(SERVICE), Step::Dropped(DropReason::NoDestination)],
        vec![Step::Ordinary],
        vec![
            owner,
            Step::Connection {
                is_reply: true,
                state: State::Established,
                expires_s: 899,
                virtual_end: VIRTUAL,
                real: REAL,
            },
            hop(Some(mac)),
        ],
    ]
}

/// An answer for each of [`steps`], the first for the last question.
pub fn explanations() -> Vec<Explanation> {
    let outcomes = [
        Outcome::Server(ServerId(1)),
        Outcome::Server(ServerId(1)),
        Outcome::Dropped(DropReason::NoDestination),
        Outcome::Ordinary,
    ];
    let schedulers = [Some("wlc".to_owned()), Some("rr".to_owned()), Some("rr".to_owned()), None];
    let all = steps().into_iter().zip(outcomes).zip(schedulers);
    all.map(|((steps, outcome), scheduler)| Explanation { outcome, steps, scheduler })
        .rev()
        .collect()
}

/// A packet with each of [`steps`], and every end.
pub fn taken() -> Taken {
    let came = Sight {
        port: PortId(0),
        from: Mac([2, 0, 0, 0, 0, 1]),
        to: Mac([2, 0, 0, 0, 0, 2]),
        outer: None,
        protocol: 6,
        source: CLIENT,
        destination: VIRTUAL,
        tcp_flags: 0x12,
        ttl: 64,
        length: 60,
    };
    let out = Sight { port: PortId(1), destination: REAL, ttl: 63, ..came };
    let wrapped = Sight { outer: Some((ip([10, 1, 255, 254]), REAL.0)), ..came };
    let ping = Sight { protocol: 1, source: (CLIENT.0, 0), destination: (VIRTUAL.0, 0), ..came };
    let ends = [
        (came, End::Sent(out), Some((State::SynRecv, 60))),
        (came, End::Held(wrapped), Some((State::SynRecv, 60))),
        (came, End::Answered(DropReason::NoDestination, ping), None),
        (ping, End::Consumed, None),
        (Sight { tcp_flags: 0, ..came }, End::HandedTo(ShardId(1)), None),
        (came, End::Dropped(DropReason::TableFull), None),
    ];
    let packets = ends.into_iter().zip(steps().into_iter().cycle()).zip(1..);
    let packets = packets.map(|(((came, end, after), steps), number)| Packet {
        number,
        at_ms: number * 1010,
        record: Record {
            at: Tick(5),
            place: number,
            worker: ShardId(0),
            came,
            steps: steps.into_iter().collect::<Steps>(),
            after,
            end,
        },
        scheduler: Some("wlc".to_owned()),
    });
    Taken { id: 3, packets: packets.collect(), lost: 2 }
}
