//! `make install` and `make uninstall`; and manuals and completions know all that the programs take.

mod completions;
mod manuals;
mod packages;
mod scripts;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tests::requirements::own_binary;

/// What is installed below the prefix, folders aside.
const INSTALLED: [&str; 23] = [
    "lib/systemd/system/pollvsd.service",
    "sbin/ipvsadm",
    "sbin/ipvsadm-restore",
    "sbin/ipvsadm-save",
    "sbin/pollvsadm",
    "sbin/pollvsd",
    "share/bash-completion/completions/ipvsadm",
    "share/bash-completion/completions/pollvsadm",
    "share/bash-completion/completions/pollvsd",
    "share/doc/pollvs/examples/direct.toml",
    "share/doc/pollvs/examples/ha.toml",
    "share/doc/pollvs/examples/nat.toml",
    "share/doc/pollvs/examples/tunnel.toml",
    "share/doc/pollvs/installed",
    "share/fish/vendor_completions.d/ipvsadm.fish",
    "share/fish/vendor_completions.d/pollvsadm.fish",
    "share/man/man5/pollvs.toml.5",
    "share/man/man8/ipvsadm-restore.8",
    "share/man/man8/ipvsadm-save.8",
    "share/man/man8/ipvsadm.8",
    "share/man/man8/pollvsadm.8",
    "share/man/man8/pollvsd.8",
    "share/zsh/site-functions/_pollvsadm",
];

/// The checksum of a file that holds `old`.
const OLD_MARK: &str = "01d09d19c2139a46aebfb577780d123d7396e97201bc7ead210a2ebff8239dee";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a shell script that can be run. A shell writes it: while this process, of many threads, had
/// it open, a child of another thread could keep it busy.
fn program(path: &Path, body: &str) {
    let code = "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"";
    let status = Command::new("sh").args(["-c", code, "sh"]).arg(path).arg(body).status();
    assert!(status.expect("sh runs").success(), "{}", path.display());
}

/// The variable `PATH` with another folder in front.
fn path_with(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    path
}

/// The options in a help text, as `-A` and `--add-service`.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_option = |word: &&str| match word.strip_prefix("--") {
        Some(name) => name.starts_with(|c: char| c.is_ascii_lowercase()),
        None => word.len() == 2 && word.starts_with('-') && *word != "--",
    };
    words.filter(is_option).map(str::to_owned).collect()
}

