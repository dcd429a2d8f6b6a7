//! `--json`: the documents are what `JSON.md` says, and say what the director has.

mod toy;

use std::collections::{BTreeMap, BTreeSet};

use ctl::backend::{ConnectionRow, DaemonRow, EngineData, Rates, mark_address};
use ctl::command::Role;
use ctl::refusal::Refusal;
use ctl::session::{Reply, run, run_with_input};
use ctl::sync::Handover;
use dataplane::service::{Family, Traffic};
use serde_json::{Value, json};
use toy::{RecordedNames, Toy, words};

const REFERENCE: &str = include_str!("../JSON.md");

fn ask(line: &str, toy: &mut Toy) -> Reply {
    run(&words(line), toy, &RecordedNames::default())
}

/// The text of a document, which is one line.
fn text(line: &str, toy: &mut Toy) -> String {
    let reply = ask(line, toy);
    assert_eq!((reply.status, reply.stderr.as_slice()), (0, &b""[..]), "{line}");
    let text = String::from_utf8(reply.stdout).expect("text");
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{line}: {text}");
    text
}

fn document(line: &str, toy: &mut Toy) -> Value {
    serde_json::from_str(&text(line, toy)).expect("a document")
}

/// A director in which every field has a value somewhere.
fn sample() -> Toy {
    let mut toy = Toy::default();
    let lines = "-A -f 8 -6 -s rr\n\
        -A -f 4294967295 -s rr -p 600 -M 255.255.255.0\n\
        -a -f 4294967295 -r 192.168.10.2 -g -w 2 -x 100 -y 10\n\
        -a -f 4294967295 -r 192.168.10.3 -i\n\
        -A -u [2001:db8::80]:53 -s mh -p 360 -M 64 --pe sip -o -b mh-fallback,flag-3\n\
        -A -t 10.0.0.1:80\n\
        -a -t 10.0.0.1:80 -r 192.168.10.2 -i -w 2 --tun-type gue --tun-port 6080 --tun-csum\n\
        -a -t 10.0.0.1:80 -r 192.168.10.1 -m\n\
        mark -A -s 10.1.2.3/8 -p tcp --sport 1024: --set-mark 4294967295\n\
        mark -A -d 2001:db8::/32 -p udp --dport 53 --set-mark 8\n\
        mark -A --set-mark 0\n";
    let names = RecordedNames::default();
    let reply = run_with_input(&words("pollvsadm -R"), lines.as_bytes(), &mut toy, &names);
    assert_eq!(reply, Reply::default());
    for row in &mut toy.services {
        row.traffic.connections = u64::MAX;
        row.rates.in_bytes = 6;
        for server in &mut row.servers {
            (server.active, server.inactive, server.persistent) = (3, 4, 5);
            server.traffic = Traffic {
                connections: 1,
                in_packets: 2,
                out_packets: 3,
                in_bytes: 4,
                out_bytes: 9_007_199_254_740_993,
            };
            server.rates =
                Rates { connections: 6, in_packets: 7, out_packets: 8, in_bytes: 9, out_bytes: 10 };
        }
    }
    let end = |text: &str| text.parse().expect("an end");
    let template = |family| ConnectionRow {
        protocol: "IP",
        client: end("10.9.0.0:0"),
        virtual_end: mark_address(0xfedc_ba98, family),
        real: end("10.1.0.1:0"),
        state: "NONE".into(),
        expires_s: 61,
        is_synced: false,
        engine: None,
    };
    toy.connections = vec![
        ConnectionRow {
            protocol: "UDP",
            client: end("[2001:db8::7]:5060"),
            virtual_end: end("[2001:db8::80]:53"),
            real: end("[::1.2.3.4]:53"),
            state: "UDP".into(),
            expires_s: 300,
            is_synced: true,
            engine: Some(EngineData { name: "sip".into(), data: "a\"b\\c\u{1}é".into() }),
        },
        template(Family::V4),
        template(Family::V6),
    ];
    toy.daemons = vec![
        DaemonRow {
            role: Role::Master,
            interface: "eth0".into(),
            sync_id: 7,
            max_length: 1472,
            group: Some("224.0.0.81".parse().expect("an address")),
            port: 8848,
            ttl: 1,
        },
        DaemonRow {
            role: Role::Backup,
            interface: "eth1".into(),
            sync_id: 0,
            max_length: 0,
            group: None,
            port: 0,
            ttl: 0,
        },
    ];
    toy.explanations = toy::packets::explanations();
    toy.taken = Some(toy::packets::taken());
    (toy.sync, toy.routers) = (toy::sync::state(), toy::sync::routers());
    toy
}

