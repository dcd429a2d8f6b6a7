use super::*;

const EPOCH: u64 = 7;

fn director(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 1111))
}

fn beacon(sent: u64) -> Beacon {
    Beacon { activity: Activity::Unknown, port: 8848, epoch: EPOCH, sent }
}

fn standing(epoch: u64, sent: u64) -> Standing {
    Standing { epoch, number: sent, sent }
}

/// Directors as a backup hears them, without a key.
struct Heard {
    peers: Peers,
    now: Instant,
}

impl Heard {
    fn new() -> Self {
        Self { peers: Peers::default(), now: Instant::now() }
    }

    fn hear(&self, last: u8) -> bool {
        let from = director(last).ip();
        let has_room = self.peers.hear(from, self.now);
        self.peers.take(from, None, self.now).unwrap();
        has_room
    }

    fn note(&self, beacon: Beacon) -> Option<SocketAddr> {
        self.hear(1);
        self.peers.note(director(1), beacon)
    }

    fn messages(&self, count: u64) {
        self.hear(1);
        (0..count).for_each(|_| self.peers.count(director(1).ip()));
    }

    /// Whether its table is wanted; if so, that comes.
    fn is_wanted(&self) -> bool {
        // Later than a rest that may have begun now, which another test is about.
        let is_wanted = self.peers.take_wish(director(1).ip(), self.now + REST);
        if is_wanted {
            assert!(!self.row().is_in_step, "the table is on its way");
            self.peers.fetched(director(1).ip(), Some(0), self.now);
        }
        is_wanted
    }

    fn row(&self) -> SenderRow {
        self.peers.rows(self.now).into_iter().find(|row| row.address == director(1).ip()).unwrap()
    }
}

#[test]
fn the_first_beacon_wants_the_table_and_is_answered_once() {
    let heard = Heard::new();
    heard.messages(3);
    assert!(!heard.row().is_pollvs);
    assert!(!heard.is_wanted());
    let port = SocketAddr::from(([10, 0, 0, 1], 8848));
    assert_eq!(heard.note(beacon(5)), Some(port));
    assert!(heard.row().is_pollvs && !heard.row().is_in_step);
    assert!(heard.is_wanted());
    assert!(!heard.is_wanted(), "once");
    assert_eq!(heard.note(beacon(5)), None, "somebody is in touch");
    assert!(!heard.is_wanted());
    assert!(heard.row().is_in_step, "what was sent before is in the table");
    heard.peers.let_go(director(1).ip());
    assert_eq!(heard.note(beacon(5)), Some(port));
}

#[test]
fn what_is_missing_at_two_beacons_is_lost() {
    let heard = Heard::new();
    heard.note(beacon(0));
    heard.is_wanted();
    heard.messages(8);
    heard.note(beacon(10));
    assert!(!heard.is_wanted() && !heard.row().is_in_step, "two may be late");
    assert_eq!(heard.row().lost, 0);
    heard.messages(10);
    heard.note(beacon(20));
    assert_eq!(heard.row().lost, 2);
    assert!(heard.is_wanted());
    heard.note(beacon(20));
    assert!(!heard.is_wanted() && heard.row().is_in_step, "counted once");
    assert_eq!(heard.row().lost, 2);
}

#[test]
fn late_messages_are_not_lost() {
    let heard = Heard::new();
    heard.note(beacon(0));
    heard.is_wanted();
    // Three are missing at each beacon but the last, and come before the next one.
    heard.messages(7);
    heard.note(beacon(10));
    heard.messages(3);
    heard.note(beacon(10));
    heard.messages(7);
    heard.note(beacon(20));
    heard.messages(3);
    heard.note(beacon(20));
    assert_eq!(heard.row().lost, 0);
    assert!(!heard.is_wanted() && heard.row().is_in_step);
}

#[test]
fn messages_that_a_beacon_does_not_count_yet_are_no_loss_later() {
    let heard = Heard::new();
    heard.note(beacon(0));
    heard.is_wanted();
    heard.messages(10);
    heard.note(beacon(10));
    // Listings and questions while more arrives.
    heard.messages(50);
    assert!(heard.row().is_in_step);
    assert!(heard.peers.has_all(director(1).ip(), 30));
    assert!(!heard.peers.has_all(director(1).ip(), 61));
    for sent in [100, 200, 300] {
        // The other ports' threads are ahead of the one that takes beacons.
        heard.messages(sent + 5 - heard.row().messages);
        heard.note(beacon(sent));
        heard.row();
    }
    heard.note(beacon(305));
    heard.note(beacon(305));
    assert_eq!(heard.row().lost, 0);
    assert!(!heard.is_wanted() && heard.row().is_in_step);
}

#[test]
fn messages_under_way_at_a_proof_do_not_hide_a_loss() {
    let heard = Heard::new();
    heard.messages(1);
    let address = director(1).ip();
    heard.peers.prove(address, standing(EPOCH, 10));
    assert!(heard.is_wanted());
    // Four sent before, and all of five sent since.
    heard.messages(4 + 5);
    heard.note(beacon(15));
    assert!(!heard.is_wanted(), "the proof was of the same epoch");
    heard.messages(4);
    heard.note(beacon(20));
    heard.note(beacon(20));
    assert_eq!(heard.row().lost, 1);
    assert!(heard.is_wanted());
}

