//! Names: the services file, and a resolver that hangs.

use std::time::{Duration, Instant};

use dataplane::service::Protocol::{Sctp, Tcp, Udp};

use super::{Names, Services, SystemNames};

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

#[test]
fn a_resolver_that_hangs_costs_one_second() {
    let names = SystemNames::new();
    names.begin();
    let start = Instant::now();
    let slow = || {
        std::thread::sleep(Duration::from_secs(4));
        Some(1)
    };
    assert_eq!(names.ask(slow), None);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
    // Neither the same command nor the next one waits for it again.
    assert_eq!(names.ask(slow), None);
    names.begin();
    assert_eq!(names.host_name("192.0.2.1".parse().expect("an address")), None);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn an_answer_is_kept() {
    let names = SystemNames::new();
    let own = "127.0.0.1".parse().expect("an address");
    names.begin();
    let first = names.host_name(own);
    assert_eq!(names.kept.borrow().get(&own).map(|(_, name)| name.clone()), Some(first));
    assert_eq!(names.ask(|| Some(5)), Some(Some(5)));
    assert_eq!(names.ask(|| None::<u8>), Some(None));
}
