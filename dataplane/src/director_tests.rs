//! Every operation and every refusal, in the kernel's order of tests, and the arithmetic of
//! counters.

use super::*;
use crate::schedule::Query;
use crate::service::{ClientMask, Method, Protocol, TunnelSpec};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::cell::RefCell;
use core::net::Ipv4Addr;

/// Traffic of slots as shards would have counted it.
#[derive(Default)]
struct Slots(RefCell<Vec<Traffic>>);

impl Slots {
    fn read(&self, id: ServerId) -> Traffic {
        self.0.borrow().get(id.0 as usize).copied().unwrap_or_default()
    }

    /// Counts connections, packets and bytes; what goes out is twice what comes in.
    fn count(&self, id: u32, connections: u64, packets: u64) {
        let mut slots = self.0.borrow_mut();
        let count = slots.len().max(id as usize + 1);
        slots.resize(count, Traffic::default());
        slots[id as usize] += Traffic {
            connections,
            in_packets: packets,
            out_packets: 2 * packets,
            in_bytes: 100 * packets,
            out_bytes: 200 * packets,
        };
    }
}

fn key() -> ServiceKey {
    key_of(Protocol::Tcp, "10.9.0.100", 80)
}

fn key_of(protocol: Protocol, address: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: address.parse().unwrap(), port }
}

fn service(key: ServiceKey) -> ServiceSpec {
    ServiceSpec {
        key,
        scheduler: "rr".into(),
        scheduler_flags: 0,
        persistence_s: None,
        client_mask: ClientMask::V4(u32::MAX),
        persistence_engine: None,
        one_packet: false,
    }
}

fn server(host: u8) -> ServerSpec {
    ServerSpec {
        address: IpAddr::V4(Ipv4Addr::new(10, 1, 0, host)),
        port: 80,
        method: Method::Nat,
        weight: 1,
        upper_threshold: 0,
        lower_threshold: 0,
        tunnel: TunnelSpec::default(),
    }
}

fn at(address: &str) -> ServerSpec {
    ServerSpec { address: address.parse().unwrap(), ..server(1) }
}

fn add(director: &mut Director, spec: ServerSpec) -> Result<Command, Refusal> {
    director.add_server(&key(), spec, &|_| Traffic::default())
}

/// What a draft takes the director takes, though its servers may have connections by then.
#[test]
fn a_draft_takes_no_more_than_the_director_will() {
    let mut director = Director::new(4, 3);
    director.add_service(service(key())).unwrap();
    for host in 1..=3 {
        add(&mut director, server(host)).unwrap();
    }
    let mut draft = director.draft();
    let is_full = |added| matches!(added, Err(Refusal::NoMemory));
    assert!(is_full(add(&mut draft, server(4))), "all slots are taken");
    delete(&mut draft, 1).unwrap();
    let forget = |director: &mut Director| {
        director.end_batch();
        director.forget_idle().len()
    };
    assert_eq!(forget(&mut draft), 0, "it may have connections");
    assert!(add(&mut draft, server(1)).is_ok(), "it comes back to its slot");
    delete(&mut director, 2).unwrap();
    delete(&mut director, 3).unwrap();
    let busy = director.deleted[0].server.member.load.clone();
    busy.bind(true);
    let mut draft = director.draft();
    assert_eq!(forget(&mut draft), 1, "the idle one of two");
    assert!(add(&mut draft, server(4)).is_ok());
    assert!(is_full(add(&mut draft, server(5))));
    assert!(add(&mut draft, server(2)).is_ok(), "the busy one comes back");
    assert_eq!((busy.active(), busy.inactive()), (1, 0), "nothing has changed");
}

/// A scheduler with a limit cannot be given to a service that has more servers.
#[test]
fn a_scheduler_takes_so_many_servers() {
    let mut director = Director::new(4, 8192);
    director.add_service(service(key())).unwrap();
    director.begin_batch();
    for n in 0..4094_u32 {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a01_0001 + n));
        add(&mut director, ServerSpec { address, ..server(1) }).unwrap();
    }
    director.end_batch();
    let maglev = ServiceSpec { scheduler: "mh".into(), ..service(key()) };
    assert!(matches!(director.edit_service(maglev.clone()), Err(Refusal::InvalidOperation)));
    assert_eq!(director.service_spec(&key()).unwrap().scheduler, "rr", "nothing has changed");
    let first = server(1);
    director.delete_server(&key(), first.address, 80, &|_| Traffic::default()).unwrap();
    director.edit_service(maglev).unwrap();
    drop(director.draft());
}

