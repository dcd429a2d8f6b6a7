//! What validation says, and which line it names.

use std::path::{Path, PathBuf};

use super::*;
use crate::origin::Origin;

/// The complaint about a file of this text.
fn complaint(text: &str) -> String {
    let mut config: Config = toml::from_str(text).unwrap();
    config.origin = Origin::of_file(PathBuf::from("x.toml"), text.to_owned());
    config.validate().map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn contradictions_are_refused_with_their_line() {
    let port = "[[port]]\ndevice = \"d0\"\naddresses = [\n\"10.9.0.1/16\",\n\"A\"]\n";
    let with = |address: &str| port.replace('A', address);
    let sound = with("10.1.0.1/31");
    assert_eq!(complaint(&sound), "");
    for (text, line, what) in [
        (String::new(), "", "no ports"),
        (with("10.9.0.1/24"), "line 5", "given twice"),
        (with("224.0.0.1/24"), "line 5", "multicast"),
        (with("127.0.0.1/24"), "line 5", "loopback"),
        (with("10.1.0.0/24"), "line 5", "address of its network"),
        (with("10.1.0.255/24"), "line 5", "network's broadcast"),
        (with("0.0.0.0/0"), "line 5", "no address of a host"),
        (with("::1/64"), "line 5", "loopback"),
        (with("ff02::1/64"), "line 5", "multicast"),
        (format!("{sound}{sound}"), "line 7", "d0 is named twice"),
        (format!("workers = 0\n{sound}"), "line 1", "workers is 0"),
        (format!("socket = \"\"\n{sound}"), "line 1", "is empty"),
        (format!("connections_ipv6 = 0\n{sound}"), "line 1", "connections_ipv6 is 0"),
        (format!("templates = 0\n{sound}"), "line 1", "templates is 0"),
        (
            format!("{sound}[[mark]]\nmark = 1\n[[mark]]\ndestination_ports = 80\nmark = 1\n"),
            "line 9",
            "destination_ports needs protocol",
        ),
        (
            format!(
                "{sound}[[mark]]\nprotocol = 17\nsource_ports = 80\nmark = 1\n\
                 [[mark]]\nmark = 2\nsource = \"::/0\"\ndestination = \"10.0.0.0/8\"\n"
            ),
            "line 13",
            "mark 2: destination is not of the same address family",
        ),
        (
            format!("{sound}{}", "[[mark]]\nmark = 3\n".repeat(1025)),
            "line 2055",
            "mark 3: there are 1024 rules already",
        ),
        (format!("{sound}mtu = 9000\n"), "line 6", "mtu is 9000, but must be 68 to 2030"),
        (format!("{sound}[[route]]\nto = \"::/0\"\nvia = \"::1\"\n"), "line 8", "loopback"),
        (
            format!("{sound}[[route]]\nto = \"0.0.0.0/0\"\nvia = \"1.2.3.4\"\n"),
            "line 8",
            "no network",
        ),
        (format!("{sound}[[route]]\nto = \"0.0.0.0/0\"\nvia = \"10.9.0.1\"\n"), "line 8", "itself"),
        (
            format!("{sound}[[neighbour]]\naddress = \"1.2.3.4\"\nmac = \"02:00:00:00:00:01\"\n"),
            "line 7",
            "no network",
        ),
    ] {
        let complaint = complaint(&text);
        assert!(complaint.contains(line) && complaint.contains(what), "{text}: {complaint}");
        assert_eq!(complaint.contains("x.toml"), !line.is_empty(), "{complaint}");
    }
}

#[test]
fn a_flag_is_not_blamed_on_the_file() {
    let text = "workers = 1\n[[port]]\ndevice = \"d0\"\n";
    let file = std::env::temp_dir().join(format!("pollvs-origin-{}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let mut config = Config::load(Path::new(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();
    config.workers = 0;
    config.origin.by_flag("workers");
    let error = config.validate().unwrap_err().to_string();
    assert_eq!(error, "workers is 0, but must be 1 to 127");
}
