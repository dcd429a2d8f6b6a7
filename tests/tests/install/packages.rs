//! `tests/packages` leaves no service enabled and none that can start, also when it is interrupted.
//! Everything that would change the machine is a stand-in here.

use std::fs;
use std::process::Command;

use crate::{folder, path_with, program, root};

/// Writes down what root is asked for. At `$AT` the script that asks is ended, as by a signal from
/// elsewhere; with the packages a service comes.
const SUDO: &str = r#"#!/bin/sh
[ "$2" != true ] || exit 0
shift 3
echo "$*" >>"$LOG"
case $1 in tee) cat >/dev/null ;; esac
case "$*" in "apt-get install"*) : >"$ENABLED" ;; esac
case "$*" in "$AT"*) kill -TERM "$PPID" ;; esac
exit 0
"#;
const LS: &str = "#!/bin/sh\necho before.service\n[ ! -e \"$ENABLED\" ] || echo nginx.service\n";

/// The status of the script, and what it asked root for.
fn packages(at: &str) -> (Option<i32>, Vec<String>) {
    let place = folder();
    for (name, body) in [
        ("id", "#!/bin/sh\necho 1000\n"),
        ("dpkg-query", "#!/bin/sh\nexit 1\n"),
        ("apt-get", "#!/bin/sh\nexit 1\n"),
        ("ls", LS),
        ("sudo", SUDO),
    ] {
        program(&place.path().join(name), body);
    }
    let log = place.path().join("log");
    let output = Command::new(root().join("tests/packages"))
        .arg("nginx-light")
        .env("PATH", path_with(place.path()))
        .env("LOG", &log)
        .env("ENABLED", place.path().join("enabled"))
        .env("AT", at)
        .output()
        .expect("it starts");
    let log = fs::read_to_string(log).expect("root was asked");
    // Where the machine itself forbids services there is nothing to write and to remove.
    let asked = log.lines().filter(|line| !line.contains("/policy-rc.d"));
    assert_eq!(log.contains("tee /usr"), log.ends_with("rm -f /usr/sbin/policy-rc.d\n"), "{log}");
    (output.status.code(), asked.map(str::to_owned).collect())
}

#[test]
fn packages_are_not_installed_after_a_signal_and_leave_no_service() {
    let update = "apt-get update";
    let install = "apt-get install -y --no-install-recommends nginx-light";
    let disable = ["update-rc.d nginx disable", "systemctl disable nginx"];
    let all = [update, install, disable[0], disable[1]];
    for (at, status, expected) in [
        ("never", 0, &all[..]),
        (update, 143, &[update]),
        (install, 143, &all),
        // Also when it comes at the very end.
        (disable[0], 0, &all),
    ] {
        let (ended, asked) = packages(at);
        assert_eq!(
            (ended, asked),
            (Some(status), expected.iter().map(|&w| w.to_owned()).collect()),
            "{at}"
        );
    }
}
