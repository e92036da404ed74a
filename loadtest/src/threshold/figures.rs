//! What expressions can speak of: the figures of a run, by name.

use hdrhistogram::Histogram;

use crate::result::{LatencyResult, Percentiles, RunResult};

/// Whatever knows figures by name: a result, or a run that is still going on.
pub trait Figures {
    /// In milliseconds and bytes; None if there is no such figure.
    fn figure(&self, name: &str) -> Option<f64>;
}

impl<F: Fn(&str) -> Option<f64>> Figures for F {
    fn figure(&self, name: &str) -> Option<f64> {
        self(name)
    }
}

/// `signal.p99`, `signal.raw.p99_9`, `counts.sent`, `oracle.lost`, `generator.cores`, `server.memory_peak`; and by its name
/// alone any figure or count.
impl Figures for RunResult {
    fn figure(&self, name: &str) -> Option<f64> {
        let Some((group, rest)) = name.split_once('.') else {
            return self.plain_figure(name);
        };
        match group {
            "counts" => self.counts.get(rest).map(|count| *count as f64),
            "figures" => self.figures.get(rest).copied(),
            "oracle" => self.oracle_figure(rest),
            "generator" => self.generator_figure(rest),
            "server" => self.server_figure(rest),
            class => latency_figure(self.latency.get(class)?, rest),
        }
    }
}

impl RunResult {
    fn plain_figure(&self, name: &str) -> Option<f64> {
        let counted = || self.counts.get(name).map(|count| *count as f64);
        match name {
            "seconds" => Some(self.seconds),
            name => self.figures.get(name).copied().or_else(counted),
        }
    }

    /// A kind of violation that did not occur is 0.
    fn oracle_figure(&self, name: &str) -> Option<f64> {
        let oracle = &self.oracle;
        let count = match name {
            "lost" => oracle.lost(),
            "lost_prefix" => oracle.lost_prefix,
            "lost_middle" => oracle.lost_middle,
            "lost_postfix" => oracle.lost_postfix,
            "violations" => oracle.total(),
            kind => oracle.violations.get(kind).copied().unwrap_or(0),
        };
        Some(count as f64)
    }

    fn generator_figure(&self, name: &str) -> Option<f64> {
        let generator = &self.generator;
        match name {
            "cpu_seconds" => Some(generator.cpu_seconds),
            "cores" => Some(generator.cores),
            "memory" | "memory_bytes" => Some(generator.memory_bytes as f64),
            "lag_p99_ms" => Some(generator.lag_p99_ms),
            "workers" => Some(f64::from(generator.workers)),
            _ => None,
        }
    }

    /// Of all servers together.
    fn server_figure(&self, name: &str) -> Option<f64> {
        if self.server_usage.is_empty() {
            return None;
        }
        let servers = self.server_usage.iter();
        let sum: Option<f64> = match name {
            "cpu_seconds" => Some(servers.map(|server| server.cpu_seconds).sum()),
            "memory_before" => Some(servers.map(|server| server.memory_before as f64).sum()),
            "memory_peak" => Some(servers.map(|server| server.memory_peak as f64).sum()),
            "memory_after" => Some(servers.map(|server| server.memory_after as f64).sum()),
            "bytes_sent" => servers.map(|server| server.bytes_sent.map(|bytes| bytes as f64)).sum(),
            "bytes_received" => servers.map(|server| server.bytes_received.map(|bytes| bytes as f64)).sum(),
            _ => None,
        };
        sum
    }
}

fn latency_figure(latency: &LatencyResult, name: &str) -> Option<f64> {
    let (name, percentiles, times) = match name.strip_prefix("raw.") {
        Some(name) => (name, latency.raw.as_ref()?, latency.raw_times()),
        None => (name, &latency.corrected, latency.corrected_times()),
    };
    percentiles_figure(percentiles, name).or_else(|| class_figure(times.ok()?.as_ref()?, name))
}

fn percentiles_figure(percentiles: &Percentiles, name: &str) -> Option<f64> {
    match name {
        "count" => Some(percentiles.count as f64),
        "mean" => Some(percentiles.mean),
        "min" => Some(percentiles.min),
        "max" => Some(percentiles.max),
        "p50" => Some(percentiles.p50),
        "p90" => Some(percentiles.p90),
        "p99" => Some(percentiles.p99),
        "p99_9" | "p99.9" => Some(percentiles.p99_9),
        _ => None,
    }
}

/// Of microseconds: besides those that every result has, any other percentile, as in `p95` and `p99_99`.
#[must_use]
pub fn class_figure(times: &Histogram<u64>, name: &str) -> Option<f64> {
    if times.is_empty() {
        return None;
    }
    percentiles_figure(&Percentiles::of(times), name).or_else(|| {
        let percentile: f64 = name.strip_prefix('p')?.replace('_', ".").parse().ok()?;
        let known = (0.0..=100.0).contains(&percentile);
        known.then(|| times.value_at_percentile(percentile) as f64 / 1000.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{OracleResult, ServerUsage};

    #[test]
    fn every_part_of_a_result_has_its_figures() {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        (1..=100).for_each(|n| times.record(n * 1000).unwrap());
        let server = || ServerUsage { cpu_seconds: 1.5, bytes_sent: Some(10), ..ServerUsage::default() };
        let mut result = RunResult {
            seconds: 3.0,
            oracle: OracleResult { lost_prefix: 1, ..OracleResult::default() },
            server_usage: vec![server(), ServerUsage { bytes_received: Some(1), ..server() }],
            ..RunResult::default()
        };
        result.latency.insert("ack".into(), LatencyResult::of(&times, Some(&times)));
        result.counts.insert("sent".into(), 7);
        result.counts.insert("ops_refused.forbidden".into(), 2);
        result.figures.insert("ratio_to_floor".into(), 0.9);
        let is = |name: &str| result.figure(name).map(|value| value.round() as i64);
        assert_eq!(
            [is("counts.sent"), is("sent"), is("seconds"), is("oracle.lost")],
            [Some(7), Some(7), Some(3), Some(1)]
        );
        assert_eq!(
            [is("ack.p50"), is("ack.p95"), is("ack.raw.p99"), is("ack.count")],
            [Some(50), Some(95), Some(99), Some(100)]
        );
        assert_eq!([is("ack.p99.9"), is("ack.p99_9"), is("ack.p75_0")], [Some(100), Some(100), Some(75)]);
        assert_eq!(
            [is("counts.ops_refused.forbidden"), is("oracle.gap"), is("server.cpu_seconds")],
            [Some(2), Some(0), Some(3)]
        );
        assert_eq!((result.figure("ratio_to_floor"), is("server.bytes_sent")), (Some(0.9), Some(20)));
        for unknown in
            ["ack.p101", "ack.pNaN", "ack.moon", "moon.p99", "moon", "server.bytes_received", "generator.x"]
        {
            assert_eq!(result.figure(unknown), None, "{unknown}");
        }
    }
}
