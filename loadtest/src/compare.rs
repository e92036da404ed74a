//! Two sides of runs, held against each other: what got better, what got worse, and what is only noise.
//!
//! A side is one run or several of the same scenario; its figure is the median of its runs'. How far chance alone could have
//! moved the ratio of the two sides is estimated by bootstrap: runs are drawn again from the runs, and the percentiles of
//! each from its histogram, the wider the more its seconds differ from each other. A regression is a change for the worse
//! that is beyond this interval and beyond the tolerance.
//!
//! Of a single run the interval knows how its seconds differ, but not how runs do. Several runs of each side, taken in
//! turn, tell more.

mod bootstrap;
pub mod html;
mod samples;
pub mod text;

use std::collections::BTreeSet;

use self::bootstrap::{again, interval};
use self::samples::Quantiles;
use crate::median::median;
use crate::report::classes::in_order;
use crate::result::{HistogramError, RunResult, Verdict};

/// What is compared of each class.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// A percentile with fewer values beyond it is chance.
const LEAST_BEYOND: f64 = 10.0;
/// Nobody notices less, in milliseconds.
const NEGLIGIBLE_MS: f64 = 0.05;

#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub name: String,
    pub runs: [usize; 2],
    pub tolerance: f64,
    /// What has to be known before the rows are believed.
    pub notes: Vec<String>,
    /// At least one run says of itself that its figures mean nothing.
    pub invalid: bool,
    pub rows: Vec<Row>,
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub subject: Subject,
    pub base: f64,
    pub with: f64,
    /// Of `with / base`, with 95 % confidence; None where there is only one run and nothing to draw from.
    pub interval: Option<[f64; 2]>,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Latency { class: String, percentile: &'static str },
    Figure(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Better,
    Worse,
    /// Within the tolerance, or within what chance can do.
    Same,
    /// Different, but neither is better.
    Other,
}

/// Which way is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Lower,
    Higher,
    Neither,
}

#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("each side needs at least one run")]
    Nothing,
    #[error("the histogram of {class} cannot be read: {source}")]
    Histogram { class: String, source: HistogramError },
}

/// # Errors
/// When a side is empty, or a histogram is none.
pub fn compare(base: &[RunResult], with: &[RunResult], tolerance: f64) -> Result<Comparison, CompareError> {
    let (Some(first), Some(_)) = (base.first(), with.first()) else { return Err(CompareError::Nothing) };
    let mut rows = Vec::new();
    for (class, _) in in_order(&first.latency) {
        rows.extend(latency_rows(class, base, with, tolerance)?);
    }
    rows.extend(figure_rows(base, with, tolerance));
    Ok(Comparison {
        name: first.scenario.name.clone(),
        runs: [base.len(), with.len()],
        tolerance,
        notes: notes(base, with),
        invalid: base.iter().chain(with).any(|run| run.verdict == Verdict::Invalid),
        rows,
    })
}

impl Comparison {
    #[must_use]
    pub fn regressions(&self) -> usize {
        self.rows.iter().filter(|row| row.change == Change::Worse).count()
    }

    /// 0, or 1 if something got worse, or 3 if it cannot be told.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.regressions() {
            _ if self.invalid => Verdict::Invalid.exit_code(),
            0 => Verdict::Held.exit_code(),
            _ => Verdict::Threshold.exit_code(),
        }
    }
}

impl Row {
    /// What `with` is in terms of `base`; 1 if both are nothing.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        ratio(self.base, self.with)
    }
}

fn ratio(base: f64, with: f64) -> f64 {
    if base == with { 1.0 } else { with / base }
}

fn latency_rows(
    class: &str,
    base: &[RunResult],
    with: &[RunResult],
    tolerance: f64,
) -> Result<Vec<Row>, CompareError> {
    let read = |runs: &[RunResult]| Quantiles::of_runs(runs, class);
    let told = |source| CompareError::Histogram { class: class.to_owned(), source };
    let sides = [read(base).map_err(told)?, read(with).map_err(told)?];
    let [base, with] = &sides;
    let fewest = sides.iter().flatten().map(Quantiles::count).min().unwrap_or(0);
    if base.is_empty() || with.is_empty() {
        return Ok(vec![]);
    }
    let direction = if class == "lag" { Direction::Neither } else { Direction::Lower };
    let worth = PERCENTILES.iter().filter(|(_, share)| fewest as f64 * (1.0 - share) >= LEAST_BEYOND);
    let row = |(percentile, share): &(&'static str, f64)| {
        let at = |side: &[Quantiles]| median(side.iter().map(|run| run.at(*share)).collect());
        let (was, is) = (at(base), at(with));
        let interval = interval(|chance| {
            let mut draw =
                |side: &[Quantiles]| median(again(side, chance, |run, chance| run.draw(*share, chance)));
            ratio(draw(base), draw(with))
        });
        let negligible = (is - was).abs() < NEGLIGIBLE_MS;
        let change =
            if negligible { Change::Same } else { judge(was, is, Some(interval), tolerance, direction) };
        let subject = Subject::Latency { class: class.to_owned(), percentile };
        Row { subject, base: was, with: is, interval: Some(interval), change }
    };
    Ok(worth.map(row).collect())
}

