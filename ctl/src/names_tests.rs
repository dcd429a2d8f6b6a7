//! Names: the services file, and a resolver that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dataplane::service::Protocol::{Sctp, Tcp, Udp};

use super::{BUDGET, MOST_ADDRESSES, MOST_WAITING, Names, Services, SystemNames, lock};

#[test]
fn services_file() {
    let services = Services::parse(
        "# comment\nhttp\t\t80/tcp\twww # WorldWideWeb\nhttp-too 80/tcp\nhttp 81/tcp\nshort\nbad 80\n\
         big 65536/tcp\nother 5/dccp\ndomain 53/udp\nsig 9/sctp discard sink",
    );
    assert_eq!(services.name(80, Tcp), Some("http"));
    assert_eq!(services.name(80, Udp), None);
    assert_eq!(services.name(9, Sctp), Some("sig"));
    for (name, protocol, port) in [
        ("http", Tcp, Some(80)),
        ("www", Tcp, Some(80)),
        ("WWW", Tcp, None),
        ("WorldWideWeb", Tcp, None),
        ("http-too", Tcp, Some(80)),
        ("domain", Udp, Some(53)),
        ("domain", Tcp, None),
        ("sink", Sctp, Some(9)),
        ("big", Tcp, None),
        ("other", Tcp, None),
    ] {
        assert_eq!(services.port(name, protocol), port, "{name}");
    }
}

/// An answer that comes when nobody waits for it any more.
fn slow() -> Option<String> {
    std::thread::sleep(Duration::from_millis(1500));
    Some("late".to_owned())
}

fn quick() -> Option<String> {
    Some("name".to_owned())
}

#[test]
fn a_resolver_that_hangs_costs_one_second() {
    let names = SystemNames::new();
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
    let start = Instant::now();
    names.begin();
    assert_eq!(names.name_of(one, slow), None);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // The same command does not wait for it again.
    assert_eq!(names.ask(MOST_WAITING, slow), None);
    // Nor does another client's listing, while a host that a command names is looked for.
    let client = names.clone();
    client.begin();
    assert_eq!(client.name_of(other, quick), None);
    assert!(start.elapsed() < Duration::from_millis(1400), "{:?}", start.elapsed());
    assert_eq!(client.ask(MOST_WAITING, quick), Some(quick()));
    // What came late is known to all of them.
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(names.clone().name_of(one, quick).as_deref(), Some("late"));
    assert_eq!(lock(&names.shared).waiting, 0);
}

#[test]
fn the_rest_of_a_long_listings_time_is_no_trial() {
    let names = SystemNames::new();
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("an address"));
    names.deadline.set(Instant::now() + BUDGET / 4);
    assert_eq!(names.name_of(one, slow), None);
    names.begin();
    assert_eq!(names.name_of(other, quick), quick());
}

#[test]
fn few_questions_wait_however_many_clients_ask() {
    let names = SystemNames::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let question = || {
        let asked = Arc::clone(&asked);
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            slow()
        }
    };
    std::thread::scope(|scope| {
        for last in 0..100 {
            let (client, question) = (names.clone(), question());
            scope.spawn(move || client.name_of([192, 0, 2, last].into(), question));
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), MOST_ADDRESSES);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            let (client, question) = (names.clone(), question());
            scope.spawn(move || {
                client.begin();
                client.ask(MOST_WAITING, question)
            });
        }
    });
    let all = asked.load(Ordering::Relaxed);
    assert!((MOST_WAITING..=MOST_WAITING + MOST_ADDRESSES).contains(&all), "{all}");
}

#[test]
fn an_answer_is_kept() {
    let names = SystemNames::new();
    let own = "127.0.0.1".parse().expect("an address");
    names.begin();
    let first = names.host_name(own);
    let kept =
        |names: &SystemNames| lock(&names.shared).kept.get(&own).map(|(_, name)| name.clone());
    assert_eq!(kept(&names.clone()), Some(first));
    assert_eq!(names.ask(1, || Some(5)), Some(Some(5)));
    assert_eq!(names.ask(1, || None::<u8>), Some(None));
    assert!(Arc::ptr_eq(&names.services(), &names.clone().services()), "read twice");
    let none = "192.0.2.1".parse().expect("an address");
    assert_eq!(names.name_of(none, || None), None);
    assert_eq!(names.clone().name_of(none, quick), None);
}
