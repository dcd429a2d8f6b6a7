//! The completions have every option, and bash completes.

use std::collections::BTreeSet;
use std::process::Command;

use tempfile::TempDir;

use crate::{
    assert_has, control_help, daemon_help, folder, options_of_help, path_with, program, read, root,
    skip, text,
};

/// Long options alone: completions need not have the short ones.
fn long(options: &BTreeSet<String>) -> BTreeSet<String> {
    options.iter().filter(|option| option.starts_with("--")).cloned().collect()
}

fn words(file: &str) -> BTreeSet<String> {
    long(&options_of_help(&read(file)))
}

#[test]
fn completions_have_every_option_of_the_help() {
    let wanted = long(&options_of_help(&control_help()));
    for file in ["ctl/completions/pollvsadm.bash", "ctl/completions/_pollvsadm"] {
        assert_has(file, &words(file), &wanted);
    }
    let fish = read("ctl/completions/pollvsadm.fish");
    let names = fish.split(" -l ").skip(1).filter_map(|rest| rest.split_whitespace().next());
    assert_has("fish", &names.map(|name| format!("--{name}")).collect(), &wanted);
}

#[test]
fn the_completion_of_the_daemon_has_every_option_of_the_help() {
    let Some(help) = daemon_help() else { return };
    let file = "engine/completions/pollvsd.bash";
    assert_has(file, &words(file), &long(&options_of_help(&help)));
}

/// A folder with a control command that knows one table, and a list of interfaces. Some names are
/// commands to a shell, and would leave a file `run`.
fn table_program() -> TempDir {
    let place = folder();
    let ls = "#!/bin/sh\nprintf '%s\\n' e0 'e$(>run)' 'e`>run`' 'e;>run' 'e*'\n";
    program(&place.path().join("ls"), ls);
    let body = "#!/bin/sh\n[ \"$*\" = -Sn ] && printf '%s\\n' '-A -t 10.0.0.1:80 -s wlc' \\\n\
                '-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1' '-A -u [2001:db8::1]:53 -s rr' \\
                '-A -u $(>run) -s rr'\n";
    program(&place.path().join("ipvsadm"), body);
    place
}

/// What bash offers at the end of a line.
fn completed(file: &str, function: &str, line: &str) -> Option<BTreeSet<String>> {
    let code = ". \"$1\"; complete -p \"${3%% *}\" >/dev/null || exit; COMP_LINE=$3 COMP_POINT=${#3}; \
                read -ra COMP_WORDS <<<\"${3//:/ : }\"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                $2; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", code, "bash"]);
    bash.arg(root().join(file)).args([function, line]);
    let table = table_program();
    bash.env("PATH", path_with(table.path()));
    let Ok(output) = bash.current_dir(table.path()).output() else {
        skip("no bash here");
        return None;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    assert!(!table.path().join("run").exists(), "{line}: a word was carried out");
    Some(text(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

#[test]
fn bash_completes() {
    let (adm, daemon) = ("ctl/completions/pollvsadm.bash", "engine/completions/pollvsd.bash");
    let sockets = ["--save", "--set", "--socket", "--start-daemon", "--stop-daemon", "--sysctl"];
    for (file, function, line, expected) in [
        (adm, "_pollvsadm", "pollvsadm --s", &sockets[..]),
        (adm, "_pollvsadm", "ipvsadm --s", &["--save", "--set", "--start-daemon", "--stop-daemon"]),
        (adm, "_pollvsadm", "pollvsadm --json --socket /x d", &["drain", "drops"]),
        (adm, "_pollvsadm", "ipvsadm d", &[]),
        (adm, "_pollvsadm", "ipvsadm -A -t 10.0.0.1:80 -s w", &["wlc", "wrr"]),
        (
            adm,
            "_pollvsadm",
            "ipvsadm -Ln --t",
            &["--tcp-service", "--thresholds", "--timeout", "--tun-info"],
        ),
        (adm, "_pollvsadm", "ipvsadm --start-daemon m", &["master"]),
        (adm, "_pollvsadm", "ipvsadm --start-daemon master --mcast-interface e", &["e0"]),
        (adm, "_pollvsadm", "pollvsadm mark -A -p t", &["tcp"]),
        (adm, "_pollvsadm", "pollvsadm drain -t 10.0.0.1:80 --r", &["--real-server", "--remove"]),
        // Of an address bash replaces only what stands behind the last colon.
        (adm, "_pollvsadm", "ipvsadm -D -t 10.0.0.1:", &["80"]),
        (adm, "_pollvsadm", "ipvsadm -D -u ", &["[2001:db8::1]:53"]),
        (adm, "_pollvsadm", "ipvsadm -d -t 10.0.0.1:80 -r ", &["10.1.0.1:8080"]),
        (daemon, "_pollvsd", "pollvsd --hugepages y", &["yes"]),
        (daemon, "_pollvsd", "pollvsd --port x --ad", &["--address"]),
    ] {
        let Some(found) = completed(file, function, line) else { return };
        let expected: BTreeSet<_> = expected.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(found, expected, "{line}");
    }
}
