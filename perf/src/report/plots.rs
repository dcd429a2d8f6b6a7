//! Which plots there are, and what is in them.

use super::chart::{Chart, Point, Series, Style, label};
use super::goals::GOAL_CONNECTIONS;
use super::{Fields, goals, number, word};

/// Least and most nanoseconds at a number of flows, as published.
type Published = [(u32, f64, f64); 3];
const KATRAN: Published =
    [(1 << 10, 108.0, 145.0), (1 << 16, 373.0, 373.0), (1 << 20, 471.0, 503.0)];
const DPVS: Published = [(1 << 10, 75.0, 80.0), (1 << 16, 360.0, 480.0), (1 << 20, 610.0, 870.0)];
/// DPVS's NAT and tunnels take this much more than its DR, at least and at most.
const DPVS_MORE: (f64, f64) = (1.1, 1.4);

/// Every plot that the rows have the figures for, with its file's name.
pub(super) fn all(rows: &[&Fields]) -> Vec<(String, Chart)> {
    let mut plots = Vec::new();
    for (method, name) in [("dr", "direct routing"), ("ipip", "IP tunnel"), ("nat", "NAT")] {
        plots.extend(over_connections(rows, method, name));
    }
    plots.extend(scaling(rows));
    plots.extend(latency(rows));
    plots
}

fn over_connections(rows: &[&Fields], method: &str, name: &str) -> Option<(String, Chart)> {
    let rows = of(rows, "dataplane", |row| word(row, "method") == Some(method));
    let mut series = Vec::new();
    for family in [4.0, 6.0] {
        for (protocol, shown) in [("tcp", "TCP"), ("udp", "UDP")] {
            for (case, more) in [(None, ""), (Some("reply"), ", replies")] {
                let is_it = |row: &&&Fields| {
                    number(row, "family") == Some(family)
                        && word(row, "protocol") == Some(protocol)
                        && word(row, "case") == case
                };
                // Replies under UDP are as those under TCP, and the plot is full.
                if case.is_none() || (protocol, family) == ("tcp", 4.0) {
                    let points = rows.iter().filter(is_it);
                    let points =
                        points.filter_map(|row| bounded(row, "connections", "ns_per_packet"));
                    let name = format!("pollvs IPv{family} {shown}{more}");
                    series.push(measured(name, points.collect()));
                }
            }
        }
    }
    series.retain(|line| !line.points.is_empty());
    if series.is_empty() {
        return None;
    }
    let probed = rows.iter().filter(|row| word(row, "protocol") == Some("tcp"));
    let probed = probed.filter(|row| row.get("case").is_none());
    let probe = probed.filter_map(|row| {
        Some(Point::exact(number(row, "connections")?, number(row, "peer_median")?))
    });
    series.push(measured("limit probe (IPIP)".into(), probe.collect()));
    let (least, most) = if method == "dr" { (1.0, 1.0) } else { DPVS_MORE };
    let dpvs = DPVS.map(|(flows, low, high)| (flows, low * least, high * most));
    match method {
        "dr" => series.push(published("DPVS 1.10.2 DR, published", dpvs)),
        "ipip" => {
            series.push(published("Katran IPIP, published", KATRAN));
            series.push(published("DPVS tunnel (DR + 10-40 %)", dpvs));
        }
        _ => series.push(published("DPVS NAT (DR + 10-40 %)", dpvs)),
    }
    let goal = GOAL_CONNECTIONS.iter().filter_map(|&connections| {
        Some(Point::exact(f64::from(connections), goals::ns(method, connections)?))
    });
    series.insert(
        0,
        Series { name: "goal, IPv4".into(), style: Style::Goal, points: goal.collect() },
    );
    let chart = Chart {
        bench: "dataplane",
        title: format!("Cost of a packet, {name}, one core"),
        x_label: "connections, chosen at random",
        y_label: "ns per packet",
        is_log_x: true,
        is_log_y: true,
        series: series.into_iter().filter(|line| !line.points.is_empty()).collect(),
    };
    Some((format!("dataplane-{method}.svg"), chart))
}