/// Says why a test has not tested anything here; `tests/all` takes it out of those that passed. Goes
/// past the runner, which keeps what passing tests print.
fn skip(reason: &str) {
    let line = format!("\nskipped: {reason}\n");
    // Without a standard error there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// What a program says of its options.
fn help(program: &str, option: &str) -> Output {
    let path = own_binary(program).expect("cargo build --workspace comes first");
    Command::new(path).arg(option).output().expect("it can be started")
}

/// The help of the control command.
fn control_help() -> String {
    let output = help("pollvsadm", "-h");
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// The help of the daemon, unless it was built without DPDK, or the libraries of that are not here.
fn daemon_help() -> Option<String> {
    let output = help("pollvsd", "--help");
    if output.status.success() {
        return Some(text(&output.stdout));
    }
    let complaint = text(&output.stderr);
    let reasons = ["built without DPDK", "error while loading shared libraries"];
    assert!(reasons.iter().any(|reason| complaint.contains(reason)), "{output:?}");
    skip(complaint.trim());
    None
}

fn assert_has(place: &str, has: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(has).collect();
    assert!(missing.is_empty(), "{place} lacks {missing:?}");
}

/// Runs `make` on the programs that were built with this test.
fn make(target: &str, destination: &Path, prefix: &str) -> Output {
    let program = own_binary("pollvsadm").expect("cargo build --workspace comes first");
    let binaries = program.parent().expect("a program is in a folder");
    // A clean environment: this may run below another make, with variables of its own.
    Command::new("make")
        .current_dir(root())
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .arg(target)
        .arg(format!("BINARIES={}", binaries.display()))
        .arg(format!("DESTDIR={}", destination.display()))
        .arg(format!("PREFIX={prefix}"))
        .output()
        .expect("make runs")
}

/// Everything below a folder, relative to it; the names of folders end in a slash.
fn list(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().into_string().expect("UTF-8");
        if entry.file_type().expect("a type").is_dir() {
            found.extend(list(&entry.path()).iter().map(|inner| format!("{name}/{inner}")));
            found.insert(name + "/");
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn what_is_installed_is_removed_again() {
    let destination = folder();
    let prefix = destination.path().join("usr/local");
    // Was there before, empty: stays.
    fs::create_dir_all(prefix.join("share/man")).unwrap();
    let before = list(destination.path());
    for round in ["first", "again"] {
        let made = make("install", destination.path(), "/usr/local");
        assert!(made.status.success(), "{round}: {}", text(&made.stderr));
        let lines = text(&made.stdout).lines().count();
        assert!((1..=2).contains(&lines), "{round}: {lines} lines: {}", text(&made.stdout));
        let files = list(&prefix).into_iter().filter(|name| !name.ends_with('/'));
        let expected = INSTALLED.map(str::to_owned);
        assert_eq!(files.collect::<Vec<_>>(), expected, "{round}");
        assert!(!destination.path().join("etc").exists(), "{round}: etc is the operator's");
    }
    for (link, target) in [
        ("sbin/ipvsadm", "pollvsadm"),
        ("share/bash-completion/completions/ipvsadm", "pollvsadm"),
        ("share/fish/vendor_completions.d/ipvsadm.fish", "pollvsadm.fish"),
    ] {
        assert_eq!(fs::read_link(prefix.join(link)).unwrap(), Path::new(target), "{link}");
    }
    for name in INSTALLED.iter().filter(|name| !name.ends_with("installed")) {
        let mode = fs::metadata(prefix.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, if name.starts_with("sbin/") { 0o755 } else { 0o644 }, "{name}");
    }
    let unit = fs::read_to_string(prefix.join(INSTALLED[0])).unwrap();
    let start = "ExecStart=/usr/local/sbin/pollvsd --config /etc/pollvs/pollvs.toml\n";
    assert!(unit.contains(start) && !unit.contains("DIR@"), "{unit}");
    let version = Command::new(prefix.join("sbin/ipvsadm")).arg("-v").output().unwrap();
    assert!(text(&version.stdout).contains("IPVS"), "{version:?}");

    let own = prefix.join("share/doc/pollvs/own-notes");
    fs::write(&own, "").unwrap();
    let made = make("uninstall", destination.path(), "/usr/local");
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(own.exists(), "a file of the operator is gone");
    fs::remove_dir_all(prefix.join("share/doc")).unwrap();
    assert_eq!(list(destination.path()), before);
}

#[test]
fn the_programs_of_another_package_are_not_replaced() {
    let destination = folder();
    let theirs = destination.path().join("usr/sbin/ipvsadm");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    let before = list(destination.path());
    let made = make("install", destination.path(), "/usr");
    let message = text(&made.stderr);
    assert!(!made.status.success() && message.contains("usr/sbin/ipvsadm is there"), "{message}");
    assert_eq!(list(destination.path()), before);
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
}

/// Another package has replaced some files, and somebody has changed others.
#[test]
fn what_was_replaced_since_is_left_alone() {
    let destination = folder();
    let place = |name: &str| destination.path().join("usr").join(name);
    assert!(make("install", destination.path(), "/usr").status.success());
    let changed = ["sbin/ipvsadm", "sbin/ipvsadm-save", "share/man/man8/ipvsadm.8"];
    for name in changed {
        fs::remove_file(place(name)).unwrap();
    }
    fs::write(place(changed[0]), "theirs").unwrap();
    symlink("elsewhere", place(changed[1])).unwrap();
    fs::write(place(changed[2]), "changed").unwrap();
    // Not there: put there again.
    fs::remove_file(place("sbin/pollvsadm")).unwrap();

    let made = make("install", destination.path(), "/usr");
    let message = text(&made.stderr);
    assert!(!made.status.success() && message.contains("usr/sbin/ipvsadm is there"), "{message}");
    assert!(!place("sbin/pollvsadm").exists(), "half of an installation");

    let made = make("uninstall", destination.path(), "/usr");
    let said = text(&made.stdout);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let left = list(&place("")).into_iter().filter(|name| !name.ends_with('/'));
    assert_eq!(left.collect::<Vec<_>>(), changed);
    assert_eq!(fs::read_to_string(place(changed[0])).unwrap(), "theirs");
    assert_eq!(fs::read_link(place(changed[1])).unwrap(), Path::new("elsewhere"));
    assert_eq!(fs::read_to_string(place(changed[2])).unwrap(), "changed");
    for name in changed {
        let line = format!("it is not as it was installed: {}\n", place(name).display());
        assert!(said.contains(&line), "{name}: {said}");
    }
}

/// A new version replaces the files of the old one, and the record forgets those.
#[test]
fn a_new_version_replaces_the_old_one() {
    let destination = folder();
    let prefix = destination.path().join("usr");
    assert!(make("install", destination.path(), "/usr").status.success());
    // As if the old version had other words in it, and was cut short after a line of the next one.
    let (page, record) = (prefix.join(INSTALLED[19]), prefix.join(INSTALLED[13]));
    let recorded = fs::read_to_string(&record).unwrap();
    let line = recorded.lines().find(|line| line.ends_with("/ipvsadm.8")).unwrap();
    let old = line.replace(line.split(' ').next().unwrap(), OLD_MARK);
    fs::write(&page, "old\n").unwrap();
    fs::write(&record, format!("{recorded}{old}\n")).unwrap();

    let made = make("install", destination.path(), "/usr");
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(fs::read_to_string(&page).unwrap(), read("ctl/man/ipvsadm.8"));
    assert_eq!(fs::read_to_string(&record).unwrap(), recorded);
    let files = list(&prefix).into_iter().filter(|name| !name.ends_with('/'));
    assert_eq!(files.collect::<Vec<_>>(), INSTALLED.map(str::to_owned));
}

#[test]
fn install_builds_only_when_it_must() {
    let place = folder();
    let (bin, release) = (place.path().join("bin"), place.path().join("target/release"));
    fs::create_dir_all(&bin).unwrap();
    let body = "#!/bin/sh\necho \"$@\" >>\"$CARGO_TARGET_DIR/calls\"\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
                cd \"$CARGO_TARGET_DIR/release\" && touch pollvsd pollvsadm && chmod 755 pollvs*\n";
    program(&bin.join("cargo"), body);
    fs::create_dir(place.path().join("target")).unwrap();
    let path = path_with(&bin);
    let builds = || {
        let made = Command::new("make")
            .current_dir(root())
            .env_clear()
            .env("PATH", &path)
            .env("CARGO_TARGET_DIR", place.path().join("target"))
            .args(["install", &format!("DESTDIR={}", place.path().join("there").display())])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        let calls = fs::read_to_string(place.path().join("target/calls")).unwrap();
        assert!(
            calls.lines().all(|line| line == "build --locked --quiet --release -p engine -p ctl")
        );
        calls.lines().count()
    };
    assert_eq!((builds(), builds()), (1, 1), "missing, then there");
    for (name, count) in [("pollvsd", 2), ("pollvsadm", 3)] {
        let old = fs::File::options().append(true).open(release.join(name)).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!((builds(), builds()), (count, count), "{name} was older than its source");
    }
}
