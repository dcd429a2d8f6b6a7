//! Names, defaults and ranges of settings, held against recordings of two kernels.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::*;

/// What `sysctl net.ipv4.vs` printed under Linux 6.1 and 6.12.
const RECORDED: [&str; 2] = [
    include_str!("../../tests/data/sysctl-6.1.txt"),
    include_str!("../../tests/data/sysctl-6.12.txt"),
];

/// Names that only later kernels have, or that are not IPVS's.
const NOT_RECORDED: [(&str, &str); 7] = [
    ("net.ipv4.icmp_msgs_burst", "50"),
    ("net.ipv4.icmp_msgs_per_sec", "1000"),
    ("net.ipv4.icmp_ratelimit", "1000"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.vs.conn_lfactor", "-4"),
    ("net.ipv4.vs.conn_max", "1073741824"),
    ("net.ipv4.vs.svc_lfactor", "-3"),
];

/// The value after a change, or `None` when it is refused; then nothing may have changed.
fn after(name: &str, value: &str) -> Option<String> {
    let mut settings = Settings::default();
    match settings.set(name, value) {
        Ok(()) => settings.get(name),
        Err(error) => {
            assert!(matches!(error, SettingError::Invalid(_)), "{name}");
            assert_eq!(settings, Settings::default(), "{name}={value}");
            None
        }
    }
}

#[test]
fn defaults_are_the_recorded_ones() {
    let settings = Settings::default();
    let mut names: BTreeSet<&str> = NOT_RECORDED.iter().map(|(name, _)| *name).collect();
    let lines = RECORDED.iter().flat_map(|text| text.lines());
    for (name, value) in lines.map(|line| line.split_once(" = ").unwrap()).chain(NOT_RECORDED) {
        names.insert(name);
        // This one depends on the machine's memory; the first recording's is taken.
        if (name, value) != ("net.ipv4.vs.sync_qlen_max", "7266") {
            assert_eq!(settings.get(name).as_deref(), Some(value), "{name}");
        }
    }
    let all: Vec<_> = ALL.iter().map(|setting| setting.name).collect();
    assert_eq!(all, names.into_iter().collect::<Vec<_>>(), "every name, in order, and no other");
}

#[test]
fn every_default_can_be_written_back_and_every_setting_has_a_place_of_its_own() {
    for setting in ALL {
        let mut settings = Settings::default();
        settings.set(setting.name, &setting.read(&settings)).unwrap();
        assert_eq!(settings, Settings::default(), "{}", setting.name);
        // 0, 1 and 4 are taken by all but three, and by no setting is each of them the default.
        let changed = ["0", "1", "4"].into_iter().find(|value| {
            settings.set(setting.name, value).is_ok() && settings != Settings::default()
        });
        assert!(changed.is_some(), "{}", setting.name);
        let others = ALL.iter().filter(|other| other.name != setting.name);
        for other in others {
            assert_eq!(other.read(&settings), other.read(&Settings::default()), "{}", other.name);
        }
        assert!(!setting.text.is_empty() && !setting.text.ends_with('.'), "{}", setting.name);
    }
}

#[test]
fn names_may_lack_their_beginning_and_have_slashes() {
    let settings = Settings::default();
    for name in ["conn_reuse_mode", "net.ipv4.vs.conn_reuse_mode", "net/ipv4/vs/conn_reuse_mode"] {
        assert_eq!(settings.get(name).as_deref(), Some("1"), "{name}");
    }
    for name in [
        "",
        ".",
        "conn_reuse",
        "vs.conn_reuse_mode",
        "net.ipv4.vs.",
        "timeout_udp",
        "net.ipv4.conn_reuse_mode",
        "icmp_ratelimit",
        "ip_forward",
        "Conn_reuse_mode",
    ] {
        assert_eq!(settings.get(name), None, "{name}");
        assert!(matches!(Settings::default().set(name, "1"), Err(SettingError::Unknown)), "{name}");
    }
    assert_eq!(settings.get("net.ipv4.icmp_ratelimit").as_deref(), Some("1000"));
}

#[test]
fn values_are_taken_and_read_back_as_the_kernel_does() {
    for (name, value, read) in [
        ("conn_reuse_mode", "4", "4"),
        ("conn_reuse_mode", "-1", "-1"),
        ("sloppy_tcp", " 7\n", "7"),
        ("secure_tcp", "2", "1"),
        ("drop_entry", "2", "1"),
        ("drop_packet", "2", "1"),
        ("drop_packet", "3", "3"),
        ("amemthresh", "-5", "-5"),
        ("sync_threshold", "5 0", "5\t0"),
        ("sync_threshold", "0\t0", "0\t0"),
        ("sync_threshold", "5", "5\t50"),
        ("sync_ports", "128", "128"),
        ("sync_retries", "3", "3"),
        ("sync_persist_mode", "2", "2"),
        ("sync_qlen_max", "18446744073709551615", "18446744073709551615"),
        ("debug_level", "13", "13"),
        ("conn_max", "0", "0"),
        ("conn_lfactor", "-8", "-8"),
        ("est_nice", "-20", "-20"),
        ("est_cpulist", "5,0-2,127,3", "0-3,5,127"),
        ("est_cpulist", "", ""),
        ("lblc_expiration", "21474836", "21474836"),
        ("net.ipv4.icmp_ratelimit", "0", "0"),
        ("net.ipv4.ip_forward", "0", "0"),
    ] {
        assert_eq!(after(name, value).as_deref(), Some(read), "{name}={value}");
    }
}

#[test]
fn values_out_of_range_change_nothing() {
    for (name, values) in [
        ("secure_tcp", &["4", "-1", "", "x", "1 2", "0x1", "2147483648", "01", "+1", "1.0"][..]),
        ("drop_entry", &["4", "-1"]),
        ("drop_packet", &["4", "-1"]),
        ("conn_reuse_mode", &["2147483648", "-2147483649", "-", "--1", ""]),
        ("sync_threshold", &["5 5", "6 5", "-1 5", "0 -1", "1 2 3", "60", "", "1 x"]),
        ("sync_ports", &["3", "0", "-1", "-2147483648"]),
        ("sync_qlen_max", &["-1", "18446744073709551616"]),
        ("sync_retries", &["4", "-1"]),
        ("sync_version", &["2", "-1"]),
        ("conn_max", &["-1", "1073741825"]),
        ("conn_lfactor", &["9", "-9"]),
        ("svc_lfactor", &["9", "-9"]),
        ("est_nice", &["20", "-21"]),
        ("est_cpulist", &["128", "2-1", "0,", "a", "-1"]),
        ("lblc_expiration", &["-1", "21474837"]),
        ("net.ipv4.icmp_msgs_burst", &["-1"]),
    ] {
        for value in values {
            assert_eq!(after(name, value), None, "{name}={value}");
        }
    }
}

#[test]
fn a_refusal_says_what_is_taken() {
    let text = |name: &str| Settings::default().set(name, "?").unwrap_err().to_string();
    assert_eq!(text("secure_tcp"), "expected 0, 1, 2 or 3");
    assert_eq!(text("sync_retries"), "expected an integer of 0 to 3");
    assert_eq!(text("sloppy_tcp"), "expected an integer");
    assert_eq!(text("nosuch"), "no such setting");
}

#[test]
fn the_stricter_table_is_in_force_in_mode_3_only() {
    let mut settings = Settings::default();
    for (value, defence) in [("1", Defence::Normal), ("3", Defence::Strict), ("2", Defence::Normal)]
    {
        settings.set("secure_tcp", value).unwrap();
        assert_eq!(settings.defence(), defence, "{value}");
    }
}