fn figure_rows(base: &[RunResult], with: &[RunResult], tolerance: f64) -> Vec<Row> {
    let values = |runs: &[RunResult], name: &str| -> Option<Vec<f64>> {
        runs.iter().map(|run| samples::figures(run).get(name).copied()).collect()
    };
    let names = base.first().map(samples::figures).unwrap_or_default().into_keys();
    let row = |name: String| {
        let (base, with) = (values(base, &name)?, values(with, &name)?);
        let (was, is) = (median(base.clone()), median(with.clone()));
        let interval = (base.len() > 1 && with.len() > 1).then(|| {
            interval(|chance| {
                let mut draw = |side: &[f64]| median(again(side, chance, |value, _| *value));
                ratio(draw(&base), draw(&with))
            })
        });
        let change = judge(was, is, interval, tolerance, Direction::of(&name));
        Some(Row { subject: Subject::Figure(name), base: was, with: is, interval, change })
    };
    names.filter_map(row).collect()
}

fn judge(base: f64, with: f64, interval: Option<[f64; 2]>, tolerance: f64, direction: Direction) -> Change {
    let ratio = ratio(base, with);
    let by_chance = interval.is_some_and(|[low, high]| low <= 1.0 && 1.0 <= high);
    // As far up as down: a half is as much as a double.
    let tolerated = (1.0 / (1.0 + tolerance)..=1.0 + tolerance).contains(&ratio);
    match direction {
        _ if by_chance || tolerated => Change::Same,
        Direction::Neither => Change::Other,
        Direction::Lower if ratio < 1.0 => Change::Better,
        Direction::Higher if ratio > 1.0 => Change::Better,
        _ => Change::Worse,
    }
}

impl Direction {
    fn of(figure: &str) -> Self {
        let has = |parts: &[&str]| parts.iter().any(|part| figure.contains(part));
        // What the generator does of itself, and how a run was set up.
        if has(&["generator", "frames_", "counted_", "worker"])
            || matches!(figure, "sent_per_second" | "messages_per_second" | "ops_accepted_per_second")
        {
            Self::Neither
        } else if has(&["_per_second", "_per_cpu_second", "ratio_to_floor"]) || figure == "delivered" {
            Self::Higher
        } else if has(&[
            "memory",
            "bytes",
            "cpu",
            "cores",
            "_seconds",
            "_ms",
            "lost",
            "violations",
            "refused",
        ]) {
            Self::Lower
        } else {
            Self::Neither
        }
    }
}

fn notes(base: &[RunResult], with: &[RunResult]) -> Vec<String> {
    let mut notes = Vec::new();
    for (side, runs) in [("first", base), ("second", with)] {
        let count = |verdict| runs.iter().filter(|run| run.verdict == verdict).count();
        for (verdict, what) in [
            (Verdict::Invalid, "invalid: the generator was the bottleneck"),
            (Verdict::Violated, "not faultless: the oracle found violations"),
        ] {
            match count(verdict) {
                0 => {}
                some => notes.push(format!("Of the {side} side {some} of {} runs are {what}.", runs.len())),
            }
        }
    }
    if base.len() < 3 || with.len() < 3 {
        notes.push(
            "With fewer than three runs a side, how much runs differ from each other is not known.".into(),
        );
    }
    notes.extend(differences(base, with));
    notes.extend(one_sided(base, with));
    notes
}

/// What cannot be compared because not all runs have it.
fn one_sided(base: &[RunResult], with: &[RunResult]) -> Option<String> {
    let names = |run: &RunResult| -> BTreeSet<String> {
        run.latency.keys().cloned().chain(samples::figures(run).into_keys()).collect()
    };
    let runs: Vec<BTreeSet<String>> = base.iter().chain(with).map(names).collect();
    let all: BTreeSet<&String> = runs.iter().flatten().collect();
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|name| !runs.iter().all(|run| run.contains(*name)))
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("Not all runs have: {}.", missing.join(", ")))
}

/// What was not the same for all runs although it was asked for.
fn differences(base: &[RunResult], with: &[RunResult]) -> Vec<String> {
    let Some(first) = base.first().map(|run| &run.scenario) else { return vec![] };
    let mut told = Vec::new();
    for other in base.iter().chain(with).map(|run| &run.scenario) {
        if other.kind != first.kind {
            told.push(format!("The scenarios differ: {} and {}.", first.kind, other.kind));
        }
        for (name, value) in &first.parameters {
            match other.parameters.get(name) {
                Some(same) if same == value => {}
                Some(another) => told.push(format!("The runs differ in {name}: {value} and {another}.")),
                None => told.push(format!("Not all runs have {name}.")),
            }
        }
    }
    told.sort_unstable();
    told.dedup();
    told
}

#[cfg(test)]
mod tests;
