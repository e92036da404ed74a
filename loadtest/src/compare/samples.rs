//! What is compared: of each run the histograms, made ready to be drawn from, and the figures.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand_distr::{Beta, Distribution as _, LogNormal};

use crate::result::{HistogramError, RunResult, Second};

/// The distribution of one class in one run: values in milliseconds with how many there are up to each.
#[derive(Clone, Debug)]
pub(super) struct Quantiles {
    steps: Vec<(u64, f64)>,
    /// By what factor the seconds of a run make its median and its 99th percentile uncertain, as a standard error of
    /// the logarithm. A thousand values of one second are not a thousand witnesses.
    unrest: [f64; 2],
}

impl Quantiles {
    /// Of the runs that measured the class.
    pub(super) fn of_runs(runs: &[RunResult], class: &str) -> Result<Vec<Self>, HistogramError> {
        let mut all = Vec::new();
        for run in runs {
            let Some(latency) = run.latency.get(class) else { continue };
            let Some(times) = latency.corrected_times()?.filter(|times| !times.is_empty()) else { continue };
            let unrest = [0, 1].map(|which| unrest(&run.series, class, which));
            all.push(Self { unrest, ..Self::of(&times) });
        }
        Ok(all)
    }

    pub(super) fn of(times: &Histogram<u64>) -> Self {
        let mut up_to = 0;
        let steps = times.iter_recorded().map(|step| {
            up_to += step.count_at_value();
            (up_to, times.highest_equivalent(step.value_iterated_to()) as f64 / 1000.0)
        });
        Self { steps: steps.collect(), unrest: [0.0; 2] }
    }

    pub(super) fn count(&self) -> u64 {
        self.steps.last().map_or(0, |(up_to, _)| *up_to)
    }

    /// From 1 on. 0.999 of 20,000 are 19,980, whatever a product of floats is.
    fn rank(&self, share: f64) -> f64 {
        let count = self.count() as f64;
        (share * count * (1.0 - 1e-12)).ceil().clamp(1.0, count.max(1.0))
    }

    pub(super) fn at(&self, share: f64) -> f64 {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let step =
            self.steps.partition_point(|(up_to, _)| *up_to < rank).min(self.steps.len().saturating_sub(1));
        self.steps.get(step).map_or(0.0, |(_, ms)| *ms)
    }

    /// What the percentile of as many values drawn from these would be. The place of the k-th of n drawn values is
    /// distributed as Beta(k, n − k + 1), so that nothing has to be drawn but that place.
    pub(super) fn draw(&self, share: f64, chance: &mut StdRng) -> f64 {
        let rank = self.rank(share);
        let place =
            Beta::new(rank, self.count() as f64 - rank + 1.0).map_or(share, |places| places.sample(chance));
        let unrest = self.unrest[usize::from(share > 0.5)];
        let factor = LogNormal::new(0.0, unrest).map_or(1.0, |factors| factors.sample(chance));
        self.at(place) * factor
    }
}

/// Of the logarithms of a class's medians (0) or 99th percentiles (1) by second.
fn unrest(series: &[Second], class: &str, which: usize) -> f64 {
    let values = series.iter().filter_map(|second| second.latency.get(class)).map(|times| times[which]);
    let logs: Vec<f64> = values.filter(|ms| *ms > 0.0).map(f64::ln).filter(|log| log.is_finite()).collect();
    if logs.len() < 3 {
        return 0.0;
    }
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (variance / count).sqrt()
}

/// What a run has besides latencies.
pub(super) fn figures(run: &RunResult) -> BTreeMap<String, f64> {
    let mut figures = run.figures.clone();
    let servers = || run.server_usage.iter();
    if !run.server_usage.is_empty() {
        figures.insert("server_cpu_seconds".into(), servers().map(|server| server.cpu_seconds).sum());
        figures.insert("server_memory_peak".into(), servers().map(|server| server.memory_peak as f64).sum());
    }
    if let Some(bytes) =
        servers().map(|server| server.bytes_sent).sum::<Option<u64>>().filter(|bytes| *bytes > 0)
    {
        figures.insert("server_bytes_sent".into(), bytes as f64);
    }
    figures.insert("violations".into(), run.oracle.total() as f64);
    figures.insert("lost".into(), run.oracle.lost() as f64);
    figures.insert("generator_cpu_seconds".into(), run.generator.cpu_seconds);
    figures
}