fn delete(director: &mut Director, host: u8) -> Result<Command, Refusal> {
    let spec = server(host);
    director.delete_server(&key(), spec.address, spec.port, &|_| Traffic::default())
}

/// A director with [`key`]'s service and servers 1 and 2.
fn usual() -> Director {
    let mut director = Director::new(3, 4);
    director.add_service(service(key())).unwrap();
    add(&mut director, server(1)).unwrap();
    add(&mut director, server(2)).unwrap();
    director
}

fn roster(command: Result<Command, Refusal>) -> Arc<Roster> {
    match command {
        Ok(Command::PutService(roster)) => roster,
        other => panic!("not a roster: {other:?}"),
    }
}

/// All that listings show, in a fixed order.
fn listing(director: &Director) -> String {
    let read = |_| Traffic::default();
    let mut lines: Vec<_> = director
        .services(&read)
        .map(|view| {
            let servers: Vec<_> = view.servers.iter().map(|server| server.spec).collect();
            format!("{:?} {:?} {servers:?}", view.spec, view.traffic)
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

#[track_caller]
fn refused(
    shows: &str,
    expected: Refusal,
    operation: impl FnOnce(&mut Director) -> Result<Command, Refusal>,
) {
    let mut director = usual();
    delete(&mut director, 2).unwrap();
    let free = |director: &Director| (director.free_slots.len(), director.deleted.len());
    let before = (listing(&director), free(&director));
    assert_eq!(operation(&mut director).unwrap_err(), expected, "{shows}");
    assert_eq!((listing(&director), free(&director)), before, "{shows}: nothing has changed");
}

#[test]
fn services_are_refused_in_the_kernels_order() {
    use Refusal::{NoSuchService, SchedulerOrEngineNotFound, ServiceExists};
    let wrong = |key| ServiceSpec { scheduler: "wcl".into(), ..service(key) };
    let other = key_of(Protocol::Udp, "10.9.0.100", 80);
    refused("there already", ServiceExists, |d| d.add_service(service(key())));
    refused("there, and a wrong name", ServiceExists, |d| d.add_service(wrong(key())));
    refused("a wrong name", SchedulerOrEngineNotFound, |d| d.add_service(wrong(other)));
    refused("edit of none", NoSuchService, |d| d.edit_service(service(other)));
    refused("edit of none to a wrong name", NoSuchService, |d| d.edit_service(wrong(other)));
    refused("edit to a wrong name", SchedulerOrEngineNotFound, |d| d.edit_service(wrong(key())));
    refused("deletion of none", NoSuchService, |d| d.delete_service(&other));
    let mut director = usual();
    let zeroed = director.zero(Some(&other), &|_| Traffic::default());
    assert_eq!(zeroed, Err(NoSuchService));
    assert!(director.service(&other, &|_| Traffic::default()).is_none());
}

#[test]
fn engines_that_do_not_exist_are_refused() {
    let udp = key_of(Protocol::Udp, "10.9.0.100", 80);
    let with =
        |engine: &str| ServiceSpec { persistence_engine: Some(engine.into()), ..service(udp) };
    assert!(usual().add_service(with("sip")).is_ok());
    refused("a wrong engine", Refusal::SchedulerOrEngineNotFound, |d| d.add_service(with("pis")));
}

#[test]
fn servers_are_refused_in_the_kernels_order() {
    use Refusal::{InvalidOperation, NoSuchServer, OutOfRange, ServerExists, ServiceNotDefined};
    let none = key_of(Protocol::Udp, "10.9.0.100", 80);
    let read = |_| Traffic::default();
    let weighing = |weight, spec| ServerSpec { weight, ..spec };
    let v6 = at("2001:db8::1");
    refused("no service, before all else", ServiceNotDefined, |d| d.add_server(&none, v6, &read));
    refused("mixed families", InvalidOperation, |d| add(d, v6));
    refused("mixed families, before the weight", InvalidOperation, |d| add(d, weighing(-1, v6)));
    refused("a negative weight", OutOfRange, |d| add(d, weighing(-1, server(3))));
    refused("too large a weight", OutOfRange, |d| add(d, weighing(1 << 31, server(3))));
    refused("a lower threshold above the upper", OutOfRange, |d| {
        add(d, ServerSpec { lower_threshold: 1, ..server(3) })
    });
    refused("a weight, before existence", OutOfRange, |d| add(d, weighing(-1, server(1))));
    refused("a weight, before the address", OutOfRange, |d| add(d, weighing(-1, at("0.0.0.0"))));
    refused("there already", ServerExists, |d| add(d, server(1)));
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "239.255.255.255"] {
        refused(address, InvalidOperation, |d| add(d, at(address)));
    }
    refused("edit without service", ServiceNotDefined, |d| d.edit_server(&none, server(1)));
    refused("edit of mixed families", InvalidOperation, |d| d.edit_server(&key(), v6));
    refused("edit of none, with a wrong weight", OutOfRange, |d| {
        d.edit_server(&key(), weighing(-1, server(3)))
    });
    refused("edit of none", NoSuchServer, |d| d.edit_server(&key(), server(3)));
    refused("edit of one deleted", NoSuchServer, |d| d.edit_server(&key(), server(2)));
    refused("edit does not judge addresses", NoSuchServer, |d| {
        d.edit_server(&key(), at("224.0.0.1"))
    });
    let (address, port) = (server(1).address, server(1).port);
    refused("deletion without service", ServiceNotDefined, |d| {
        d.delete_server(&none, address, port, &read)
    });
    refused("deletion of none", NoSuchServer, |d| delete(d, 3));
    refused("deletion of another port", NoSuchServer, |d| {
        d.delete_server(&key(), address, port + 1, &read)
    });
    refused("deletion of one deleted", NoSuchServer, |d| delete(d, 2));
}

#[test]
fn addresses_that_the_kernel_takes_are_taken() {
    for address in ["0.1.2.3", "240.0.0.1", "127.0.0.1", "10.1.0.255", "255.255.255.254"] {
        assert!(add(&mut usual(), at(address)).is_ok(), "{address}");
    }
    for address in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1"] {
        let key = key_of(Protocol::Tcp, address, 0);
        assert!(usual().add_service(service(key)).is_ok(), "{address}: of a service, any");
    }
    for weight in [0, i64::from(i32::MAX)] {
        let spec = ServerSpec { weight, ..server(3) };
        let roster = roster(add(&mut usual(), spec));
        assert_eq!(i64::from(roster.members[0].weight), weight);
    }
}

#[test]
fn limits_are_memory() {
    let mut director = usual();
    for port in [81, 82] {
        director.add_service(service(key_of(Protocol::Tcp, "10.9.0.100", port))).unwrap();
    }
    let fourth = service(key_of(Protocol::Tcp, "10.9.0.100", 83));
    assert_eq!(director.add_service(fourth.clone()).unwrap_err(), Refusal::NoMemory);
    director.delete_service(&key_of(Protocol::Tcp, "10.9.0.100", 81)).unwrap();
    assert!(director.add_service(fourth).is_ok(), "room again");

    for host in [3, 4] {
        add(&mut director, server(host)).unwrap();
    }
    let before = listing(&director);
    assert_eq!(add(&mut director, server(5)).unwrap_err(), Refusal::NoMemory);
    delete(&mut director, 4).unwrap();
    assert_eq!(add(&mut director, server(5)).unwrap_err(), Refusal::NoMemory, "not forgotten yet");
    assert!(add(&mut director, server(4)).is_ok(), "the same may come back");
    assert_eq!(listing(&director), before);
}

#[test]
fn rosters_are_newest_first_and_edits_keep_places() {
    let mut director = usual();
    let hosts = |roster: &Roster| -> Vec<_> {
        roster.members.iter().map(|m| (m.address, m.weight, m.order)).collect()
    };
    let ip = |host| server(host).address;
    let put = roster(add(&mut director, server(3)));
    assert_eq!(hosts(&put), [(ip(3), 1, 3), (ip(2), 1, 2), (ip(1), 1, 1)]);
    let edited = ServerSpec { weight: 7, method: Method::Direct, ..server(2) };
    let put = roster(director.edit_server(&key(), edited));
    assert_eq!(hosts(&put), [(ip(3), 1, 3), (ip(2), 7, 2), (ip(1), 1, 1)]);
    assert_eq!(put.members[1].method, Method::Direct);
    let put = roster(delete(&mut director, 1));
    assert_eq!(hosts(&put), [(ip(3), 1, 3), (ip(2), 7, 2)]);
    let put = roster(add(&mut director, server(1)));
    assert_eq!(hosts(&put), [(ip(1), 1, 4), (ip(3), 1, 3), (ip(2), 7, 2)], "back as the newest");
    let view = director.service(&key(), &|_| Traffic::default()).unwrap();
    let listed: Vec<_> = view.servers.iter().map(|server| server.spec.address).collect();
    assert_eq!(listed, [ip(1), ip(3), ip(2)]);
    assert!(matches!(director.delete_service(&key()), Ok(Command::RemoveService(k)) if k == key()));
}

#[test]
fn a_scheduler_keeps_its_state_unless_it_is_replaced() {
    let mut director = usual();
    let first = roster(director.edit_service(service(key())));
    let picks = |roster: &Roster| roster.scheduler.pick(roster, &ANYBODY);
    assert_eq!(picks(&first), Some(0));
    let again = roster(director.edit_service(service(key())));
    assert!(Arc::ptr_eq(&first.scheduler, &again.scheduler));
    assert_eq!(picks(&again), Some(1), "goes on");
    let other = ServiceSpec { scheduler: "wrr".into(), ..service(key()) };
    let replaced = roster(director.edit_service(other));
    assert_eq!(picks(&replaced), Some(0), "starts anew, and knows the servers");
    let view = director.service(&key(), &|_| Traffic::default()).unwrap();
    assert_eq!(view.spec.scheduler, "wrr");
}

#[test]
fn orders_are_numbered_anew_when_they_run_out() {
    let mut director = usual();
    director.services.get_mut(&key()).unwrap().next_order = u32::MAX - 1;
    let orders = |roster: &Roster| -> Vec<_> {
        roster.members.iter().map(|m| (m.address, m.order)).collect()
    };
    let ip = |host| server(host).address;
    let put = roster(add(&mut director, server(3)));
    assert_eq!(orders(&put), [(ip(3), u32::MAX - 1), (ip(2), 2), (ip(1), 1)], "the last number");
    let put = roster(add(&mut director, server(4)));
    assert_eq!(orders(&put), [(ip(4), 4), (ip(3), 3), (ip(2), 2), (ip(1), 1)]);
    delete(&mut director, 2).unwrap();
    let put = roster(add(&mut director, server(2)));
    assert_eq!(orders(&put), [(ip(2), 5), (ip(4), 4), (ip(3), 3), (ip(1), 1)], "and on");
}

fn seconds(n: u32) -> Tick {
    Tick::default().after_seconds(n)
}

#[test]
fn slots_are_free_after_two_idle_minutes() {
    let mut director = usual();
    let slot = roster(director.edit_service(service(key()))).members[0].clone();
    slot.load.bind(true);
    delete(&mut director, 2).unwrap();
    let forget = |director: &mut Director, s| director.forget_deleted(seconds(s)).len();
    assert_eq!(forget(&mut director, 0), 0);
    assert_eq!(forget(&mut director, 1000), 0, "in use");
    slot.load.unbind(true);
    assert_eq!(forget(&mut director, 1060), 0, "seen idle");
    assert_eq!(forget(&mut director, 1179), 0);
    slot.load.bind(false);
    assert_eq!(forget(&mut director, 1180), 0, "in use again");
    slot.load.unbind(false);
    assert_eq!(forget(&mut director, 1181), 0, "the time starts over");
    assert_eq!(forget(&mut director, 1300), 0);
    let commands = director.forget_deleted(seconds(1301));
    assert!(matches!(commands[..], [Command::ReleaseServer(id)] if id == slot.id), "{commands:?}");
    assert_eq!(forget(&mut director, 5000), 0, "once");
    // Its slot serves another, and then there are no more.
    let ids: Vec<_> = (5..=7).map(|host| roster(add(&mut director, server(host)))).collect();
    assert!(ids.iter().any(|roster| roster.members[0].id == slot.id));
    assert_eq!(add(&mut director, server(8)).unwrap_err(), Refusal::NoMemory);
}

#[test]
fn a_returning_server_is_not_forgotten() {
    let mut director = usual();
    delete(&mut director, 2).unwrap();
    assert!(director.forget_deleted(seconds(0)).is_empty());
    add(&mut director, server(2)).unwrap();
    assert!(director.forget_deleted(seconds(500)).is_empty());
    delete(&mut director, 2).unwrap();
    assert!(director.forget_deleted(seconds(501)).is_empty(), "its time starts with its deletion");
    assert!(director.forget_deleted(seconds(620)).is_empty());
    assert_eq!(director.forget_deleted(seconds(621)).len(), 1);
}

/// What a listing shows: connections and packets of the service, then of each server.
fn counted(director: &Director, slots: &Slots) -> Vec<(u64, u64)> {
    let read = |id| slots.read(id);
    let view = director.service(&key(), &read).unwrap();
    let servers = view.servers.iter().map(|server| server.traffic);
    [view.traffic]
        .into_iter()
        .chain(servers)
        .map(|traffic| {
            assert_eq!(traffic.out_packets, 2 * traffic.in_packets);
            assert_eq!(traffic.in_bytes, 100 * traffic.in_packets);
            assert_eq!(traffic.out_bytes, 200 * traffic.in_packets);
            (traffic.connections, traffic.in_packets)
        })
        .collect()
}

#[test]
fn traffic_is_counted_since_it_was_zeroed() {
    let (mut director, slots) = (usual(), Slots::default());
    // Slots 0 and 1 are servers 1 and 2; listings show 2 first.
    slots.count(0, 3, 30);
    slots.count(1, 1, 10);
    assert_eq!(counted(&director, &slots), [(4, 40), (1, 10), (3, 30)]);
    director.zero(Some(&key()), &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 0), (0, 0)]);
    slots.count(1, 0, 5);
    assert_eq!(counted(&director, &slots), [(0, 5), (0, 5), (0, 0)]);
    director.edit_service(ServiceSpec { scheduler: "lc".into(), ..service(key()) }).unwrap();
    director.edit_server(&key(), ServerSpec { weight: 9, ..server(2) }).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 5), (0, 5), (0, 0)], "edits keep counters");
    director.zero(None, &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 0), (0, 0)], "all of them");
}