fn scaling(rows: &[&Fields]) -> Option<(String, Chart)> {
    let rows = of(rows, "scale", |_| true);
    let mut sizes: Vec<_> = rows.iter().filter_map(|row| number(row, "connections")).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut series = Vec::new();
    for size in sizes {
        let rows = || rows.iter().filter(|row| number(row, "connections") == Some(size));
        let name = format!("{} connections each", label(size));
        let points: Vec<_> = rows().filter_map(|row| bounded(row, "workers", "mpps")).collect();
        // One worker alone, times their number, in the same runs.
        let ideal = rows().filter_map(|row| {
            let times = number(row, "peer_median").or(number(row, "mpps"));
            Some(Point::exact(number(row, "workers")?, times?))
        });
        series.push(measured(name, points));
        let ideal = ideal.collect();
        series.push(Series {
            name: "N x one worker, likewise".into(),
            style: Style::Goal,
            points: ideal,
        });
    }
    let chart = Chart {
        bench: "scale",
        title: "Workers side by side, frames in memory".into(),
        x_label: "workers",
        y_label: "Mpps in all",
        is_log_x: false,
        is_log_y: false,
        series,
    };
    (!chart.series.is_empty()).then_some(("scale.svg".into(), chart))
}

/// A plot for each program, port and what else the rows tell apart by case and peer.
fn latency(rows: &[&Fields]) -> Vec<(String, Chart)> {
    const FIELDS: [(&str, &str); 5] = [
        ("p50_us", "50 %"),
        ("p90_us", "90 %"),
        ("p99_us", "99 %"),
        ("p999_us", "99.9 %"),
        ("max_us", "longest"),
    ];
    let rows = of(rows, "latency", |row| number(row, "load_percent").is_some());
    let mut cases: Vec<_> = rows.iter().map(|row| word(row, "case")).collect();
    cases.sort_unstable();
    cases.dedup();
    let plots = cases.into_iter().enumerate().map(|(n, case)| {
        let rows = || rows.iter().filter(move |row| word(row, "case") == case);
        let line = |&(field, name): &(&str, &str)| {
            let point = |row: &&Fields| {
                Some(Point::exact(number(row, "load_percent")?, number(row, field)?))
            };
            measured(name.to_owned(), rows().filter_map(point).collect())
        };
        let series = FIELDS.iter().map(line).filter(|line| !line.points.is_empty());
        let chart = Chart {
            bench: "latency",
            title: format!("Latency{}", case.map(|case| format!(", {case}")).unwrap_or_default()),
            x_label: "load, percent of the highest rate",
            y_label: "µs within which so many packets are back",
            is_log_x: false,
            is_log_y: true,
            series: series.collect(),
        };
        let number = if n == 0 { String::new() } else { format!("-{}", n + 1) };
        (format!("latency{number}.svg"), chart)
    });
    plots.filter(|(_, chart)| !chart.series.is_empty()).collect()
}

fn of<'a>(rows: &[&'a Fields], bench: &str, fits: impl Fn(&Fields) -> bool) -> Vec<&'a Fields> {
    let rows = rows.iter().filter(|row| word(row, "bench") == Some(bench) && fits(row));
    rows.copied().collect()
}

fn bounded(row: &Fields, x: &str, y: &str) -> Option<Point> {
    let value = number(row, y)?;
    let bound = |field| number(row, field).unwrap_or(value);
    Some(Point { x: number(row, x)?, y: value, low: bound("min"), high: bound("max") })
}

fn measured(name: String, mut points: Vec<Point>) -> Series {
    points.sort_by(|one, other| one.x.total_cmp(&other.x));
    Series { name, style: Style::Measured, points }
}

fn published(name: &str, figures: Published) -> Series {
    let point =
        |(flows, low, high)| Point { x: f64::from(flows), y: f64::midpoint(low, high), low, high };
    Series { name: name.into(), style: Style::Published, points: figures.map(point).into() }
}
