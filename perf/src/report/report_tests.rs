use super::*;

const LINES: &str = r#"
{"machine":{"cpu":"A | B","cores":2,"kernel":"6.1","commit":"abc"}}
{"bench":"dataplane","method":"ipip","family":4,"protocol":"tcp","connections":1024,"workers":1,"ns_per_packet":11.5,"min":11.0,"max":13.0,"repeats":5,"allocations":0,"peer":"limit probe","peer_median":5.75,"ratio":2.0}
{"bench":"dataplane","method":"ipip","family":4,"protocol":"tcp","connections":1048576,"workers":1,"ns_per_packet":26.0,"min":24.0,"max":30.0,"repeats":5,"allocations":0,"peer":"limit probe","peer_median":20.0,"ratio":1.3}
{"bench":"dataplane","case":"engine loop","allocations":0}
"#;

fn results() -> Results {
    read("dataplane".into(), LINES).unwrap()
}

#[test]
fn lines_are_read_and_bad_ones_named() {
    let results = results();
    assert_eq!(results.rows.len(), 3);
    assert_eq!(word(results.machine.as_ref().unwrap(), "kernel"), Some("6.1"));
    let error = read("x".into(), "{\"bench\":\"x\"}\n{\"ben").unwrap_err();
    assert_eq!(error.to_string(), "line 2");
}

#[test]
fn tables_have_the_fields_present_in_their_order() {
    let results = results();
    let rows: Vec<_> = results.rows.iter().collect();
    let text = table::markdown(&rows);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "All rows: allocations 0.");
    assert!(lines[2].starts_with("| case | method | family | protocol | connections |"), "{text}");
    assert!(lines[4].starts_with("|  | ipip | 4 | tcp | 1024 | 1 | 11.50 | 11.00 |"), "{text}");
    assert!(lines[6].starts_with("| engine loop |  |  |"), "{text}");
    let bars = |line: &str| line.matches('|').count();
    assert!(lines[2..].iter().all(|line| bars(line) == bars(lines[2])), "{text}");
}

#[test]
fn the_report_says_what_was_reached() {
    let results = [results()];
    let rows: Vec<_> = results[0].rows.iter().collect();
    let text = markdown(&results, &plots::all(&rows));
    for part in [
        "Machine: cpu A \\| B, cores 2",
        "| IPv4 ipip, 1024 connections: ns per packet | ≤ 12.00 | 11.50 | yes | 5.75 | 2.00 |",
        "| IPv4 ipip, 1048576 connections: ns per packet | ≤ 25.00 | 26.00 | no | 20.00 | 1.30 |",
        "| allocations | ≤ 0.00 | 0.00 | yes |  |  |",
        "![Cost of a packet, IP tunnel, one core](dataplane-ipip.svg)",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("dataplane-nat.svg") && !text.contains("IPv6"), "{text}");
}

#[test]
fn plots_show_every_point_and_label() {
    let results = results();
    let rows: Vec<_> = results.rows.iter().collect();
    let plots = plots::all(&rows);
    let [(name, chart)] = plots.as_slice() else { unreachable!("one method was measured") };
    assert_eq!(name, "dataplane-ipip.svg");
    let svg = chart.svg();
    for label in [
        "1 Ki",
        "64 Ki",
        "1 Mi",
        "4 Mi",
        "ns per packet",
        "pollvs IPv4 TCP",
        "Katran IPIP, published",
    ] {
        assert!(svg.contains(&format!(">{label}<")), "{label}");
    }
    // Ours and the probe's two, Katran's and DPVS's three.
    assert_eq!(svg.matches("<circle").count(), 10);
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    // What takes longer is higher up, and more connections are further right.
    let centres: Vec<(f64, f64)> = svg
        .lines()
        .filter(|line| line.starts_with("<circle"))
        .map(|line| {
            let value = |name: &str| line.split_once(name).unwrap().1.split('"').nth(1).unwrap();
            (value("cx").parse().unwrap(), value("cy").parse().unwrap())
        })
        .collect();
    assert!(centres[1].0 > centres[0].0 && centres[1].1 < centres[0].1, "{centres:?}");
}

#[test]
fn latency_has_a_line_for_each_percentile() {
    let line = |load, p50| {
        format!(r#"{{"bench":"latency","load_percent":{load},"p50_us":{p50},"max_us":90.0}}"#)
    };
    let text = [line(95, 40.0), line(10, 9.0)].join("\n");
    let results = read("latency".into(), &text).unwrap();
    let rows: Vec<_> = results.rows.iter().collect();
    let plots = plots::all(&rows);
    let [(_, chart)] = plots.as_slice() else { unreachable!("one case was measured") };
    let lines: Vec<_> =
        chart.series.iter().map(|line| (line.name.as_str(), &line.points)).collect();
    let expected = vec![chart::Point::exact(10.0, 9.0), chart::Point::exact(95.0, 40.0)];
    assert_eq!(lines[0], ("50 %", &expected));
    assert_eq!((lines.len(), lines[1].0), (2, "longest"));
}