#[test]
fn a_service_keeps_what_its_deleted_servers_counted() {
    let (mut director, slots) = (usual(), Slots::default());
    let spec = server(2);
    slots.count(0, 1, 7);
    slots.count(1, 2, 20);
    director.delete_server(&key(), spec.address, spec.port, &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(3, 27), (1, 7)]);
    // Counted while it was away, by a shard that did not know yet: the server's, not the service's.
    slots.count(1, 0, 4);
    assert_eq!(counted(&director, &slots), [(3, 27), (1, 7)]);
    director.add_server(&key(), spec, &|id| slots.read(id)).unwrap();
    slots.count(1, 1, 100);
    assert_eq!(counted(&director, &slots), [(4, 127), (3, 124), (1, 7)]);

    // Zeroed between, and gone and back again.
    director.zero(Some(&key()), &|id| slots.read(id)).unwrap();
    slots.count(1, 0, 1);
    director.delete_server(&key(), spec.address, spec.port, &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 1), (0, 0)]);
    director.zero(Some(&key()), &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 0)]);
    director.add_server(&key(), spec, &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 1), (0, 0)], "its own count was elsewhere");
}

#[test]
fn a_new_service_counts_from_nothing() {
    let (mut director, slots) = (usual(), Slots::default());
    slots.count(0, 1, 7);
    slots.count(1, 2, 20);
    director.delete_service(&key()).unwrap();
    director.add_service(service(key())).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0)]);
    for host in [1, 2] {
        director.add_server(&key(), server(host), &|id| slots.read(id)).unwrap();
    }
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 0), (0, 0)]);
    slots.count(0, 0, 1);
    assert_eq!(counted(&director, &slots), [(0, 1), (0, 0), (0, 1)], "in its old slot");

    // A server deleted before its service starts anew with it, too.
    let spec = server(1);
    director.delete_server(&key(), spec.address, spec.port, &|id| slots.read(id)).unwrap();
    director.delete_service(&key()).unwrap();
    director.add_service(service(key())).unwrap();
    director.add_server(&key(), spec, &|id| slots.read(id)).unwrap();
    assert_eq!(counted(&director, &slots), [(0, 0), (0, 0)]);
}

