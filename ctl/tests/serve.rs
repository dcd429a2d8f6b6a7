//! The protocol: well-formed replies, whatever the bytes.

mod toy;

use std::io::{self, Cursor, Read, Write};

use ctl::backend::ConnectionRow;
use ctl::names::NumericNames;
use ctl::protocol::{
    LONGEST_INPUT, LONGEST_LINE, Room, answer, read_reply, read_request, request_line, serve,
};
use ctl::session::Reply;
use proptest::prelude::*;
use toy::Toy;

/// A client whose bytes are known beforehand.
struct Stream {
    requests: Cursor<Vec<u8>>,
    replies: Vec<u8>,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.requests.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.replies.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves the bytes and takes the replies apart; all of what was written must be replies.
fn replies(requests: impl Into<Vec<u8>>, toy: &mut Toy) -> Vec<Reply> {
    let mut stream = Stream { requests: Cursor::new(requests.into()), replies: Vec::new() };
    serve(&mut stream, toy, &NumericNames, &Room::new(2 * LONGEST_INPUT))
        .expect("no error of the stream");
    let mut rest = stream.replies.as_slice();
    let mut replies = Vec::new();
    while !rest.is_empty() {
        replies.push(read_reply(&mut rest).expect("a well-formed reply"));
    }
    replies
}

fn only_error(requests: impl Into<Vec<u8>>, message: &str) {
    let mut toy = Toy::default();
    assert_eq!(replies(requests, &mut toy), [Reply::error(message)]);
    assert!(toy.services.is_empty());
}

#[test]
fn words_and_json() {
    let mut toy = Toy::default();
    let all = replies(
        "-A -t 10.0.0.1:80\r\n  ipvsadm  -A\t-f 7 \n@[\"/sbin/x\",\"foo\"]\n@ [ \"p\" , \"-Sn\" ]\npollvsadm -Z\n",
        &mut toy,
    );
    let statuses: Vec<u8> = all.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [0, 0, 255, 0, 0]);
    let help = "Try `/sbin/x -h' or '/sbin/x --help' for more information.\n";
    assert_eq!(all[2].stderr, help.as_bytes());
    assert_eq!(all[3].stdout, b"-A -t 10.0.0.1:80 -s wlc\n-A -f 7 -s wlc\n");
    assert_eq!(replies("\n", &mut toy)[0].status, 0);
}

#[test]
fn restore_takes_the_rest_of_the_stream() {
    let mut toy = Toy::default();
    let all = replies("-Z\n-R\n-A -f 1\n-A -f 2", &mut toy);
    assert_eq!(all, [Reply::default(), Reply::default()]);
    assert_eq!(toy.services.len(), 2);
    // A wrong restore does not let its input become requests.
    let all = replies("-R -n\n-C\n", &mut toy);
    assert_eq!(all, [Reply::error("Illegal 'numeric' option with the 'restore' command")]);
    assert_eq!(toy.services.len(), 2);
}

#[test]
fn bytes_that_are_no_request() {
    only_error("-A -f 1\0\n", "request has a NUL byte");
    only_error("@[\"x\",\"-A\",\"-f\",\"1\\u0000\"]\n", "request has a NUL byte");
    only_error(b"-A -f 1\xff\n", "request is not UTF-8 text");
    only_error("@{}\n", "request is not @ and a JSON array of strings");
    only_error("@[1]\n", "request is not @ and a JSON array of strings");
    only_error("@[]\n", "request lacks the name of the program");
    only_error("-A -f 1", "request has no end of line; nothing was done");
    let deep = format!("@{}\n", "[".repeat(60_000));
    only_error(deep, "request is not @ and a JSON array of strings");
    assert_eq!(replies("", &mut Toy::default()), []);
}

/// Requests that come together are made safe together, before any of them is answered.
#[test]
fn a_commit_for_all_that_is_there() {
    let lines: String = (1..=100).map(|mark| format!("-A -f {mark}\n")).collect();
    let mut toy = Toy { uncommitted: Some("the disk is full".into()), ..Toy::default() };
    let all = replies(lines.clone() + "-Ln\n", &mut toy);
    let warning = b"warning: the change is made, but the disk is full\n";
    assert!(all.len() == 101 && all.iter().all(|reply| reply.stderr == warning));
    assert_eq!(toy.commits, 2, "64 at a time");
    // A client that goes before it has said all.
    let mut toy = Toy::default();
    let cut = lines + "-A -f 101";
    assert_eq!(replies(cut, &mut toy).len(), 101);
    assert_eq!((toy.services.len(), toy.commits), (100, 3));
}

