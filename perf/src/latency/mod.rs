//! How long a frame is on its way through the director, at parts of the highest rate.

mod stamp;
mod trial;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dataplane::service::Method;
use hdrhistogram::Histogram;

use crate::options::Options;
use crate::output::{Output, Row, progress};
use crate::port::{Dut, Ends, FLOWS, rules};
use crate::process::folder;
use crate::sample::{Samples, histogram};
use crate::setup::method_name;
use trial::{Found, Outcome, Task};

/// About how long a search takes.
const SEARCH: Duration = Duration::from_secs(20);

pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let options = Options {
        methods: vec![Method::Direct, Method::Nat],
        loads: vec![10, 50, 80, 95],
        seconds: 2.0,
        repeats: 2,
        ..Options::default()
    };
    let options = options.parse(&["method", "loads", "seconds", "repeats"], words)?;
    let mut output = Output::start(
        options.is_json,
        "latency: UDP, 64-byte frames over net_memif, one worker on core 1, generator on core 0; \
         peer_median and ratio are of p50_us, drops are frames that did not come back",
    )?;
    let folder = folder()?;
    for &method in &options.methods {
        let bench = Bench { folder: folder.path(), rules: rules(method) };
        bench.measure(method, &options, &mut output)?;
    }
    Ok(())
}

/// The generator's own process: `generate-paced DEVICE search` or `DEVICE RATE,RATE... SECONDS`.
pub(crate) fn generate(words: impl Iterator<Item = String>) -> Result<()> {
    let words: Vec<String> = words.collect();
    let (device, task) = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [device, "search"] => (device, Task::Search),
        [device, rates, seconds] => {
            let rates = rates.split(',').map(str::parse).collect::<Result<_, _>>()?;
            (device, Task::Rates(rates, seconds.parse()?))
        }
        _ => bail!("generate-paced needs a device and what to do"),
    };
    trial::perform(device, &task)
}

struct Bench<'a> {
    folder: &'a Path,
    rules: String,
}

impl Bench<'_> {
    /// Prints the rows of a method: ours, then the peer's.
    fn measure(&self, method: Method, options: &Options, output: &mut Output) -> Result<()> {
        let name = method_name(method);
        progress(&format!("{name}: search for the highest rate"));
        let found = self.search()?;
        let note = found.note();
        if let Some(note) = &note {
            progress(note);
        }
        let loads = &options.loads;
        let rates: Vec<_> =
            loads.iter().map(|&load| found.highest * f64::from(load) / 100.0).collect();
        let task = Task::Rates(rates.clone(), options.seconds);
        let mut figures = [(); 2].map(|()| vec![Figure::new(); rates.len()]);
        for repeat in 1..=options.repeats {
            let (repeats, most) = (options.repeats, found.highest / 1e6);
            progress(&format!("{name}: {repeat} of {repeats}, at up to {most:.2} Mpps"));
            for (dut, figures) in Dut::BOTH.into_iter().zip(&mut figures) {
                for (outcome, figure) in self.outcomes(dut, &task)?.iter().zip(figures) {
                    figure.add(outcome)?;
                }
            }
        }
        let [ours, theirs] = figures;
        let base = |n: usize| Row {
            method: Some(name),
            load_percent: Some(loads[n]),
            mpps: Some(rates[n] / 1e6),
            note: note.clone(),
            ..Row::default()
        };
        for (n, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let mut row = ours.row(Dut::Pollvsd, base(n));
            if ours.p50_us.len() > 0 && theirs.p50_us.len() > 0 {
                row = row.against(Dut::Testpmd.name(), &ours.p50_us, &theirs.p50_us);
            }
            output.row(&row)?;
        }
        for (n, theirs) in theirs.iter().enumerate() {
            output.row(&theirs.row(Dut::Testpmd, base(n)))?;
        }
        Ok(())
    }

    /// Rates of ours.
    fn search(&self) -> Result<Found> {
        let text = self.run(Dut::Pollvsd, &Task::Search, SEARCH)?;
        serde_json::from_str(&text).with_context(|| format!("the generator says {text:?}"))
    }

    /// A trial at each rate of a task.
    fn outcomes(&self, dut: Dut, task: &Task) -> Result<Vec<Outcome>> {
        let Task::Rates(rates, seconds) = task else { bail!("a search has no outcomes") };
        let time = Duration::from_secs_f64(seconds * rates.len() as f64);
        let text = self.run(dut, task, time)?;
        let outcomes: Vec<Outcome> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(outcomes.len() == rates.len(), "the generator has ended early: {text:?}");
        Ok(outcomes)
    }

    /// Has the generator do a task, and returns what it prints.
    fn run(&self, dut: Dut, task: &Task, time: Duration) -> Result<String> {
        let ends = Ends::memif(self.folder);
        let words = match task {
            Task::Search => vec!["search".to_owned()],
            Task::Rates(rates, seconds) => {
                let rates: Vec<_> = rates.iter().map(f64::to_string).collect();
                vec![rates.join(","), seconds.to_string()]
            }
        };
        let mut all = vec!["generate-paced", &ends.generator];
        all.extend(words.iter().map(String::as_str));
        ends.send(&all, time, dut, &self.rules, self.folder)
    }
}

/// All trials of one device at one rate.
#[derive(Clone)]
struct Figure {
    latencies: Histogram<u64>,
    /// The median of each trial.
    p50_us: Samples,
    lost: u64,
}

impl Figure {
    fn new() -> Self {
        Self { latencies: histogram(), p50_us: Samples::default(), lost: 0 }
    }

    fn add(&mut self, outcome: &Outcome) -> Result<()> {
        let mut latencies = histogram();
        for &(value, count) in &outcome.latencies {
            latencies.saturating_record_n(value, count);
        }
        if !latencies.is_empty() {
            self.p50_us.push(latencies.value_at_quantile(0.5) as f64 / 1e3);
        }
        self.latencies.add(&latencies)?;
        self.lost += outcome.due.saturating_sub(outcome.back);
        Ok(())
    }

    fn row(&self, dut: Dut, base: Row) -> Row {
        let row = Row {
            bench: "latency",
            case: Some(dut.name().to_owned()),
            family: Some(4),
            protocol: Some("udp"),
            connections: Some(FLOWS),
            workers: Some(1),
            drops: Some(self.lost.to_string()),
            ..base
        }
        .latencies(&self.latencies);
        if self.latencies.is_empty() { row } else { row.spread(&self.p50_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trials_are_merged_by_their_counts() {
        let outcome = |latencies: Vec<(u64, u64)>, due| {
            let text = serde_json::json!({
                "due": due, "back": 100, "latencies": latencies, "elapsed_ns": 1
            });
            serde_json::from_value::<Outcome>(text).unwrap()
        };
        let mut figure = Figure::new();
        figure.add(&outcome(vec![(1000, 99), (9000, 1)], 100)).unwrap();
        figure.add(&outcome(vec![(2000, 100)], 103)).unwrap();
        let row = figure.row(Dut::Pollvsd, Row::default());
        let close = |value: Option<f64>, expected: f64| {
            assert!((value.unwrap() / expected - 1.0).abs() < 2e-3, "{value:?} {expected}");
        };
        close(row.p50_us, 2.0);
        close(row.max_us, 9.0);
        close(row.min, 1.0);
        close(row.max, 2.0);
        assert_eq!((row.drops.as_deref(), row.repeats), (Some("3"), Some(2)));
    }
}
