//! The program itself, against a daemon that is a thread of the test.

mod toy;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use ctl::names::NumericNames;
use ctl::protocol::{LONGEST_INPUT, Room, serve};
use toy::Toy;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pollvsadm");

/// A fresh folder for one test.
fn folder(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// A daemon that serves its connections one by one; gives its socket.
fn daemon(name: &str) -> PathBuf {
    let socket = folder(name).join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        let mut toy = Toy::default();
        for stream in listener.incoming().flatten() {
            // A client that goes away early is its own business.
            let _ = serve(stream, &mut toy, &NumericNames, &Room::new(LONGEST_INPUT + (1 << 20)));
        }
    });
    socket
}

fn run(program: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .env_remove("POLLVS_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    // A program that does not read its input is fine.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("an end")
}

/// How it ends, which does not take long.
fn end_of(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "it waits for its input");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn commands_reach_the_daemon() {
    let socket = daemon("commands");
    let socket = socket.to_str().expect("a path");
    let ask = |args: &[&str], input: &str| {
        let args: Vec<&str> = ["--socket", socket].iter().chain(args).copied().collect();
        let output = run(Path::new(PROGRAM), &args, input);
        (
            output.status.code().expect("a status"),
            text(&output.stdout).to_owned(),
            text(&output.stderr).to_owned(),
        )
    };
    let done = (0, String::new(), String::new());
    assert_eq!(ask(&["-A", "-t", "10.0.0.1:80", "-s", "rr"], ""), done);
    let refused = (255, String::new(), "Service already exists\n".to_owned());
    assert_eq!(ask(&["-A", "-t", "10.0.0.1:80"], ""), refused);
    let input: String = (1..=3000).map(|mark| format!("-A -f {mark}\n")).collect();
    assert_eq!(ask(&["-R"], &input), done);
    let (status, list, _) = ask(&["-S", "-n"], "");
    assert_eq!((status, list.lines().count()), (0, 3001));
    // A wrong restore does not send its input.
    let wrong = "Illegal 'numeric' option with the 'restore' command\n".to_owned();
    assert_eq!(ask(&["-R", "-n"], "-C\n"), (2, String::new(), wrong));
    let odd = (2, String::new(), "unexpected argument a \"b\"\n\n".to_owned());
    assert_eq!(ask(&["-L", "a \"b\"\n"], ""), odd);
    // Only the first words can name the socket.
    let (status, _, message) = ask(&["-L", "--socket", socket], "");
    assert_eq!((status, message.as_str()), (255, "--socket: unknown option\n"));
}

#[test]
fn a_wrong_restore_does_not_wait_for_input() {
    let socket = daemon("wrong-restore");
    let mut child = Command::new(PROGRAM)
        .args(["-R", "-n"])
        .env("POLLVS_SOCKET", socket)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    assert_eq!(end_of(&mut child).code(), Some(2));
}

#[test]
fn without_a_daemon() {
    let folder = folder("absent");
    let socket = folder.join("s");
    let socket = socket.to_str().expect("a path");
    let output = run(Path::new(PROGRAM), &["--socket", socket, "-L"], "");
    let message = format!(
        "Can't initialize ipvs: No such file or directory\nIs pollvsd running? Tried its socket {socket}; start \
         pollvsd (systemctl start pollvsd), or name another socket with --socket PATH or POLLVS_SOCKET.\n"
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), message.as_str()));

    // A socket that nobody listens to any more.
    drop(UnixListener::bind(socket).expect("a socket"));
    let output = run(Path::new(PROGRAM), &["--socket", socket, "-L"], "");
    assert!(text(&output.stderr).starts_with("Can't initialize ipvs: Connection refused\n"));

    let output = run(Path::new(PROGRAM), &["--socket"], "");
    assert_eq!(output.status.code(), Some(2));

    // Help and version need none.
    for (option, start) in [("-v", "ipvsadm v1.31"), ("--help", "ipvsadm v1.31")] {
        let output = run(Path::new(PROGRAM), &["--socket", socket, option], "");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
        assert!(text(&output.stdout).starts_with(start));
    }
}

