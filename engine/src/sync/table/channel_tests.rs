use super::*;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

const STANDING_NOW: Standing = Standing { epoch: 1, number: 2, sent: 3 };

/// Both ends of a conversation, or why there is none.
fn pair(
    backup: Option<Key>,
    master: Option<&Key>,
) -> (io::Result<(Channel, Standing)>, io::Result<Channel>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let asking =
        thread::spawn(move || Channel::ask(TcpStream::connect(to).unwrap(), 5, backup.as_ref()));
    let stream = listener.accept().unwrap().0;
    let answered = Channel::answer(stream, 5, master, || STANDING_NOW);
    (asking.join().unwrap(), answered)
}

#[test]
fn frames_go_both_ways_with_and_without_a_key() {
    for key in [None, Some(Key::new(b"k"))] {
        let (asked, answered) = pair(key.clone(), key.as_ref());
        let ((mut backup, standing), mut master) = (asked.unwrap(), answered.unwrap());
        assert_eq!(standing, STANDING_NOW);
        for n in 0..100_u8 {
            master.put(Kind::Message, &[n; 1000]);
        }
        master.send(Kind::End, &[]).unwrap();
        for n in 0..100_u8 {
            assert_eq!(backup.receive().unwrap(), Some((Kind::Message, &[n; 1000][..])));
        }
        assert_eq!(backup.receive().unwrap(), Some((Kind::End, &[][..])));
        backup.be_patient(Duration::from_millis(5)).unwrap();
        assert_eq!(backup.receive().unwrap(), None);
        backup.send(Kind::Step, &[1]).unwrap();
        assert_eq!(master.receive().unwrap(), Some((Kind::Step, &[1][..])));
    }
}

#[test]
fn whoever_has_not_the_key_is_not_heard() {
    let keys = [None, Some(Key::new(b"k")), Some(Key::new(b"other"))];
    for (backup, master) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let (asked, answered) = pair(keys[backup].clone(), keys[master].as_ref());
        assert!(asked.is_err() || answered.is_err(), "{backup} {master}");
        assert!(asked.is_err(), "{backup} {master}: the backup must not take it");
    }
}

#[test]
fn a_changed_frame_ends_the_conversation() {
    let key = Some(Key::new(b"k"));
    let (asked, answered) = pair(key.clone(), key.as_ref());
    let ((mut backup, _), mut master) = (asked.unwrap(), answered.unwrap());
    master.put(Kind::Message, b"hello");
    let last = master.unsent.len() - TAG - 1;
    master.unsent[last] ^= 1;
    master.flush().unwrap();
    assert!(backup.receive().is_err());
}

#[test]
fn nonsense_is_refused() {
    for bytes in [&[0xff; 64][..], &[0, 0, 0, 0], &[0, 0, 0, 1, 99]] {
        let (asked, answered) = pair(None, None);
        let ((mut backup, _), master) = (asked.unwrap(), answered.unwrap());
        (&master.stream).write_all(bytes).unwrap();
        assert!(backup.receive().is_err(), "{bytes:?}");
    }
}