#[test]
fn a_slot_used_before_counts_from_nothing() {
    let (mut director, slots) = (usual(), Slots::default());
    slots.count(1, 5, 50);
    delete(&mut director, 2).unwrap();
    director.forget_deleted(seconds(0));
    assert_eq!(director.forget_deleted(seconds(120)).len(), 1);
    director.add_server(&key(), server(9), &|id| slots.read(id)).unwrap();
    slots.count(1, 1, 1);
    let counts = counted(&director, &slots);
    assert_eq!(counts[1], (1, 1));
}

#[test]
fn flush_deletes_every_service_and_keeps_servers_in_mind() {
    let mut director = usual();
    let other = key_of(Protocol::Udp, "10.9.0.100", 53);
    director.add_service(service(other)).unwrap();
    let mut removed: Vec<_> = director
        .flush()
        .into_iter()
        .map(|command| match command {
            Command::RemoveService(key) => key,
            other => panic!("{other:?}"),
        })
        .collect();
    removed.sort();
    assert_eq!(removed, vec![key(), other]);
    assert_eq!(listing(&director), "");
    assert_eq!(director.deleted.len(), 2);
    assert!(director.flush().is_empty());
    assert_eq!(delete(&mut director, 1).unwrap_err(), Refusal::ServiceNotDefined);
}