const LISTS: [(&str, &str); 16] = [
    ("-L", "pollvs/services/1"),
    ("-L -t 10.0.0.1:http", "pollvs/service/1"),
    ("-L -c", "pollvs/connections/1"),
    ("-L --timeout", "pollvs/timeouts/1"),
    ("-L --daemon", "pollvs/daemons/1"),
    ("drops", "pollvs/drops/1"),
    ("ports", "pollvs/ports/1"),
    ("workers", "pollvs/workers/1"),
    ("sync", "pollvs/sync/1"),
    ("vrrp", "pollvs/vrrp/1"),
    ("--sysctl", "pollvs/sysctl/1"),
    ("mark", "pollvs/marks/1"),
    ("explain -t 10.0.0.1:80 --from 10.9.0.1:40000", "pollvs/explain/1"),
    ("explain -t 10.0.0.1:80 --from 10.9.0.1:40001", "pollvs/explain/1"),
    ("explain -f 7 --from 10.9.0.1:40000", "pollvs/explain/1"),
    ("explain -u 10.0.0.1:80 --from 10.9.0.1:40000", "pollvs/explain/1"),
];

/// The tables of the reference: by name, each field's type.
fn reference() -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let mut tables = BTreeMap::new();
    for section in REFERENCE.split("\n## ").skip(1) {
        let (name, rest) = section.split_once('\n').expect("a title and its text");
        let mut fields = BTreeMap::new();
        for line in rest.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, field, kind, _unit, meaning, _] = cells[..] else { panic!("{line}") };
            assert!(!meaning.is_empty(), "{line}");
            let before = fields.insert(field.trim_matches('`'), kind);
            assert_eq!(before, None, "{line}");
        }
        assert!(tables.insert(name, fields).is_none(), "{name} is there twice");
    }
    tables
}

/// Compares a value with its documented type; notes every field that has had a value.
fn check(
    value: &Value,
    kind: &str,
    at: &str,
    seen: &mut BTreeSet<String>,
    tables: &BTreeMap<&str, BTreeMap<&str, &str>>,
) {
    if let Some(kind) = kind.strip_suffix(" or null") {
        if value.is_null() {
            seen.insert(format!("{at} null"));
        } else {
            check(value, kind, at, seen, tables);
        }
        return;
    }
    seen.insert(at.to_owned());
    if let Some(kind) = kind.strip_prefix("list of ") {
        for row in value.as_array().unwrap_or_else(|| panic!("{at} is {value}")) {
            check(row, kind, at, seen, tables);
        }
        return;
    }
    let fits = match kind {
        "text" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_f64(),
        "boolean" => value.is_boolean(),
        table => {
            let documented = tables.get(table).unwrap_or_else(|| panic!("no table {table}"));
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is {value}"));
            let printed: BTreeSet<&str> = object.keys().map(String::as_str).collect();
            assert_eq!(printed, documented.keys().copied().collect(), "fields of {table}");
            for (field, kind) in documented {
                check(&object[*field], kind, &format!("{table}.{field}"), seen, tables);
            }
            true
        }
    };
    assert!(fits, "{at} is {value}, not {kind}");
}

