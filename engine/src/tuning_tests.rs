//! What the tuning tables make of their values, and what is said of wrong ones.

use dataplane::connection::state::State;
use dataplane::mark::mark_of;

use crate::config::Config;

fn load(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
}

#[test]
fn settings_are_set_by_any_form_of_their_names() {
    let config = load(
        "[sysctl]\nconn_reuse_mode = 0\nsync_threshold = \"5 0\"\nsecure_tcp = 2\n\
         \"net.ipv4.vs.sloppy_tcp\" = \"1\"\nnet.ipv4.icmp_ratelimit = 0\n\
         [sysctl.net.ipv4.vs]\ndrop_entry = 3\n",
    );
    let settings = config.unwrap().settings();
    assert_eq!((settings.conn_reuse_mode, settings.sync_threshold), (0, [5, 0]));
    assert_eq!((settings.secure_tcp, settings.sloppy_tcp, settings.drop_entry), (1, 1, 3));
    assert_eq!(settings.icmp_ratelimit_ms, 0);
    assert_eq!(load("").unwrap().settings(), dataplane::settings::Settings::default());
}

#[test]
fn timeouts_are_those_of_set() {
    let settings = load("[timeouts]\ntcp = 100\nudp = 2678400\n").unwrap().settings();
    let seconds = [State::Established, State::FinWait, State::Udp, State::TimeWait]
        .map(|state| settings.timeouts.seconds(state));
    assert_eq!(seconds, [100, 120, 2_678_400, 120]);
}

#[test]
fn marks_are_given_by_rule() {
    let config = load(
        "[[mark]]\nprotocol = \"tcp\"\ndestination = \"207.175.44.110/31\"\n\
         destination_ports = \"80:443\"\nmark = 1\n\
         [[mark]]\nprotocol = 6\nsource = \"10.0.0.0/8\"\nsource_ports = 7\nmark = 0xffffffff\n",
    );
    let rules = config.unwrap().mark_rules();
    let mark = |source: (&str, u16), destination: (&str, u16)| {
        let end = |(address, port): (&str, u16)| (address.parse().unwrap(), port);
        mark_of(&rules, 6, end(source), end(destination))
    };
    assert_eq!(mark(("10.9.0.7", 8), ("207.175.44.111", 443)), 1);
    assert_eq!(mark(("10.9.0.7", 7), ("207.175.44.111", 443)), u32::MAX);
    assert_eq!(mark(("10.9.0.7", 8), ("207.175.44.111", 444)), 0);
}

#[test]
fn an_error_names_its_line_and_what_was_expected() {
    for (text, line, expected) in [
        ("[sysctl]\nsloppy_tcp = 1\nnosuch = 1\n", "line 3", "no setting is called \"nosuch\""),
        ("[sysctl]\nnet.ipv4.vs.nosuch = 1\n", "line 2", "\"net.ipv4.vs.nosuch\""),
        ("[sysctl]\n\nsecure_tcp = 4\n", "line 3", "secure_tcp: expected 0, 1, 2 or 3, not \"4\""),
        ("[sysctl]\nsync_threshold = \"5 5\"\n", "line 2", "two integers"),
        ("[sysctl]\nsloppy_tcp = true\n", "line 2", "expected an integer or text"),
        ("sysctl = 5\n", "line 1", "expected a table"),
        ("[timeouts]\ntcp = 0\n", "line 2", "expected seconds, 1 to 2678400, not 0"),
        ("[timeouts]\nudp = 2678401\n", "line 2", "1 to 2678400"),
        ("[timeouts]\ntcp_fin = 1\n", "line 2", "unknown field `tcp_fin`"),
        ("[[mark]]\nprotocol = \"tpc\"\nmark = 1\n", "line 2", "expected \"tcp\""),
        ("[[mark]]\nprotocol = true\nmark = 1\n", "line 2", "expected \"tcp\""),
        ("[[mark]]\nprotocol = 256\nmark = 1\n", "line 2", "protocol number"),
        ("[[mark]]\ndestination = \"10.0.0.0/33\"\nmark = 1\n", "line 2", "ADDRESS/LENGTH"),
        ("[[mark]]\ndestination_ports = \"443:80\"\nmark = 1\n", "line 2", "\"80:443\""),
        ("[[mark]]\nsource_ports = 65536\nmark = 1\n", "line 2", "expected a port"),
        ("[[mark]]\nmark = 4294967296\n", "line 2", "4294967296"),
        ("[[mark]]\nprotocol = \"tcp\"\n", "line 1", "missing field `mark`"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(line) && error.contains(expected), "{text}: {error}");
    }
}
