//! Several rounds of one scenario become one result; with a floor beside it, which was measured in the same rounds.
//!
//! Pure. On a machine that others use, too, a figure is the median of alternating rounds, and a comparison is the
//! median of the ratios of each round.

use std::collections::BTreeMap;

use crate::median::median;
use crate::result::{LatencyResult, RunResult};

/// A round: the server, and the floor if it was measured.
#[derive(Debug)]
pub struct Round {
    pub server: RunResult,
    pub floor: Option<RunResult>,
}

/// Figures of which the ratio to the floor says something.
const COMPARED: [(&str, &str); 2] =
    [("deliveries_per_cpu_second", "ratio_to_floor"), ("deliveries_per_second", "rate_ratio_to_floor")];

/// Everything but figures, latencies and verdicts is the last round's. None if there was none.
#[must_use]
pub fn combine(rounds: Vec<Round>) -> Option<RunResult> {
    let servers = || rounds.iter().map(|round| &round.server);
    let mut figures = medians(servers().map(|server| &server.figures));
    let floors: Vec<&RunResult> = rounds.iter().filter_map(|round| round.floor.as_ref()).collect();
    for (name, value) in medians(floors.iter().map(|floor| &floor.figures)) {
        figures.insert(format!("floor_{name}"), value);
    }
    for (figure, ratio) in COMPARED {
        let ratio_of = |round: &Round| {
            let floor = *round.floor.as_ref()?.figures.get(figure)?;
            Some(round.server.figures.get(figure)? / floor).filter(|ratio| ratio.is_finite())
        };
        let ratios: Vec<f64> = rounds.iter().filter_map(ratio_of).collect();
        if !ratios.is_empty() {
            figures.insert(ratio.to_owned(), median(ratios));
        }
    }
    let latency = latencies(servers());
    let verdict = servers().map(|server| server.verdict).max()?;
    let of_floor =
        floors.iter().flat_map(|floor| &floor.reasons).map(|reason| format!("Of the floor: {reason}"));
    let mut reasons: Vec<String> =
        servers().flat_map(|server| server.reasons.clone()).chain(of_floor).collect();
    reasons.dedup();
    let mut oracle = crate::result::OracleResult::default();
    servers().for_each(|server| oracle.merge(server.oracle.clone()));
    if rounds.len() > 1 {
        figures.insert("rounds".to_owned(), rounds.len() as f64);
    }
    let last = rounds.into_iter().next_back()?.server;
    Some(RunResult { figures, latency, verdict, reasons, oracle, ..last })
}

fn medians<'a>(all: impl Iterator<Item = &'a BTreeMap<String, f64>>) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::<&str, Vec<f64>>::new();
    for figures in all {
        figures.iter().for_each(|(name, value)| values.entry(name).or_default().push(*value));
    }
    values.into_iter().map(|(name, values)| (name.to_owned(), median(values))).collect()
}

/// All rounds' times together.
fn latencies<'a>(results: impl Iterator<Item = &'a RunResult>) -> BTreeMap<String, LatencyResult> {
    let mut classes = BTreeMap::<&str, Vec<&LatencyResult>>::new();
    for result in results {
        result.latency.iter().for_each(|(class, latency)| classes.entry(class).or_default().push(latency));
    }
    // Ours were written by ourselves: they can be read.
    let merged = |parts: Vec<&LatencyResult>| LatencyResult::merged(parts).unwrap_or_default();
    classes.into_iter().map(|(class, parts)| (class.to_owned(), merged(parts))).collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::result::Verdict;

    fn round(server: f64, floor: f64) -> Round {
        let result = |value: f64| {
            let mut times = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
            times.record(value as u64).unwrap();
            RunResult {
                figures: [("deliveries_per_cpu_second".to_owned(), value)].into(),
                latency: [("signal".to_owned(), LatencyResult::of(&times, None))].into(),
                ..RunResult::default()
            }
        };
        Round { server: result(server), floor: Some(result(floor)) }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let combined = combine(vec![round(90.0, 100.0), round(50.0, 10.0), round(200.0, 250.0)]).unwrap();
        assert_eq!(combined.figures["ratio_to_floor"], 0.9);
        assert_eq!(combined.figures["deliveries_per_cpu_second"], 90.0);
        assert_eq!(combined.figures["floor_deliveries_per_cpu_second"], 100.0);
        assert_eq!(combined.latency["signal"].corrected.count, 3);
    }

    #[test]
    fn the_worst_round_decides() {
        let mut bad = round(1.0, 1.0);
        bad.server.blame(Verdict::Violated, "Lost.");
        let combined = combine(vec![round(1.0, 1.0), bad, round(3.0, 1.0)]).unwrap();
        assert_eq!((combined.verdict, combined.reasons), (Verdict::Violated, vec!["Lost.".to_owned()]));
        assert!(combine(vec![]).is_none());
    }
}