#[test]
fn the_reference_has_the_fields_that_are_printed_and_no_others() {
    let tables = reference();
    let mut toy = sample();
    let mut seen = BTreeSet::new();
    for (line, schema) in LISTS {
        let document = document(&format!("pollvsadm --json {line}"), &mut toy);
        assert_eq!(document["schema"], schema, "{line}");
        check(&document, schema, schema, &mut seen, &tables);
        if line == "workers" {
            // On a machine without a counter of cycles.
            toy.tsc_hz = None;
            let document = self::document("pollvsadm --json workers", &mut toy);
            check(&document, schema, schema, &mut seen, &tables);
        }
        if line == "sync" {
            // While no daemon runs.
            let document = self::document("pollvsadm --json sync", &mut Toy::default());
            check(&document, schema, schema, &mut seen, &tables);
        }
        let row = format!(" | `{schema}` |");
        let mut commands = REFERENCE.lines().filter(|line| line.ends_with(&row));
        let command = line.split_inclusive(' ').next().expect("a word").trim_end();
        assert!(commands.next().is_some_and(|row| row.contains(command)), "{schema}: {command}");
    }
    let taken = ask("pollvsadm --json trace --take 3 9", &mut toy);
    let taken = String::from_utf8(taken.stdout).expect("text");
    let packets = taken.strip_prefix("6 2\n").expect("the number of packets and of those lost");
    for line in packets.lines() {
        let document = serde_json::from_str(line).expect("a document");
        check(&document, "pollvs/trace/1", "pollvs/trace/1", &mut seen, &tables);
    }
    let schema = "pollvs/drain/1";
    for line in ["-f 4294967295 -r 192.168.10.3 --look 0", "-t 10.0.0.1:80 -r 192.168.10.2"] {
        let reply = ask(&format!("pollvsadm --json drain {line}"), &mut toy);
        assert_eq!(reply.status, 1, "connections are left");
        let document = serde_json::from_slice(&reply.stdout).expect("a document");
        check(&document, schema, schema, &mut seen, &tables);
    }
    let schema = "pollvs/handover/1";
    for state in [Handover::NotInStep("it fetches".into()), Handover::Given { pending: 1 }] {
        toy.handovers = vec![state];
        let reply = ask("pollvsadm --json handover", &mut toy);
        let document = serde_json::from_slice(&reply.stdout).expect("a document");
        check(&document, schema, schema, &mut seen, &tables);
    }
    for (table, fields) in &tables {
        for (field, kind) in fields {
            let at = format!("{table}.{field}");
            assert!(seen.contains(&at), "{at} has no value in any document");
            let nullable = kind.ends_with(" or null");
            assert_eq!(seen.contains(&format!("{at} null")), nullable, "{at} is {kind}");
        }
    }
}

#[test]
fn services_to_the_byte() {
    let server = |address: &str, method: &str, weight: u8| {
        format!(
            "{{\"address\":\"{address}\",\"port\":80,{method},\"weight\":{weight},\
             \"upper_threshold\":0,\"lower_threshold\":0,\"active_connections\":3,\
             \"inactive_connections\":4,\"persistent_connections\":5,\
             \"traffic\":{{\"connections\":1,\"in_packets\":2,\"out_packets\":3,\"in_bytes\":4,\
             \"out_bytes\":9007199254740993}},\
             \"rates\":{{\"connections_per_s\":6,\"in_packets_per_s\":7,\"out_packets_per_s\":8,\
             \"in_bytes_per_s\":9,\"out_bytes_per_s\":10}}}}"
        )
    };
    let nat = server("192.168.10.1", "\"method\":\"nat\",\"tunnel\":null", 1);
    let gue = "\"method\":\"tunnel\",\
               \"tunnel\":{\"type\":\"gue\",\"port\":6080,\"checksum\":\"full\"}";
    let tunnel = server("192.168.10.2", gue, 2);
    let expected = format!(
        "{{\"schema\":\"pollvs/service/1\",\"service\":{{\"family\":\"ipv4\",\"protocol\":\"tcp\",\
         \"address\":\"10.0.0.1\",\"port\":80,\"fwmark\":null,\"scheduler\":\"wlc\",\
         \"scheduler_flags\":[],\"one_packet\":false,\"persistence_s\":null,\
         \"persistence_engine\":null,\"client_netmask\":\"255.255.255.255\",\
         \"client_prefix_length\":null,\
         \"traffic\":{{\"connections\":18446744073709551615,\"in_packets\":0,\"out_packets\":0,\
         \"in_bytes\":0,\"out_bytes\":0}},\
         \"rates\":{{\"connections_per_s\":0,\"in_packets_per_s\":0,\"out_packets_per_s\":0,\
         \"in_bytes_per_s\":6,\"out_bytes_per_s\":0}},\
         \"servers\":[{nat},{tunnel}]}}}}\n"
    );
    let mut toy = sample();
    // All facts, whatever the columns; and wherever the word stands.
    for line in [
        "pollvsadm --json -L -t 10.0.0.1:80",
        "pollvsadm -L -t 10.0.0.1:80 --stats --json",
        "pollvsadm -L --json -t 10.0.0.1:http -n --rate --exact",
    ] {
        assert_eq!(text(line, &mut toy), expected, "{line}");
    }
}

