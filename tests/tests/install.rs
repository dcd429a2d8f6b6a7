//! `make install` and `make uninstall`; and manuals and completions know all that the programs take.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tests::requirements::own_binary;

/// What is installed below the prefix, folders aside.
const INSTALLED: [&str; 22] = [
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

/// Runs `make` on the programs that were built with this test.
fn make(target: &str, destination: &Path, prefix: &str) -> Output {
    let program = own_binary("pollvsadm").expect("cargo build --workspace comes first");
    let binaries = program.parent().expect("a program is in a folder");
    // A clean environment: this may run below another make, with variables of its own.
    Command::new("make")
        .current_dir(root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
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

#[test]
fn install_builds_only_when_it_must() {
    let place = folder();
    let (bin, release) = (place.path().join("bin"), place.path().join("target/release"));
    fs::create_dir_all(&bin).unwrap();
    let body = "#!/bin/sh\necho \"$@\" >>\"$CARGO_TARGET_DIR/calls\"\nmkdir -p \"$CARGO_TARGET_DIR/release\"\n\
                cd \"$CARGO_TARGET_DIR/release\" && touch pollvsd pollvsadm && chmod 755 pollvs*\n";
    program(&bin.join("cargo"), body);
    fs::create_dir(place.path().join("target")).unwrap();
    let mut path = bin.into_os_string();
    path.push(":/usr/bin:/bin");
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
        let old = fs::File::options().write(true).open(release.join(name)).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!((builds(), builds()), (count, count), "{name} was older than its source");
    }
}

fn program(path: &Path, body: &str) {
    fs::write(path, body).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a wrapper script in a folder with an `ipvsadm` that writes down what it is asked.
fn script(name: &str, words: &[&str], input: &str, beside: bool) -> (Output, String) {
    let place = folder();
    let (sbin, elsewhere) = (place.path().join("sbin"), place.path().join("bin"));
    for folder in [&sbin, &elsewhere] {
        fs::create_dir(folder).unwrap();
    }
    let log = place.path().join("log");
    let tool = if beside { &sbin } else { &elsewhere }.join("ipvsadm");
    let body =
        "#!/bin/sh\necho \"$@\" >>\"$LOG\"\n[ \"$1\" != -R ] || { cat >>\"$LOG\"; exit 7; }\n";
    program(&tool, body);
    symlink(root().join("ctl/scripts").join(name).canonicalize().unwrap(), sbin.join(name))
        .unwrap();
    let mut path = elsewhere.into_os_string();
    path.push(":/usr/bin:/bin");
    let mut child = Command::new(sbin.join(name))
        .args(words)
        .env("PATH", path)
        .env("LOG", &log)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that ends without reading is no failure here.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn save_passes_n_and_refuses_other_options() {
    for beside in [true, false] {
        for (words, asked) in [(&[][..], "-S\n"), (&["-n"], "-S -n\n"), (&["word"], "-S\n")] {
            let (output, log) = script("ipvsadm-save", words, "", beside);
            assert_eq!((output.status.code(), log.as_str()), (Some(0), asked), "{words:?}");
        }
    }
    for words in [&["-x"][..], &["-n", "--numeric"], &["-nn"]] {
        let (output, log) = script("ipvsadm-save", words, "", true);
        let help = "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
                    With the -n option, prints out the table in numeric format.\n";
        assert_eq!((output.status.code(), log.as_str()), (Some(1), ""), "{words:?}");
        assert_eq!((text(&output.stderr).as_str(), output.stdout.len()), (help, 0), "{words:?}");
    }
}

#[test]
fn restore_clears_and_passes_all_but_comments() {
    let rules = "# saved\n-A -t 10.0.0.1:80 -s wlc\n # kept\n#-C\n-A -f 1 \\n";
    for beside in [true, false] {
        let (output, log) = script("ipvsadm-restore", &["-x"], rules, beside);
        // The status is that of -R.
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(log, "-C\n-R\n-A -t 10.0.0.1:80 -s wlc\n # kept\n-A -f 1 \\n\n");
    }
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

/// The options that a manual has an entry for: arguments of the macro `Fl`.
fn options_of_manual(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let entries = page.lines().filter(|line| line.starts_with(".It ") || line.starts_with(".Fl "));
    for line in entries {
        let mut is_flag = false;
        for word in line.trim_start_matches('.').split(' ') {
            match word {
                "Fl" => is_flag = true,
                "It" | "Ar" | "Cm" | "Ns" | "Op" | "Pf" | "Xo" | "Pa" | "No" => is_flag = false,
                "," | "|" | ":" => {}
                name if is_flag => drop(found.insert(format!("-{name}"))),
                _ => {}
            }
        }
    }
    found
}

/// The help of a program, if it runs here.
fn help(program: &str, option: &str) -> Option<String> {
    let path = own_binary(program).expect("cargo build --workspace comes first");
    let output = Command::new(path).arg(option).output().expect("it can be started");
    if !output.status.success() {
        // Built without DPDK, or its libraries are not here.
        eprintln!("skipped: {program} {option}: {}", text(&output.stderr).trim());
        return None;
    }
    Some(text(&output.stdout))
}

/// Long options alone: completions need not have the short ones.
fn long(options: &BTreeSet<String>) -> BTreeSet<String> {
    options.iter().filter(|option| option.starts_with("--")).cloned().collect()
}

fn assert_has(place: &str, has: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let missing: Vec<_> = wanted.difference(has).collect();
    assert!(missing.is_empty(), "{place} lacks {missing:?}");
}

#[test]
fn manuals_have_every_option_of_the_help() {
    for (program, option, page, least) in [
        ("pollvsadm", "-h", "ctl/man/pollvsadm.8", 80),
        ("pollvsd", "--help", "engine/man/pollvsd.8", 16),
    ] {
        let Some(help) = help(program, option) else { continue };
        let wanted = options_of_help(&help);
        assert!(wanted.len() >= least, "the help of {program} is not understood: {wanted:?}");
        assert_has(page, &options_of_manual(&read(page)), &wanted);
    }
}

#[test]
fn completions_have_every_option_of_the_help() {
    let words = |file: &str| long(&options_of_help(&read(file)));
    if let Some(help) = help("pollvsadm", "-h") {
        let wanted = long(&options_of_help(&help));
        for file in ["ctl/completions/pollvsadm.bash", "ctl/completions/_pollvsadm"] {
            assert_has(file, &words(file), &wanted);
        }
        let fish = read("ctl/completions/pollvsadm.fish");
        let names = fish.split(" -l ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        assert_has("fish", &names.map(|name| format!("--{name}")).collect(), &wanted);
    }
    if let Some(help) = help("pollvsd", "--help") {
        let file = "engine/completions/pollvsd.bash";
        assert_has(file, &words(file), &long(&options_of_help(&help)));
    }
}

/// Keys that the daemon reads: fields of the structures of its configuration.
fn keys_of_source(source: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut attributes = String::new();
    for line in source.lines() {
        if line.starts_with("    #[serde(") {
            attributes.push_str(line);
        } else if let Some((name, _)) =
            line.strip_prefix("    pub ").and_then(|rest| rest.split_once(": "))
        {
            let renamed = attributes.split_once("rename = \"").map(|(_, rest)| rest);
            let name = renamed.and_then(|rest| rest.split('"').next()).unwrap_or(name);
            if !name.contains(' ') && !attributes.contains("(skip)") {
                keys.insert(name.to_owned());
            }
            attributes.clear();
        }
    }
    keys
}

/// Keys and tables of a configuration file, those in comments too.
fn keys_of_example(example: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for line in example.lines().map(|line| line.trim_start_matches(['#', ' '])) {
        let key = line.split_once(" = ").map(|(key, _)| key);
        let table = line.strip_prefix('[').and_then(|rest| rest.split(']').next());
        let name = key.or(table).unwrap_or_default().trim_start_matches('[');
        let name = name.rsplit('.').next().unwrap_or_default();
        if !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
            keys.insert(name.to_owned());
        }
    }
    keys
}

#[test]
fn the_manual_of_the_configuration_has_every_key() {
    let page = read("engine/man/pollvs.toml.5");
    let entries =
        page.lines().filter(|line| line.starts_with(".It Va ") || line.starts_with(".Ss"));
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let has = entries.flat_map(|line| line.split(|c| !is_name(c))).map(str::to_owned).collect();

    for (file, some) in
        [("engine/src/config.rs", "connections_ipv6"), ("engine/src/tuning.rs", "source_ports")]
    {
        let keys = keys_of_source(&read(file));
        assert!(keys.contains(some), "{file} is not understood: {keys:?}");
        assert_has("pollvs.toml.5", &has, &keys);
    }
    for entry in fs::read_dir(root().join("configs")).unwrap() {
        let file = format!("configs/{}", entry.unwrap().file_name().into_string().unwrap());
        if file.ends_with(".toml") {
            let keys = keys_of_example(&read(&file));
            assert!(keys.contains("port") && keys.contains("device"), "{file}: {keys:?}");
            assert_has("pollvs.toml.5", &has, &keys);
        }
    }
    let list = read("dataplane/src/settings/list.rs");
    let (_, list) = list.split_once("pub const ALL").expect("the list of settings");
    let names = list.split("vs!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let names: BTreeSet<_> = names.map(str::to_owned).collect();
    assert!(names.contains("sync_threshold"), "the settings are not understood: {names:?}");
    assert_has("pollvs.toml.5", &has, &names);
}

#[test]
fn manuals_are_without_warnings() {
    let mut pages: Vec<PathBuf> = Vec::new();
    for folder in ["ctl/man", "engine/man"] {
        pages.extend(fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    assert_eq!(pages.len(), 6);
    let tools = [
        ("mandoc", &["-T", "lint", "-W", "warning"][..]),
        ("man", &["--warnings", "--encoding=UTF-8", "--local-file"]),
    ];
    for (tool, words) in tools {
        for page in &pages {
            let environment = [("LC_ALL", "C.UTF-8"), ("MANWIDTH", "80"), ("MANROFFSEQ", "")];
            let checked = Command::new(tool).args(words).arg(page).envs(environment).output();
            let Ok(checked) = checked else {
                eprintln!("skipped: no {tool} here");
                break;
            };
            let complaints = text(&checked.stderr);
            let is_sound = checked.status.success() && complaints.is_empty();
            assert!(is_sound, "{tool}: {complaints}{}", text(&checked.stdout));
        }
    }
}

/// A folder with a control command that knows one table.
fn table_program() -> TempDir {
    let place = folder();
    let body = "#!/bin/sh\n[ \"$*\" = -Sn ] && printf '%s\\n' '-A -t 10.0.0.1:80 -s wlc' \\\n\
                '-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1' '-A -u [2001:db8::1]:53 -s rr'\n";
    program(&place.path().join("ipvsadm"), body);
    place
}

/// What bash offers at the end of a line.
fn completed(file: &str, function: &str, line: &str) -> Option<BTreeSet<String>> {
    let code = ". \"$1\"; complete -p \"${3%% *}\" >/dev/null || exit; COMP_LINE=$3 COMP_POINT=${#3}; \
                read -ra COMP_WORDS <<<\"${3//:/ : }\"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                $2; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", code, "bash", file, function, line]);
    let (table, mut path) = (table_program(), std::ffi::OsString::new());
    path.push(table.path());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    bash.env("PATH", path);
    let Ok(output) = bash.current_dir(root()).output() else {
        eprintln!("skipped: no bash here");
        return None;
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
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
        (adm, "_pollvsadm", "pollvsadm mark -A -p t", &["tcp"]),
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
