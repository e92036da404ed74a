//! What happened in each second of a run: what was counted and measured by its end, less what was by the one before.

use std::collections::BTreeMap;

use crate::clock::{Micros, SECOND};
use crate::latency::{Latencies, Times};
use crate::result::Second;
use crate::room::Counts;

#[derive(Clone, Debug, Default)]
pub struct Seconds {
    seconds: Vec<Second>,
    before: Totals,
}

/// What grows all the while.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub at: Micros,
    pub sent: u64,
    pub delivered: u64,
    /// Of this process.
    pub cpu_seconds: f64,
    pub server_cpu_seconds: f64,
    /// A level, not a sum.
    pub server_memory: u64,
    pub times: Vec<(&'static str, Times)>,
}

/// A day; what comes later is in the totals alone.
const KEPT: usize = 86_400;
/// The classes that are worth a curve.
const CLASSES: [&str; 5] = ["ack", "median", "last", "each", "signal"];

impl Totals {
    #[must_use]
    pub fn new(at: Micros, counts: &Counts, times: &Latencies) -> Self {
        let curves = times.classes().into_iter().filter(|(name, _)| CLASSES.contains(name));
        Self {
            at,
            sent: counts.sent(),
            delivered: counts.delivered(),
            times: curves.map(|(name, times)| (name, times.clone())).collect(),
            ..Self::default()
        }
    }
}

impl Seconds {
    /// The measured part begins.
    pub fn begin(&mut self, totals: Totals) {
        self.seconds.clear();
        self.before = totals;
    }

    /// A second, or about one, is over.
    pub fn end_second(&mut self, beginning: Micros, totals: Totals, connections: u64) {
        let before = std::mem::replace(&mut self.before, totals);
        let now = &self.before;
        let passed = now.at.saturating_sub(before.at) as f64 / SECOND as f64;
        if self.seconds.len() >= KEPT || passed <= 0.0 {
            return;
        }
        self.seconds.push(Second {
            at: now.at.saturating_sub(beginning) as f64 / SECOND as f64,
            sent: now.sent.saturating_sub(before.sent),
            delivered: now.delivered.saturating_sub(before.delivered),
            connections,
            latency: quantiles(now, &before),
            server_cpu: (now.server_cpu_seconds - before.server_cpu_seconds).max(0.0) / passed,
            server_memory: now.server_memory,
            generator_cpu: (now.cpu_seconds - before.cpu_seconds).max(0.0) / passed,
        });
    }

    #[must_use]
    pub fn seconds(&self) -> &[Second] {
        &self.seconds
    }
}

fn quantiles(now: &Totals, before: &Totals) -> BTreeMap<String, [f64; 2]> {
    let since = |(name, times): &(&'static str, Times)| {
        let earlier = before.times.iter().find(|(other, _)| other == name);
        let new = earlier.map_or_else(|| times.clone(), |(_, earlier)| times.since(earlier));
        (new.count() > 0).then(|| ((*name).to_owned(), [new.percentile(50.0), new.percentile(99.0)]))
    };
    now.times.iter().filter_map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_only_what_is_new_in_it() {
        let (mut counts, mut times) = (Counts::default(), Latencies::default());
        let mut seconds = Seconds::default();
        let totals = |at, counts: &Counts, times: &Latencies, cpu_seconds| Totals {
            cpu_seconds,
            server_cpu_seconds: 2.0 * cpu_seconds,
            server_memory: at,
            ..Totals::new(at, counts, times)
        };
        times.accepted.record(9_000);
        counts.ops_submitted = 100;
        seconds.begin(totals(SECOND, &counts, &times, 1.0));
        (0..10).for_each(|_| times.accepted.record(2_000));
        counts.ops_submitted = 110;
        counts.signals_seen = 7;
        seconds.end_second(SECOND, totals(2 * SECOND, &counts, &times, 1.5), 3);
        seconds.end_second(SECOND, totals(4 * SECOND, &counts, &times, 2.5), 2);
        let [first, second] = seconds.seconds() else { panic!("two seconds") };
        assert_eq!((first.at, first.sent, first.delivered, first.connections), (1.0, 10, 7, 3));
        assert!((first.latency["ack"][1] - 2.0).abs() < 0.01, "{first:?}");
        assert_eq!((first.generator_cpu, second.generator_cpu, first.server_cpu), (0.5, 0.5, 1.0));
        assert_eq!(second.server_memory, 4 * SECOND);
        assert_eq!((second.sent, second.latency.len()), (0, 0));
    }
}
