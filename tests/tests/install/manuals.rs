//! The manuals have every option and every key, and are without warnings.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use crate::{assert_has, control_help, daemon_help, options_of_help, read, root, skip, text};

/// The options that a manual has an entry for: arguments of the macro `Fl`.
fn options_of_manual(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_heading = false; // Xo to Xc: that of an entry, over several lines
    for line in page.lines() {
        is_heading = line.starts_with(".It Xo") || is_heading && line != ".Xc";
        if !is_heading && !line.starts_with(".It ") {
            continue;
        }
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

fn assert_manual_has(page: &str, help: &str, least: usize) {
    let wanted = options_of_help(help);
    assert!(wanted.len() >= least, "the help for {page} is not understood: {wanted:?}");
    assert_has(page, &options_of_manual(&read(page)), &wanted);
}

#[test]
fn the_manual_has_every_option_of_the_help() {
    assert_manual_has("ctl/man/pollvsadm.8", &control_help(), 80);
}

#[test]
fn the_manual_of_the_daemon_has_every_option_of_the_help() {
    let Some(help) = daemon_help() else { return };
    assert_manual_has("engine/man/pollvsd.8", &help, 16);
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

/// Shows every manual to a program that finds faults in them.
fn assert_no_complaints(tool: &str, words: &[&str]) {
    let mut pages: Vec<PathBuf> = Vec::new();
    for folder in ["ctl/man", "engine/man"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        pages.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    assert_eq!(pages.len(), 6);
    for page in &pages {
        let environment = [("LC_ALL", "C.UTF-8"), ("MANWIDTH", "80"), ("MANROFFSEQ", "")];
        let checked = Command::new(tool).args(words).arg(page).envs(environment).output();
        let checked = match checked {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return skip(&format!("no {tool} here"));
            }
            checked => checked.expect("it can be started"),
        };
        let complaints = text(&checked.stderr);
        let is_sound = checked.status.success() && complaints.is_empty();
        assert!(is_sound, "{tool}: {complaints}{}", text(&checked.stdout));
    }
}

#[test]
fn mandoc_finds_no_fault_in_the_manuals() {
    assert_no_complaints("mandoc", &["-T", "lint", "-W", "warning"]);
}

#[test]
fn man_finds_no_fault_in_the_manuals() {
    assert_no_complaints("man", &["--warnings", "--encoding=UTF-8", "--local-file"]);
}