#[test]
fn another_epoch_is_another_beginning() {
    let heard = Heard::new();
    heard.note(beacon(1000));
    heard.is_wanted();
    heard.note(Beacon { epoch: EPOCH + 1, ..beacon(0) });
    assert!(heard.is_wanted());
    heard.messages(1);
    heard.note(Beacon { epoch: EPOCH + 1, ..beacon(1) });
    assert!(!heard.is_wanted() && heard.row().is_in_step);
    assert_eq!(heard.row().lost, 0);
}

#[test]
fn a_passive_director_is_asked_once_it_is_active() {
    let heard = Heard::new();
    let of = |activity| Beacon { activity, ..beacon(0) };
    assert!(heard.note(of(Activity::Passive)).is_some(), "but somebody is in touch");
    assert!(!heard.is_wanted());
    heard.note(of(Activity::Passive));
    assert!(!heard.is_wanted());
    heard.note(of(Activity::Active));
    assert!(heard.is_wanted());
    heard.note(of(Activity::Active));
    assert!(!heard.is_wanted());
    // Asked before, and passive in between.
    heard.note(of(Activity::Passive));
    assert!(!heard.is_wanted());
    heard.note(of(Activity::Active));
    assert!(heard.is_wanted());
}

#[test]
fn too_many_directors_are_not_noted_until_one_is_forgotten() {
    let mut heard = Heard::new();
    let most = MOST as u8;
    assert!((1..=most).all(|last| heard.hear(last)));
    assert!(!heard.hear(most + 1));
    assert!(heard.hear(1), "is known");
    assert_eq!(heard.peers.rows(heard.now).len(), MOST);
    heard.note(beacon(0));
    heard.now += FORGOTTEN;
    assert!(heard.hear(2));
    assert!(heard.hear(most + 1), "the silent ones are gone");
    let rows = heard.peers.rows(heard.now);
    let left: Vec<_> = rows.iter().map(|row| row.address).collect();
    assert_eq!(left, [1, 2, most + 1].map(|last| director(last).ip()), "one is followed");
    assert!(!heard.peers.is_present(director(1).ip(), heard.now));
}

#[test]
fn a_failed_conversation_leaves_the_table_wanted() {
    let heard = Heard::new();
    heard.note(beacon(0));
    let from = director(1).ip();
    assert!(heard.peers.take_wish(from, heard.now));
    heard.peers.fetched(from, None, heard.now);
    assert!(heard.peers.take_wish(from, heard.now + REST));
    heard.peers.fetched(from, Some(12), heard.now + REST);
    assert!(!heard.peers.take_wish(from, heard.now + 2 * REST));
    let row = heard.row();
    assert_eq!((row.fetched, row.fetched_records, row.failed), (1, 12, 1));
}

#[test]
fn tables_are_a_while_apart_however_much_is_lost() {
    let heard = Heard::new();
    let from = director(1).ip();
    let lose = |sent| {
        // Missing at two beacons in a row.
        heard.note(beacon(sent));
        heard.note(beacon(sent));
    };
    heard.note(beacon(0));
    let after = |seconds| heard.now + Duration::from_secs(seconds);
    assert!(heard.peers.take_wish(from, heard.now));
    heard.peers.fetched(from, Some(1), after(10));
    lose(5);
    assert!(!heard.row().is_in_step);
    assert!(!heard.peers.take_wish(from, after(49)));
    assert!(heard.peers.take_wish(from, after(50)), "four times as long as it took");
    heard.peers.fetched(from, Some(1), after(50));
    lose(9);
    assert!(!heard.peers.take_wish(from, after(50)));
    assert!(heard.peers.take_wish(from, after(51)), "a second");
}

#[test]
fn a_proved_epoch_takes_each_number_once_wherever_it_comes_from() {
    let mut heard = Heard::new();
    let [one, other] = [1, 2].map(|last| director(last).ip());
    let take = |heard: &Heard, from, epoch, number| {
        heard.peers.hear(from, heard.now);
        heard.peers.take(from, Some(Sealed { epoch, number }), heard.now)
    };
    assert_eq!(take(&heard, one, EPOCH, 1), Err(SealReject::Epoch));
    heard.peers.prove(one, standing(EPOCH, 10));
    assert_eq!(take(&heard, one, EPOCH, 10), Err(SealReject::Replayed));
    assert_eq!(take(&heard, one, EPOCH, 11), Ok(()));
    // Somebody passes the conversation on, and then the messages.
    assert_eq!(take(&heard, other, EPOCH, 11), Err(SealReject::Epoch));
    heard.peers.prove(other, standing(EPOCH, 10));
    assert_eq!(take(&heard, other, EPOCH, 11), Err(SealReject::Replayed));
    // The same proof again forgets nothing.
    heard.peers.prove(one, standing(EPOCH, 10));
    assert_eq!(take(&heard, one, EPOCH, 11), Err(SealReject::Replayed));
    // A restarted master, with numbers from the beginning.
    heard.peers.prove(one, standing(EPOCH + 1, 0));
    assert_eq!(take(&heard, one, EPOCH + 1, 1), Ok(()));
    assert_eq!(take(&heard, one, EPOCH, 12), Err(SealReject::Epoch));
    // What is not taken is no sign of life.
    heard.now += Duration::from_secs(9);
    assert!(take(&heard, one, EPOCH + 1, 1).is_err());
    assert_eq!(heard.row().heard_ms, 9000);
}
