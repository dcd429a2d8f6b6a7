//! Configurations that load, and what is said of those that do not.

use super::*;

fn load(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

#[test]
fn shipped_configurations_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    names.sort();
    for file in &names {
        let config = Config::load(file).unwrap_or_else(|error| panic!("{error}"));
        config.validate().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!config.rules.is_empty(), "{}", file.display());
        for rule in &config.rules {
            let argv: Vec<String> =
                ["pollvsd"].into_iter().chain(rule.split_whitespace()).map(str::to_owned).collect();
            let parsed = ctl::args::parse(&argv, &ctl::names::NumericNames);
            assert!(parsed.is_ok(), "{}: {rule}: {parsed:?}", file.display());
        }
    }
    let stems: Vec<_> = names.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    assert_eq!(stems, ["direct", "ha", "nat", "tunnel"]);
}

#[test]
fn an_error_names_its_line_and_what_was_expected() {
    let cases = [
        ("workers = 1\nconections = 5\n", "line 2", "unknown field `conections`"),
        (
            "\n\n[[port]]\ndevice = \"d0\"\naddresses = [\"10.0.0.1/40\"]\n",
            "line 5",
            "ADDRESS/LENGTH",
        ),
        ("[[port]]\naddresses = []\n", "line 1", "missing field `device`"),
        ("[[neighbour]]\naddress = \"10.0.0.1\"\nmac = \"1:2\"\n", "line 3", "MAC like"),
        ("[[route]]\nto = \"0.0.0.0/0\"\nvia = \"x\"\n", "line 3", "IP address"),
        ("idle = \"sleep\"\n", "line 1", "spin"),
        ("workers = -1\n", "line 1", "-1"),
        ("workers =\n", "line 1", ""),
    ];
    for (text, line, expected) in cases {
        let error = load(text).unwrap_err();
        assert!(error.contains(line) && error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn link_layer_addresses_are_of_one_machine() {
    assert!(parse_mac("02:00:00:00:00:01").is_some());
    for bad in ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:00:00:00:00"] {
        assert_eq!(parse_mac(bad), None, "{bad}");
    }
}

#[test]
fn what_is_commented_out_loads_too() {
    let nat = include_str!("../../configs/nat.toml");
    let (head, tuning) = nat.split_once("# More that can be tuned.").unwrap();
    let tuning: Vec<_> =
        tuning.lines().skip(1).map(|line| line.trim_start_matches(['#', ' '])).collect();
    let config = load(&(tuning.join("\n") + "\n")).unwrap();
    assert_eq!(config.settings(), Settings::default());
    assert_eq!((config.connections, config.templates), (1 << 20, 1 << 16));
    assert_eq!(config.connections_ipv6_per_worker(), 1 << 18);
    assert_eq!(load(head).unwrap().connections_ipv6_per_worker(), 1 << 18);
    assert_eq!(config.mark_rules().len(), 1);
}
