//! What an administrator changes while connections live.

use dataplane::service::Method;
use dataplane::verdict::DropReason;

use crate::common::build::{ACK, RST, SYN, Transport, reply, request};
use crate::common::lab::{Lab, Outcome};
use crate::common::names::{CLIENT, CLIENTS, SERVER, SERVERS, VIP, server, service, tcp, udp};
use crate::{assert_sent, lab};
use Transport::{Tcp, Udp};

const OTHER: &str = "10.1.0.2:8080";

/// A laboratory with one connection, to [`SERVER`].
fn with_connection(method: Method) -> Lab {
    let mut lab = lab(method, &[SERVER]);
    lab.one(&request(Tcp(SYN), CLIENT, VIP));
    lab.one(&request(Tcp(ACK), CLIENT, VIP));
    lab
}

fn goes_on(lab: &mut Lab) -> Outcome {
    lab.one(&request(Tcp(ACK), CLIENT, VIP))
}

#[test]
fn a_deleted_server_gets_nothing_but_may_still_answer() {
    let mut lab = with_connection(Method::Nat);
    let key = tcp(VIP);
    lab.delete_server(&key, SERVER);
    lab.wait(100);
    for flags in [ACK, SYN, RST] {
        let outcome = lab.one(&request(Tcp(flags), CLIENT, VIP));
        assert_eq!(outcome, Outcome::Dropped(DropReason::ServerDeleted), "{flags}");
    }
    assert_eq!(lab.connection().expires_s, 800, "dropped requests do not refresh");
    let before = lab.service_traffic(&key);
    let answer = reply(Tcp(ACK), SERVER, CLIENT);
    let expected = answer.clone().from(VIP).sent(CLIENTS, None, "10.9.0.1");
    assert_sent(&lab.one(&answer), &expected, "still translated");
    assert_eq!(lab.connection().expires_s, 900, "replies refresh");
    assert_eq!(lab.service_traffic(&key), before, "but do not count");
    let new = lab.one(&request(Tcp(SYN), "10.9.0.2:9", VIP));
    assert_eq!(new, Outcome::Dropped(DropReason::NoDestination));
}

#[test]
fn a_server_added_again_resumes_with_its_counters() {
    let mut lab = with_connection(Method::Nat);
    let key = tcp(VIP);
    let before = lab.traffic(&key, SERVER);
    assert_eq!(before[..3], [1, 2, 0]);
    lab.delete_server(&key, SERVER);
    goes_on(&mut lab);
    lab.one(&reply(Tcp(ACK), SERVER, CLIENT));
    lab.add_server(&key, server(SERVER, Method::Nat, 1));
    assert_eq!(lab.traffic(&key, SERVER), before, "counters are kept, and nothing has been added");
    assert_eq!(lab.load(&key, SERVER), (1, 0), "and so is the load");
    assert!(matches!(goes_on(&mut lab), Outcome::Sent(..)), "its connection resumes");
    assert!(matches!(lab.one(&reply(Tcp(ACK), SERVER, CLIENT)), Outcome::Sent(..)));
    let after = lab.traffic(&key, SERVER);
    assert_eq!(after[..3], [1, 3, 1]);
    assert_eq!(lab.service_traffic(&key), after, "nothing counts twice for the service");
    lab.wait(900);
    lab.sweep_all();
    assert_eq!(lab.load(&key, SERVER), (0, 0));
}

#[test]
fn with_its_service_a_server_starts_counting_anew_but_resumes() {
    let mut lab = with_connection(Method::Nat);
    let key = tcp(VIP);
    lab.delete_service(&key);
    // UDP still has the address, so the packet is known to be one for a deleted server.
    assert_eq!(goes_on(&mut lab), Outcome::Dropped(DropReason::ServerDeleted));
    assert!(matches!(lab.one(&reply(Tcp(ACK), SERVER, CLIENT)), Outcome::Sent(..)));
    lab.add_service(service(key, "rr"));
    assert_eq!(goes_on(&mut lab), Outcome::Dropped(DropReason::ServerDeleted));
    lab.add_server(&key, server(SERVER, Method::Nat, 1));
    assert!(matches!(goes_on(&mut lab), Outcome::Sent(..)), "resumes");
    assert_eq!(lab.traffic(&key, SERVER)[..3], [0, 1, 0]);
    assert_eq!(lab.service_traffic(&key)[..3], [0, 1, 0]);
    assert_eq!(lab.load(&key, SERVER), (1, 0));
}

/// Without any service the address is nobody's.
#[test]
fn a_virtual_address_without_service_is_not_ours() {
    let mut lab = with_connection(Method::Nat);
    lab.delete_service(&udp(VIP));
    lab.delete_service(&tcp(VIP));
    assert_eq!(goes_on(&mut lab), Outcome::Dropped(DropReason::NotForUs));
}

#[test]
fn weight_zero_keeps_connections_and_takes_no_new_ones() {
    for method in [Method::Nat, Method::Direct, Method::Tunnel] {
        let mut lab = with_connection(method);
        lab.edit_server(&tcp(VIP), server(SERVER, method, 0));
        assert!(matches!(goes_on(&mut lab), Outcome::Sent(..)), "{method:?}");
        assert!(matches!(lab.one(&request(Tcp(SYN), CLIENT, VIP)), Outcome::Sent(..)));
        let new = lab.one(&request(Tcp(SYN), "10.9.0.2:9", VIP));
        assert_eq!(new, Outcome::Dropped(DropReason::NoDestination));
    }
}

