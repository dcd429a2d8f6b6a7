use super::*;

fn invocation(line: &str) -> Result<Invocation, Reply> {
    let argv = line.split(' ').map(str::to_owned).collect();
    Invocation::new(argv, Some(OsStr::new("/given")))
}

#[test]
fn the_socket_stands_among_the_first_words() {
    for (line, socket, words) in [
        ("pollvsadm", "/given", "pollvsadm"),
        ("pollvsadm --socket /s", "/s", "pollvsadm"),
        ("pollvsadm --socket /s --json drops", "/s", "pollvsadm --json drops"),
        ("pollvsadm --json --socket /s drops", "/s", "pollvsadm --json drops"),
        ("pollvsadm --atomic --socket /s -R", "/s", "pollvsadm --atomic -R"),
        ("pollvsadm --json --socket /s --atomic -R", "/s", "pollvsadm --json --atomic -R"),
        ("pollvsadm --json --socket --atomic -L", "--atomic", "pollvsadm --json -L"),
        // After the command it is none of ours.
        ("pollvsadm drops --socket /s", "/given", "pollvsadm drops --socket /s"),
        ("pollvsadm -L --json --socket /s", "/given", "pollvsadm -L --json --socket /s"),
        ("ipvsadm --socket /s -L", "/given", "ipvsadm --socket /s -L"),
        ("/x/ipvsadm --json --socket /s", "/given", "/x/ipvsadm --json --socket /s"),
    ] {
        let argv = words.split(' ').map(str::to_owned).collect();
        let expected = Invocation { socket: PathBuf::from(socket), argv };
        assert_eq!(invocation(line), Ok(expected), "{line}");
    }
    for (line, message) in [
        ("pollvsadm --socket", "--socket: missing path of the control socket"),
        ("pollvsadm --json --socket", "--socket: missing path of the control socket"),
        ("pollvsadm --socket /s --json --socket /t", "multiple 'socket' options specified"),
    ] {
        assert_eq!(invocation(line), Err(Reply::error(message)), "{line}");
    }
}

#[test]
fn why_there_is_no_reply() {
    use io::ErrorKind::{
        InvalidData, NotFound, PermissionDenied, TimedOut, UnexpectedEof, WouldBlock,
    };
    let not_connected = |kind: io::ErrorKind| Failure::NotConnected(kind.into());
    let not_answered = |kind: io::ErrorKind, patience| Failure::NotAnswered(kind.into(), patience);
    let tool = "Are you sure that IP Virtual Server is built in the kernel or as module?";
    let advice = "Is pollvsd running? Tried its socket /given; start pollvsd (systemctl start pollvsd), or \
                  name another socket with";
    for (program, failure, lines) in [
        (
            "ipvsadm",
            not_connected(PermissionDenied),
            format!("Can't initialize ipvs: Permission denied (you must be root)\n{tool}"),
        ),
        (
            "pollvsadm",
            not_connected(PermissionDenied),
            "Can't initialize ipvs: Permission denied (you must be root)\nThe socket /given is for \
             root and its group."
                .to_owned(),
        ),
        (
            "ipvsadm",
            not_connected(TimedOut),
            format!("Can't initialize ipvs: no answer in time\n{tool}\n{advice} POLLVS_SOCKET."),
        ),
        (
            "pollvsadm",
            not_connected(NotFound),
            format!(
                "Can't initialize ipvs: entity not found\n{advice} --socket PATH or POLLVS_SOCKET."
            ),
        ),
        (
            "pollvsadm",
            not_answered(WouldBlock, PATIENCE),
            "pollvsd has not answered within 2 s; the command may have been carried out".to_owned(),
        ),
        (
            "ipvsadm",
            not_answered(TimedOut, RESTORE_PATIENCE),
            "pollvsd has not answered within 30 s; the command may have been carried out".to_owned(),
        ),
        (
            "pollvsadm",
            not_answered(UnexpectedEof, PATIENCE),
            "pollvsd has closed the connection without an answer; the command may have been \
             carried out\nAsked at the socket /given."
                .to_owned(),
        ),
        (
            "pollvsadm",
            not_answered(InvalidData, PATIENCE),
            "pollvsd's answer is not understood; the command may have been carried out\nAsked at \
             the socket /given."
                .to_owned(),
        ),
        (
            "pollvsadm",
            Failure::NoInput(io::Error::from_raw_os_error(21)),
            "standard input: Is a directory".to_owned(),
        ),
    ] {
        let reply = invocation(program).expect("a right one").no_answer(&failure);
        assert_eq!(reply, Reply::error(&lines), "{failure:?}");
    }
}
