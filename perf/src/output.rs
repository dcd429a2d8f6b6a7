//! What benchmarks print: a table for people, or a JSON object a line for programs.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::machine::Machine;
use crate::sample::Samples;

/// One measured figure and what it was measured on. A field that does not apply is left out.
///
/// `min` and `max` belong to the row's figure, and so does `peer_median`: the peer's samples were
/// taken in turn with ours. `ratio` is ours over the peer's.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    /// What tells this row from others of its benchmark and has no field of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) case: Option<String>,
    /// `dr`, `ipip` or `nat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<&'static str>,
    /// 4 or 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) family: Option<u8>,
    /// `tcp` or `udp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheduler: Option<&'static str>,
    /// Real servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) servers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<u16>,
    /// Share of the highest rate, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ns_per_packet: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ns_gross: Option<f64>,
    /// What a generator sent, in Mpps, where it may be more than what was forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mpps_in: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mpps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gbit_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_connection: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p90_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p999_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeats: Option<usize>,
    /// Allocations in all samples together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allocations: Option<u64>,
    /// Frames that were not forwarded, by reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drops: Option<String>,
    /// Whom `ratio` compares us with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// What is to be known about the row, or why it has no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Row {
    /// The bounds and the number of the samples that the row's figure is the median of.
    pub(crate) fn spread(mut self, samples: &Samples) -> Self {
        (self.min, self.max) = (Some(samples.min()), Some(samples.max()));
        self.repeats = Some(samples.len());
        self
    }

    /// How latencies, in ns, are spread, if there are any.
    pub(crate) fn latencies(self, latencies: &Histogram<u64>) -> Self {
        let at = |quantile| {
            let ns = || latencies.value_at_quantile(quantile) as f64;
            (!latencies.is_empty()).then(|| ns() / 1e3)
        };
        Self {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            ..self
        }
    }

    /// A peer and its samples, against ours in the same unit.
    pub(crate) fn against(mut self, peer: &str, ours: &Samples, theirs: &Samples) -> Self {
        self.peer = Some(peer.to_owned());
        self.peer_median = Some(theirs.median());
        self.ratio = Some(ours.ratio(theirs));
        self
    }
}

/// Where a benchmark's figures go: standard output.
pub(crate) struct Output {
    is_json: bool,
    /// Columns of the table that is being printed.
    columns: Vec<String>,
}

impl Output {
    /// Prints what the figures are taken on; `about` says to people what they are.
    pub(crate) fn start(is_json: bool, about: &str) -> Result<Self> {
        let machine = Machine::look();
        if is_json {
            print(&serde_json::json!({ "machine": machine }).to_string())?;
        } else {
            print(&format!("{machine}\n{about}"))?;
        }
        Ok(Self { is_json, columns: Vec::new() })
    }

    /// Prints a row, as soon as it is known.
    pub(crate) fn row(&mut self, row: &Row) -> Result<()> {
        let value = serde_json::to_value(row).expect("a row has nothing but names and numbers");
        let Value::Object(fields) = value else { unreachable!("a row is an object") };
        if self.is_json { print(&Value::Object(fields).to_string()) } else { self.line(&fields) }
    }

    /// One line of the table; its head first when the columns are others than before.
    fn line(&mut self, fields: &Map<String, Value>) -> Result<()> {
        let columns = || fields.keys().filter(|name| *name != "bench");
        if !columns().eq(self.columns.iter()) {
            self.columns = columns().cloned().collect();
            let head: Vec<_> =
                self.columns.iter().map(|name| format!("{name:>w$}", w = width(name))).collect();
            print(&head.join("  "))?;
        }
        let cells: Vec<_> =
            columns().map(|name| format!("{:>w$}", cell(&fields[name]), w = width(name))).collect();
        print(&cells.join("  "))
    }
}

/// Nobody reads standard output any more.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output is closed")
    }
}

impl Error for Closed {}

/// Prints a line to standard output; fails with [`Closed`] when nobody reads it.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        other => Ok(other?),
    }
}

/// Tells people what goes on, if anybody listens.
pub(crate) fn progress(what: &str) {
    let _ = writeln!(io::stderr(), "perf: {what}");
}

fn width(column: &str) -> usize {
    match column {
        "case" => 28,
        "peer" => 24,
        _ => column.len().max(11),
    }
}

/// A value as people read it.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if number.abs() >= 10_000.0 { format!("{number:.0}") } else { format!("{number:.2}") }
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_do_not_apply_are_left_out() {
        let mut samples = Samples::default();
        [2.0, 1.0, 4.0].into_iter().for_each(|value| samples.push(value));
        let row = Row {
            bench: "dataplane",
            family: Some(4),
            ns_per_packet: Some(samples.median()),
            ..Row::default()
        };
        let row = row.spread(&samples).against("nobody", &samples, &samples);
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"bench":"dataplane","family":4,"ns_per_packet":2.0,"min":1.0,"max":4.0,"repeats":3,"peer":"nobody","peer_median":2.0,"ratio":1.0}"#
        );
    }
}