/// The same address in another service is another server.
#[test]
fn a_deleted_server_comes_back_to_its_own_service_only() {
    let mut director = usual();
    let other = key_of(Protocol::Udp, "10.9.0.100", 80);
    director.add_service(service(other)).unwrap();
    let before = roster(director.edit_service(service(key()))).members[0].id;
    delete(&mut director, 2).unwrap();
    let elsewhere = roster(director.add_server(&other, server(2), &|_| Traffic::default()));
    assert_ne!(elsewhere.members[0].id, before);
    let sibling = roster(add(&mut director, ServerSpec { port: 81, ..server(2) }));
    assert_ne!(sibling.members[0].id, before, "another port is another server");
    let back = roster(add(&mut director, server(2)));
    assert_eq!(back.members[0].id, before);
}

const ANYBODY: Query = Query {
    client: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 7)),
    client_port: 40000,
    destination: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    now: Tick(0),
    lblc_expiration_s: 86_400,
    lblcr_expiration_s: 86_400,
};

/// Hosts that a service's scheduler chooses next.
fn picks(command: &Command, count: usize) -> Vec<u8> {
    let Command::PutService(roster) = command else { panic!("no roster: {command:?}") };
    let host = |place: usize| match roster.members[place].address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => unreachable!("servers here are IPv4"),
    };
    (0..count).map(|_| host(roster.scheduler.pick(roster, &ANYBODY).unwrap())).collect()
}

