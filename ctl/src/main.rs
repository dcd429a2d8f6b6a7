//! `pollvsadm`: passes its arguments to the daemon and prints the reply.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use ctl::client::{Invocation, SOCKET_VARIABLE};
use ctl::session::Reply;

fn main() -> ExitCode {
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let reply = match Invocation::new(argv, std::env::var_os(SOCKET_VARIABLE).as_deref()) {
        Ok(invocation) => invocation.run(&mut io::stdin().lock()),
        Err(reply) => reply,
    };
    ExitCode::from(print(&reply))
}

/// Prints a reply and gives the exit status.
fn print(reply: &Reply) -> u8 {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(&reply.stdout).and_then(|()| stdout.flush());
    // Nothing can be done about a standard error that does not take the text.
    let _ = io::stderr().write_all(&reply.stderr);
    match written {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "cannot write the answer: {error}");
            1
        }
        _ => reply.status,
    }
}