#[test]
fn services_in_order() {
    let mut toy = sample();
    let keys = |line: &str, toy: &mut Toy| {
        let document = document(line, toy);
        assert_eq!(document["connection_table_size"], 4096);
        let services = document["services"].as_array().expect("a list").clone();
        let key = |row: &Value| json!([row["family"], row["protocol"], row["fwmark"]]);
        services.iter().map(key).collect::<Vec<_>>()
    };
    let tcp = json!(["ipv4", "tcp", null]);
    let udp = json!(["ipv6", "udp", null]);
    let (all_ones, eight) = (json!(["ipv4", null, u32::MAX]), json!(["ipv6", null, 8]));
    let sorted = [all_ones.clone(), tcp.clone(), udp.clone(), eight.clone()];
    assert_eq!(keys("pollvsadm --json", &mut toy), sorted, "as -Ln has it");
    let unsorted = [udp, tcp, eight, all_ones];
    assert_eq!(keys("pollvsadm --json -L --nosort", &mut toy), unsorted, "as the director has it");
    let udp = &document("pollvsadm --json -L", &mut toy)["services"][2];
    assert_eq!(udp["scheduler_flags"], json!(["mh-fallback", "flag-3"]));
    assert_eq!(udp["client_prefix_length"], 64);
    assert_eq!((&udp["persistence_engine"], &udp["one_packet"]), (&json!("sip"), &json!(true)));
}

#[test]
fn connections_and_short_lists() {
    let mut toy = sample();
    let connections = document("pollvsadm -L --json -c", &mut toy);
    let template = json!({
        "protocol": "ip", "state": "NONE", "expires_s": 61, "synced": false,
        "client_address": "10.9.0.0", "client_port": 0, "fwmark": 0xfedc_ba98_u32,
        "virtual_address": null, "virtual_port": null,
        "server_address": "10.1.0.1", "server_port": 0,
        "persistence_engine": null, "persistence_data": null,
    });
    let call = json!({
        "protocol": "udp", "state": "UDP", "expires_s": 300, "synced": true,
        "client_address": "2001:db8::7", "client_port": 5060, "fwmark": null,
        "virtual_address": "2001:db8::80", "virtual_port": 53,
        "server_address": "::102:304", "server_port": 53,
        "persistence_engine": "sip", "persistence_data": "a\"b\\c\u{1}é",
    });
    assert_eq!(connections["connections"], json!([call, template, template]));
    let timeouts =
        "{\"schema\":\"pollvs/timeouts/1\",\"tcp_s\":900,\"tcp_fin_s\":120,\"udp_s\":300}\n";
    assert_eq!(text("pollvsadm --json -L --timeout", &mut toy), timeouts);
    let drops = document("pollvsadm --json drops", &mut toy);
    let reasons = dataplane::verdict::DropReason::COUNT as u64;
    assert_eq!((&drops["received"], &drops["transmitted"]), (&json!(7), &json!(5)));
    assert_eq!(drops["dropped"], reasons * (reasons + 1) / 2);
    assert_eq!(drops["reasons"][0]["name"], "ethernet_short");
    assert_eq!(
        (&drops["ports"][0]["name"], &drops["ports"][0]["missed"]),
        (&json!("net_null0"), &json!(11))
    );
    let marks = "{\"schema\":\"pollvs/marks/1\",\"rules\":[\
        {\"number\":1,\"source\":\"10.0.0.0/8\",\"destination\":null,\"protocol\":\"tcp\",\
        \"source_ports\":{\"first\":1024,\"last\":65535},\"destination_ports\":null,\"mark\":4294967295},\
        {\"number\":2,\"source\":null,\"destination\":\"2001:db8::/32\",\"protocol\":\"udp\",\
        \"source_ports\":null,\"destination_ports\":{\"first\":53,\"last\":53},\"mark\":8},\
        {\"number\":3,\"source\":null,\"destination\":null,\"protocol\":null,\
        \"source_ports\":null,\"destination_ports\":null,\"mark\":0}]}\n";
    for line in ["mark --json", "mark -L --json", "--json mark -L --line-numbers"] {
        assert_eq!(text(&format!("pollvsadm {line}"), &mut toy), marks, "{line}");
    }
}

/// A list of one reason.
fn reason(name: &str, count: u64, meaning: &str) -> Value {
    json!([{"name": name, "count": count, "meaning": meaning}])
}

