//! Follows a replay while it lasts: what each second brought, what the servers use, and whether it is hopeless.

use std::time::Duration;

use super::seconds::{Seconds, Totals};
use super::servers::Servers;
use crate::clock::{Micros, SECOND};
use crate::latency::Latencies;
use crate::room::Counts;
use crate::threshold::{Figures, Threshold, Watch, class_figure};
use crate::usage;

#[derive(Debug, Default)]
pub(super) struct Following {
    pub(super) series: Seconds,
    pub(super) servers: Servers,
    watch: Watch,
    /// Why it need not go on.
    pub(super) hopeless: Option<String>,
}

impl Following {
    pub(super) fn new(pids: &[u32], thresholds: &[Threshold]) -> Self {
        Self { servers: Servers::new(pids), watch: Watch::new(thresholds), ..Self::default() }
    }

    /// The clock starts at `start`.
    pub(super) fn begin(&mut self, start: Micros, counts: &Counts, times: &Latencies) {
        self.servers.look();
        self.series.begin(self.totals(start, counts, times));
    }

    /// A second is over, the latest since `start`.
    pub(super) fn end_second(&mut self, start: Micros, now: Micros, inside: u64, so_far: SoFar<'_>) {
        self.servers.look();
        self.series.end_second(start, self.totals(now, so_far.counts, so_far.times), inside);
        let hopeless = self.watch.judge(Duration::from_micros(now - start), &so_far);
        self.hopeless = self.hopeless.take().or(hopeless);
    }

    fn totals(&self, now: Micros, counts: &Counts, times: &Latencies) -> Totals {
        Totals {
            cpu_seconds: usage::own_cpu() as f64 / SECOND as f64,
            server_cpu_seconds: self.servers.cpu_seconds(),
            server_memory: self.servers.memory(),
            ..Totals::new(now, counts, times)
        }
    }
}

/// A replay that goes on, as thresholds see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SoFar<'a> {
    pub(super) seconds: f64,
    pub(super) counts: &'a Counts,
    pub(super) times: &'a Latencies,
    pub(super) violations: u64,
}

impl Figures for SoFar<'_> {
    fn figure(&self, name: &str) -> Option<f64> {
        let count = |name: &str| self.counts.by_name().get(name).map(|count| *count as f64);
        match name.split_once('.') {
            None if name == "seconds" => Some(self.seconds),
            None => count(name),
            Some(("counts", name)) => count(name),
            Some(("oracle", "violations")) => Some(self.violations as f64),
            Some((class, name)) => {
                let classes = self.times.classes();
                let (_, times) = classes.into_iter().find(|(known, _)| *known == class)?;
                class_figure(times.histogram(), name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_see_a_replay_that_goes_on() {
        let mut times = Latencies::default();
        times.accepted.record(5_000);
        let counts = Counts { ops_accepted: 7, ..Counts::default() };
        let so_far = SoFar { seconds: 3.0, counts: &counts, times: &times, violations: 2 };
        let figure = |name| so_far.figure(name).map(f64::round);
        assert_eq!([figure("ack.p99"), figure("signal.p99"), figure("moon.p99")], [Some(5.0), None, None]);
        assert_eq!(
            [figure("counts.ops_accepted"), figure("ops_accepted"), figure("seconds")],
            [Some(7.0), Some(7.0), Some(3.0)]
        );
        assert_eq!(figure("oracle.violations"), Some(2.0));
    }
}