#[test]
fn a_new_method_is_for_new_connections() {
    let mut lab = with_connection(Method::Nat);
    let key = tcp(VIP);
    lab.edit_server(&key, server(SERVER, Method::Direct, 1));
    let old = request(Tcp(ACK), CLIENT, VIP);
    let expected = old.clone().to(SERVER).sent(SERVERS, None, "10.1.0.1");
    assert_sent(&lab.one(&old), &expected, "still by NAT");
    assert!(matches!(lab.one(&reply(Tcp(ACK), SERVER, CLIENT)), Outcome::Sent(..)), "and back");
    let new = request(Tcp(SYN), "10.9.0.2:9", VIP);
    let expected = new.clone().sent(SERVERS, None, "10.1.0.1");
    assert_sent(&lab.one(&new), &expected, "by direct routing");
    lab.edit_server(&key, server(SERVER, Method::Tunnel, 1));
    let newest = request(Tcp(SYN), "10.9.0.2:10", VIP);
    let expected = newest.clone().sent(SERVERS, None, "10.1.0.1");
    let expected = expected.wrapped("10.1.255.254", "10.1.0.1", 0, 0);
    assert_sent(&lab.one(&newest), &expected, "by tunnel");
    let again = request(Tcp(ACK), "10.9.0.2:9", VIP);
    let expected = again.clone().sent(SERVERS, None, "10.1.0.1");
    assert_sent(&lab.one(&again), &expected, "the second still by direct routing");
    lab.edit_server(&key, server(SERVER, Method::Nat, 1));
    assert_eq!(lab.load(&key, SERVER), (3, 0));
}

/// A server that becomes one behind NAT by an edit has replies from then on.
#[test]
fn an_edit_to_nat_makes_replies_known() {
    let mut lab = with_connection(Method::Direct);
    lab.edit_server(&tcp(VIP), server(SERVER, Method::Nat, 1));
    lab.one(&request(Tcp(SYN), "10.9.0.2:9", VIP));
    let outcome = lab.one(&reply(Tcp(SYN | ACK), SERVER, "10.9.0.2:9"));
    assert!(matches!(outcome, Outcome::Sent(..)));
    let outcome = lab.one(&reply(Tcp(ACK), SERVER, CLIENT));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoConnection), "made by direct routing");
}

#[test]
fn a_slot_is_free_two_minutes_after_the_last_connection() {
    let mut lab = with_connection(Method::Nat);
    let key = tcp(VIP);
    lab.delete_server(&key, SERVER);
    lab.wait(800);
    assert_eq!(lab.forget_deleted(), 0, "a connection still lives");
    lab.wait(100);
    lab.sweep_all();
    assert_eq!(lab.forget_deleted(), 0, "now the time runs");
    lab.wait(119);
    assert_eq!(lab.forget_deleted(), 0);
    lab.wait(1);
    assert_eq!(lab.forget_deleted(), 1);
    // UDP still has the server behind NAT; without it its packets are nobody's.
    let answer = reply(Tcp(ACK), SERVER, CLIENT);
    assert_eq!(lab.one(&answer), Outcome::Dropped(DropReason::NoConnection));
    lab.delete_service(&udp(VIP));
    lab.forget_deleted();
    lab.wait(120);
    assert_eq!(lab.forget_deleted(), 1);
    assert_eq!(lab.one(&answer), Outcome::Dropped(DropReason::NotForUs));
    // Slots start anew, with another server.
    lab.add_server(&key, server(OTHER, Method::Nat, 1));
    assert_eq!(lab.traffic(&key, OTHER), [0; 5]);
    let syn = request(Tcp(SYN), CLIENT, VIP);
    let expected = syn.clone().to(OTHER).sent(SERVERS, None, "10.1.0.2");
    assert_sent(&lab.one(&syn), &expected, "to the new server of the slot");
    assert_eq!(lab.traffic(&key, OTHER)[..2], [1, 1]);
}

#[test]
fn services_of_one_address_and_port_differ_by_protocol() {
    let mut lab = Lab::new(crate::SIZE);
    lab.add_service(service(tcp(VIP), "rr"));
    lab.add_server(&tcp(VIP), server(SERVER, Method::Nat, 1));
    let outcome = lab.one(&request(Udp(true), CLIENT, VIP));
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoService));
    lab.add_service(service(udp(VIP), "rr"));
    lab.add_server(&udp(VIP), server(OTHER, Method::Nat, 1));
    for (transport, text, to) in [(Tcp(SYN), SERVER, "10.1.0.1"), (Udp(true), OTHER, "10.1.0.2")] {
        let packet = request(transport, CLIENT, VIP);
        let expected = packet.clone().to(text).sent(SERVERS, None, to);
        assert_sent(&lab.one(&packet), &expected, "each to its own");
    }
}

#[test]
fn traffic_is_counted_in_ip_bytes() {
    let mut lab = lab(Method::Nat, &[SERVER]);
    let syn = request(Tcp(SYN), CLIENT, VIP).payload(b"").padding(&[0; 6]);
    lab.one(&syn);
    lab.one(&request(Tcp(ACK), CLIENT, VIP).payload(&[1; 100]).options(&[1; 4]));
    lab.one(&reply(Tcp(ACK), SERVER, CLIENT).payload(&[2; 1000]));
    assert_eq!(lab.traffic(&tcp(VIP), SERVER), [1, 2, 1, 40 + 144, 1040]);
    assert_eq!(lab.service_traffic(&tcp(VIP)), [1, 2, 1, 184, 1040]);
    assert_eq!(lab.service_traffic(&udp(VIP)), [0; 5]);
}