#[test]
fn sync_daemons() {
    let mut toy = sample();
    let sync = document("pollvsadm --json sync", &mut toy);
    let master = json!({
        "records": 9_007_199_254_740_993_u64, "records_per_s": 2, "messages": 3, "bytes": 4,
        "overruns": 5, "queue_full": 6, "send_errors": 7,
        "unsent": reason("version_0_ipv6", 8, "Version 0 has no IPv6."), "waiting": 9, "lag_us": 10,
        "followers": [{"address": "192.0.2.2", "records": 11, "in_step": true}],
    });
    let backup = json!({
        "records": 1, "records_per_s": 2, "messages": 3, "bytes": 4,
        "rejects": reason("short", 5, "Shorter than a message header."),
        "seal_rejects": reason("replayed", 6, "Seen before."), "overruns": 7, "waiting": 8,
        "made": 9, "unbound": 10, "updated": 11, "late": 12, "no_room": 13, "unfit": 14,
        "senders": [{"address": "2001:db8::1", "pollvs": true, "messages": 1, "lost": 2,
            "heard_ms": 3, "fetched": 4, "fetched_records": 5, "failed": 6, "in_step": false},
            {"address": "2001:db8::1", "pollvs": false, "messages": 1, "lost": null,
            "heard_ms": 3, "fetched": null, "fetched_records": null, "failed": null,
            "in_step": null}],
        "crowd": 15,
    });
    let expected = json!({"schema": "pollvs/sync/1", "master": master, "backup": backup});
    assert_eq!(sync, expected);
    let daemons = |toy: &mut Toy| document("pollvsadm --json -L --daemon", toy)["daemons"].take();
    let expected = json!([
        {"role": "master", "interface": "eth0", "sync_id": 7, "max_length": 1472,
         "group": "224.0.0.81", "port": 8848, "ttl": 1, "master": master, "backup": null},
        {"role": "backup", "interface": "eth1", "sync_id": 0, "max_length": null,
         "group": null, "port": null, "ttl": null, "master": null, "backup": backup},
    ]);
    assert_eq!(daemons(&mut toy), expected);
    // A daemon that has just begun, or ended.
    toy.sync.master = None;
    assert_eq!(daemons(&mut toy)[0]["master"], Value::Null);
    assert_eq!(document("pollvsadm --json sync", &mut toy)["master"], Value::Null);
    // The text is ipvsadm's.
    let text = "master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, \
                ttl=1)\nbackup sync daemon (mcast=eth1, syncid=0)\n";
    assert_eq!(ask("pollvsadm -L --daemon", &mut toy).stdout, text.as_bytes());
}

#[test]
fn virtual_routers() {
    let routers = document("pollvsadm vrrp --json", &mut sample());
    let first = json!({
        "name": "web", "vrid": 51, "version": 3, "interface": "eth0", "state": "BACKUP",
        "reason": "another director has a higher priority", "since_s": 1, "priority": 100,
        "configured_priority": 150, "interval_ms": 1000, "master": "192.0.2.2", "released": true,
        "group": "all", "addresses": ["192.0.2.10"], "became_master": 2, "sent": 3, "received": 4,
        "announced": 5, "rejects": reason("ttl", 6, "Time to live is not 255."),
    });
    assert_eq!((&routers["schema"], &routers["routers"][0]), (&json!("pollvs/vrrp/1"), &first));
    assert_eq!(routers["routers"][1]["master"], Value::Null);
    let none = "{\"schema\":\"pollvs/vrrp/1\",\"routers\":[]}\n";
    assert_eq!(text("pollvsadm --json vrrp", &mut Toy::default()), none);
}

#[test]
fn settings() {
    let mut toy = Toy::default();
    let all = document("pollvsadm --sysctl --json", &mut toy);
    let all = all["settings"].as_array().expect("a list");
    assert_eq!(all.len(), dataplane::settings::ALL.len());
    for (row, setting) in all.iter().zip(dataplane::settings::ALL) {
        assert_eq!(row["value"], setting.read(&toy.settings), "{row}");
        assert_eq!((&row["name"], &row["acts"]), (&json!(setting.name), &json!(setting.acts)));
    }
    let some = document("pollvsadm --json --sysctl sync_threshold net/ipv4/ip_forward", &mut toy);
    assert_eq!(some["settings"].as_array().map(Vec::len), Some(2));
    assert_eq!(some["settings"][0]["value"], "3\t50");
    assert_eq!(some["settings"][1]["name"], "net.ipv4.ip_forward");
}

