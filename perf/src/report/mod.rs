//! The report: what the benchmarks have written as JSON, as tables and plots for people.

mod chart;
mod goals;
mod plots;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// A row of a benchmark, as it was printed.
type Fields = Map<String, Value>;

/// What one benchmark has written.
#[derive(Debug, Default)]
struct Results {
    /// The file's name without its ending.
    name: String,
    machine: Option<Fields>,
    rows: Vec<Fields>,
}

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let words: Vec<_> = words.collect();
    let [folder] = words.as_slice() else { bail!("report wants one folder") };
    let folder = Path::new(folder);
    let results = read_all(folder)?;
    if results.iter().all(|file| file.rows.is_empty()) {
        bail!("{}: no results (*.jsonl) in it", folder.display());
    }
    let rows: Vec<_> = results.iter().flat_map(|file| &file.rows).collect();
    let plots = plots::all(&rows);
    for (name, chart) in &plots {
        write(&folder.join(name), &chart.svg())?;
    }
    let path = folder.join("report.md");
    write(&path, &markdown(&results, &plots))?;
    crate::output::print(&path.display().to_string())
}

/// The files of a folder, in the order of the sections.
fn read_all(folder: &Path) -> Result<Vec<Results>> {
    const ORDER: [&str; 5] = ["dataplane", "cps", "memory", "scale", "pick"];
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path)?;
            files.push(read(name, &text).with_context(|| path.display().to_string())?);
        }
    }
    let place = |name: &str| ORDER.iter().position(|&other| other == name).unwrap_or(ORDER.len());
    files.sort_by_key(|file: &Results| (place(&file.name), file.name.clone()));
    Ok(files)
}

fn read(name: String, text: &str) -> Result<Results> {
    let mut results = Results { name, ..Results::default() };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut fields: Fields =
            serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        match fields.remove("machine") {
            Some(Value::Object(machine)) => results.machine = Some(machine),
            _ => results.rows.push(fields),
        }
    }
    Ok(results)
}

fn markdown(results: &[Results], plots: &[(String, chart::Chart)]) -> String {
    let mut text = String::from("# Performance report\n\n`make bench` writes this file.\n\n");
    let mut machines: Vec<_> = results.iter().filter_map(|file| file.machine.as_ref()).collect();
    machines.dedup();
    for machine in machines {
        let facts: Vec<_> =
            machine.iter().map(|(name, value)| format!("{name} {}", table::cell(value))).collect();
        text += &format!("Machine: {}.\n\n", facts.join(", "));
    }
    let rows: Vec<_> = results.iter().flat_map(|file| &file.rows).collect();
    text += &goals::section(&rows);
    text += PUBLISHED;
    for file in results.iter().filter(|file| !file.rows.is_empty()) {
        text += &format!("## {}\n\n", file.name);
        for (name, chart) in plots.iter().filter(|(_, chart)| chart.bench == file.name) {
            text += &format!("![{}]({name})\n\n", chart.title);
        }
        let rows: Vec<_> = file.rows.iter().collect();
        text += &table::markdown(&rows);
        text.push('\n');
    }
    text
}

const PUBLISHED: &str = "\
## Peers measured elsewhere

Measured once with the peers' own programs, on one core of a Zen 5 at 2.6 GHz; compare ratios to the
limit probe, not nanoseconds, when this machine is another one.

| peer | 1 Ki flows, ns | 64 Ki, ns | 1 Mi, ns | new connections/s | bytes/connection |
|---|---|---|---|---|---|
| Katran, XDP, IPIP, net of harness | 108-145 | 373 | 471-503 | 1.1-1.3 M | |
| DPVS 1.10.2, DR, frames in memory | 75-80 | 360-480 | 610-870 | 0.83-1.03 M | 704 |
| kernel IPVS, DR, with its veth path | 1100 | | | 0.54-0.70 M | 336 |

";

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// A number of a row.
fn number(row: &Fields, field: &str) -> Option<f64> {
    row.get(field)?.as_f64()
}

/// A word of a row.
fn word<'a>(row: &'a Fields, field: &str) -> Option<&'a str> {
    row.get(field)?.as_str()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