#[test]
fn editing_a_service_forgets_nothing_unless_the_scheduler_is_another() {
    for scheduler in ["rr", "wrr"] {
        let mut director = Director::new(4, 4);
        let spec = ServiceSpec { scheduler: scheduler.into(), ..service(key()) };
        director.add_service(spec.clone()).unwrap();
        let rosters: Vec<_> =
            (1..=3).map(|host| add(&mut director, server(host)).unwrap()).collect();
        assert_eq!(picks(&rosters[2], 2), [3, 2], "{scheduler}");
        let same = director.edit_service(spec.clone()).unwrap();
        assert_eq!(picks(&same, 2), [1, 3], "{scheduler} goes on");
        let other = if scheduler == "rr" { "wrr" } else { "rr" };
        let another = ServiceSpec { scheduler: other.into(), ..spec };
        assert_eq!(picks(&director.edit_service(another).unwrap(), 1), [3], "{other} begins");
    }
}

#[test]
fn idle_deleted_servers_can_be_forgotten_at_once() {
    let mut director = Director::new(4, 2);
    director.add_service(service(key())).unwrap();
    let Command::PutService(roster) = add(&mut director, server(1)).unwrap() else { panic!() };
    add(&mut director, server(2)).unwrap();
    roster.members[0].load.bind(true);
    delete(&mut director, 1).unwrap();
    delete(&mut director, 2).unwrap();
    assert_eq!(add(&mut director, server(3)).unwrap_err(), Refusal::NoMemory);
    assert_eq!(director.forget_idle().len(), 1, "the other has a connection");
    add(&mut director, server(3)).unwrap();
    assert_eq!(add(&mut director, server(4)).unwrap_err(), Refusal::NoMemory);
}

