use dataplane::sync::{Reject, Unsent};

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn busy() -> SyncState {
    let master = MasterState {
        records: 1_234_567_890_123,
        records_per_second: 50_000,
        messages: 2,
        bytes: 3,
        overruns: 4,
        queue_full: 5,
        send_errors: 6,
        unsent: vec![(Unsent::Version0Ipv6, 7), (Unsent::OnePacket, 0)],
        waiting: 8,
        lag_us: 9000,
        followers: vec![
            Follower { address: address("192.0.2.2"), records: 1_000_000, is_in_step: true },
            Follower { address: address("2001:db8::2:2"), records: 0, is_in_step: false },
        ],
    };
    let pollvs = SenderRow {
        address: address("192.0.2.1"),
        is_pollvs: true,
        messages: 12_345_678,
        lost: 3,
        heard_ms: 12,
        fetched: 2,
        fetched_records: 2_000_000,
        failed: 1,
        is_in_step: true,
    };
    let address = address("2001:db8:1234:5678::1");
    let kernel = SenderRow { address, is_pollvs: false, ..pollvs.clone() };
    let backup = BackupState {
        records: 10,
        records_per_second: 11,
        messages: 12,
        bytes: 13,
        rejects: vec![(Reject::Short, 14), (Reject::Size, 0)],
        seal_rejects: vec![("replayed", "Seen before.", 15), ("forged", "Of a wrong key.", 0)],
        overruns: 16,
        waiting: 17,
        made: 18,
        unbound: 19,
        updated: 20,
        late: 21,
        no_room: 22,
        unfit: 23,
        senders: vec![pollvs, kernel],
        crowd: 24,
    };
    SyncState { master: Some(master), backup: Some(backup) }
}

#[test]
fn both_daemons_to_the_byte() {
    let expected = "\
master: tells other directors of connections
  now              50000 records/s, 8 messages waiting, longest wait 9000 us
  count                 since start  meaning
  records             1234567890123  Connections and templates sent.
  messages                        2  That they were sent in.
  bytes                           3  Of these, UDP payload.
  overruns                        4  Records lost: no room on their way from a worker.
  queue_full                      5  Messages dropped: sync_qlen_max were waiting.
  send_errors                     6  Messages that the system did not send.
  records not sent, by reason
    version_0_ipv6                7  Version 0 has no IPv6.
  backup          records fetched  in step
  192.0.2.2               1000000  yes
  2001:db8::2:2                 0  no
backup: learns connections of other directors
  now              11 records/s, 17 records waiting
  count                 since start  meaning
  records                        10  Connections and templates received.
  messages                       12  That they came in.
  bytes                          13  Of these, UDP payload.
  made                           18  Connections and templates made.
  unbound                        19  Of these, without a server here.
  updated                        20  Brought up to date.
  late                           21  Records of what was replaced, or served here by then.
  no_room                        22  Records that found the tables full.
  unfit                          23  Records of what cannot be.
  overruns                       16  Records lost: no room on their way to a worker.
  crowd                          24  Messages of directors that were too many to note.
  messages or entries dropped, by reason
    short                        14  Shorter than a message header.
  messages not sealed with the key, by reason
    replayed                     15  Seen before.
  director                    messages     lost        heard  in step  tables      records  failed
  192.0.2.1                   12345678        3    12 ms ago  yes           2      2000000       1
  2001:db8:1234:5678::1       12345678        -    12 ms ago  -             -            -       -
";
    assert_eq!(sync(&busy()), expected);
    assert!(expected.lines().all(|line| line.len() <= 100));
}

#[test]
fn what_is_not_there_is_said() {
    let mut state = SyncState { master: Some(MasterState::default()), backup: None };
    let text = sync(&state);
    let end = "  backups          none that keeps in touch\nbackup: does not run\n";
    assert!(text.ends_with(end) && !text.contains("by reason"), "{text}");
    state = SyncState { master: None, backup: Some(BackupState::default()) };
    let text = sync(&state);
    assert!(text.starts_with("master: does not run\nbackup: learns"), "{text}");
    assert!(text.ends_with("  directors        none heard\n"), "{text}");
    assert!(!text.contains("by reason"), "{text}");
    let none = "master: does not run\nbackup: does not run\n\
                Nothing is synced. To begin: pollvsadm --start-daemon master|backup\n";
    assert_eq!(sync(&SyncState::default()), none);
}