#[test]
fn longest_line() {
    let line = |length: usize| format!("-A -f 1{}\n", " ".repeat(length - "-A -f 1".len()));
    let mut toy = Toy::default();
    assert_eq!(replies(line(LONGEST_LINE), &mut toy), [Reply::default()]);
    assert_eq!(toy.services.len(), 1);
    // Nothing after it is a request: where it ends is not known.
    let long = line(LONGEST_LINE + 1) + "-A -f 2\n";
    only_error(long, "request is longer than 65536 bytes");
}

#[test]
fn longest_restore_input() {
    let mut endless = io::BufReader::new((&b"-R\n"[..]).chain(io::repeat(b' ')));
    let room = Room::new(2 * LONGEST_INPUT);
    let request =
        read_request(&mut endless, &mut room.share()).expect("no error").expect("a request");
    assert!(request.is_last());
    let reply = answer(&request, &mut Toy::default(), &NumericNames);
    assert_eq!(reply, Reply::error("restore input is longer than 64 MiB; nothing was done"));
}

#[test]
fn restores_share_their_room() {
    let room = Room::new(1 << 20);
    let request = |bytes: u64, share: &mut _| {
        let mut stream = io::BufReader::new((&b"-R\n"[..]).chain(io::repeat(b' ').take(bytes)));
        let request = read_request(&mut stream, share).expect("no error").expect("a request");
        answer(&request, &mut Toy::default(), &NumericNames)
    };
    let (mut one, mut other) = (room.share(), room.share());
    assert_eq!(request(600_000, &mut one), Reply::default());
    let full = Reply::error("there is no room for so much restore input now; nothing was done");
    assert_eq!(request(600_000, &mut other), full);
    drop((one, other));
    assert_eq!(request(600_000, &mut room.share()), Reply::default());
}

#[test]
fn too_long_an_answer_is_an_error() {
    let end = "10.0.0.1:80".parse().expect("an address");
    let row = ConnectionRow {
        protocol: "TCP",
        client: end,
        virtual_end: end,
        real: end,
        state: "x".repeat(1 << 20).into(),
        expires_s: 0,
        is_synced: false,
        engine: None,
    };
    let mut toy = Toy { connections: vec![row; 30], ..Toy::default() };
    // One list is short enough, three are not.
    let all = replies("-Lnc\n-Ln\n", &mut toy);
    assert_eq!((all[0].status, all[1].status), (0, 0));
    let all = replies("-R\n-Lnc\n-Lnc\n-Lnc\n", &mut toy);
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].status, all[0].stdout.len()), (2, 0));
    assert!(String::from_utf8_lossy(&all[0].stderr).contains("64 MiB"));
}

/// Pieces of requests, so that random lines come near to right ones.
const PIECES: &[&str] = &[
    "-A",
    "-E",
    "-D",
    "-a",
    "-e",
    "-d",
    "-L",
    "-S",
    "-R",
    "-Z",
    "-C",
    "--set",
    "-t",
    "-u",
    "-f",
    "-6",
    "-s",
    "-p",
    "-M",
    "-r",
    "-g",
    "-i",
    "-m",
    "-w",
    "-x",
    "-y",
    "-n",
    "-c",
    "--rate",
    "--stats",
    "-b",
    "--start-daemon",
    "--stop-daemon",
    "--mcast-group",
    "--tun-type",
    "--tun-port",
    "gue",
    "master",
    "lo",
    "--mcast-interface",
    "10.0.0.1:80",
    "[2001:db8::1]:80",
    "[::",
    "]",
    "1",
    "0",
    "-1",
    "rr",
    "4294967295",
    "é",
    "=",
    "--",
    "-",
    "flag-1,sh-port",
    "\t",
    " ",
    "\n",
    "\r",
    "@",
    "[\"",
    "\",\"",
    "\"]",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_give_well_formed_replies(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        replies(bytes, &mut Toy::default());
    }

    #[test]
    fn any_words_give_well_formed_replies(
        picks in proptest::collection::vec((0..PIECES.len(), 0..4_u8), 0..300),
    ) {
        let text: String = picks
            .iter()
            .map(|&(piece, end)| format!("{}{}", PIECES[piece], ["\n", "", " ", " "][usize::from(end)]))
            .collect();
        let mut toy = Toy::default();
        replies(text.clone(), &mut toy);
        replies(format!("-R\n{text}"), &mut toy);
    }

    #[test]
    fn a_request_line_holds_any_words(argv in proptest::collection::vec(any::<String>(), 1..5)) {
        let line = request_line(&argv);
        prop_assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read: Vec<String> = serde_json::from_slice(&line[1..]).expect("JSON");
        prop_assert_eq!(read, argv);
    }
}