#[test]
fn as_ipvsadm_there_is_no_socket_option() {
    let link = folder("ipvsadm").join("ipvsadm");
    std::os::unix::fs::symlink(PROGRAM, &link).expect("a link");
    let socket = daemon("as-ipvsadm");
    let output = Command::new(&link)
        .args(["--socket", "/x", "-L"])
        .env("POLLVS_SOCKET", &socket)
        .output()
        .expect("the program");
    let link = link.to_str().expect("a path");
    let message = format!("Try `{link} -h' or '{link} --help' for more information.\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(255), message.as_str()));
}

#[test]
fn a_silent_daemon_is_given_up() {
    let socket = folder("silent").join("s");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    let start = Instant::now();
    let output = run(Path::new(PROGRAM), &["--socket", socket.to_str().expect("a path"), "-L"], "");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(output.status.code(), Some(2));
    let message = "pollvsd has not answered within 2 s; the command may have been carried out\n";
    assert_eq!(text(&output.stderr), message);
}

#[test]
fn a_daemon_that_talks_nonsense() {
    let closed = "pollvsd has closed the connection without an answer; the command may have been carried out\n";
    let odd = "pollvsd's answer is not understood; the command may have been carried out\n";
    for (name, answer, message) in [
        ("empty", "", closed),
        ("text", "HTTP/1.1 400 Bad Request\r\n", odd),
        ("short", "0 100 0\nabc", closed),
        ("endless", &"9".repeat(1000), odd),
    ] {
        let socket = folder(name).join("s");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let answer = answer.to_owned();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 100]);
            stream.write_all(answer.as_bytes()).expect("a client that listens");
            let _ = stream.shutdown(Shutdown::Both);
        });
        let output =
            run(Path::new(PROGRAM), &["--socket", socket.to_str().expect("a path"), "-L"], "");
        daemon.join().expect("the daemon");
        assert_eq!(output.status.code(), Some(2), "{name}");
        let socket = socket.display();
        assert_eq!(text(&output.stderr), format!("{message}Asked at the socket {socket}.\n"));
    }
}

#[test]
fn a_closed_output_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let child = Command::new(PROGRAM)
        .arg("--help")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

/// A restore whose input goes on until the pipe is dropped.
fn restore(socket: &Path) -> Child {
    Command::new(PROGRAM)
        .args(["--atomic", "--socket"])
        .arg(socket)
        .arg("-R")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

/// The next client, if it comes soon.
fn client_of(listener: &UnixListener) -> Option<UnixStream> {
    listener.set_nonblocking(true).expect("a socket can");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).expect("a socket can");
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

#[test]
fn a_restore_reads_its_input_before_it_asks() {
    let socket = folder("late").join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let mut child = restore(&socket);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"-A -f 1\n").expect("it reads");
    // It looks whether somebody is there, and has nobody wait.
    let mut stream = client_of(&listener).expect("it connects");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket can");
    assert_eq!(stream.read(&mut [0; 100]).expect("it hangs up"), 0);
    std::thread::sleep(Duration::from_millis(200));
    assert!(listener.accept().is_err(), "it connects while its input goes on");
    drop(input);
    let mut stream = client_of(&listener).expect("it connects");
    let mut request = String::new();
    stream.read_to_string(&mut request).expect("a request");
    assert_eq!(request, format!("@[\"{PROGRAM}\",\"--atomic\",\"-R\"]\n-A -f 1\n"));
    drop(stream);
    child.wait().expect("it ends");
}

#[test]
fn a_restore_without_a_daemon_does_not_wait_for_input() {
    let socket = folder("dead").join("s");
    drop(UnixListener::bind(&socket).expect("a socket"));
    let mut child = restore(&socket);
    let input = child.stdin.take().expect("a pipe");
    assert_eq!(end_of(&mut child).code(), Some(2));
    let mut message = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut message).expect("text");
    assert!(message.starts_with("Can't initialize ipvs: Connection refused\n"), "{message}");
    drop(input);
}

#[test]
fn an_input_that_cannot_be_read_is_named() {
    let output = Command::new(PROGRAM)
        .arg("-R")
        .env("POLLVS_SOCKET", daemon("no-input"))
        .stdin(std::fs::File::open("/").expect("a folder"))
        .output()
        .expect("the program");
    let message = "standard input: Is a directory\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), message));
}

#[test]
fn the_first_words_stand_in_any_order() {
    let socket = daemon("order");
    let socket = socket.to_str().expect("a path");
    let ask = |args: &[&str], input: &str| {
        let output = run(Path::new(PROGRAM), args, input);
        (output.status.code(), text(&output.stdout).to_owned() + text(&output.stderr))
    };
    let done = (Some(0), String::new());
    assert_eq!(ask(&["--atomic", "--socket", socket, "-R"], "-A -f 7\n"), done);
    assert_eq!(ask(&["--socket", socket, "--atomic", "-R"], "-A -f 8\n"), done);
    let list = ask(&["--json", "--socket", socket, "-L"], "");
    assert!(list.0 == Some(0) && list.1.contains("\"fwmark\":8"), "{list:?}");
    assert_eq!(list, ask(&["--socket", socket, "--json", "-L"], ""));
}