#[test]
fn ports_and_workers() {
    let mut toy = Toy::default();
    let ports = document("pollvsadm ports --json", &mut toy);
    let first = &ports["ports"][0];
    assert_eq!(first["total"]["frames_in"], 9_007_199_254_740_993_u64);
    assert_eq!(
        (&first["total"]["missed"], &first["per_second"]["bytes_out"]),
        (&json!(3), &json!(1500))
    );
    assert_eq!(first["mac"], "02:00:00:00:00:01");
    let tagged = json!({"network": "2001:db8::1/64", "vlan": 5});
    assert_eq!(first["addresses"], json!([{"network": "10.0.0.254/8", "vlan": null}, tagged]));
    assert_eq!((&first["link_up"], &first["link_speed_mbps"]), (&json!(true), &json!(10_000)));
    let workers = document("pollvsadm --json workers", &mut toy);
    let total = json!({
        "polls": 100, "busy_polls": 20, "bursts": 30, "frames": 90, "transmitted": 80,
        "handed_over": 10, "busy_ns": 4500, "run_ns": 30_000, "busy_share": 0.15,
        "frames_per_burst": 3.0, "ns_per_frame": 50.0, "cycles_per_frame": 150.0,
    });
    assert_eq!(workers["workers"][0]["total"], total);
    assert_eq!(workers["workers"][1]["total"]["ns_per_frame"], Value::Null);
    assert_eq!(
        (&workers["tsc_hz"], &workers["workers"][0]["core"]),
        (&json!(3_000_000_000_u64), &json!(6))
    );
}

#[test]
fn failures_are_those_of_the_text() {
    for line in [
        "-L -f 9",
        "-L -q",
        "-L extra",
        "-q",
        "drops now",
        "ports now",
        "workers -n",
        "sync now",
        "vrrp -n",
        "--sysctl nosuch",
        "--sysctl sloppy_tcp nosuch sync_threshold",
        "mark -L -i eth0",
        "mark -A -i eth0",
        "-h",
        "-v",
    ] {
        let plain = ask(&format!("pollvsadm {line}"), &mut Toy::default());
        let json = ask(&format!("pollvsadm --json {line}"), &mut Toy::default());
        assert_eq!(plain, json, "{line}");
    }
    for (list, _) in LISTS {
        let broken = || Toy { broken: Some(Refusal::PermissionDenied), ..Toy::default() };
        let plain = ask(&format!("pollvsadm {list}"), &mut broken());
        let json = ask(&format!("pollvsadm {list} --json"), &mut broken());
        assert_eq!((plain.status, plain.stdout.as_slice()), (1, &b""[..]), "{list}");
        assert_eq!(plain, json, "{list}");
    }
}

#[test]
fn what_is_no_listing_is_refused_and_not_done() {
    for line in [
        "-A -f 1",
        "-C",
        "-Z",
        "-S",
        "-R",
        "--set 1 1 1",
        "--start-daemon master --mcast-interface lo",
        "--sysctl sloppy_tcp=1",
        "--sysctl sloppy_tcp nosuch=1",
        "mark -A --set-mark 1",
        "mark -F",
    ] {
        let mut toy = sample();
        for line in [format!("pollvsadm --json {line}"), format!("pollvsadm {line} --json")] {
            let argv = words(&line);
            let reply = run_with_input(&argv, b"-C\n", &mut toy, &RecordedNames::default());
            let error = String::from_utf8(reply.stderr).expect("text");
            assert_eq!((reply.status, reply.stdout.as_slice()), (2, &b""[..]), "{line}");
            assert!(error.starts_with("--json goes with listings only"), "{line}: {error}");
        }
        let before = sample();
        assert_eq!((&toy.services, &toy.marks), (&before.services, &before.marks), "{line}");
        assert_eq!((toy.settings, toy.timeouts), (before.settings, before.timeouts), "{line}");
        assert_eq!(toy.daemons, before.daemons, "{line}");
    }
}

#[test]
fn ipvsadm_does_not_know_the_word() {
    let mut toy = Toy::default();
    for line in ["/sbin/ipvsadm --json -L", "ipvsadm -L --json"] {
        let reply = ask(line, &mut toy);
        assert_eq!((reply.status, reply.stdout.as_slice()), (255, &b""[..]), "{line}");
    }
}

#[test]
fn a_restore_may_list() {
    let mut toy = Toy::default();
    let input = b"-A -f 1\n--json -L --timeout\nmark --json\n-A -f 2\n";
    let argv = words("pollvsadm -R");
    let reply = run_with_input(&argv, input, &mut toy, &RecordedNames::default());
    let lines = String::from_utf8(reply.stdout).expect("text");
    let schemas: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a document")["schema"].clone())
        .collect();
    assert_eq!(schemas, ["pollvs/timeouts/1", "pollvs/marks/1"]);
    assert_eq!((reply.status, toy.services.len()), (0, 2));
}