#[test]
fn a_batch_costs_one_command_for_each_service_that_is_left() {
    let mut director = usual();
    let udp = key_of(Protocol::Udp, "10.9.0.100", 80);
    director.begin_batch();
    for command in [
        add(&mut director, server(3)),
        delete(&mut director, 1),
        director.edit_server(&key(), ServerSpec { weight: 7, ..server(2) }),
        director.add_service(service(udp)),
    ] {
        assert!(matches!(command, Ok(Command::Deferred)), "{command:?}");
    }
    let refused = add(&mut director, server(3)).unwrap_err();
    assert_eq!(refused, Refusal::ServerExists, "what waits is true already");
    director.begin_batch();
    assert!(matches!(director.delete_service(&udp), Ok(Command::RemoveService(_))));
    let commands = director.end_batch();
    let [Command::PutService(roster)] = &commands[..] else { panic!("{commands:?}") };
    let weights: Vec<_> = roster.members.iter().map(|m| (m.address, m.weight)).collect();
    assert_eq!(weights, [(server(3).address, 1), (server(2).address, 7)]);
    assert!(director.end_batch().is_empty());
    assert!(matches!(delete(&mut director, 3), Ok(Command::PutService(_))), "the batch is over");
}

/// `-E` in a batch must not hide what was changed before it.
#[test]
fn an_edit_in_a_batch_carries_the_changes_before_it() {
    let mut director = usual();
    director.begin_batch();
    add(&mut director, server(3)).unwrap();
    let edited = ServiceSpec { persistence_s: Some(300), ..service(key()) };
    assert!(matches!(director.edit_service(edited), Ok(Command::Deferred)));
    let commands = director.end_batch();
    let [Command::PutService(roster)] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!((roster.members.len(), roster.persistence.is_some()), (3, true));
}

#[test]
fn broadcast_addresses_of_own_networks_are_no_servers() {
    let mut director = usual();
    director.set_broadcasts(vec![Ipv4Addr::new(10, 1, 255, 255)]);
    for address in ["10.1.255.255", "127.255.255.255"] {
        assert_eq!(add(&mut director, at(address)).unwrap_err(), Refusal::InvalidOperation);
    }
    for address in ["10.1.255.254", "127.255.255.254"] {
        assert!(add(&mut director, at(address)).is_ok());
    }
}

#[test]
fn totals_and_rates_cover_servers_that_are_gone() {
    let (mut director, slots) = (usual(), Slots::default());
    let read = |id| slots.read(id);
    slots.count(0, 200, 1000);
    director.estimate(&read);
    let rates = |director: &Director| {
        let view = director.service(&key(), &read).unwrap();
        (director.total(&read).1.connections, view.rates.connections, view.servers[1].rates)
    };
    let (all, service, server) = rates(&director);
    assert_eq!((all, service, server.connections), (25, 25, 25));
    assert_eq!((server.in_packets, server.out_packets), (125, 250));
    delete(&mut director, 1).unwrap();
    assert_eq!(director.total(&read).0.connections, 200);
    director.zero(None, &read).unwrap();
    let (total, rates) = director.total(&read);
    assert_eq!((total, rates), (Traffic::default(), Rates::default()));
    slots.count(0, 1, 1);
    assert_eq!(director.total(&read).0.connections, 1, "a deleted server still answers");
}
